"""The weights of an fp32 graph that quantisation touches, named without reading them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError, missing_extra
from export.manifest import WeightTally
from quantize.blocks import Codec
from quantize.recipes import GROUPS, Recipe, group_of, plain_name
from quantize.weights import LARGE_ELEMENTS

PER_BLOCK_BYTES, PER_ROW_BYTES = 2, 4
"""A float16 scale a block, a float32 scale a row of int8."""
LAYER = re.compile(r"(?:^|(?<=\.))\d+(?=\.)")
"""A layer's number in a weight's name."""


@dataclass(frozen=True)
class WeightShape:
    """Name in the container, shape [rows, columns] with the quantised axis last, whether it is a table."""

    name: str
    rows: int
    columns: int
    is_table: bool

    @property
    def group(self) -> str:
        """One of GROUPS."""
        return group_of(self.name, self.is_table)

    @property
    def layer(self) -> str | None:
        """Glob for the weights of the same layer, or None for a weight of no layer."""
        name = plain_name(self.name)
        found = LAYER.search(name)
        return f"{name[: found.end()]}.*" if found and self.group not in ("table", "head") else None

    def stored_bytes(self, codec: Codec) -> int:
        """Codes and scales in the format's own terms; a container may spend more on scales."""
        if codec.block:
            blocks = self.rows * -(-self.columns // codec.block)
            return blocks * (codec.block * codec.bits // 8 + PER_BLOCK_BYTES)
        scales = self.rows * PER_ROW_BYTES if codec.bits == 8 else 0
        return self.rows * self.columns * codec.bits // 8 + scales


def _onnx(graph: Path) -> list[WeightShape]:
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise missing_extra("quantize", error.name or "onnx") from None

    model = onnx.load(str(graph), load_external_data=False)
    constants = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    found: dict[str, WeightShape] = {}
    for node in model.graph.node:
        position = {"MatMul": 1, "Gemm": 1, "Gather": 0}.get(node.op_type)
        tensor = constants.get(node.input[position]) if position is not None else None
        if tensor is None or len(tensor.dims) != 2 or np.prod(tensor.dims) < LARGE_ELEMENTS:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        is_table = node.op_type == "Gather"
        if is_table and attributes.get("axis", 0) != 0:
            continue
        as_stored = is_table or attributes.get("transB", 0) == 1
        rows, columns = tensor.dims if as_stored else reversed(tensor.dims)
        found.setdefault(tensor.name, WeightShape(tensor.name, rows, columns, is_table))
    return list(found.values())


def _litert(graph: Path) -> list[WeightShape]:
    from export.tflite_file import read_tflite
    from quantize.litert_rewrite import large_weights

    model, buffers = read_tflite(graph)
    return [WeightShape(name, *shape, is_table) for name, _, shape, is_table in large_weights(model, buffers)]


def _gguf(graph: Path) -> list[WeightShape]:
    from export.gguf_file import read_gguf
    from quantize.gguf_rewrite import is_large, is_table, recipe_name

    tensors = [tensor for tensor in read_gguf(graph)[1] if is_large(tensor)]
    return [WeightShape(recipe_name(t), t.shape[0], t.shape[1], is_table(t)) for t in tensors]


LISTERS = {"onnx": _onnx, "litert": _litert, "gguf": _gguf}


def list_weights(runtime: str, graph: Path) -> list[WeightShape]:
    """Every weight that the runtime's rewriter asks a recipe for, once, in graph order."""
    if runtime not in LISTERS:
        raise UserError(f"runtime '{runtime}': its weights cannot be chosen one by one")
    return LISTERS[runtime](graph)


def check_recipe(recipe: Recipe, weights: list[WeightShape]) -> None:
    """Raise UserError for a pattern that names no weight, and for a precision that a weight cannot have."""
    for override in recipe.overrides:
        if not any(override.matches(weight.name, weight.is_table) for weight in weights):
            groups = ", ".join(dict.fromkeys(weight.group for weight in weights))
            raise UserError(
                f"pattern '{override.pattern}': matches no weight; there are the groups {groups} and "
                f"the names {name_summary(weights)}"
            )
    for weight in weights:
        recipe.codec(weight.name, weight.is_table)


def tally(recipe: Recipe, weights: list[WeightShape]) -> dict[str, WeightTally]:
    """How many weights, values and bytes a recipe puts into each codec."""
    counted: dict[str, WeightTally] = {}
    for weight in weights:
        codec = recipe.codec(weight.name, weight.is_table)
        old = counted.get(codec.name, WeightTally(0, 0, 0))
        counted[codec.name] = WeightTally(
            old.weights + 1,
            old.values + weight.rows * weight.columns,
            old.bytes + weight.stored_bytes(codec),
        )
    return dict(sorted(counted.items()))


def name_summary(weights: list[WeightShape]) -> str:
    """All names in few words, the layers' numbers as ranges: layers.{0-23}.mlp.up_proj.weight."""
    numbers: dict[str, list[int]] = {}
    for name in (plain_name(weight.name) for weight in weights):
        found = LAYER.search(name) if not name.startswith("head.") else None
        shape = f"{name[: found.start()]}{{}}{name[found.end() :]}" if found else name
        numbers.setdefault(shape, []).extend([int(found.group())] if found else [])
    return ", ".join(shape.replace("{}", _range(of)) for shape, of in numbers.items())


def _range(numbers: list[int]) -> str:
    low, high = min(numbers, default=0), max(numbers, default=0)
    whole = len(set(numbers)) == high - low + 1
    return f"{{{low}-{high}}}" if whole and high > low else f"{{{','.join(map(str, sorted(set(numbers))))}}}"


def known_groups(weights: list[WeightShape]) -> list[str]:
    """The groups that a model has weights of, in GROUPS' order."""
    return [group for group in GROUPS if any(weight.group == group for weight in weights)]
