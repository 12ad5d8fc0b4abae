"""Speed against fp32: real processes that take turns, on a machine that has other work."""

import dataclasses
import time
from pathlib import Path

import pytest

from bench.cost import Plan, weight_cache
from bench.measure import BenchConfig, measure_all
from bench.timing import ONE_THREAD, Contender, counterpart, measure_ratios
from bench.worker import Worker
from common.progress import silent
from common.retrieval import read_retrieval_set
from export.artifact import Artifact, open_artifact

PLAN = Plan([64], runs=30, threads=2)


@pytest.fixture
def contenders(litert_artifacts: Path, tmp_path: Path) -> tuple[Contender, Contender]:
    """LiteRT's int8 and fp32, which is half as fast; neither's weight cache is there yet."""
    names = ("litert-int8-128d", "litert-fp32-128d")
    int8, fp32 = (Contender(open_artifact(litert_artifacts / name), tmp_path) for name in names)
    return int8, fp32


def test_a_profile_is_as_fast_as_itself(artifacts: Path, tmp_path: Path) -> None:
    same = Contender(open_artifact(artifacts / "onnx-q8_0-128d"), tmp_path)
    (found,) = measure_ratios(same, same, PLAN).values()
    assert 0.85 < found.ratio < 1.15
    assert found.reference == "onnx-q8_0-128d"
    assert len(found.ms) == len(found.reference_ms) == 30


def test_the_ratio_says_which_is_faster_and_turns_round_with_the_two(
    contenders: tuple[Contender, Contender],
) -> None:
    int8, fp32 = contenders
    there, back = (measure_ratios(*pair, PLAN)["64"] for pair in ((int8, fp32), (fp32, int8)))
    low, high = there.interval
    assert low is not None
    assert high is not None
    assert low <= there.ratio <= high < 0.9
    assert back.ratio > 1.1
    assert 0.8 < there.ratio * back.ratio < 1.25


def test_both_are_timed_with_a_warm_weight_cache(contenders: tuple[Contender, Contender]) -> None:
    int8, fp32 = contenders
    int8.warm()
    built = {file.name: file.stat().st_ino for file in int8.cache.iterdir()}
    assert len(built) == 2, "a cache and its record"
    measure_ratios(int8, fp32, dataclasses.replace(PLAN, lengths=[16]))
    now = {file.name: file.stat().st_ino for file in int8.cache.iterdir()}
    assert built.items() < now.items(), "that of int8 was used as it was"
    assert len(now) == 4


@pytest.mark.parametrize("threads", [ONE_THREAD, 2])
def test_a_session_that_waits_its_turn_leaves_the_cores_alone(artifacts: Path, threads: int) -> None:
    """With the control: onnxruntime's further threads stay awake."""
    with Worker(artifacts / "onnx-fp32-128d") as worker:
        worker.open(threads, None)
        burnt = []
        for _ in range(5):
            worker.ask("run", length=64, runs=3)
            before = busy_ms(worker.pid)
            time.sleep(0.15)
            burnt.append(busy_ms(worker.pid) - before)
    assert (sorted(burnt)[2] > 8) == (threads > ONE_THREAD), burnt


def busy_ms(pid: int) -> float:
    """Processor time of every thread."""
    spent = [int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(spent) / 1e6


def test_long_texts_make_thirty_pairs_and_short_ones_as_many_as_asked(artifacts: Path) -> None:
    with weight_cache() as cache:
        same = Contender(open_artifact(artifacts / "onnx-int8-128d"), cache)
        found = measure_ratios(same, same, Plan([8, 129], 32, 1, max_warm_up=10))
    assert {length: len(one.ms) for length, one in found.items()} == {"8": 32, "129": 30}


def test_the_counterpart_is_fp32_of_the_same_runtime_and_the_nearest_dimension(
    artifacts: Path, litert_artifacts: Path
) -> None:
    onnx = [open_artifact(artifacts / f"onnx-fp32-{dim}d") for dim in (768, 128)]
    litert = open_artifact(litert_artifacts / "litert-fp32-768d")
    small = open_artifact(artifacts / "onnx-q8_0-128d")
    assert counterpart(small, [litert, *onnx]) is onnx[1]
    assert counterpart(small, [litert, onnx[0], small]) is onnx[0]
    assert counterpart(small, [litert, small]) is None
    assert counterpart(onnx[0], onnx) is None
    between = [of_dim(onnx[0], dim) for dim in (64, 192)]
    assert counterpart(small, between) is between[1], "as near, and the larger"


def of_dim(artifact: Artifact, dim: int) -> Artifact:
    return dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, dim=dim))


def test_a_report_holds_the_ratio_of_every_profile_whose_fp32_was_measured_too(
    artifacts: Path, small_data: Path
) -> None:
    names = ("onnx-fp32-128d", "onnx-int8-128d")
    data = read_retrieval_set(small_data, "test")
    config = BenchConfig(lengths=(16,), runs=30)
    both = measure_all([open_artifact(artifacts / name) for name in names], data, None, config, silent)
    fp32, int8 = both.profiles
    assert fp32.latency_ratio == {}
    assert {length: one.reference for length, one in int8.latency_ratio.items()} == {"16": fp32.name}
    alone = measure_all([open_artifact(artifacts / names[1])], data, None, config, silent)
    assert alone.profiles[0].latency_ratio == {}
