"""The Kotlin client with ONNX Runtime on a JVM: the job of a phone end to end, against Python's vectors."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from android_artifacts import LEFT_OUT, MADE, PRECISIONS, android_artifacts, has_made, profile
from kotlin_client import Answer, answer, job, run_job, write_texts

import pocketvec
from android_harness.toolchain.modules import run_tests
from common.files import sha256_file
from export.embedder import Embedder, Opening
from export.golden import read_golden, row_cosines
from export.manifest import MANIFEST_NAME

pytestmark = pytest.mark.android

TEXTS = [
    ("task: search result | query: ", "How strong is the brine?"),
    ("title: Brine | text: ", 'An egg floats, "high",\nwhen it is right. 盐 é \u00e9 😀'),
    ("", "salt " * 700),
]
LIMITS = tomllib.loads((Path(pocketvec.__file__).parent / "gates.toml").read_text("utf-8"))["golden_cosine"]


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of `make run` where they are, the starter's otherwise, and those made to be refused."""
    source = MADE if has_made() else request.getfixturevalue("artifacts")
    folder = android_artifacts(source, tmp_path_factory.mktemp("phone"))
    write_texts(folder / "texts.jsonl", TEXTS)
    return folder


@pytest.fixture(scope="module")
def answers(root: Path) -> dict[str, Answer]:
    """A job for each precision."""
    return {one: answer(root, job(profile(one), texts="texts.jsonl")) for one in PRECISIONS}


def test_the_unit_tests_of_the_runtime_pass_on_real_artifacts(root: Path) -> None:
    assert "OK (" in run_tests("runtime-ort", {"pocketvec.artifacts": str(root)})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_ids_are_equal_and_cosines_within_the_gates_limits(
    root: Path, answers: dict[str, Answer], precision: str
) -> None:
    found, golden = answers[precision], read_golden(root / profile(precision))
    assert found.result.golden_ids_equal == [True] * len(golden)
    assert found.result.faults == []
    cosines = row_cosines(found.vectors[: len(golden)], np.array([one.vector for one in golden], np.float32))
    assert cosines.min() >= LIMITS[precision]["min"]
    assert cosines.mean() >= LIMITS[precision]["mean"]


def test_the_fp32_vectors_are_pythons(root: Path, answers: dict[str, Answer]) -> None:
    folder = root / profile("fp32")
    pairs = [*((one.prompt, one.text) for one in read_golden(folder)), *TEXTS]
    embedder = Embedder.open(folder, Opening(1, use_weight_cache=False))
    right = np.concatenate([embedder.embed_prompted([pair]) for pair in pairs])
    found = answers["fp32"].vectors
    assert found.shape == right.shape
    assert np.abs(found - right).max() < 1e-5


def test_the_result_holds_what_was_asked_for(root: Path, answers: dict[str, Answer]) -> None:
    result = answers["q4_0"].result
    assert (result.client, result.target.kind, result.target.threads) == ("app", "host", 1)
    assert result.manifest_sha256 == sha256_file(root / profile("q4_0") / MANIFEST_NAME)
    assert {"java", "onnxruntime"} <= set(result.versions)
    (cost,) = result.costs.values()
    assert list(result.costs) == ["none"]
    assert {length: len(one.ms) for length, one in cost.latency_ms.items()} == {"16": 3, "64": 3}
    assert all(one.warm_up == 10 and min(one.ms) > 0 for one in cost.latency_ms.values())
    assert min(cost.load_ms, cost.first_ms, *cost.latency_ms["16"].ms) > 0
    assert set(cost.pss_mb) == {"start", "after_load", "after_first", "rest"}


def test_memory_adds_up_and_holds_the_model(root: Path, answers: dict[str, Answer]) -> None:
    (cost,) = answers["fp32"].result.costs.values()
    ram = cost.ram_mb
    weights = (root / profile("fp32") / "model.onnx.data").stat().st_size / 1e6
    assert ram.load_high_water >= ram.load_peak.rss >= ram.start.rss
    assert ram.after_load.rss - ram.start.rss > weights / 2
    assert all(ram.run_high_water[length] >= ram.run_peak[length].rss for length in ("16", "64"))
    assert ram.anonymous_peak >= max(ram.after_load.anonymous, ram.rest.anonymous)
    assert cost.pss_mb["rest"].total == pytest.approx(ram.rest.rss, rel=0.3)


def test_a_prompt_left_out_of_pooling_gives_the_golden_vectors(root: Path) -> None:
    found = answer(root, job(LEFT_OUT, lengths=[16]))
    golden = read_golden(root / LEFT_OUT)
    assert found.result.golden_ids_equal == [True] * len(golden)
    assert row_cosines(found.vectors, np.array([g.vector for g in golden], np.float32)).min() > 0.99999


@pytest.mark.parametrize(
    ("changed", "evidence"),
    [
        ({"states": ["warm"]}, "this client keeps no weight cache for onnx; ask for none"),
        ({"states": ["build", "warm"]}, "states must be one alone"),
        ({"lengths": [4096]}, "length 4096: onnx-fp32-128d takes at most 2048 tokens"),
        ({"texts": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
        ({"texts": "wrong.jsonl"}, "wrong.jsonl: line 2: it must be [prompt, text]"),
        ({"artifact": "no-weights"}, "model.onnx.data: missing"),
        ({"artifact": "litert"}, "runtime 'litert'"),
    ],
)
def test_a_job_that_cannot_be_done_ends_with_2_one_line_and_no_result(
    root: Path, changed: dict[str, object], evidence: str
) -> None:
    (root / "wrong.jsonl").write_text('["", "a"]\n["", 1]\n')
    asked = {**job(profile("fp32"), id="refused", lengths=[16], runs=1), **changed}
    code, said = run_job(root, asked)
    assert code == 2
    assert evidence in said
    assert said.count("\n") == 1
    left = root / "results" / "refused"
    assert not left.exists() or list(left.iterdir()) == []


def test_weights_of_another_model_are_measured_and_show_in_the_vectors(root: Path) -> None:
    found = answer(root, job("other-weights", lengths=[16], runs=1))
    golden = read_golden(root / "other-weights")
    right = np.array([one.vector for one in golden], np.float32)
    assert row_cosines(found.vectors, right).max() < 0.9


def test_without_the_variable_no_library_is_loaded(root: Path) -> None:
    code, said = run_job(root, job(profile("fp32"), id="reporting"), telemetry_off=False)
    assert code == 2
    assert "ORT_DISABLE_TELEMETRY=1" in said
