"""The pytest-benchmark front: cases per artifact and length, its JSON, and a clear word when misused."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUITE = [sys.executable, "-m", "pytest", str(ROOT / "bench" / "suite"), "-c", str(ROOT / "pyproject.toml")]


def test_the_suite_times_every_length_of_an_artifact_into_json(artifacts: Path, tmp_path: Path) -> None:
    options = [
        "--artifacts",
        str(artifacts / "onnx-q8_0-128d"),
        "--benchmark-json",
        str(tmp_path / "out.json"),
    ]
    finished = subprocess.run([*SUITE, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    cases = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert [case["name"].partition("[")[2] for case in cases] == [
        f"onnx-q8_0-128d-{length}t]" for length in (16, 64, 256)
    ]
    assert all(case["stats"]["rounds"] == 50 and case["extra_info"]["dim"] == 128 for case in cases)


def test_the_suite_asks_for_artifacts_when_none_are_given(tmp_path: Path) -> None:
    finished = subprocess.run(SUITE, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert "say which artifacts" in finished.stdout
