"""The main job on a small set: complete, continued, refused and interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pocketvec.cli import main
from pocketvec.pipeline import _claimed

NOISE = ["--bench-runs", "30", "--lengths", "16,64"]
TUNING = ["--epochs", "1", "--batch-size", "8", "--mini-batch-size", "8", "--targets", "q_proj"]
SIZE = ["--dims", "768,128", "--precisions", "q4_0"]


def arguments(data: Path, runs: Path) -> list[str]:
    options = [*TUNING, *SIZE, *NOISE, "--allow-worse"]
    return ["run", "--data", str(data), "--runs", str(runs), "--gates", str(runs / "gates.toml"), *options]


def write_gates(runs: Path, limit: float) -> None:
    runs.mkdir(exist_ok=True)
    text = f'schema = "pocketvec.gates/2"\n[ram_mb]\npeak_above_baseline = {limit}\nanonymous = 500\n'
    (runs / "gates.toml").write_text(text)


@pytest.fixture(scope="module")
def finished(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that the command line made."""
    runs = tmp_path_factory.mktemp("runs")
    write_gates(runs, 500)
    assert main(arguments(small_data, runs)) == 0
    return runs


def test_the_run_folder_holds_every_stages_result(finished: Path) -> None:
    folder = finished / "default"
    names = {"checkpoint", "artifacts", "run.json", "measurements.json", "report.json", "report.md"}
    assert {path.name for path in folder.iterdir()} == names | {"report.html", "junit.xml"}
    profiles = {
        f"{runtime}-{precision}-{dim}d"
        for runtime in ("onnx", "litert")
        for precision in ("fp32", "q4_0")
        for dim in (768, 128)
    }
    assert {path.name for path in (folder / "artifacts").iterdir()} == profiles


def test_the_report_holds_what_a_release_needs(finished: Path) -> None:
    report = json.loads((finished / "default" / "report.json").read_text())
    assert {"schema", "context", "verdict", "reference", "profiles"} <= set(report)
    assert set(report["reference"]["before"]) == set(report["reference"]["after"]) == {"768", "128"}
    for profile in report["profiles"]:
        assert profile["ndcg_drop_same_dim"] is not None
        assert set(profile["latency_ms"]) == {"16", "64"}
        assert {"p50", "p90", "p99"} <= set(profile["latency_ms"]["16"])
    fp32 = [p for p in report["profiles"] if p["precision"] == "fp32"]
    assert all(abs(p["ndcg_drop_same_dim"]["value"]) < 1e-6 for p in fp32), (
        "export must not change the ranking"
    )


def stamps(folder: Path) -> dict[Path, int]:
    """When each file besides the report and its views was written."""
    kept = (path for path in folder.rglob("*") if path.stem not in ("report", "junit"))
    return {path: path.stat().st_mtime_ns for path in kept}


def test_a_finished_run_started_again_only_judges(
    finished: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished / "default"
    before = stamps(folder)
    write_gates(finished, 1)
    assert main(arguments(small_data, finished)) == 1
    verdict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert verdict["verdict"] == "fail"
    assert all("ram_mb.peak_above_baseline" in r[0] for r in verdict["failed"].values())
    assert '<failure message="ram_mb.peak_above_baseline' in (folder / "junit.xml").read_text()
    write_gates(finished, 500)
    assert main(arguments(small_data, finished)) == 0
    assert before == stamps(folder)
    assert "<failure" not in (folder / "junit.xml").read_text()


def test_a_run_continues_from_the_last_whole_stage(finished: Path, small_data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    checkpoint = runs / "default" / "checkpoint" / "checkpoint.json"
    stamp = checkpoint.stat().st_mtime_ns
    shutil.rmtree(runs / "default" / "artifacts" / "onnx-q4_0-128d")
    (runs / "default" / "measurements.json").unlink()
    assert main(arguments(small_data, runs)) == 0
    assert checkpoint.stat().st_mtime_ns == stamp
    assert (runs / "default" / "artifacts" / "onnx-q4_0-128d" / "manifest.json").is_file()


def test_other_measuring_options_measure_again_without_training_again(
    finished: Path, small_data: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    stamp = (runs / "default" / "checkpoint" / "checkpoint.json").stat().st_mtime_ns
    assert main([*arguments(small_data, runs), "--lengths", "32"]) == 0
    report = json.loads((runs / "default" / "report.json").read_text())
    assert {tuple(profile["latency_ms"]) for profile in report["profiles"]} == {("32",)}
    assert (runs / "default" / "checkpoint" / "checkpoint.json").stat().st_mtime_ns == stamp


def test_a_run_that_comes_to_nothing_is_removed_and_leaves_others_alone(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with _claimed(runs / "a", {}):
        (runs / "b").mkdir()
    assert [path.name for path in runs.iterdir()] == ["b"]


def test_a_folder_that_holds_another_run_is_refused(
    finished: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(small_data, finished), "--seed", "7"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "already holds another run (different seed)" in error


def test_an_altered_artifact_is_named_before_it_is_measured(
    finished: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    weights = runs / "default" / "artifacts" / "onnx-q4_0-128d" / "model.onnx.data"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    assert main(arguments(small_data, runs)) == 2
    assert "onnx-q4_0-128d/model.onnx.data: its SHA-256 differs" in capsys.readouterr().err


@pytest.mark.parametrize("moment", ["start", "training"])
def test_ctrl_c_leaves_one_line_exit_two_and_nothing_half_written(
    small_data: Path, tmp_path: Path, moment: str
) -> None:
    runs = tmp_path / "runs"
    write_gates(runs, 500)
    command = [sys.executable, "-m", "pocketvec", *arguments(small_data, runs), "--epochs", "50"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    folder = runs / "default"
    awaited = folder / "run.json" if moment == "start" else folder / ".checkpoint.training" / "epochs"
    deadline = time.monotonic() + 120
    while not awaited.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 2
    assert errors.splitlines()[-1].startswith("pocketvec: error: interrupted")
    assert "Traceback" not in errors
    left = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert left <= {"run.json", ".checkpoint.training"}, "only what a restart continues from may stay"
