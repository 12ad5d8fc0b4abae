"""One weight on its way into a container: equalised where that helps, encoded, packed.

The head's input columns are equalised: column c is divided by its largest magnitude and the pooled vector
multiplied by it, which changes nothing in exact arithmetic. A pooled Gemma vector has a component ten times
larger than the rest whose column in the head is small; block rounding would give that column the error of
its large neighbours. On the first starter (docs/starter.md) this was the difference between a worst golden
cosine of 0.80 and 0.90 at Q4_0; tests/test_quantize.py holds what it does to that column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantize.blocks import Blocks, Codec, Float32, decode_rows, encode_rows

LARGE_ELEMENTS = 4096
"""Matrices from this size on are quantised; none may stay fp32."""

CHUNK_ROWS = 8192


@dataclass(frozen=True)
class EncodedWeight:
    """Blocks of a weight whose columns were divided by `column_scales` (None: they were not)."""

    blocks: Blocks
    column_scales: Float32 | None

    def decode(self, rows: int, columns: int) -> Float32:
        """The float32 matrix that the blocks stand for."""
        values = decode_rows(self.blocks, rows, columns)
        return values if self.column_scales is None else values * self.column_scales


def encode_weight(matrix: Float32, codec: Codec, name: str, equalised: bool = False) -> EncodedWeight:
    """Quantise a matrix [rows, columns] along its rows; `equalised` is for the one behind the pooling.

    Rows are taken some at a time, so that a large table needs little memory besides its codes.
    """
    if not equalised:
        starts = range(0, len(matrix), CHUNK_ROWS)
        parts = [
            encode_rows(np.ascontiguousarray(matrix[first : first + CHUNK_ROWS]), codec, name, first)
            for first in starts
        ]
        codes = np.concatenate([part.codes for part in parts])
        return EncodedWeight(Blocks(codes, np.concatenate([part.scales for part in parts])), None)
    largest = np.abs(matrix).max(axis=0)
    scales = np.where(largest > 0, largest, 1).astype(np.float32)
    return EncodedWeight(encode_rows(matrix / scales, codec, name), scales)


def pack(codes: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Codes [blocks, n] as bytes; of two 4-bit codes in a byte the first one is low."""
    if bits == 16:
        return np.ascontiguousarray(codes).view(np.uint8)
    stored = codes.astype(np.uint8)
    if bits == 8:
        return stored
    low, high = stored[:, 0::2] & 0x0F, stored[:, 1::2] & 0x0F
    packed: npt.NDArray[np.uint8] = low | np.left_shift(high, 4)
    return packed
