"""Measuring: quality against another implementation, memory in a fresh process, no torch anywhere."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bench.cost import Plan, measure_cost
from bench.measure import BenchConfig, carried_reference, measure_all
from bench.quality import score
from common.errors import UserError
from common.progress import silent
from common.retrieval import Document, RetrievalSet
from export.artifact import open_artifact

ROOT = Path(__file__).parent.parent
QUICK = BenchConfig(lengths=(16, 64), runs=30)
PLAN = Plan([16, 64], runs=30, threads=2)

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers", "peft"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.parametrize(
    ("fixture", "name"), [("artifacts", "onnx-q8_0-128d"), ("litert_artifacts", "litert-int8-128d")]
)
def test_bench_and_gate_run_in_an_environment_without_torch(
    fixture: str, name: str, small_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)  # reaches the measuring child process too
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "pocketvec", "bench"]
    command += [str(request.getfixturevalue(fixture) / name)]
    command += ["--data", str(small_data), "--out", str(tmp_path / "report"), "--lengths", "16"]
    gates = tmp_path / "gates.toml"
    gates.write_text('schema = "pocketvec.gates/2"\n[ram_mb]\npeak_above_baseline = 200\nanonymous = 200\n')
    finished = subprocess.run(
        [*command, "--gates", str(gates)], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout.splitlines()[-1])["passed"] == [name]
    blocked = subprocess.run(
        [sys.executable, "-c", "import torch"], env=environment, capture_output=True, check=False
    )
    assert blocked.returncode != 0, "the control: torch really is out of reach"


def test_the_base_dependencies_hold_neither_torch_nor_transformers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    heavy = ("torch", "transformers", "sentence-transformers", "peft")
    assert not [name for name in project["dependencies"] if name.startswith(heavy)]


def test_a_larger_model_shows_in_the_measured_memory(artifacts: Path) -> None:
    peaks = {}
    for precision in ("fp32", "q4_0"):
        ram = measure_cost(artifacts / f"onnx-{precision}-128d", PLAN).ram_mb
        peaks[precision] = ram.peak_above_baseline * 1e6
    saved = (
        open_artifact(artifacts / "onnx-fp32-128d").file_bytes
        - open_artifact(artifacts / "onnx-q4_0-128d").file_bytes
    )
    assert peaks["fp32"] - peaks["q4_0"] > 0.35 * saved, "unread rows of the table stay on disk"


def test_the_first_inference_is_timed_apart_from_loading(artifacts: Path) -> None:
    cost = measure_cost(artifacts / "onnx-q4_0-128d", PLAN)
    assert min(cost.first_ms, cost.load_ms) > 0


def test_latency_keeps_its_counts_and_order(artifacts: Path, small_data: Path) -> None:
    from common.retrieval import read_retrieval_set

    data = read_retrieval_set(small_data, "test")
    report = measure_all([open_artifact(artifacts / "onnx-q8_0-128d")], data, None, QUICK, silent)
    timed = report.profiles[0].latency_ms
    assert set(timed) == {"16", "64"}
    assert all(0 < t.p50 <= t.p90 <= t.p99 and t.runs == 30 and t.warm_up >= 10 for t in timed.values())
    assert report.profiles[0].ndcg_drop_same_dim is None


def hand_made(grades: dict[str, int]) -> RetrievalSet:
    documents = tuple(Document(f"d{i}", "text") for i in range(12))
    return RetrievalSet("hand", "test", "", documents, {"q": "question"}, {"q": grades})


def test_metrics_equal_a_calculation_by_hand() -> None:
    similarities = np.linspace(1, 0.1, 12, dtype=np.float32)
    documents = np.stack([similarities, np.sqrt(1 - similarities**2)], axis=1)
    quality = score(hand_made({"d0": 1, "d2": 1, "d11": 1}), np.array([[1, 0]], np.float32), documents)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert quality.ndcg_at_10 == pytest.approx((1 + 1 / np.log2(4)) / ideal, abs=1e-6)
    assert quality.recall_at_10 == pytest.approx(2 / 3)
    assert quality.mrr_at_10 == pytest.approx(1)


def test_the_first_hit_beyond_ten_counts_for_nothing() -> None:
    similarities = np.linspace(1, 0.1, 12, dtype=np.float32)
    documents = np.stack([similarities, np.sqrt(1 - similarities**2)], axis=1)
    quality = score(hand_made({"d10": 1}), np.array([[1, 0]], np.float32), documents)
    assert (quality.ndcg_at_10, quality.recall_at_10, quality.mrr_at_10) == (0, 0, 0)


def test_grades_above_zero_all_count_as_relevant() -> None:
    generator = np.random.default_rng(0)
    documents = generator.normal(size=(12, 4)).astype(np.float32)
    query = np.ones((1, 4), np.float32)
    graded = score(hand_made({"d1": 2, "d5": 1, "d7": 0}), query, documents)
    assert graded == score(hand_made({"d1": 1, "d5": 1}), query, documents)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": 29}, "at least 30"),
        ({"lengths": ()}, "at least one"),
        ({"lengths": (0,)}, "1 token or more"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_measuring_options_that_mean_nothing_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BenchConfig(**changes)  # type: ignore[arg-type]


def test_a_length_beyond_the_models_limit_is_refused(artifacts: Path, small_data: Path) -> None:
    from common.retrieval import read_retrieval_set

    data = read_retrieval_set(small_data, "test")
    config = BenchConfig(lengths=(4096,))
    with pytest.raises(UserError, match="takes at most 2048 tokens"):
        measure_all([open_artifact(artifacts / "onnx-q8_0-128d")], data, None, config, silent)


def test_the_same_profile_twice_is_refused(artifacts: Path, small_data: Path) -> None:
    from common.retrieval import read_retrieval_set

    data = read_retrieval_set(small_data, "test")
    artifact = open_artifact(artifacts / "onnx-q8_0-128d")
    with pytest.raises(UserError, match="given twice"):
        measure_all([artifact, artifact], data, None, QUICK, silent)


def test_an_untuned_artifact_carries_no_reference(artifacts: Path, small_data: Path) -> None:
    from common.retrieval import read_retrieval_set

    data = read_retrieval_set(small_data, "test")
    assert carried_reference(open_artifact(artifacts / "onnx-fp32-128d"), data, None) is None
