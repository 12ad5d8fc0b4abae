"""Values along a track as wide as its cell: where its parts lie, in percent, for the page to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measurements import Interval

TICKS = 4


@dataclass(frozen=True)
class Tick:
    """A labelled place on a track, in percent of its width."""

    label: str
    at: float


@dataclass(frozen=True)
class Scale:
    """What a track shows from its left end to its right end."""

    low: float
    high: float

    def at(self, value: float | None, otherwise: float = 0.0) -> float:
        """Where a value lies, in percent; values beyond an end lie at that end, None at `otherwise`."""
        if value is None:
            return otherwise
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    @property
    def ticks(self) -> list[Tick]:
        """A few round values within the scale."""
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(TICKS).tick_values(self.low, self.high)
        return [Tick(f"{value:g}", self.at(value)) for value in found if self.low <= value <= self.high]


@dataclass(frozen=True)
class Whisker:
    """An estimate on a track: the dot, its interval, and what else is there to see (None: nothing).

    tail: a higher quantile of the same values. zero: nought, where values lie on both sides of it.
    """

    at: float
    low: float
    high: float
    limit: float | None
    tail: float | None
    zero: float | None


def scale_of(values: Iterable[float | None], *, from_zero: bool = False) -> Scale:
    """A scale that holds every value, with a little room at its ends."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if from_zero:
        return Scale(0.0, high * 1.02 or 1.0)
    room = 0.05 * (high - low) or abs(high) or 1.0
    return Scale(low - room, high + room)


def whisker(
    scale: Scale, value: float, interval: Interval, limit: float | None, tail: float | None = None
) -> Whisker:
    """An open end of the interval reaches to the end of the track."""
    low, high = interval
    return Whisker(
        scale.at(value),
        scale.at(low, 0.0),
        scale.at(high, 100.0),
        None if limit is None else scale.at(limit),
        None if tail is None else scale.at(tail),
        scale.at(0.0) if scale.low < 0 < scale.high else None,
    )


@dataclass(frozen=True)
class Segment:
    """One part of a stacked bar: its kind, its start and width in percent, its amount."""

    kind: str
    start: float
    width: float
    amount: float


def stack(scale: Scale, amounts: Sequence[tuple[str, float]]) -> list[Segment]:
    """Amounts one after the other from nought on."""
    found, total = [], 0.0
    for kind, amount in amounts:
        start, end = scale.at(total), scale.at(total + amount)
        found.append(Segment(kind, start, round(end - start, 2), amount))
        total += amount
    return found
