"""Runtimes compared: pairs, overlap and distances by hand, and the two runtimes on one real model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gate_samples import golden, latency, memory

from bench.compare import compare_runtimes, counterparts, mean_overlap
from bench.measure import BenchConfig, measure_all
from bench.quality import Quality, score
from bench.report import Profile
from common.progress import silent
from common.retrieval import Document, RetrievalSet, read_retrieval_set
from export.artifact import open_artifact


def profile(runtime: str, precision: str, dim: int = 128, **changes: object) -> Profile:
    made = Profile(
        name=f"{runtime}-{precision}-{dim}d",
        runtime=runtime,
        precision=precision,
        dim=dim,
        file_bytes=4_000_000,
        ndcg_at_10=0.4,
        recall_at_10=0.5,
        mrr_at_10=0.3,
        ndcg_by_query=[],
        asymmetric_by_query=[],
        ndcg_drop_same_dim=None,
        ndcg_drop_full_dim=None,
        ndcg_drop_asymmetric=None,
        golden=golden(),
        rounding_cosine_mean=None,
        rounding_cosine_min=None,
        load_ms=50.0,
        latency_ms={length: latency(4.0, 5.0, 6.0) for length in ("16", "64", "256")},
        latency_ratio={},
        ram_mb=memory(30.0, 80.0, 90.0, 40.0),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def quality(by_query: tuple[float, ...], *top: tuple[str, ...]) -> Quality:
    return Quality(sum(by_query) / len(by_query), 0.5, 0.3, top, by_query)


def paired(*profiles: Profile) -> list[tuple[str, str]]:
    return [(left.name, right.name) for left, right in counterparts(profiles)]


def test_counterparts_share_a_dimension_and_eight_bits_answer_to_each_other() -> None:
    onnx = [profile("onnx", one, dim) for one in ("fp32", "q8_0", "q4_0", "mixed") for dim in (768, 128)]
    litert = [profile("litert", one, dim) for one in ("int8", "mixed", "q4_0") for dim in (768, 256)]
    expected = [
        ("onnx-q8_0-768d", "litert-int8-768d"),
        ("onnx-mixed-768d", "litert-mixed-768d"),
        ("onnx-q4_0-768d", "litert-q4_0-768d"),
    ]
    assert paired(*litert, *onnx) == paired(*onnx, *litert) == expected


def test_litert_int8_answers_to_onnx_int8_and_to_q8_0_only_where_there_is_none() -> None:
    litert = [profile("litert", "int8", dim) for dim in (768, 128)]
    blocks = [profile("onnx", "q8_0", dim) for dim in (768, 128)]
    assert paired(*blocks, profile("onnx", "int8", 768), *litert) == [
        ("onnx-int8-768d", "litert-int8-768d"),
        ("onnx-q8_0-128d", "litert-int8-128d"),
    ]


def test_labels_of_ones_own_and_a_third_runtime_have_no_counterpart() -> None:
    """Two recipes of one name need not be alike."""
    runtimes = ("onnx", "litert", "gguf")
    own = [profile(runtime=runtime, precision="auto") for runtime in runtimes]
    known = [profile(runtime=runtime, precision="q4_0") for runtime in runtimes]
    assert [tuple(one.runtime for one in pair) for pair in counterparts(own + known)] == [("onnx", "litert")]


def test_the_overlap_is_the_mean_share_of_documents_that_both_find_in_any_order() -> None:
    left = [("a", "b", "c", "d"), ("a", "b", "c", "d")]
    assert mean_overlap(left, [("d", "c", "b", "a"), ("a", "x", "y", "z")]) == pytest.approx((1 + 0.25) / 2)
    assert mean_overlap([("a",)], [("a",)]) == 1


def test_a_comparison_equals_a_calculation_by_hand() -> None:
    onnx = profile("onnx", "q8_0", ndcg_at_10=0.5, latency_ms={"64": latency(4.0, 5, 6)})
    litert = profile("litert", "int8", ndcg_at_10=0.4, file_bytes=3_000_000)
    litert = dataclasses.replace(litert, ram_mb=memory(30.0, 60.0, 50.0, 1.0))
    found = {
        onnx.name: quality((0.5, 0.25, 0.75), ("a", "b"), ("a", "b"), ("c", "d")),
        litert.name: quality((0.5, 0.0, 0.7), ("b", "a"), ("c", "d"), ("c", "e")),
    }
    (one,) = compare_runtimes([onnx, litert], found)
    assert (one.onnx, one.litert, one.dim) == ("onnx-q8_0-128d", "litert-int8-128d", 128)
    assert one.top10_overlap == pytest.approx(0.5)
    assert (one.onnx_ndcg_at_10, one.litert_ndcg_at_10) == (0.5, 0.4)
    assert one.ndcg_relative == pytest.approx(0.2, abs=1e-6)
    error = np.std([0, 0.25, 0.05], ddof=1) / np.sqrt(3) / 0.5
    assert one.ndcg_error == pytest.approx(error, abs=1e-6)
    assert (one.size_ratio, one.p50_length, one.p50_ratio) == (0.75, "64", 1.0)
    assert one.ram_ratio == 0.5


def test_the_longest_common_length_is_the_longest_number_and_not_the_last_word() -> None:
    pair = [profile("onnx", "fp32"), profile("litert", "fp32")]
    found = {one.name: quality((0.4, 0.4), ("a",), ("b",)) for one in pair}
    assert compare_runtimes(pair, found)[0].p50_length == "256"
    without = [pair[0], dataclasses.replace(pair[1], latency_ms={})]
    bare = compare_runtimes(without, found)[0]
    assert (bare.p50_length, bare.p50_ratio) == (None, None)


def test_two_models_that_find_nothing_are_not_apart() -> None:
    pair = [profile("onnx", "fp32", ndcg_at_10=0.0), profile("litert", "fp32", ndcg_at_10=0.0)]
    nothing = {one.name: quality((0.0,), ("a",)) for one in pair}
    assert (compare_runtimes(pair, nothing)[0].ndcg_relative) == 0


@pytest.mark.parametrize("relevant", ["d10", "d05"])
def test_equal_scores_are_ranked_as_ndcg_ranks_them(relevant: str) -> None:
    documents = tuple(Document(f"d{i:02}", "text") for i in range(11))
    data = RetrievalSet("hand", "test", "", documents, {"q": "question"}, {"q": {relevant: 1}})
    similarities = np.array([0.9 - 0.1 * (i not in (5, 10)) * (i > 0) for i in range(11)], np.float32)
    similarities[[5, 10]] = 0.1  # these two tie for the tenth place
    found = score(data, np.array([[1, 0]], np.float32), np.stack([similarities, similarities], axis=1))
    assert len(found.top[0]) == 10
    assert (relevant in found.top[0]) == (found.ndcg_at_10 > 0)


def test_the_top_holds_ten_documents_per_query_best_first_and_ndcg_is_the_mean_by_query() -> None:
    generator = np.random.default_rng(0)
    documents = tuple(Document(f"d{i}", "text") for i in range(30))
    queries = {f"q{i}": "question" for i in range(5)}
    data = RetrievalSet("hand", "test", "", documents, queries, {q: {"d3": 1} for q in queries})
    left, right = generator.normal(size=(5, 8)), generator.normal(size=(30, 8))
    found = score(data, left.astype(np.float32), right.astype(np.float32))
    for row, top in zip(left @ right.T, found.top, strict=True):
        assert list(top) == [f"d{index}" for index in np.argsort(-row)[:10]]
    assert np.mean(found.by_query) == pytest.approx(found.ndcg_at_10)
    assert len(found.by_query) == 5


def test_both_runtimes_rank_the_small_set_alike_in_fp32(
    artifacts: Path, litert_artifacts: Path, small_data: Path
) -> None:
    data = read_retrieval_set(small_data, "test")
    config = BenchConfig(lengths=(16,), runs=30)
    paths = [artifacts / "onnx-fp32-128d", litert_artifacts / "litert-fp32-128d"]
    report = measure_all([open_artifact(path) for path in paths], data, None, config, silent)
    (one,) = report.comparisons
    assert (one.onnx, one.litert, one.p50_length) == ("onnx-fp32-128d", "litert-fp32-128d", "16")
    assert one.top10_overlap >= 0.99
    assert one.ndcg_relative <= 0.001
    assert one.ram_ratio is not None
    assert one.ram_ratio < 1.5
    assert {"onnxruntime", "ai-edge-litert"} <= set(report.context.versions)
    assert "weight cache" in report.context.cache
    assert report.profiles[0].cache_states == {}
    states = report.profiles[1].cache_states
    assert list(states) == ["none", "build", "warm"]
    warm, litert = states["warm"], report.profiles[1]
    main_figures = (litert.load_ms, litert.first_ms, litert.latency_ms, litert.ram_mb)
    assert main_figures == (warm.load_ms, warm.first_ms, warm.latency_ms, warm.ram_mb)
