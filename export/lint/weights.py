"""Stored weights against their sketches: what deviates by more than rounding can, and what was done to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.fault import Fault
from export.lint.found import Reading
from export.lint.sketch import UNSIGNED, Sketch, Sketcher, measured
from export.lint.sketch_file import FIRST_HEAD, SWAPPED_HEAD, Sketches
from export.lint.stored_weight import BLOCKS, CHANNELS, StoredWeight

Float64 = npt.NDArray[np.float64]

LIMIT = 6.0
"""Standard deviations of a group's sums, root mean square over its probes. docs/lint.md has the margins."""
OVERALL_LIMIT = 1.6
"""The same over all groups."""
SCALED, SCALED_LIMIT = 0.05, 8.0
"""A weight is scaled as a whole when all sums together are, by this much and as many deviations."""
SCALE_TOLERANCE = 0.02
"""A factor nearer to 1 is left to `weight-altered`."""
QUERY_NORM = "q_norm.weight"
LARGEST_READ = 1 << 24
"""Values of a weight that is read whole to see whether it was transposed."""


@dataclass(frozen=True)
class Deviation:
    """Sums found and expected, and the standard deviation of each, all [groups + 2, probes]."""

    found: Float64
    expected: Float64
    error: Float64

    @classmethod
    def of(cls, sketcher: Sketcher, sketch: Sketch, factor: float = 1.0) -> Deviation:
        """A measured weight beside a sketch that is multiplied by `factor`."""
        variance = sketch.tolerance() * factor**2 + sketcher.noise[:, None]
        return cls(sketcher.sums, sketch.expected() * factor, np.sqrt(np.maximum(variance, 1e-30)))

    def scores(self) -> Float64:
        """Standard deviations by row of sums, root mean square over the probes."""
        scores: Float64 = np.sqrt((((self.found - self.expected) / self.error) ** 2).mean(axis=1))
        return scores

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """The groups that are beyond the limit; all of them where only their whole, or its scale, is."""
        scores = self.scores()[:-UNSIGNED]
        beyond = scores > LIMIT
        too_far = np.sqrt((scores**2).mean()) > OVERALL_LIMIT or self._is_scaled()
        if not beyond.any() and too_far:
            beyond = np.ones(len(scores), bool)
        return beyond

    def _is_scaled(self) -> bool:
        """Whether all sums together are a multiple of what they should be, beyond doubt."""
        found, expected, error = (part[:-UNSIGNED] for part in dataclasses.astuple(self))
        certainty = float(((expected / error) ** 2).sum())
        excess = abs(float((found * expected / error**2).sum()) / certainty - 1)
        return excess > SCALED and excess * certainty**0.5 > SCALED_LIMIT

    def factor(self, chosen: npt.NDArray[np.bool_]) -> float:
        """What the expected sums of some groups are multiplied by, if they are; else nan."""
        found, expected, error = (part[:-UNSIGNED][chosen] for part in dataclasses.astuple(self))
        factor = float((found * expected / error**2).sum() / ((expected / error) ** 2).sum())
        left = (found - factor * expected) / (error * max(1.0, abs(factor)))
        fits = np.sqrt((left**2).mean()) < LIMIT / 2
        return factor if fits and abs(factor - 1) > SCALE_TOLERANCE else float("nan")


def lint_weights(reading: Reading, sketches: Sketches, is_written: bool) -> Iterator[Fault]:
    """Faults of all stored weights; `is_written` says that every weight must be found under its name."""
    seen = set()
    for weight in reading.weights:
        sketch = sketches.weights.get(weight.name)
        if sketch is None:
            continue
        seen.add(weight.name)
        factor = reading.query_scale if weight.name.endswith(QUERY_NORM) else 1.0
        yield from _lint_weight(weight, sketch, factor, sketches)
    for name in sketches.weights if is_written else ():
        if name not in seen:
            yield Fault(
                "weight-missing", f"'{name}' {list(sketches.weights[name].shape)} is not in the model"
            )


def _lint_weight(weight: StoredWeight, sketch: Sketch, factor: float, sketches: Sketches) -> Iterator[Fault]:
    if weight.shape != sketch.shape:
        evidence = f"'{weight.name}' is {list(weight.shape)}, it was exported as {list(sketch.shape)}"
        yield Fault("transposed" if weight.shape == sketch.shape[::-1] else "weight-shape-wrong", evidence)
        return
    with np.errstate(invalid="ignore", over="ignore"):
        found = weight.measure()
    if not np.isfinite(found.energy):
        yield Fault("not-finite", f"'{weight.name}' {list(weight.shape)} holds values that are not finite")
        return
    zeroed = _zeroed(weight, found, sketch)
    if zeroed:
        yield zeroed
        return
    deviation = Deviation.of(found, sketch, factor)
    bad = deviation.bad
    if bad.any():
        if np.isfinite(deviation.factor(np.ones_like(bad))):
            bad[:] = True  # smaller groups of a weight that is scaled as a whole may stay below the limit
        name, what = _diagnosis(weight, found, deviation, bad, sketches)
        score = deviation.scores()[:-UNSIGNED].max()
        evidence = f"'{weight.name}' {_rows(bad, sketch)}: {what} ({score:.0f} deviations, limit {LIMIT:g})"
        yield Fault(name, evidence)


def _zeroed(weight: StoredWeight, found: Sketcher, sketch: Sketch) -> Fault | None:
    allowed = {BLOCKS: sketch.tiny_blocks, CHANNELS: sketch.faint_blocks}.get(weight.form, sketch.zero_blocks)
    if len(found.zeros) <= max(allowed, sketch.zero_blocks):
        return None
    rows, counts = np.unique(found.zeros[:, 0], return_counts=True)
    row = int(rows[np.argmin(counts)])  # a row that is not zeros throughout is the likelier one
    block = int(found.zeros[found.zeros[:, 0] == row][0, 1])
    evidence = (
        f"'{weight.name}': {len(found.zeros)} blocks of 32 zeros, {allowed} at most when it was exported; "
        f"one of them in row {row}, from column {32 * block} on"
    )
    return Fault("block-zeroed", evidence)


def _rows(bad: npt.NDArray[np.bool_], sketch: Sketch) -> str:
    groups = np.flatnonzero(bad)
    if len(groups) == len(bad):
        return "all rows"
    first, last = (int(one) * sketch.rows // len(bad) for one in (groups[0], groups[-1] + 1))
    return f"rows {first} to {last - 1}, {len(groups)} of {len(bad)} groups"


def _diagnosis(
    weight: StoredWeight,
    found: Sketcher,
    deviation: Deviation,
    bad: npt.NDArray[np.bool_],
    sketches: Sketches,
) -> tuple[str, str]:
    """Name and description of what was done to the `bad` groups of a weight."""
    factor = deviation.factor(bad)
    if np.isfinite(factor):
        name = "query-scale-wrong" if weight.name.endswith(QUERY_NORM) else "scale-off"
        return name, f"{factor:.2g} times what it was"
    if weight.name == FIRST_HEAD and SWAPPED_HEAD in sketches.decoys:
        decoy = sketches.decoys[SWAPPED_HEAD]
        if decoy.shape == found_shape(found) and not Deviation.of(found, decoy).bad.any():
            return "dense-order-swapped", "the Dense layers in the wrong order"
    for other, sketch in sketches.weights.items():
        if sketch.shape == found_shape(found) and not Deviation.of(found, sketch).bad.any():
            return "weights-exchanged", f"holds '{other}'"
    return _rearranged(weight, found, deviation, sketches)


def found_shape(found: Sketcher) -> tuple[int, int]:
    """Rows and columns that were measured."""
    return found.rows, found.columns


def _rearranged(
    weight: StoredWeight, found: Sketcher, deviation: Deviation, sketches: Sketches
) -> tuple[str, str]:
    sketch = sketches.weights[weight.name]
    if found.columns == 1 and sketches.offset_norms and _is_less_one(weight, sketch):
        return "norm-offset-missing", "less by one: the checkpoint's own form"
    if (
        found.rows * found.columns <= LARGEST_READ
        and found.columns > 1
        and _is_transposed(weight, found, sketch)
    ):
        return "transposed", "rows and columns exchanged"
    by_column, by_row = deviation.scores()[-UNSIGNED:] <= LIMIT / 2
    if by_column and not by_row:
        return "rows-shuffled", "the same rows in another order"
    if by_row and not by_column:
        return "columns-shuffled", "the same columns in another order"
    return "weight-altered", "other values"


def _is_less_one(weight: StoredWeight, sketch: Sketch) -> bool:
    return not Deviation.of(measured(weight.read() + np.float32(1)), sketch).bad.any()


def _is_transposed(weight: StoredWeight, found: Sketcher, sketch: Sketch) -> bool:
    """Whether it is right once its values, in the file's order, are read the other way round."""
    matrix, noise = weight.read(), float(found.noise[-1])
    rows, columns = sketch.shape
    readings = [matrix.T] if rows == columns else []
    readings += [matrix.reshape(columns, rows).T, np.ascontiguousarray(matrix.T).reshape(rows, columns)]
    for reading in readings:
        other = measured(reading)
        sizes = other.layout.values(rows, columns)
        other.noise += noise * sizes / (rows * columns)
        if not Deviation.of(other, sketch).bad.any():
            return True
    return False
