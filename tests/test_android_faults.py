"""Everything that can go wrong between a computer and a phone, over the real adb client.

One line and exit code 2 each; nothing half-written here, nothing running there, and the next run goes on.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from device_samples import NAMES, ONE, ROOT, elf, write_payload
from simulated_app import APP_PROGRAMS
from simulated_phone import SimulatedPhone

from android_harness.driver.delivery import SPARE_BYTES, artifact_files
from export.artifact import open_artifact
from pocketvec.cli import main

pytestmark = pytest.mark.android
pytest_plugins = ("device_fixtures",)

Start = Callable[..., SimulatedPhone]
Words = Callable[..., list[str]]
Adb = Callable[..., str]
Fails = Callable[..., str]


def does(phone: SimulatedPhone, script: str, when: str = "fault") -> None:
    """What the stand-in does before it answers, or after; nothing when empty."""
    phone.place(ROOT).mkdir(exist_ok=True)
    phone.place(f"{ROOT}/{when}").write_text(script)


def plug_in(phone: SimulatedPhone, adb: Adb) -> None:
    """After a connection was lost."""
    phone.adbd.start()
    adb("disconnect", phone.address)
    adb("connect", phone.address)


@pytest.mark.parametrize(
    ("data", "words"),
    [("missing", "/data/local/tmp: No such file or directory"), ("ro", "its file system is read-only")],
)
def test_a_folder_that_cannot_be_written(phones: Start, fails: Fails, data: str, words: str) -> None:
    phone = phones(data=data)
    line = fails()
    assert line.startswith(f"{phone.address}: ")
    assert words in line


def test_a_disk_that_has_no_room_is_seen_before_the_push(phones: Start, fails: Fails) -> None:
    phone = phones(data="24M")
    assert "no space left on the device: " in (line := fails())
    assert "MB are to go to /data/local/tmp" in line
    assert not any("model" in path for path in phone.adbd.traffic.pushed)


def test_room_for_the_weight_cache_is_asked_for_before_the_run(
    phones: Start, fails: Fails, artifacts: Path
) -> None:
    files = artifact_files(open_artifact(artifacts / ONE[0])).values()
    phone = phones(data=f"{(sum(one.bytes for one in files) + SPARE_BYTES + 1_500_000) // 2**20 + 1}M")
    assert "no space left on the device: " in fails()
    assert phone.place(f"{ROOT}/artifacts/{ONE[0]}.sha256").exists()
    assert not list(phone.place(f"{ROOT}/results").iterdir())


def test_a_disk_that_fills_up_during_the_push(
    phones: Start, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("android_harness.driver.delivery.SPARE_BYTES", -(10**9))  # df is not believed
    phone = phones(data="4M")
    assert fails().startswith(f"{phone.address}: no space left on the device during push: ")


def test_a_file_that_arrives_damaged_is_not_measured(phones: Start, fails: Fails) -> None:
    phone = phones()
    phone.adbd.faults.corrupt_push = "model.onnx.data"
    assert fails() == (
        f"{phone.address}: {ROOT}/artifacts/{ONE[0]}/model.onnx.data arrived damaged; "
        "start again to push it anew"
    )
    assert not phone.place(f"{ROOT}/artifacts/{ONE[0]}.sha256").exists()


def test_a_payload_for_another_abi_is_not_pushed(phones: Start, fails: Fails, tmp_path: Path) -> None:
    phone = phones()
    payload = tmp_path / "arm.tar.gz"
    write_payload(payload, {"run": b"#!/system/bin/sh\n", "bin/python3": elf(183)})
    assert fails("--payload", str(payload)) == (
        f"{phone.address}: ABI x86_64, but {payload} is built for arm64-v8a"
    )
    assert phone.adbd.traffic.pushed == {}


def test_a_connection_lost_during_the_push_goes_on_with_what_is_missing(
    phones: Start, adb: Adb, fails: Fails, device: Words, artifacts: Path, tmp_path: Path
) -> None:
    phone = phones()
    phone.adbd.faults.drop_push_after = 4_000_000
    assert fails().startswith(f"{phone.address}: connection lost during push")
    phone.adbd.faults.drop_push_after = None
    here = {path.name: path.stat().st_size for path in (artifacts / ONE[0]).iterdir()}
    folder = phone.place(f"{ROOT}/artifacts/{ONE[0]}")
    arrived = {path.name for path in folder.iterdir() if path.stat().st_size == here[path.name]}
    partial = {path.name for path in folder.iterdir()} - arrived
    assert arrived
    assert partial
    phone.adbd.traffic.pushed.clear()
    plug_in(phone, adb)
    assert main(device(tmp_path / "out", names=ONE)) == 0
    again = {Path(path).name for path in phone.adbd.traffic.pushed if "/artifacts/" in path}
    assert again == set(here) - arrived


def test_a_connection_lost_during_the_run_ends_what_is_left_of_it(
    phones: Start, adb: Adb, fails: Fails, device: Words, tmp_path: Path
) -> None:
    phone = phones()
    does(phone, "trap '' HUP; sleep 987; exit 1\n")
    phone.adbd.faults.drop_shell = " results\n"
    assert fails().startswith(f"{phone.address}: connection lost during the run")
    assert "sleep 987" in phone.processes()
    phone.adbd.faults.drop_shell = None
    does(phone, "")
    plug_in(phone, adb)
    assert main(device(tmp_path / "out", names=ONE)) == 0
    assert "sleep 987" not in phone.processes()


def test_a_connection_lost_during_the_pull_does_not_lose_the_result(
    phones: Start, adb: Adb, fails: Fails, device: Words, tmp_path: Path
) -> None:
    phone = phones()
    does(phone, "echo ran >> runs\n")
    phone.adbd.faults.drop_pull_after = 10_000
    assert fails().startswith(f"{phone.address}: connection lost during pull")
    phone.adbd.faults.drop_pull_after = None
    plug_in(phone, adb)
    assert main(device(tmp_path / "out", names=ONE)) == 0
    assert phone.place(f"{ROOT}/runs").read_text() == "ran\n"


def test_finished_profiles_are_not_measured_again(
    phones: Start, device: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = phones()
    does(phone, f'echo "$name" >> runs; [ $name = {NAMES[0]} ] || {{ echo "out of luck" >&2; exit 4; }}\n')
    assert main(device(tmp_path / "out")) == 2
    assert "exit code 4, failed: out of luck" in capsys.readouterr().err
    does(phone, 'echo "$name" >> runs\n')
    assert main(device(tmp_path / "out")) == 0
    assert phone.place(f"{ROOT}/runs").read_text().split() == [*NAMES, NAMES[1]]


def test_a_payload_that_fails_is_quoted(phones: Start, fails: Fails) -> None:
    phone = phones()
    does(phone, "echo working; echo 'agent: error: the model does not run' >&2; exit 2\n")
    assert fails() == (
        f"{phone.address}: artifacts/{ONE[0]}, exit code 2, failed: agent: error: the model does not run"
    )


TRUNCATED = "f=$3/$id/result.json; head -c 400 $f > cut; mv cut $f\n"
FOREIGN = 'echo "{}" > $3/$id/result.json\n'
OTHER_JOB = 'f=$3/$id/result.json; sed "s/$id/abcdef/" $f > other; mv other $f\n'
SHORT = "f=$3/$id/vectors.f32; head -c 4000 $f > cut; mv cut $f\n"


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (TRUNCATED, "result.json is cut off or not JSON"),
        (FOREIGN, "result.json is foreign: schema 'None' is not 'pocketvec.result/1'"),
        (OTHER_JOB, "result.json: it is the result of another job, abcdef"),
        (SHORT, "vectors.f32 has 4000 bytes, but "),
    ],
)
def test_a_result_that_is_none_is_refused_and_measured_anew(
    phones: Start, fails: Fails, device: Words, tmp_path: Path, after: str, words: str
) -> None:
    phone = phones()
    does(phone, after, "after")
    line = fails()
    assert line.startswith(f"{phone.address}: {ONE[0]}: {words}")
    assert line.endswith("; start again to measure it anew")
    does(phone, "", "after")
    assert main(device(tmp_path / "out", names=ONE)) == 0


def test_a_pull_that_is_cut_short_is_noticed(phones: Start, fails: Fails) -> None:
    phone = phones()
    phone.adbd.faults.truncate_pull = "vectors.f32"
    assert "vectors.f32 has " in fails()


def test_a_run_that_does_not_end_is_ended_on_the_phone(phones: Start, fails: Fails) -> None:
    phone = phones()
    does(phone, "trap '' HUP TERM; sleep 986; sleep 985\n")
    assert fails("--timeout", "2") == (
        f"{phone.address}: artifacts/{ONE[0]} did not end within 2 s, it was ended on the device"
    )
    assert "sleep 98" not in phone.processes()
    assert ROOT not in phone.processes()


def test_a_hot_phone_is_left_to_cool(phones: Start, fails: Fails, device: Words, tmp_path: Path) -> None:
    dumpsys = '#!/system/bin/sh\necho "Thermal Status: $(cat /data/local/tmp/heat)"\n'
    phone = phones(programs={"dumpsys": dumpsys})
    heat = phone.place("/data/local/tmp/heat")
    heat.write_text("0\n")
    does(phone, "echo 3 > /data/local/tmp/heat\n")
    assert fails() == (
        f"{phone.address}: the phone, after {ONE[0]}: too hot to measure, thermal status 3 (severe); "
        "let it cool and start again"
    )
    assert phone.run(f"ls {ROOT}/results") == ""
    heat.write_text("1\n")
    does(phone, "")
    assert main(device(tmp_path / "out", names=ONE)) == 0
    told = json.loads((tmp_path / "out" / "report.json").read_text())["context"]["device"]["thermal"]
    assert [one["status"] for one in told][:2] == [1, 1]


def test_one_phone_of_two_that_fails_leaves_no_report_and_the_other_is_not_measured_again(
    phones: Start, device: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = phones(), phones()
    does(good, "echo ran >> runs\n")
    does(bad, "exit 3\n")
    words = device(tmp_path / "out", "--all-devices", names=ONE)
    assert main(words) == 2
    assert f"{bad.address}: artifacts/{ONE[0]}, exit code 3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    does(bad, "")
    assert main(words) == 0
    assert good.place(f"{ROOT}/runs").read_text() == "ran\n"


def test_ctrl_c_leaves_nothing_here_and_ends_the_run_there(
    phones: Start, device: Words, tmp_path: Path
) -> None:
    phone = phones()
    does(phone, "touch started; trap '' HUP TERM; sleep 984; exit 1\n")
    command = [sys.executable, "-m", "pocketvec", *device(tmp_path / "out", names=ONE)]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=Path(__file__).parents[1]
    )
    deadline = time.monotonic() + 120
    while not phone.place(f"{ROOT}/started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    assert said.splitlines()[-1].startswith("pocketvec: error: interrupted")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    assert "sleep 984" not in phone.processes()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n",
            "the app crashed: Process crashed.",
        ),
        (
            "INSTRUMENTATION_RESULT: error=model.onnx: no such file\nINSTRUMENTATION_CODE: 0\n",
            "the app says: model.onnx: no such file",
        ),
        ("", "the app ended without a word"),
    ],
)
def test_what_the_app_ends_with_is_told(
    phones: Start, fails: Fails, tmp_path: Path, said: str, words: str
) -> None:
    phone = phones(programs=APP_PROGRAMS)
    phone.place("/data/local/tmp/says").write_text(said)
    apk = tmp_path / "harness.apk"
    apk.write_bytes(b"an app")
    assert fails("--mode", "app", "--apk", str(apk)) == f"{phone.address}: artifacts/{ONE[0]}: {words}"


def test_an_app_that_cannot_be_installed_is_told(phones: Start, fails: Fails, tmp_path: Path) -> None:
    pm = '#!/system/bin/sh\n[ "$1" = install ] && echo "Failure [INSTALL_FAILED_OLDER_SDK]"\n'
    phone = phones(programs=APP_PROGRAMS | {"pm": pm})
    apk = tmp_path / "harness.apk"
    apk.write_bytes(b"an app")
    assert fails("--mode", "app", "--apk", str(apk)) == (
        f"{phone.address}: harness.apk is not installed: INSTALL_FAILED_OLDER_SDK"
    )
