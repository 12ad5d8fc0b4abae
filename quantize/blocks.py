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

Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Blocks:
    """Quantised blocks: signed codes int8 [n_blocks, 32] and one scale each, float32 [n_blocks]."""

    codes: Int8
    scales: Float32

    def dequantize(self) -> Float32:
        """Values float32 [n_blocks, 32]: code times scale."""
        return self.codes.astype(np.float32) * self.scales[:, None]


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
    """A block format: its name, bits per code and encoder."""

    name: str
    bits: int
    encode: Callable[[Float32], Blocks]


CODECS = {codec.name: codec for codec in (Codec("q8_0", 8, encode_q8_0), Codec("q4_0", 4, encode_q4_0))}


def encode_rows(matrix: Float32, codec: Codec, name: str) -> Blocks:
    """Quantise float32 [rows, columns] row by row; the last block of a row is padded with zeros.

    Blocks come in row order, ceil(columns / 32) to a row. Raises UserError with tensor and position for
    NaN or infinity, and for a scale beyond fp16's range.
    """
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(f"tensor '{name}': {matrix[row, column]} at [{row}, {column}] cannot be quantised")
    rows, columns = matrix.shape
    padded = np.zeros((rows, -(-columns // BLOCK) * BLOCK), dtype=np.float32)
    padded[:, :columns] = matrix
    encoded = codec.encode(padded.reshape(-1, BLOCK))
    if not np.isfinite(encoded.scales).all():
        block = int(np.argmin(np.isfinite(encoded.scales)))
        raise UserError(f"tensor '{name}': the scale of block {block} exceeds fp16's largest value, 65504")
    return encoded


def decode_rows(blocks: Blocks, rows: int, columns: int) -> Float32:
    """The float32 [rows, columns] matrix that quantised blocks stand for."""
    return blocks.dequantize().reshape(rows, -1)[:, :columns]
