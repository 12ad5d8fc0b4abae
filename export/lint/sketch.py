"""A few numbers per weight that survive rounding and tell what was done to a damaged one.

The rows of a matrix are cut into groups. A probe gives every row and every column a sign; the signed sum of a
group is one number of the sketch. Rounding to 4 bits moves such a sum by a tenth of what exchanging rows or
columns does, and by how much at most is known from the scales in the file: deviations are therefore counted
in standard deviations of the rounding noise, and one limit serves every codec. Two rows of sums more lack the
signs of the rows, or of the columns: moving rows (columns) about leaves those as they were.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

BLOCK = 32
"""Values of a row that a quantised block has; a run of zeros of this length is looked for."""
GROUPS, VECTOR_GROUPS, PROBES = 64, 8, 4
TALL_ROWS, TALL_GROUPS, TALL_PROBES = 8192, 1024, 2
"""A token table has more groups, for a row of it must show, and fewer probes."""
UNSIGNED = 2
"""Rows of sums after the groups': without the signs of rows, without those of columns."""
STORED_STEP = 2.0**-11
FLOOR = 2e-4
"""What a stored sum may be off by, relative to itself and to the root of its terms' energy."""
SMALLEST_SCALE = 2.0**-14
"""Smallest block scale of the portable Q4_0; a block below it may round to zeros."""
LARGEST_CODE = 127


@dataclass(frozen=True)
class Sketch:
    """What is known of a weight [rows, columns] as it was exported.

    unit: root mean square of its values. Blocks of 32: how many are zeros, how many may become zeros in
    4-bit blocks, and how many with one 8-bit scale a row. sums: float16 [groups + 2, probes] in base64, each
    divided by `unit` and the root of how many values it sums.
    """

    rows: int
    columns: int
    unit: float
    zero_blocks: int
    tiny_blocks: int
    faint_blocks: int
    sums: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def expected(self) -> Array:
        """The sums, float64 [groups + 2, probes]."""
        layout = Layout.of(self.rows, self.columns)
        stored = np.frombuffer(base64.b64decode(self.sums), "<f2").astype(np.float64)
        return stored.reshape(-1, layout.probes) * self._sizes()[:, None]

    def tolerance(self) -> Array:
        """Variance of a stored sum besides the rounding of the weight, as `expected`."""
        return (STORED_STEP * self.expected()) ** 2 + ((FLOOR * self._sizes()) ** 2)[:, None]

    def _sizes(self) -> Array:
        return self.unit * np.sqrt(Layout.of(self.rows, self.columns).values(self.rows, self.columns))


@dataclass(frozen=True)
class Layout:
    """How many groups and probes a weight of some height has."""

    groups: int
    probes: int

    @classmethod
    def of(cls, rows: int, columns: int) -> Layout:
        """The layout for a shape."""
        if rows >= TALL_ROWS:
            return cls(TALL_GROUPS, TALL_PROBES)
        return cls(min(VECTOR_GROUPS if columns == 1 else GROUPS, rows), PROBES)

    def group_of(self, rows: npt.NDArray[np.int64], height: int) -> npt.NDArray[np.int64]:
        """The group of each row."""
        return rows * self.groups // height

    def values(self, rows: int, columns: int) -> Array:
        """How many values each row of sums has under it."""
        heights = np.bincount(self.group_of(np.arange(rows), rows), minlength=self.groups)
        return np.append(heights, [rows] * UNSIGNED).astype(np.float64) * columns


class Sketcher:
    """Takes a weight in chunks of rows; nothing larger than a chunk is kept."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.layout = Layout.of(rows, columns)
        shape = (self.layout.groups + UNSIGNED, self.layout.probes)
        self.sums, self.noise = np.zeros(shape), np.zeros(shape[0])
        self.energy = 0.0
        self.zeros = np.zeros((0, 2), np.int64)
        """Row and block of every block of zeros."""
        self.tiny = self.faint = 0
        self._right = signs("columns", columns, self.layout.probes)
        self._left = signs("rows", rows, self.layout.probes)

    def add(self, first: int, values: Float32, noise: Array | None = None) -> None:
        """Rows from `first` on, and the variance that rounding has given each row's signed sum."""
        count, groups = len(values), self.layout.groups
        left = self._left[first : first + count]
        across = (values @ self._right).astype(np.float64)
        signed = across * left
        group = self.layout.group_of(np.arange(first, first + count), self.rows)
        for probe in range(self.layout.probes):
            self.sums[:groups, probe] += np.bincount(group, signed[:, probe], groups)
        self.sums[groups] += across.sum(0)
        self.sums[groups + 1] += values.sum(1, dtype=np.float64) @ left
        if noise is not None:
            self.noise[:groups] += np.bincount(group, noise, groups)
            self.noise[groups:] += noise.sum()
        self._look_at_blocks(first, values)

    def _look_at_blocks(self, first: int, values: Float32) -> None:
        if self.columns % BLOCK:
            self.energy += float(np.einsum("rc,rc->", values, values, dtype=np.float64))
            return
        blocks = values.reshape(len(values), -1, BLOCK)
        energy = np.einsum("rbc,rbc->rb", blocks, blocks)
        self.energy += float(energy.sum(dtype=np.float64))
        places = np.argwhere(energy == 0)
        self.zeros = np.concatenate([self.zeros, places + np.array([first, 0])])
        self.tiny += int((energy < SMALLEST_SCALE**2 * BLOCK).sum())
        largest = np.abs(values).max(axis=1, keepdims=True)
        self.faint += int((energy <= BLOCK * (largest / (2 * LARGEST_CODE)) ** 2).sum())

    @property
    def unit(self) -> float:
        """Root mean square of the values."""
        return float(np.sqrt(self.energy / (self.rows * self.columns)))

    def sketch(self) -> Sketch:
        """The sketch of what was added."""
        sizes = max(self.unit, 1e-30) * np.sqrt(self.layout.values(self.rows, self.columns))
        stored = (self.sums / sizes[:, None]).astype("<f2")
        blocks = len(self.zeros), self.tiny, self.faint
        text = base64.b64encode(stored.tobytes()).decode()
        return Sketch(self.rows, self.columns, float(f"{self.unit:.7g}"), *blocks, text)


def sketch_of(matrix: npt.NDArray[np.floating]) -> Sketch:
    """The sketch of a whole matrix [rows, columns], or of a vector as one column."""
    return measured(matrix).sketch()


def measured(matrix: npt.NDArray[np.floating]) -> Sketcher:
    """A whole matrix, or a vector as one column, added in chunks."""
    values = matrix.reshape(len(matrix), -1)
    sketcher = Sketcher(*values.shape)
    step = max(1, (1 << 22) // values.shape[1])
    for first in range(0, len(values), step):
        sketcher.add(first, np.ascontiguousarray(values[first : first + step], dtype=np.float32))
    return sketcher


@functools.lru_cache(maxsize=32)
def signs(side: str, size: int, probes: int) -> Float32:
    """float32 [size, probes] of 1 and -1, the same everywhere and always: bits of SHAKE-256."""
    digest = hashlib.shake_256(f"pocketvec {side} {size}".encode()).digest(-(-size * probes // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8), count=size * probes)
    return (bits.reshape(size, probes).astype(np.float32) * 2 - 1).astype(np.float32)
