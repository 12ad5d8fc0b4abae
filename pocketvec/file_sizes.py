"""How large an artifact's model files get: every weight in its codec, as its container stores it.

Codecs come from the recipes that `quantize` uses. What a container adds to a codec (scale widths, alignment)
follows its writer: quantize.onnx_operators, quantize.litert_rewrite, quantize.gguf_rewrite. The graphs
themselves, some 0.1 % of a file at full size, are counted by constants per layer and product.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError
from quantize.blocks import Codec
from quantize.channels import FP32
from quantize.recipes import RECIPES, Recipe
from quantize.weights import LARGE_ELEMENTS
from train.shapes import Matrix, Shape

FLOAT_BYTES, HALF_BYTES = 4, 2
FINE = 32
"""Positions per row of the coarse rotary table (export.gemma)."""
HEAD = "head.0"
EIGHT_BITS = 8


@dataclass(frozen=True)
class Graph:
    """Bytes of a graph without its weights: at all, per layer, and what a quantised product adds to that.

    A LiteRT graph has every layer once per signature.
    """

    base: int
    layer: int
    blocks: int
    channels: int


GRAPHS = {
    "onnx": Graph(8_400, 5_710, 250, 610),
    "litert": Graph(6_000, 4_500, 300, 300),
    "gguf": Graph(2_000, 900, 0, 0),
}
"""Measured on the artifacts of three shapes (docs/plan.md)."""
GGUF_PIECE_BYTES = 25
"""A piece of the tokenizer in a GGUF file: text of 9 bytes, its length, a score and a type."""


@dataclass(frozen=True)
class StoredWeight:
    """A matrix with the codec that a recipe gives it."""

    matrix: Matrix
    codec: Codec
    is_table: bool = False

    @property
    def is_head(self) -> bool:
        """Whether it is the folded Dense layers."""
        return self.matrix.name == HEAD

    @property
    def blocks(self) -> int:
        """How many blocks it has; a codec without blocks has one per row."""
        per_row = -(-self.matrix.inputs // self.codec.block) if self.codec.block else 1
        return self.matrix.outputs * per_row

    @property
    def code_bytes(self) -> int:
        """Bytes of its codes."""
        values = self.blocks * self.codec.block if self.codec.block else self.matrix.values
        return values * self.codec.bits // 8


def stored_weights(shape: Shape, runtime: str, precision: str, dim: int) -> list[StoredWeight]:
    """Every matrix of a profile with its codec: table, layers, head.

    Raises UserError for a width that blocks do not divide, as the writers do.
    """
    recipe = None if precision == "fp32" else RECIPES[runtime][precision]
    weights = [_stored(shape.table, recipe, is_table=True)]
    for index in range(shape.layers):
        for one in shape.products:
            named = Matrix(f"layers.{index}.{one.name}.weight", one.outputs, one.inputs)
            weights.append(_stored(named, recipe))
    if shape.dense or (runtime == "gguf" and dim < shape.hidden):
        weights.append(_stored(Matrix(HEAD, dim, shape.hidden), recipe))
    return weights


def _stored(matrix: Matrix, recipe: Recipe | None, is_table: bool = False) -> StoredWeight:
    if recipe is None or matrix.values < LARGE_ELEMENTS:
        return StoredWeight(matrix, FP32, is_table)
    codec = recipe.codec(matrix.name, is_table)
    if codec.block and matrix.inputs % codec.block:
        raise UserError(
            f"{matrix.name}: its width {matrix.inputs} is not a multiple of {codec.block}, "
            f"which {codec.name} needs; plan it with --precisions fp32"
        )
    return StoredWeight(matrix, codec, is_table)


def scale_bytes(weight: StoredWeight, runtime: str) -> int:
    """Bytes of a weight's scales in the file of a runtime."""
    codec = weight.codec
    if codec.bits > EIGHT_BITS:
        return 0
    if codec.block is None:
        return weight.blocks * FLOAT_BYTES
    is_wide = runtime == "onnx" and not weight.is_table
    return weight.blocks * (FLOAT_BYTES if is_wide else HALF_BYTES)


def model_bytes(shape: Shape, runtime: str, precision: str, dim: int, lengths: tuple[int, ...]) -> int:
    """Bytes of the model files of one profile. `lengths` are the token counts of LiteRT's signatures."""
    weights = stored_weights(shape, runtime, precision, dim)
    held = sum(one.code_bytes + scale_bytes(one, runtime) for one in weights)
    return held + _small_bytes(shape, runtime, weights) + _graph_bytes(shape, runtime, weights, lengths)


def _small_bytes(shape: Shape, runtime: str, weights: list[StoredWeight]) -> int:
    """Norms, rotary tables and the head's column scales, all float32."""
    values = shape.layers * sum(shape.norms.values()) + shape.hidden
    if runtime == "litert":  # a row of the norm for each head
        values += shape.layers * shape.head_dim * (shape.heads + shape.kv_heads - 2)
    if runtime != "gguf":
        rows = -(-shape.max_tokens // FINE) + FINE
        values += len(set(shape.layer_types)) * 2 * rows * (shape.head_dim // 2)
    values += shape.hidden * any(one.is_head and one.codec.block for one in weights)
    return values * FLOAT_BYTES


def _graph_bytes(shape: Shape, runtime: str, weights: list[StoredWeight], lengths: tuple[int, ...]) -> int:
    graph = GRAPHS[runtime]
    times = len(lengths) if runtime == "litert" else 1
    quantised = [one for one in weights if one.codec.bits <= EIGHT_BITS and not one.is_table]
    blocks = sum(one.codec.block is not None for one in quantised)
    added = blocks * graph.blocks + (len(quantised) - blocks) * graph.channels
    pieces = shape.rows * GGUF_PIECE_BYTES if runtime == "gguf" else 0
    return graph.base + times * shape.layers * graph.layer + added + pieces
