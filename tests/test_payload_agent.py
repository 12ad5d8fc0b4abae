"""The phone's agent on this machine: the same figures as bench's, the same vectors as the embedder's."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from android_harness.payload.agent import read_texts
from android_harness.payload.device import read_pss
from android_harness.protocol import JOB_SCHEMA, Job, Result
from bench.cost import Plan, Timed, latency_of, measure_raw
from bench.measurements import BUILD_CACHE, NO_CACHE, WARM_CACHE
from bench.probe import FORBIDDEN_MODULES
from bench.worker import INTERPRETER_VARIABLE, interpreter
from common.errors import UserError
from common.files import read_json, sha256_file
from common.records import from_dict
from export.embedder import Embedder
from export.golden import read_golden

ROOT = Path(__file__).parent.parent
KERNEL_SLACK_MB = 0.5
"""Kernels count pages in batches: a sample can lie a little above the mark of a moment later."""
NAMES = {"onnx-int8-128d": "artifacts", "litert-q4_0-128d": "litert_artifacts"}
ABSENT = (*FORBIDDEN_MODULES, "google", "flatbuffers", "tqdm", "packaging")
TEXTS = [("task: search result | query: ", "How strong must the brine be?"), ("", "line one\nline two")]
JOB = Job(
    JOB_SCHEMA, "0a", "host", "artifacts/one", [BUILD_CACHE, WARM_CACHE], [16, 32], 4, 1, 3, "texts/a.jsonl"
)


@pytest.fixture(scope="module", params=NAMES)
def answered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phone's root after a job."""
    root = tmp_path_factory.mktemp("root")
    for name in ("artifacts", "texts", "jobs"):
        (root / name).mkdir()
    (root / JOB.artifact).symlink_to(request.getfixturevalue(NAMES[request.param]) / request.param)
    (root / "texts/a.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in TEXTS))
    write_job(root, JOB)
    done = run_agent(root)
    assert done.returncode == 0, done.stderr
    return root


def write_job(root: Path, job: Job) -> None:
    (root / "jobs").mkdir(exist_ok=True)
    (root / "jobs/0a.json").write_text(json.dumps(dataclasses.asdict(job)))


def run_agent(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ["-P", "-m", "android_harness.payload.agent", str(root), "jobs/0a.json", "results"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *words], env=variables, capture_output=True, text=True)


def read_result(root: Path) -> Result:
    return from_dict(Result, read_json(root / "results/0a/result.json"), "result")


def test_the_vectors_are_the_embedders_one_text_at_a_time_golden_ones_first(answered: Path) -> None:
    result = read_result(answered)
    vectors = np.fromfile(answered / "results/0a/vectors.f32", "<f4").reshape(result.rows, result.dim)
    embedder = Embedder.open(answered / JOB.artifact)
    golden = read_golden(answered / JOB.artifact)
    pairs = [*((one.prompt, one.text) for one in golden), *TEXTS]
    assert result.rows == len(pairs)
    for index in (0, 5, len(pairs) - 2, len(pairs) - 1):
        assert np.allclose(vectors[index], embedder.embed_prompted([pairs[index]])[0], atol=1e-6)
    assert result.golden_ids_equal == [True] * len(golden)


def test_a_result_holds_every_state_raw_and_percentiles_come_of_it_here(answered: Path) -> None:
    costs = read_result(answered).costs
    assert list(costs) == JOB.states
    assert {state: list(cost.latency_ms) for state, cost in costs.items()} == {
        BUILD_CACHE: ["32"],
        WARM_CACHE: ["16", "32"],
    }
    warm = costs[WARM_CACHE]
    assert all(len(one.ms) == JOB.runs and one.warm_up <= 3 for one in warm.latency_ms.values())
    timed = warm.latency_ms["16"]
    assert min(timed.ms) <= latency_of(Timed(timed.warm_up, timed.ms)).p50 <= max(timed.ms)
    assert warm.cache_bytes == costs[BUILD_CACHE].cache_bytes > 0
    assert set(warm.pss_mb) == {"start", "after_load", "after_first", "rest"}
    assert warm.pss_mb["after_first"].total > warm.pss_mb["start"].total
    assert warm.ram_mb.peak > warm.ram_mb.start.rss


def test_a_result_says_what_it_is_of(answered: Path) -> None:
    result = read_result(answered)
    assert result.manifest_sha256 == sha256_file(answered / JOB.artifact / "manifest.json")
    assert (result.job, result.client, result.faults) == (JOB.id, "shell", [])
    assert result.target.threads == 1
    assert result.device is None  # no getprop here


def test_an_artifact_that_is_another_model_has_its_fault_named(answered: Path, tmp_path: Path) -> None:
    """Prompts swapped in the manifest: what the phone embeds is not what the golden vectors say."""
    shutil.copytree(answered / JOB.artifact, tmp_path / "artifacts/one")
    manifest = read_json(answered / JOB.artifact / "manifest.json")
    manifest["prompts"]["query"] = "query: "
    (tmp_path / "artifacts/one/manifest.json").write_text(json.dumps(manifest))
    write_job(tmp_path, dataclasses.replace(JOB, states=[NO_CACHE], texts=None, runs=1))
    done = run_agent(tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_result(tmp_path).faults


def test_a_job_that_cannot_be_done_is_one_line_and_leaves_no_result(tmp_path: Path) -> None:
    write_job(tmp_path, JOB)
    (tmp_path / "results/0a").mkdir(parents=True)
    (tmp_path / "results/0a/result.json").write_text("of an earlier run")
    done = run_agent(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"agent: error: {tmp_path}/artifacts/one: no such artifact folder\n"
    assert not (tmp_path / "results/0a/result.json").exists()


def test_texts_are_read_whole_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('["a: ", "one\\u2028two"]\n["", "three"]\n')
    assert read_texts(path) == [("a: ", "one\u2028two"), ("", "three")]
    for bad in ("[", '["only one"]', '["", 3]', '{"prompt": ""}'):
        path.write_text(f'["", "right"]\n{bad}\n')
        with pytest.raises(UserError, match=r"texts\.jsonl:2: not a JSON array"):
            read_texts(path)


def test_nothing_on_a_phone_imports_what_a_phone_does_not_have() -> None:
    program = (
        "import sys, android_harness.payload.agent, bench.probe, export.session, export.litert_session\n"
        "export.session.load_onnxruntime(); export.litert_session.load_litert()\n"
        f"print([one for one in {ABSENT!r} if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_fresh_processes_start_with_the_interpreter_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert interpreter() == [sys.executable]
    monkeypatch.setenv(INTERPRETER_VARIABLE, "'/a b/ld.so' --library-path '/a b/lib' python3")
    assert interpreter() == ["/a b/ld.so", "--library-path", "/a b/lib", "python3"]


def test_the_memory_of_a_process_that_is_gone_is_left_out() -> None:
    assert read_pss(2**22 + 1) is None
    mine = read_pss(os.getpid())
    assert mine is not None
    assert mine.total >= mine.private_dirty > 0


def test_a_high_water_mark_that_cannot_be_set_back_is_said(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a kernel that refuses it: the probe of a process whose clear_refs is a folder."""
    site = tmp_path / "sitecustomize.py"
    site.write_text(
        "import pathlib, bench.proc\nbench.proc.CLEAR_REFS = pathlib.Path('/nowhere/clear_refs')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(tmp_path))))
    raw = measure_raw(artifacts / "onnx-int8-128d", Plan([16], 1, 1, timed=[]))
    assert not raw.high_water_is_exact
    (run_mark,) = raw.ram_mb.run_high_water.values()
    assert run_mark >= raw.ram_mb.load_high_water - KERNEL_SLACK_MB
