"""NDCG lost and latency as dots with their intervals, one row per profile and one track per column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.measurements import Drop, Interval
from bench.report import Check, Profile, Report
from bench.views.cells import DASH, interval_text, mark_of
from bench.views.columns import ratio_lengths, text_lengths
from bench.views.tracks import Scale, Tick, Whisker, scale_of, whisker

DROPS = {
    "ndcg_drop_same_dim": "Same dimension",
    "ndcg_drop_asymmetric": "Asymmetric",
    "ndcg_drop_full_dim": "Full dimension",
}
DROP_DIGITS, RATIO_DIGITS = 4, 2
TWO_DIGITS_BELOW_MS = 10


@dataclass(frozen=True)
class Estimate:
    """A measured value with its interval, the decimals to show, more of it in words, and its p90."""

    value: float
    interval: Interval
    digits: int
    more: str
    tail: float | None = None


@dataclass(frozen=True)
class TrackCell:
    """A value as text, its interval as text, its track (None: not measured), its mark and its note."""

    text: str
    interval: str
    track: Whisker | None
    mark: str
    note: str


@dataclass(frozen=True)
class TrackColumn:
    """A column on a scale of its own: its title, the ticks of the scale, a cell per profile."""

    title: str
    ticks: list[Tick]
    cells: list[TrackCell]


def drop_columns(report: Report) -> list[TrackColumn]:
    """NDCG@10 lost, by what it is lost against; only what some profile was scored for."""
    return [
        _column(report, title, name, _lost(name))
        for name, title in DROPS.items()
        if any(getattr(profile, name) is not None for profile in report.profiles)
    ]


def latency_columns(report: Report) -> list[TrackColumn]:
    """For each length the median in milliseconds and, where it was measured, its ratio to fp32."""
    ratios, found = ratio_lengths(report), []
    for length in text_lengths(report, measured=True):
        found.append(_column(report, f"{length} tokens, ms", f"latency_ms.{length}.p90", _timed(length)))
        if length in ratios:
            title, metric = f"{length} tokens, over fp32", f"latency_ratio.{length}"
            found.append(_column(report, title, metric, _ratio(length)))
    return found


def _column(
    report: Report, title: str, metric: str, estimate: Callable[[Profile], Estimate | None]
) -> TrackColumn:
    """The limit is shown where it is one of the value itself, not of its p90."""
    found = [estimate(profile) for profile in report.profiles]
    checks = [[one for one in profile.checks if one.metric == metric] for profile in report.profiles]
    limits = [_limit(metric, one) for one in checks]
    values = [end for one in found if one for end in (one.value, *one.interval, one.tail)]
    scale = scale_of([*values, *limits], from_zero=not metric.startswith("ndcg"))
    cells = [_cell(*one, scale) for one in zip(found, checks, limits, strict=True)]
    return TrackColumn(title, scale.ticks, cells)


def _limit(metric: str, checks: list[Check]) -> float | None:
    return None if metric.startswith("latency_ms") else next((one.limit for one in checks), None)


def _cell(found: Estimate | None, checks: list[Check], limit: float | None, scale: Scale) -> TrackCell:
    told = [check.text for check in checks]
    if found is None:
        return TrackCell(DASH, "", None, mark_of(checks), "\n".join(told))
    return TrackCell(
        f"{found.value:z.{found.digits}f}",
        interval_text(found.interval, found.digits),
        whisker(scale, found.value, found.interval, limit, found.tail),
        mark_of(checks),
        "\n".join([found.more, *told]),
    )


def _lost(name: str) -> Callable[[Profile], Estimate | None]:
    def estimate(profile: Profile) -> Estimate | None:
        drop: Drop | None = getattr(profile, name)
        if drop is None:
            return None
        share = "" if drop.relative is None else f", {100 * drop.relative:.2g} % of {drop.reference:.4f}"
        return Estimate(drop.value, drop.interval, DROP_DIGITS, f"{drop.queries} queries{share}")

    return estimate


def _timed(length: str) -> Callable[[Profile], Estimate | None]:
    def estimate(profile: Profile) -> Estimate | None:
        timed = profile.latency_ms.get(length)
        if timed is None:
            return None
        digits = 2 if timed.p50 < TWO_DIGITS_BELOW_MS else 1
        more = f"p90 {timed.p90:.{digits}f}, p99 {timed.p99:.{digits}f} ms of {timed.runs} runs"
        return Estimate(timed.p50, timed.p50_interval, digits, more, timed.p90)

    return estimate


def _ratio(length: str) -> Callable[[Profile], Estimate | None]:
    def estimate(profile: Profile) -> Estimate | None:
        found = profile.latency_ratio.get(length)
        if found is None:
            return None
        more = f"median of {len(found.ms)} neighbouring runs; {found.reference} is 1"
        return Estimate(found.ratio, found.interval, RATIO_DIGITS, more)

    return estimate
