"""The pytest-benchmark front: cases per artifact and length, its JSON, and a clear word when misused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUITE = [sys.executable, "-m", "pytest", str(ROOT / "bench" / "suite"), "-c", str(ROOT / "pyproject.toml")]


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite runs by itself: a worker of pytest-xdist times nothing."""
    for name in [one for one in os.environ if one.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("fixture", "name"), [("artifacts", "onnx-q8_0-128d"), ("litert_artifacts", "litert-int8-128d")]
)
def test_the_suite_times_every_length_of_an_artifact_into_json(
    fixture: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    artifact = request.getfixturevalue(fixture) / name
    options = ["--artifacts", str(artifact), "--benchmark-json", str(tmp_path / "out.json")]
    finished = subprocess.run([*SUITE, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    cases = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert [case["name"].partition("[")[2] for case in cases] == [
        f"{name}-{length}t]" for length in (16, 64, 256)
    ]
    runtime, precision, _ = name.split("-")
    for case in cases:
        assert case["stats"]["rounds"] == 50
        assert case["extra_info"] == {"runtime": runtime, "precision": precision, "dim": 128}


def test_the_suite_goes_no_further_than_an_artifact_takes(litert_artifacts: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(litert_artifacts / "litert-q4_0-128d", short)
    manifest = json.loads((short / "manifest.json").read_text())
    (short / "manifest.json").write_text(json.dumps({**manifest, "max_tokens": 64}))
    options = ["--artifacts", str(short), "--collect-only"]
    finished = subprocess.run([*SUITE, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.count("test_latency[") == 2
    assert "short-64t" in finished.stdout


def test_the_suite_asks_for_artifacts_when_none_are_given(tmp_path: Path) -> None:
    finished = subprocess.run(SUITE, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert "say which artifacts" in finished.stdout
