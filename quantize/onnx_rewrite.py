"""Replace the large weights of an ONNX graph by quantised ones and the operators that read them.

What the operators are is in quantize.onnx_operators. Weights are encoded one at a time, when their turn in
the file comes, so that no two of them are in memory.

The head's input columns are equalised first (quantize.weights) by a Mul before the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from common.errors import UserError
from export.manifest import POOLED
from export.onnx_file import HEAD_PREFIX, OnnxModel, read_onnx, release, write_onnx
from quantize.blocks import Codec, Float32
from quantize.channels import FP32
from quantize.onnx_operators import DOMAIN, Operators, Place
from quantize.recipes import Recipe
from quantize.weights import LARGE_ELEMENTS, EncodedWeight, encode_weight

HEAD_INPUT = "head.0.weight_t"
"""The matrix whose input is the pooled vector; one row a text, so that scaling it costs nothing."""

Tensors = Iterator[tuple[str, npt.NDArray[Any]]]


@dataclass(frozen=True)
class Weight:
    """A constant matrix and the node that reads it.

    `matrix` is float32 [rows, columns] with the quantised axis last: outputs x inputs for a product,
    vocabulary x width for a table; often a view of the mapped file.
    """

    node: onnx.NodeProto
    name: str
    matrix: Float32

    @property
    def is_table(self) -> bool:
        """Whether rows are looked up rather than multiplied by."""
        return self.node.op_type == "Gather"

    @property
    def is_head(self) -> bool:
        """Whether it belongs to the part in which the dimensions of a model differ."""
        return self.name.startswith(HEAD_PREFIX)

    def encode(self, codec: Codec) -> EncodedWeight:
        """Its codes; the head's input with equalised columns."""
        equalised = self.name == HEAD_INPUT and codec.block is not None
        return encode_weight(self.matrix, codec, self.name, equalised)


def write_quantized(source: Path, target: Path, recipe: Recipe, donor: Path | None = None) -> None:
    """Read the fp32 graph `source` and write it to `target` with its weights quantised.

    `donor` is the result for another dimension of the same model by the same recipe: all but the head is
    taken from there. Raises UserError for a weight that cannot be quantised or would stay fp32, by name.
    """
    model = read_onnx(source)
    tensors = quantize_graph(model, recipe)
    if donor is not None:
        tensors = {name: make for name, make in tensors.items() if name.startswith(HEAD_PREFIX)}
    write_onnx(target, model.proto, _made(tensors, model), donor)


def write_rounded(source: Path, recipe: Recipe, head: Path, trunk: Path | None = None) -> None:
    """Read the fp32 graph `source` and write it with its weights rounded, all else fp32, in two parts.

    `trunk` goes from the tokens to POOLED (None: it is not wanted), `head` from there to the embedding.
    """
    model = read_onnx(source)
    rounded: dict[str, Callable[[], Tensors]] = {w.name: _rounder(w, recipe) for w in find_weights(model)}
    made = {**{name: _keeper(name, value) for name, value in model.weights.items()}, **rounded}
    nodes = list(model.proto.graph.node)
    split = next(index for index, node in enumerate(nodes, 1) if POOLED in node.output)
    pooled = helper.make_tensor_value_info(POOLED, onnx.TensorProto.FLOAT, ["batch", "hidden"])
    graph = model.proto.graph
    _write_part(head, model, made, Part(nodes[split:], [pooled], list(graph.output)))
    if trunk is not None:
        _write_part(trunk, model, made, Part(nodes[:split], list(graph.input), [pooled]))


@dataclass(frozen=True)
class Part:
    """Some of a graph's nodes, with inputs and outputs of their own."""

    nodes: list[onnx.NodeProto]
    inputs: list[onnx.ValueInfoProto]
    outputs: list[onnx.ValueInfoProto]


def _write_part(path: Path, model: OnnxModel, made: dict[str, Callable[[], Tensors]], part: Part) -> None:
    read = {name for node in part.nodes for name in node.input}
    small = [tensor for tensor in model.proto.graph.initializer if tensor.name in read]
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    graph = helper.make_graph(part.nodes, model.proto.graph.name, part.inputs, part.outputs, small)
    proto.graph.CopyFrom(graph)
    wanted = {name: make for name, make in made.items() if name in read}
    write_onnx(path, proto, _made(wanted, model))


def quantize_graph(model: OnnxModel, recipe: Recipe) -> dict[str, Callable[[], Tensors]]:
    """Give the nodes of `model` their quantised operators; returns what makes the constants, by weight.

    Raises UserError when a large float32 matrix is left over that the recipe does not keep, naming it.
    """
    made: dict[str, Callable[[], Tensors]] = {}
    kept: set[str] = set()
    weights = {id(weight.node): weight for weight in find_weights(model)}
    operators = Operators(model.proto.graph)
    nodes = list(model.proto.graph.node)
    del model.proto.graph.node[:]
    for node in nodes:
        weight = weights.get(id(node))
        if weight is None:
            model.proto.graph.node.append(node)
            continue
        codec = recipe.codec(weight.name, weight.is_table)
        if codec is FP32:
            model.proto.graph.node.append(node)
            kept.add(weight.name)
            continue
        rows, columns = weight.matrix.shape
        place = Place(node, weight.name, rows, columns, codec)
        encoded = weight.encode(codec) if weight.name == HEAD_INPUT else None
        if encoded is not None and encoded.column_scales is not None:
            operators.scale_input(node, encoded.column_scales)
        operators.read(place)
        made[weight.name] = _encoder(weight, place, encoded)
    left = {name: value for name, value in model.weights.items() if name not in made}
    _refuse_large_float({name: value for name, value in left.items() if name not in kept})
    if not any(entry.domain == DOMAIN for entry in model.proto.opset_import):
        model.proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return {**{name: _keeper(name, value) for name, value in left.items()}, **made}


def _made(tensors: dict[str, Callable[[], Tensors]], model: OnnxModel) -> Tensors:
    """What the makers make, one after the other; pages of the source that were read are handed back."""
    for name, make in tensors.items():
        yield from make()
        release(model.weights[name])


def _keeper(name: str, value: npt.NDArray[Any]) -> Callable[[], Tensors]:
    return lambda: iter([(name, value)])


def _encoder(weight: Weight, place: Place, encoded: EncodedWeight | None) -> Callable[[], Tensors]:
    return lambda: place.constants((encoded or weight.encode(place.codec)).blocks)


def _rounder(weight: Weight, recipe: Recipe) -> Callable[[], Tensors]:
    def make() -> Tensors:
        codec = recipe.codec(weight.name, weight.is_table)
        rounded = weight.encode(codec).decode(*weight.matrix.shape)
        yield weight.name, rounded if _rows_are_outputs(weight.node) else rounded.T

    return make


def find_weights(model: OnnxModel) -> list[Weight]:
    """Large constant matrices that a MatMul, Gemm or Gather reads, in graph order."""
    found = []
    for node in model.proto.graph.node:
        position = {"MatMul": 1, "Gemm": 1, "Gather": 0}.get(node.op_type)
        name = node.input[position] if position is not None else ""
        value = model.weights.get(name)
        if value is None or not _is_large(value) or _axis(node) != 0:
            continue
        found.append(Weight(node, name, value if _rows_are_outputs(node) else value.T))
    _refuse_mixed_use(found)
    return found


def _refuse_mixed_use(weights: list[Weight]) -> None:
    """A matrix that one node gathers from and another multiplies by has no single block layout."""
    layouts: dict[str, bool] = {}
    for weight in weights:
        if layouts.setdefault(weight.name, weight.is_table) != weight.is_table:
            raise UserError(f"tensor '{weight.name}': read in two layouts, which blocks cannot serve")


def _is_large(value: npt.NDArray[Any]) -> bool:
    return value.dtype == np.float32 and value.ndim == 2 and value.size >= LARGE_ELEMENTS


def _axis(node: onnx.NodeProto) -> int:
    axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    return int(axes[0]) if axes and node.op_type == "Gather" else 0


def _rows_are_outputs(node: onnx.NodeProto) -> bool:
    """Whether the stored layout already has the quantised axis last."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return node.op_type == "Gather" or (node.op_type == "Gemm" and transposed)


def _refuse_large_float(left: dict[str, npt.NDArray[Any]]) -> None:
    for name, value in left.items():
        if _is_large(value):
            raise UserError(
                f"tensor '{name}' {list(value.shape)} would stay fp32: no quantised operator reads it"
            )
