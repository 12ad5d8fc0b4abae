"""One profile then and now: the figures that are compared, and the limits they are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.checks import above, below, flag, not_applied, not_measured, undecided_blocks, within
from bench.limits import Budget, Gates, RegressionLimits
from bench.measurements import Drop, Interval, LatencyRatio
from bench.report import Check, Profile
from bench.statistics import SEED, paired_drop, queries_to_decide

NDCG, GOLDEN, SIZE, RAM, ANONYMOUS, RATIO = (
    "ndcg_at_10",
    "golden.cosine_min",
    "file_mb",
    "ram_mb.peak_above_baseline",
    "ram_mb.anonymous",
    "latency_ratio",
)
ROUNDING = 1e-6
"""Reports hold six digits."""
RAM_NOISE = 0.05
"""RAM figures repeat within this share."""
RESAMPLES = 1999


@dataclass(frozen=True)
class Change:
    """One figure then and now, in its metric's unit; None where it was not measured.

    interval: of what was lost for NDCG@10, of now over then for a latency ratio; None for what has none.
    changed: whether the difference is more than rounding, noise or its interval explains.
    """

    metric: str
    old: float | None
    new: float | None
    changed: bool
    interval: Interval | None = None

    @property
    def ratio(self) -> float | None:
        """Now over then."""
        return None if self.old is None or self.new is None or self.old <= 0 else self.new / self.old


def compare_profiles(
    then: Profile, now: Profile, gates: Gates, apart: str
) -> tuple[Drop, dict[str, Change], list[Check]]:
    """NDCG@10 lost, every change by metric, and a check per limit.

    `apart`: why neither memory nor times can be compared, empty where they can.
    """
    lost = paired_drop(then.ndcg_by_query, now.ndcg_by_query, gates.confidence)
    changes = {change.metric: change for change in _changes(then, now, lost, gates.confidence)}
    return lost, changes, list(_checks(then, now, lost, changes, gates, apart))


def _changes(then: Profile, now: Profile, lost: Drop, confidence: float) -> Iterator[Change]:
    low, high = lost.interval
    told = (low is not None and low > 0) or (high is not None and high < 0)
    yield Change(NDCG, then.ndcg_at_10, now.ndcg_at_10, told, lost.interval)
    old, new = then.golden.cosine_min, now.golden.cosine_min
    yield Change(GOLDEN, old, new, abs(new - old) > ROUNDING)
    yield Change(SIZE, then.file_mb, now.file_mb, then.file_bytes != now.file_bytes)
    yield _memory(RAM, then.ram_mb.peak_above_baseline, now.ram_mb.peak_above_baseline)
    yield _memory(ANONYMOUS, then.ram_mb.anonymous, now.ram_mb.anonymous)
    for length in sorted({*then.latency_ratio, *now.latency_ratio}, key=int):
        yield _ratio(length, then.latency_ratio.get(length), now.latency_ratio.get(length), confidence)


def _memory(metric: str, old: float, new: float) -> Change:
    return Change(metric, old, new, abs(new - old) > RAM_NOISE * old)


def _ratio(length: str, then: LatencyRatio | None, now: LatencyRatio | None, confidence: float) -> Change:
    metric = f"{RATIO}.{length}"
    if then is None or now is None:
        return Change(metric, then.ratio if then else None, now.ratio if now else None, False)
    interval = quotient_interval(now, then, confidence)
    return Change(metric, then.ratio, now.ratio, not interval[0] <= 1 <= interval[1], list(interval))


def quotient_interval(now: LatencyRatio, then: LatencyRatio, confidence: float) -> tuple[float, float]:
    """Bootstrap interval of one median ratio over another, each from its own neighbouring timings.

    Percentile method (scipy.stats.bootstrap): the two sessions are resampled apart. What differs between the
    sessions themselves, and does not drop out of the ratios, it cannot see.
    """
    from scipy import stats

    found = stats.bootstrap(
        [np.divide(one.ms, one.reference_ms) for one in (now, then)],
        lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def _checks(
    then: Profile, now: Profile, lost: Drop, changes: dict[str, Change], gates: Gates, apart: str
) -> Iterator[Check]:
    limits = gates.regression or RegressionLimits()
    for what in ("ids_equal", "finite"):
        if getattr(then.golden, what) and not getattr(now.golden, what):
            yield flag(f"regression.golden.{what}", False, "true in the earlier report, false now")
    if limits.ndcg:
        yield _ndcg(lost, limits.ndcg, gates)
    if limits.golden is not None:
        least = then.golden.cosine_min - limits.golden * abs(then.golden.cosine_min) - ROUNDING
        what = f"it was {then.golden.cosine_min:.6f}"
        yield below(f"regression.{GOLDEN}", now.golden.cosine_min, least, what)
    shares = {SIZE: limits.file, RAM: limits.ram, ANONYMOUS: limits.anonymous}
    for metric, share in shares.items():
        if share is not None:
            yield _share(changes[metric], share, "" if metric == SIZE else apart)
    for metric, change in changes.items():
        if limits.latency_ratio and metric.startswith(RATIO):
            yield _latency(change, limits.latency_ratio, gates, apart)


def _ndcg(lost: Drop, budget: Budget, gates: Gates) -> Check:
    limit = budget.limit(lost.reference)
    blocks = undecided_blocks(budget.inconclusive, gates)
    more = queries_to_decide(lost, limit, gates.confidence)
    told = f"{'no number of' if more is None else f'about {more:,} more'} queries would decide"
    what = f"NDCG@10 lost; it was {lost.reference:.4f}"
    return within(f"regression.{NDCG}", lost.value, lost.interval, limit, blocks, what, told)


def _share(change: Change, share: float, apart: str) -> Check:
    metric, old, new = f"regression.{change.metric}", change.old or 0.0, change.new
    limit = old * (1 + share)
    if apart:
        return not_applied(metric, new, limit, apart)
    return above(metric, new, limit, f"MB; it was {old:.4g}, {share:.2g} more is allowed")


def _latency(change: Change, budget: Budget, gates: Gates, apart: str) -> Check:
    metric, old = f"regression.{change.metric}", change.old
    if apart:
        return not_applied(metric, change.new, 1.0, apart)
    if old is None:
        return not_applied(metric, change.new, 1.0, "the earlier report did not measure it")
    limit = 1 + budget.limit(old) / old
    if change.new is None or change.interval is None or change.ratio is None:
        return not_measured(metric, limit, f"it was {old:.4g}")
    blocks = undecided_blocks(budget.inconclusive, gates)
    what = f"now over then, {change.new:.3g} over {old:.3g} of fp32's time"
    return within(metric, change.ratio, change.interval, limit, blocks, what, "time more runs")
