"""A farm's run, there and back: what is emitted is what is read, for the phones that gave it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from device_samples import NAMES, WORDS, last_json

from android_harness.protocol import Job
from bench.report_file import read_report
from pocketvec.cli import main

pytest_plugins = ("device_fixtures",)

PHONE = {
    "brand": "Example",
    "model": "Phone 9",
    "device": "nine",
    "fingerprint": "example/nine:15",
    "release": "15",
    "sdk": 35,
    "abi": "arm64-v8a",
}
Words = Callable[..., list[str]]


@pytest.fixture
def words(artifacts: Path, small_data: Path, gates: Path, tmp_path: Path) -> Words:
    apk = tmp_path / "harness.apk"
    apk.write_bytes(b"an app")

    def command(out: Path, *more: str) -> list[str]:
        common = ["--data", str(small_data), "--gates", str(gates), "--apk", str(apk), *WORDS]
        return ["device", str(artifacts / NAMES[1]), "--out", str(out), *common, *more]

    return command


def give(emitted: Path, results: Path, answer: tuple[Job, Path], model: str, **changes: Any) -> None:
    """Answer every job of an emitted run as a phone of the farm's would."""
    _, folder = answer
    canned = json.loads((folder / "result.json").read_text())
    raw = (folder / "vectors.f32").read_bytes()
    for path in (emitted / "data" / "jobs").iterdir():
        job = json.loads(path.read_text())
        state = job["states"][0]
        rows = canned["rows"] if job["texts"] else len(canned["golden_ids_equal"])
        cost = canned["costs"][state if state in canned["costs"] else "warm"]
        target = canned["target"] | {"kind": "device"}
        result = canned | {"job": job["id"], "client": "app", "costs": {state: cost}, "rows": rows}
        result |= {"device": PHONE | {"model": model} | changes, "target": target}
        place = results / model / "artifacts" / "results" / job["id"]
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result))
        (place / "vectors.f32").write_bytes(raw[: rows * canned["dim"] * 4])


@pytest.mark.parametrize("farm", ["firebase", "aws"])
def test_what_a_farm_measured_becomes_a_phones_report(
    words: Words,
    answers: dict[str, tuple[Job, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    farm: str,
) -> None:
    emitted = tmp_path / "emitted"
    assert main(words(emitted, "--emit", farm)) == 0
    assert (emitted / "run.sh").stat().st_mode & 0o111
    for model in ("Phone 9", "Phone 10"):
        give(emitted, tmp_path / "results", answers[NAMES[1]], model)
    capsys.readouterr()
    assert main(words(tmp_path / "out", "--from", str(tmp_path / "results"))) == 0
    assert len(last_json(capsys.readouterr().out)["devices"]) == 2  # type: ignore[arg-type]
    report = read_report(tmp_path / "out" / "Example_Phone_9__API_35" / "report.json")
    assert report.context.target.kind == "device"
    assert report.context.device is not None
    assert report.context.device.model == "Phone 9"


def test_a_farms_virtual_phone_is_an_emulator(
    words: Words, answers: dict[str, tuple[Job, Path]], tmp_path: Path
) -> None:
    emitted, virtual = tmp_path / "emitted", "google/sdk_gphone64_arm64/emu64a:15/A/1:user/release-keys"
    assert main(words(emitted, "--emit", "firebase")) == 0
    give(emitted, tmp_path / "results", answers[NAMES[1]], "MediumPhone", fingerprint=virtual)
    assert main(words(tmp_path / "out", "--from", str(tmp_path / "results"))) == 0
    assert read_report(tmp_path / "out" / "report.json").context.target.kind == "emulated"


def test_results_that_lack_a_job_or_were_taken_hot_are_refused(
    words: Words, answers: dict[str, tuple[Job, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emitted, results = tmp_path / "emitted", tmp_path / "results"
    assert main(words(emitted, "--emit", "aws")) == 0
    give(emitted, results, answers[NAMES[1]], "Hot", thermal=[{"moment": "end", "status": 2}])
    told = words(tmp_path / "out", "--from", str(results))
    assert main(told) == 2
    assert "too hot to measure, thermal status 2 (moderate)" in capsys.readouterr().err
    shutil.rmtree(next((results / "Hot" / "artifacts" / "results").iterdir()))
    assert main(told) == 2
    assert "no whole set of results of these artifacts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_farm_without_the_app_is_refused(words: Words, tmp_path: Path) -> None:
    command = words(tmp_path / "out", "--emit", "aws")
    at = command.index("--apk")
    assert main(command[:at] + command[at + 2 :]) == 2
