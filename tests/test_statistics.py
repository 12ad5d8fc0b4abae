"""Intervals and outcomes: against closed forms and simulation, and honest where data cannot tell."""

import math

import numpy as np
import pytest

from bench.drops import score_drops
from bench.measurements import Drop
from bench.report import Reference
from bench.statistics import (
    LEAST_QUERIES,
    decide,
    mean_interval,
    paired_drop,
    paired_ratio,
    quantile,
    queries_to_decide,
)


def changed_queries(rng: np.random.Generator, count: int = 320, share: float = 0.2) -> np.ndarray:
    """Differences as quantisation makes them: most queries rank as before, some move either way."""
    return np.where(rng.random(count) < share, rng.normal(0.02, 0.2, count), 0.0)


def test_the_interval_of_a_drop_covers_the_truth_as_often_as_it_claims() -> None:
    rng = np.random.default_rng(1)
    truth = 0.2 * 0.02
    covered = 0
    for _ in range(300):
        low, high = mean_interval(changed_queries(rng))
        assert low is not None
        assert high is not None
        covered += low <= truth <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_a_paired_drop_is_narrower_than_the_scores_by_themselves_would_allow() -> None:
    rng = np.random.default_rng(2)
    reference = rng.random(320)
    lost = changed_queries(rng)
    drop = paired_drop(reference.tolist(), (reference - lost).tolist())
    low, high = drop.interval
    assert low is not None
    assert high is not None
    unpaired = 2 * 1.96 * math.hypot(reference.std(), reference.std()) / math.sqrt(320)
    assert high - low < 0.5 * unpaired
    assert drop.value == pytest.approx(lost.mean(), abs=1e-6)
    assert drop.error == pytest.approx(lost.std(ddof=1) / math.sqrt(320), abs=1e-6)
    assert drop.relative == pytest.approx(lost.mean() / reference.mean(), abs=1e-5)


def test_equal_scores_have_an_interval_of_no_width_and_few_queries_have_none() -> None:
    assert paired_drop([0.5] * 20, [0.5] * 20).interval == [0.0, 0.0]
    assert paired_drop([0.5] * 7, [0.1] * 7).interval == [None, None]
    assert decide([None, None], 1.0) == "inconclusive"


def test_differences_that_only_rounding_tells_apart_are_alike() -> None:
    """Reports hold six digits; what subtraction leaves beyond them is no spread, and no bootstrap of it."""
    reference = np.round(np.random.default_rng(0).random(320) * 0.8 + 0.1, 6)
    for lost in (0.003, 0.01, 0.1):
        drop = paired_drop(reference.tolist(), np.round(reference - lost, 6).tolist())
        assert (drop.interval, drop.error) == ([lost, lost], 0.0)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_queries_that_are_too_few_for_an_interval_need_at_least_as_many_as_have_one(count: int) -> None:
    drop = paired_drop([0.5] * count, [0.4] * count)
    assert queries_to_decide(drop, 0.05) == LEAST_QUERIES - count


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ([0.0, 0.01], "pass"),
        ([0.0, 0.0101], "inconclusive"),
        ([0.0101, 0.02], "fail"),
        ([0.0, None], "inconclusive"),
        ([None, 0.01], "pass"),
        ([0.02, None], "fail"),
        ([math.nan, math.nan], "fail"),
    ],
)
def test_a_limit_is_decided_by_the_whole_interval(interval: list[float | None], outcome: str) -> None:
    assert decide(interval, 0.01) == outcome


def test_as_many_more_queries_as_it_says_do_decide() -> None:
    rng = np.random.default_rng(3)
    lost = changed_queries(rng, 200)
    drop = paired_drop(lost.tolist(), [0.0] * 200)
    limit = drop.value + 0.3 * drop.error
    more = queries_to_decide(drop, limit)
    assert more is not None
    repeated = np.resize(lost, 200 + more)
    _, high = mean_interval(repeated)
    assert high == pytest.approx(limit, abs=0.3 * drop.error)
    assert queries_to_decide(drop, drop.value) is None


def test_a_quantile_that_few_runs_cannot_bound_says_so() -> None:
    values = [float(value) for value in range(1, 51)]
    median, (low, high) = quantile(values, 0.5)
    assert (median, low, high) == (25.5, 18.0, 33.0), "binomial order statistics of 50 values at 95 %"
    _, (_, above) = quantile(values, 0.99)
    assert above is None


def test_neighbours_in_time_cancel_what_slows_both() -> None:
    rng = np.random.default_rng(4)
    load = 1 + 3 * (rng.random(50) < 0.3)
    ratio, (low, high) = paired_ratio((load * 2).tolist(), load.tolist())
    assert (ratio, low, high) == (2.0, 2.0, 2.0)


def test_drops_are_against_the_same_and_the_full_dimension_and_the_server() -> None:
    reference = Reference("fp32", {}, {"128": [0.5] * 10, "768": [0.7] * 10})
    drops = score_drops(128, [0.4] * 10, [0.45] * 10, reference)
    assert {name: drop.value for name, drop in drops.items() if drop} == {
        "ndcg_drop_same_dim": 0.1,
        "ndcg_drop_full_dim": 0.3,
        "ndcg_drop_asymmetric": 0.05,
    }
    assert set(score_drops(128, [0.4] * 10, [], None).values()) == {None}
    unknown = score_drops(256, [0.4] * 10, [], reference)
    assert [name for name, drop in unknown.items() if drop] == ["ndcg_drop_full_dim"]


def test_a_reference_that_finds_nothing_has_no_share_to_lose() -> None:
    assert Drop(0.0, [0.0, 0.0], 0.0, 0.0, 10).relative is None
