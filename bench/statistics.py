"""What a few hundred queries and a few dozen timings can decide: intervals, and three outcomes of a limit.

Everything is paired: a query is scored by both models, a timing has its neighbour, so that what is hard about
a query or slow about a moment drops out of the difference. Resampling and quantile intervals are scipy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.measurements import Drop, Interval
from bench.report import FAIL, INCONCLUSIVE, PASS

CONFIDENCE = 0.95
"""Two-sided: a true value above the upper end happens in one of forty samples."""
RESAMPLES = 9999
SEED = 0
DIGITS = 6
LEAST_QUERIES = 8
"""Fewer differences than these have no interval worth the name."""
MANY_QUERIES = 1_000_000


def paired_drop(reference: Sequence[float], profile: Sequence[float], confidence: float = CONFIDENCE) -> Drop:
    """NDCG@10 lost from `reference` to `profile`, both by query in one order, with its bootstrap interval.

    The interval is bias-corrected and accelerated (Efron 1987; scipy.stats.bootstrap) over the queries. It is
    unbounded for fewer than LEAST_QUERIES. Differences that are all alike have no spread: the interval is
    their value.
    """
    lost = np.round(
        np.asarray(reference) - np.asarray(profile), DIGITS
    )  # what is left beyond them is no spread
    mean, count = float(lost.mean()), len(lost)
    error = float(lost.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    interval = [round_or_none(end) for end in mean_interval(lost, confidence)]
    return Drop(
        round(mean, DIGITS), interval, round(float(np.mean(reference)), DIGITS), round(error, DIGITS), count
    )


def mean_interval(values: npt.NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """Bootstrap interval of the mean of `values`."""
    from scipy import stats

    if len(values) < LEAST_QUERIES:
        return [None, None]
    if np.ptp(values) == 0:
        return [float(values[0])] * 2
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(SEED),
        batch=1000,
    ).confidence_interval
    return [float(found.low), float(found.high)]


def quantile(values: Sequence[float], share: float, confidence: float = CONFIDENCE) -> tuple[float, Interval]:
    """A quantile and its distribution-free interval by order statistics (Conover 1999; scipy.stats).

    An end that this many values cannot bound is None.
    """
    from scipy import stats

    estimate = float(np.quantile(values, share))
    found = stats.quantile_test(values, p=share).confidence_interval(confidence)
    return estimate, [None if math.isnan(end) else float(end) for end in (found.low, found.high)]


def paired_ratio(
    profile_ms: Sequence[float], reference_ms: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, Interval]:
    """Median of the ratios of neighbouring timings, and its interval."""
    return quantile(np.divide(profile_ms, reference_ms).tolist(), 0.5, confidence)


def decide(interval: Interval, limit: float) -> str:
    """PASS when the whole interval lies within the limit, FAIL when all of it is above, else INCONCLUSIVE.

    An interval that is not made of numbers fails: it comes of vectors that are not finite.
    """
    low, high = interval
    if any(end is not None and math.isnan(end) for end in interval):
        return FAIL
    if high is not None and high <= limit:
        return PASS
    return FAIL if low is not None and low > limit else INCONCLUSIVE


def queries_to_decide(drop: Drop, limit: float, confidence: float = CONFIDENCE) -> int | None:
    """How many more queries would decide about an absolute limit, if the drop stays what it is.

    The interval shrinks with the square root of the queries; fewer than LEAST_QUERIES have none. None when it
    takes more than MANY_QUERIES.
    """
    from scipy import stats

    distance = abs(limit - drop.value)
    reach = float(stats.norm.ppf((1 + confidence) / 2)) * drop.error * math.sqrt(drop.queries)
    if distance * math.sqrt(MANY_QUERIES) <= reach:
        return None
    return max(1, max(LEAST_QUERIES, math.ceil((reach / distance) ** 2)) - drop.queries)


def round_or_none(value: float | None) -> float | None:
    """A number as reports hold it."""
    return None if value is None else round(value, DIGITS)
