"""Q8_0 and Q4_0: symmetric quantisation in blocks of 32 along a row, with ggml's rules.

Definitions: ``quantize_row_q8_0_ref`` and ``quantize_row_q4_0_ref`` of ggml. A codec is two pure functions
over [n_blocks, 32] float32; scales are float16 values, held as float32 here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import UserError

BLOCK = 32
SMALLEST_NORMAL_FP16 = np.float32(2.0**-14)

Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Blocks:
    """Quantised blocks: signed codes [n_blocks, 32] and one scale each, float32 [n_blocks].

    Codes are int8, but float16 for weights that are only halved and float32 for those left alone.
    """

    codes: Int8 | npt.NDArray[np.float16] | Float32
    scales: Float32

    def dequantize(self) -> Float32:
        """Values float32 [n_blocks, 32]: code times scale."""
        values = self.codes.astype(np.float32)
        values *= self.scales[:, None]  # in place: of a large table one copy is enough
        return values


def encode_q8_0(blocks: Float32) -> Blocks:
    """D = fp16(absmax / 127); code = round half away from zero (x / d), in [-127, 127]."""
    exact = np.abs(blocks).max(axis=1) / np.float32(127)
    scaled = blocks * _reciprocal(exact)[:, None]
    whole = np.trunc(scaled)  # adding a half before truncating would round 0.49999997 up
    codes = whole + np.sign(scaled) * (np.abs(scaled - whole) >= 0.5)
    return Blocks(codes.astype(np.int8), _fp16(exact))


def encode_q4_0(blocks: Float32) -> Blocks:
    """D = fp16(the signed value of largest magnitude / -8); code = min(15, int(x / d + 8.5)) - 8."""
    extreme = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(axis=1)]
    exact = extreme / np.float32(-8)
    scaled = blocks * _reciprocal(exact)[:, None] + np.float32(8.5)
    codes = np.minimum(15, np.trunc(scaled)) - 8
    return Blocks(codes.astype(np.int8), _fp16(exact))


def encode_q4_0_portable(blocks: Float32) -> Blocks:
    """Q4_0 blocks with scales that every runtime's kernels can hold: positive, of bfloat16 precision.

    ggml's rule takes the sign of the extreme value into the scale and rounds it to fp16. XNNPACK refuses
    negative scales and cuts them to bfloat16, so that LiteRT would multiply by other numbers than the rest.
    Here d = bf16(max(max(x) / 7.5, -min(x) / 8)) and code = round(x / d) in [-8, 7]; any reader of Q4_0 reads
    it. Its error is 6 % above that of ggml's rule on the starter's products. A search over scales
    (quantize.scale_search) lowers that, but is off until it shows in NDCG (docs/quantize.md).
    """
    exact = np.maximum(blocks.max(axis=1) / np.float32(7.5), blocks.min(axis=1) / np.float32(-8))
    scales = _fp16(np.maximum(round_to_bf16(exact), SMALLEST_NORMAL_FP16))
    codes = np.clip(np.rint(blocks / scales[:, None]), -8, 7)
    return Blocks(codes.astype(np.int8), scales)


def round_to_bf16(values: Float32) -> Float32:
    """The nearest values of bfloat16 precision, ties to even, as float32."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    nearest: Float32 = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return nearest


def _reciprocal(scales: Float32) -> Float32:
    """1 / scale, and 0 where float32 cannot hold it: for zeros, and scales far below fp16's smallest.

    ggml divides by the scale before it is rounded to fp16.
    """
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scales
    return np.where(np.isfinite(inverse), inverse, np.float32(0)).astype(np.float32)


def _fp16(scales: Float32) -> Float32:
    with np.errstate(over="ignore"):
        return scales.astype(np.float16).astype(np.float32)


@dataclass(frozen=True)
class Codec:
    """A format: its name, bits per code, encoder, and values to a block (None: a whole row)."""

    name: str
    bits: int
    encode: Callable[[Float32], Blocks]
    block: int | None = BLOCK


Q8_0 = Codec("q8_0", 8, encode_q8_0)
Q4_0 = Codec("q4_0", 4, encode_q4_0)
Q4_0_PORTABLE = Codec("q4_0", 4, encode_q4_0_portable)
"""The same format with scales that all containers hold; products use it, tables have ggml's own rounding."""


def encode_rows(matrix: Float32, codec: Codec, name: str, first_row: int = 0) -> Blocks:
    """Quantise float32 [rows, columns] row by row; the last block of a row is padded with zeros.

    Blocks come in row order, ceil(columns / block) to a row. Raises UserError with tensor and position for
    NaN or infinity, and for a scale beyond fp16's range; `first_row` is where the rows stand in the tensor.
    """
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        place = f"[{first_row + row}, {column}]"
        raise UserError(f"tensor '{name}': {matrix[row, column]} at {place} cannot be quantised")
    rows, columns = matrix.shape
    block = codec.block or columns
    padded = matrix
    if columns % block:
        padded = np.zeros((rows, -(-columns // block) * block), dtype=np.float32)
        padded[:, :columns] = matrix
    encoded = codec.encode(padded.reshape(-1, block))
    if not np.isfinite(encoded.scales).all():
        where = int(np.argmin(np.isfinite(encoded.scales))) + first_row * (-(-columns // block))
        raise UserError(f"tensor '{name}': the scale of block {where} exceeds fp16's largest value, 65504")
    return encoded


def decode_rows(blocks: Blocks, rows: int, columns: int) -> Float32:
    """The float32 [rows, columns] matrix that quantised blocks stand for."""
    return blocks.dequantize().reshape(rows, -1)[:, :columns]
