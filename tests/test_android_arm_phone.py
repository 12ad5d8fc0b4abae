"""All of it at once: the driver over the real adb, a phone of arm64 programs, the real payload, a report."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from simulated_phone import SimulatedPhone

from android_harness.toolchain import arm64_phone
from bench.report_file import read_report
from export.artifact import open_artifact, write_manifest
from export.golden import read_golden
from pocketvec.cli import main

pytestmark = pytest.mark.android
pytest_plugins = ("device_fixtures",)

MADE = Path(__file__).parent.parent / "runs" / "default" / "artifacts"
NAME = "onnx-fp32-128d"
CORE = "a76"
QUESTIONS = 4


@pytest.fixture
def brief(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The fp32 artifact with the shortest golden text behind each prompt: emulation takes its time."""
    made = MADE if (MADE / NAME / "manifest.json").is_file() else request.getfixturevalue("artifacts")
    folder = tmp_path / NAME
    copytree(made / NAME, folder)
    golden = json.loads((folder / "golden.json").read_text())
    texts = sorted(golden["texts"], key=lambda one: len(one["ids"]))
    golden["texts"] = list({one["prompt"]: one for one in reversed(texts)}.values())
    (folder / "golden.json").write_text(json.dumps(golden))
    write_manifest(folder, open_artifact(folder, verify=False).manifest)
    return folder


@pytest.fixture
def few(small_data: Path, tmp_path: Path) -> Path:
    """Four questions and their passages."""
    folder = tmp_path / "few"
    copytree(small_data, folder)
    lines = (folder / "qrels" / "test.tsv").read_text().splitlines()[: 1 + QUESTIONS]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    wanted = {line.split("\t")[1] for line in lines[1:]}
    passages = (folder / "corpus.jsonl").read_text().splitlines()
    (folder / "corpus.jsonl").write_text("\n".join(p for p in passages if json.loads(p)["_id"] in wanted))
    return folder


def test_an_arm_phone_that_runs_the_payload_gives_a_report_of_its_own_kernels(
    adb: Callable[..., str], brief: Path, few: Path, gates: Path, tmp_path: Path
) -> None:
    setup = arm64_phone.write_setup(tmp_path / "setup.sh", CORE)
    properties = {"ro.product.cpu.abi": "arm64-v8a", "ro.product.cpu.abilist": "arm64-v8a"}
    with SimulatedPhone(
        tmp_path / "phone",
        arm64_phone.programs(),
        properties=properties,
        setup=setup,
        environment=arm64_phone.environment(CORE),
    ) as phone:
        adb("connect", phone.address)
        measuring = ["--lengths", "16", "--bench-runs", "30", "--threads", "1", "--cores", "all"]
        told = ["--serial", phone.address, "--data", str(few), "--gates", str(gates)]
        assert main(["device", str(brief), "--out", str(tmp_path / "out"), *told, *measuring]) == 0
        adb("disconnect", phone.address)
    report = read_report(tmp_path / "out" / "report.json")
    (profile,) = report.profiles
    assert (report.context.target.kind, report.verdict) == ("emulated", "pass")
    assert "part 0xd0b" in report.context.target.cpu
    assert "aarch64" in report.context.target.os
    assert profile.faults == []
    assert profile.golden.texts == len(read_golden(brief))
    assert profile.golden.ids_equal
    assert profile.golden.cosine_min > 0.99999
    assert report.context.device is not None
    assert "asimddp" in report.context.device.cpu_features
