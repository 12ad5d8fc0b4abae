"""A weight as a file holds it, given back in float32 some rows at a time, with what rounding may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.lint.sketch import BLOCK, Sketcher
from export.onnx_file import release

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Chunk = tuple[Float32, Float64 | None]
"""Rows, and the variance of each row's signed sum that rounding accounts for (None: stored exactly)."""

CHUNK_VALUES = 1 << 21
EXACT, BLOCKS, CHANNELS = "exact", "blocks", "channels"
STEP_VARIANCE = 1 / 12
"""Of an error that lies anywhere within a step of 1."""
HALF_VARIANCE = 2.0**-22 / 6
"""Of float16's relative error at most: half a step of 2 ** -10, evenly spread."""


@dataclass(frozen=True)
class StoredWeight:
    """A weight by torch's name. form: what its rounding can turn into zeros; `rows_of` reads rows.

    held: the arrays that rows come from; pages of a mapped file are handed back once they are read.
    """

    name: str
    shape: tuple[int, int]
    form: str
    rows_of: Callable[[slice], Chunk]
    held: tuple[Array, ...] = ()

    def measure(self) -> Sketcher:
        """The sums of a sketch, and their noise, reading a few megabytes at a time."""
        rows, columns = self.shape
        sketcher = Sketcher(rows, columns)
        for part in self._parts():
            sketcher.add(part.start, *self.rows_of(part))
            for array in self.held:
                release(array)
        return sketcher

    def read(self) -> Float32:
        """The whole matrix."""
        return np.concatenate([self.rows_of(part)[0] for part in self._parts()])

    def _parts(self) -> Iterator[slice]:
        rows, columns = self.shape
        step = max(1, CHUNK_VALUES // columns)
        return (slice(first, min(first + step, rows)) for first in range(0, rows, step))

    def taking(self, name: str, start: int, stop: int) -> StoredWeight:
        """Some of its rows as a weight of their own."""
        shape = (stop - start, self.shape[1])
        return StoredWeight(
            name, shape, self.form, lambda rows: self.rows_of(slice(start + rows.start, start + rows.stop))
        )


def exact(name: str, matrix: Array, transposed: bool = False) -> StoredWeight:
    """A matrix in float32 or float16, or a vector as one column."""
    held = matrix.T if transposed else matrix.reshape(len(matrix), -1)

    def rows_of(rows: slice) -> Chunk:
        values = np.ascontiguousarray(held[rows], dtype=np.float32)
        if matrix.dtype != np.float16:
            return values, None
        return values, HALF_VARIANCE * np.einsum("rc,rc->r", values, values, dtype=np.float64)

    return StoredWeight(name, held.shape, EXACT, rows_of, (matrix,))


def channels(name: str, codes: Array, scales: Array, transposed: bool = False) -> StoredWeight:
    """int8 codes with a scale for each row."""
    held = codes.T if transposed else codes

    def rows_of(rows: slice) -> Chunk:
        steps = scales[rows].astype(np.float32)
        noise = steps.astype(np.float64) ** 2 * (STEP_VARIANCE * held.shape[1])
        return np.ascontiguousarray(held[rows]).astype(np.float32) * steps[:, None], noise

    return StoredWeight(name, held.shape, CHANNELS, rows_of, (codes,))


def blocks(
    name: str, stored: Array, codes_of: Callable[[Array], Array], scales: Array, factors: Array | None = None
) -> StoredWeight:
    """Codes, `stored` by rows, of which `codes_of` makes signed ones, with scales [rows, columns / 32].

    factors: float32 [columns] that the columns are multiplied by outside the weight.
    """
    spread = np.full(scales.shape[1], float(BLOCK))
    if factors is not None:
        spread = (factors.astype(np.float64) ** 2).reshape(-1, BLOCK).sum(axis=1)

    def rows_of(rows: slice) -> Chunk:
        steps = scales[rows].astype(np.float32)
        values = codes_of(stored[rows]).astype(np.float32).reshape(len(steps), -1, BLOCK)
        values *= steps[:, :, None]
        if factors is not None:
            values *= factors.reshape(-1, BLOCK)
        noise = (steps.astype(np.float64) ** 2) @ (spread * STEP_VARIANCE)
        return values.reshape(len(steps), -1), noise

    return StoredWeight(name, (len(scales), scales.shape[1] * BLOCK), BLOCKS, rows_of, (stored,))


def low_first(packed: Array) -> npt.NDArray[np.int8]:
    """Unsigned 4-bit codes, the first of two in the low half of a byte, less 8."""
    codes = np.stack([packed & 0x0F, packed >> 4], axis=-1).astype(np.int8)
    return (codes - np.int8(8)).reshape(len(packed), -1)


def signed_low_first(packed: Array) -> npt.NDArray[np.int8]:
    """Two's complement 4-bit codes, the first of two in the low half of a byte."""
    return low_first(packed ^ 0x88)
