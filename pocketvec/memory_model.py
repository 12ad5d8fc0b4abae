"""How much memory a profile takes when it is opened and embeds one text: a model of which pages are touched.

What is summed: the runtime's own code and objects; weights, mapped or packed into memory; the rows of the
token table with what the kernel maps around them; activations by length. The structure follows the sessions
in export; the constants below it were measured on the artifacts of three shapes (docs/plan.md) with
onnxruntime 1.31, ai-edge-litert 2.3 and xllamacpp 2026.10 on x86-64 Linux, two threads. They are bytes above
an interpreter with numpy, as bench counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pocketvec.file_sizes import (
    EIGHT_BITS,
    FLOAT_BYTES,
    HALF_BYTES,
    StoredWeight,
    scale_bytes,
    stored_weights,
)
from train.shapes import Shape

INTERPRETER_ANONYMOUS = 14.8e6
"""Of CPython 3.11 with numpy; bench counts the anonymous memory of the whole process."""

ONNX_ANONYMOUS, ONNX_ANONYMOUS_LAYER = 12.3e6, 0.52e6
ONNX_FILE = 17.6e6
ONNX_LOADING, ONNX_LOADING_LAYER = 32e6, 1.0e6
"""Peak while a graph is opened, before the code that only opening runs is handed back."""
ONNX_SCORES = 4
"""Matrices of attention scores that are held at once: mask, product, sum and softmax."""
FAULT_AROUND = 65_536
"""Bytes of a file that the kernel maps around one that is read."""

LITERT_ANONYMOUS, LITERT_ANONYMOUS_GRAPH = 8.2e6, 0.215e6
"""The latter for each layer of each signature."""
LITERT_FILE = 22.3e6
LITERT_LINEAR, LITERT_SCORES = 2.2, 0.52
"""Shares of the activations: XNNPACK plans one workspace for all operators of a signature."""
LITERT_CHUNK = 1024
"""Queries per attention step (export.gemma_litert)."""
LITERT_CHANNEL = 52
"""Bytes of scales and sums for each row of an int8 product, in all signatures together."""
LITERT_AROUND = 24_576
"""As FAULT_AROUND: after advice to map single pages it lies between a page and 64 KB, by the page cache."""
LITERT_FIRST_USE = 1.01

GGUF_ANONYMOUS, GGUF_PIECE = 8.1e6, 233
"""The latter for each piece: llama.cpp's vocabulary is made of strings and maps."""
GGUF_FILE = 17.4e6
GGUF_TOKEN, GGUF_LINEAR = 16_500, 1.55


@dataclass(frozen=True)
class Ram:
    """Bytes of one process that embeds texts of up to some length, tokenizer included.

    second_use, first_use: peak above the interpreter's baseline with the weight cache in place, and while it
    is built. anonymous: of the whole process at second use.
    """

    second_use: float
    first_use: float
    anonymous: float


@dataclass(frozen=True)
class Load:
    """What is run: a shape's weights in their codecs, the longest text, token counts of the signatures."""

    shape: Shape
    weights: list[StoredWeight]
    tokens: int
    lengths: tuple[int, ...]

    @property
    def products(self) -> list[StoredWeight]:
        """All but the table."""
        return [one for one in self.weights if not one.is_table]

    def linear_bytes(self, tokens: int) -> float:
        """Activations with a row per token: hidden state, queries, keys, values, what they give, one gate."""
        shape = self.shape
        heads = shape.head_dim * (shape.heads + shape.kv_heads)
        return FLOAT_BYTES * tokens * (shape.hidden + 2 * heads + shape.intermediate)

    def score_bytes(self, queries: int, keys: int) -> float:
        """One matrix of attention scores."""
        return FLOAT_BYTES * self.shape.heads * queries * keys


def predict_ram(
    shape: Shape, runtime: str, precision: str, dim: int, tokens: int, lengths: tuple[int, ...]
) -> Ram:
    """Memory of a profile that embeds texts of up to `tokens` tokens; `lengths`: of LiteRT's signatures."""
    load = Load(shape, stored_weights(shape, runtime, precision, dim), tokens, lengths)
    return MODELS[runtime](load)


def _onnx(load: Load) -> Ram:
    """Packed weights are mapped from the cache; fp32 has none, so that they are the process's own."""
    packed = sum(map(_onnx_packed, load.products))
    is_cached = any(one.codec.bits <= EIGHT_BITS for one in load.weights)
    anonymous = ONNX_ANONYMOUS + ONNX_ANONYMOUS_LAYER * load.shape.layers
    anonymous += load.linear_bytes(load.tokens) + ONNX_SCORES * load.score_bytes(load.tokens, load.tokens)
    mapped = ONNX_FILE
    loading = ONNX_LOADING + ONNX_LOADING_LAYER * load.shape.layers
    if is_cached:  # rows of the table are read, not mapped
        mapped += packed
        peak = max(loading, anonymous + mapped)
        return Ram(peak, max(loading + packed, peak), anonymous + INTERPRETER_ANONYMOUS)
    anonymous += packed
    mapped += _touched(load, "onnx", FAULT_AROUND)
    peak = max(loading + packed, anonymous + mapped)
    return Ram(peak, peak, anonymous + INTERPRETER_ANONYMOUS)


def _onnx_packed(weight: StoredWeight) -> float:
    """A product as onnxruntime's kernels want it: blocks with scales and sums, int8 with a sum per output."""
    values, codec = weight.matrix.values, weight.codec
    if codec.bits > EIGHT_BITS or (weight.is_head and codec.bits == EIGHT_BITS):  # turned to fp32 once
        return values * FLOAT_BYTES
    if codec.block is None:
        return weight.code_bytes + FLOAT_BYTES * weight.blocks
    return weight.code_bytes + FLOAT_BYTES * weight.blocks * (1 if weight.is_head else 2)


def _litert(load: Load) -> Ram:
    """Packed weights are mapped from the cache, whatever the precision."""
    length = min(one for one in load.lengths if one >= load.tokens)
    anonymous = LITERT_ANONYMOUS + LITERT_ANONYMOUS_GRAPH * load.shape.layers * len(load.lengths)
    anonymous += LITERT_LINEAR * load.linear_bytes(length)
    anonymous += LITERT_SCORES * load.score_bytes(min(length, LITERT_CHUNK), length)
    channels = [one for one in load.products if one.codec.block is None and one.codec.bits == EIGHT_BITS]
    anonymous += LITERT_CHANNEL * sum(one.matrix.outputs for one in channels)
    mapped = LITERT_FILE + sum(map(_litert_packed, load.products))
    mapped += _touched(load, "litert", LITERT_AROUND)
    peak = anonymous + mapped
    return Ram(peak, LITERT_FIRST_USE * peak, anonymous + INTERPRETER_ANONYMOUS)


def _litert_packed(weight: StoredWeight) -> float:
    """A product as XNNPACK's kernels want it: scales in bfloat16, sums per output; a float16 head widened."""
    outputs = weight.matrix.outputs
    if weight.codec.bits > EIGHT_BITS:
        return FLOAT_BYTES * (weight.matrix.values + outputs)
    if weight.codec.block is None:
        return weight.code_bytes + 3 * FLOAT_BYTES * outputs
    return weight.code_bytes + HALF_BYTES * weight.blocks + 2 * FLOAT_BYTES * outputs


def _touched(load: Load, runtime: str, around: int) -> float:
    """Pages of the token table and of its scales that random tokens bring in, each with its neighbours."""
    table = next(one for one in load.weights if one.is_table)
    parts = [size for size in (table.code_bytes, scale_bytes(table, runtime)) if size]
    return sum(size * -math.expm1(-load.tokens * around / size) for size in parts)


def _gguf(load: Load) -> Ram:
    """The file is mapped and read whole; 4-bit weights are repacked, and every token gets a row of logits."""
    tensors = sum(one.code_bytes + scale_bytes(one, "gguf") for one in load.weights)
    repacked = sum(one.code_bytes + scale_bytes(one, "gguf") for one in load.weights if one.codec.bits == 4)
    logits = FLOAT_BYTES * load.shape.rows * load.tokens
    anonymous = GGUF_ANONYMOUS + GGUF_PIECE * load.shape.rows + repacked + logits
    anonymous += GGUF_TOKEN * load.tokens + GGUF_LINEAR * load.linear_bytes(load.tokens)
    peak = anonymous + GGUF_FILE + tensors
    return Ram(peak, peak, anonymous + INTERPRETER_ANONYMOUS)


MODELS: dict[str, Callable[[Load], Ram]] = {"onnx": _onnx, "litert": _litert, "gguf": _gguf}
