"""The app's instrumentation, run on a JVM: its own classes and core, with stand-ins for Android's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from android_harness.protocol import APP, JOB_SCHEMA, Job, Result
from android_harness.toolchain import modules, onnxruntime_java
from android_harness.toolchain.android_app import compile_app, link
from android_harness.toolchain.java import command
from common.records import from_dict

pytestmark = pytest.mark.android

DOUBLES = Path(__file__).parent / "android_doubles"
CLASS = "dev.pocketvec.harness.BenchInstrumentation"
JOB = Job(JOB_SCHEMA, "0123abcd", "device", "artifacts/onnx-fp32-128d", ["none"], [16], 3, 1, 5)
JOB_PATH = f"jobs/{JOB.id}.json"


@pytest.fixture(scope="module")
def classpath(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("instrumentation")
    app = compile_app(link(folder).ids)
    doubles = folder / "doubles"
    javac = shutil.which("javac")
    assert javac, "a JDK is needed, a JRE has no javac"
    subprocess.run([javac, "-d", doubles, *sorted(DOUBLES.rglob("*.java"))], check=True)
    return [doubles, app, *modules.classpath("core", "runtime-ort")]


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """A phone's folders, with the job among what the driver pushes."""
    for name in ("media", "cache", "root/jobs", "root/artifacts"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root" / JOB_PATH).write_text(json.dumps(asdict(JOB)))
    return tmp_path


def instrument(
    classpath: list[Path], phone: Path, arguments: dict[str, str], sdk: int = 36, debuggable: bool = False
) -> str:
    """What `am instrument -w` would print."""
    words = [word for pair in arguments.items() for word in pair]
    properties = [f"-Dsdk={sdk}", f"-Ddebuggable={str(debuggable).lower()}"]
    java = command(classpath, "RunInstrumentation", [*modules.flags(), *properties])
    environment = {**os.environ, **onnxruntime_java.environment()}
    done = subprocess.run(
        [*java, CLASS, phone, *words], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pushed(phone: Path) -> dict[str, str]:
    """The arguments that the driver gives."""
    return {"root": str(phone / "root"), "job": JOB_PATH}


def error_of(said: str) -> str:
    """The error that a run ends with; nothing but the code may come after it."""
    found = re.search(r"^INSTRUMENTATION_RESULT: error=(.*)\nINSTRUMENTATION_CODE: 0\n\Z", said, re.MULTILINE)
    assert found, said
    assert "INSTRUMENTATION_STATUS_CODE: -2\n" in said
    return found[1]


@pytest.mark.parametrize(("sdk", "status", "soc"), [(26, None, None), (29, 1, None), (36, 1, "maker chip")])
def test_a_job_is_done_and_the_phone_described_as_far_as_its_android_can(
    sdk: int, status: int | None, soc: str | None, classpath: list[Path], phone: Path, artifacts: Path
) -> None:
    (phone / "root" / JOB.artifact).symlink_to(artifacts / "onnx-fp32-128d")
    said = instrument(classpath, phone, pushed(phone), sdk)
    expected = phone / "media" / "results" / JOB.id / "result.json"
    assert said.endswith(f"INSTRUMENTATION_RESULT: result={expected}\nINSTRUMENTATION_CODE: -1\n")
    codes = re.findall(r"INSTRUMENTATION_STATUS_CODE: (-?\d+)", said)
    assert codes == ["1", "0"], "a test that started and passed"
    assert f"INSTRUMENTATION_STATUS: class={CLASS}\n" in said
    assert f"INSTRUMENTATION_STATUS: test={JOB_PATH}\n" in said
    result = from_dict(Result, json.loads(expected.read_text()), "result.json")
    assert (result.job, result.client, result.target.kind) == (JOB.id, APP, "device")
    assert all(result.golden_ids_equal)
    assert result.faults == []
    device = result.device
    assert device is not None
    assert (device.sdk, device.soc, device.abi, device.page_size_bytes) == (sdk, soc, "arm64-v8a", 16384)
    assert (device.battery_percent, device.charging, device.mem_total_bytes) == (87, True, 8_000_000_000)
    assert {(one.status, one.headroom) for one in device.thermal} == {(status, None)}
    assert re.fullmatch(r"the scheduler's choice of cores [\d,-]+", device.affinity or "")
    assert result.versions["app"] == "0.1.0"
    (cost,) = result.costs.values()
    assert cost.pss_mb["start"].total == pytest.approx(122.88)


def test_a_job_runs_at_an_apps_own_priority_and_a_debuggable_build_is_told(
    classpath: list[Path], phone: Path, artifacts: Path
) -> None:
    """Android starts an instrumentation's thread at -8, which an app's threads do not have."""
    (phone / "root" / JOB.artifact).symlink_to(artifacts / "onnx-fp32-128d")
    said = instrument(classpath, phone, pushed(phone), debuggable=True)
    assert said.startswith("Instr has priority 0\n")
    told = json.loads((phone / "media" / "results" / JOB.id / "result.json").read_text())
    assert told["versions"]["app"] == "0.1.0, debuggable"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "argument root: missing, give -e root FOLDER"),
        ({"root": "{root}"}, "argument job: missing, give -e job jobs/ID.json"),
        (
            {"root": "{root}", "job": "jobs/no.json"},
            "{root}/jobs/no.json: no such file, or the app may not read it",
        ),
        ({"root": "{root}", "job": JOB_PATH}, "{root}/artifacts/onnx-fp32-128d: no such artifact folder"),
    ],
)
def test_what_stands_in_the_way_is_said_in_one_line(
    arguments: dict[str, str], error: str, classpath: list[Path], phone: Path
) -> None:
    given = {name: value.format(root=phone / "root") for name, value in arguments.items()}
    said = error_of(instrument(classpath, phone, given))
    assert said.startswith(error.format(root=phone / "root"))


def test_storage_that_is_not_mounted_is_named(classpath: list[Path], phone: Path) -> None:
    (phone / "media").rmdir()
    said = error_of(instrument(classpath, phone, pushed(phone)))
    assert said == "the phone's shared storage is not mounted: no place for results"


def test_a_library_that_is_missing_is_said_like_any_other_error(
    classpath: list[Path], phone: Path, artifacts: Path
) -> None:
    """An Error, not an Exception: it must not get past the instrumentation either."""
    (phone / "root" / JOB.artifact).symlink_to(artifacts / "onnx-fp32-128d")
    without = [path for path in classpath if "onnxruntime" not in path.name]
    assert len(without) < len(classpath)
    assert "ai/onnxruntime" in error_of(instrument(without, phone, pushed(phone)))
