"""`pocketvec device` over the real adb client against simulated phones: what it does when all goes well."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from device_samples import NAMES, ROOT, answer, last_json
from simulated_app import APP_PROGRAMS, lay_out_answers
from simulated_phone import SimulatedPhone

from android_harness.payload.build import build_payload
from bench.report_file import read_report
from export.artifact import open_artifact
from export.source import Source
from export.to_litert import LiteRTOptions, export_litert
from pocketvec.cli import main

pytestmark = pytest.mark.android
pytest_plugins = ("device_fixtures",)

Start = Callable[..., SimulatedPhone]
Words = Callable[..., list[str]]


def artifact_bytes(phone: SimulatedPhone) -> int:
    """Bytes of artifacts that went over the cable."""
    pushed = phone.adbd.traffic.pushed.items()
    return sum(count for path, count in pushed if f"{ROOT}/artifacts/" in path)


def test_a_phone_gives_a_gated_report_in_the_hosts_schema(
    phones: Start, device: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phones()
    out = tmp_path / "out"
    assert main(device(out)) == 0
    assert last_json(capsys.readouterr().out)["passed"] == list(NAMES)
    report = read_report(out / "report.json")
    assert (report.context.target.kind, report.verdict) == ("emulated", "pass")
    assert report.context.device is not None
    assert report.context.device.model == "Simulated Phone"
    assert [one.golden.ids_equal for one in report.profiles] == [True, True]
    assert set(report.profiles[1].cache_states) == {"build", "warm"}
    assert {one.name for one in out.iterdir()} == {"report.json", "report.html", "report.md", "junit.xml"}


def test_the_same_gate_stops_a_phones_report(
    phones: Start, device: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phones()
    strict = tmp_path / "strict.toml"
    strict.write_text('schema = "pocketvec.gates/2"\n[golden_cosine.default]\nmean = 0.9999\nmin = 0.9999\n')
    assert main(device(tmp_path / "out", "--gates", str(strict))) == 1
    assert list(last_json(capsys.readouterr().out)["failed"]) == ["onnx-q4_0-128d"]  # type: ignore[call-overload]


def test_only_what_changed_is_pushed(
    phones: Start, device: Words, artifacts: Path, stand_in: Path, tmp_path: Path
) -> None:
    phone = phones()
    assert main(device(tmp_path / "first")) == 0
    whole = artifact_bytes(phone)
    files = [
        entry.bytes for name in NAMES for entry in open_artifact(artifacts / name).manifest.files.values()
    ]
    manifests = [(artifacts / name / "manifest.json").stat().st_size for name in NAMES]
    assert whole == sum(files) + sum(manifests)
    phone.adbd.traffic.pushed.clear()
    assert main(device(tmp_path / "second")) == 0
    assert artifact_bytes(phone) == 0
    assert not any("payload" in path for path in phone.adbd.traffic.pushed)
    changed = phone.place(f"{ROOT}/artifacts/{NAMES[1]}/golden.json")
    size = changed.stat().st_size
    changed.write_bytes(changed.read_bytes()[:-100])
    phone.place(f"{ROOT}/artifacts/{NAMES[0]}.sha256").unlink()
    assert main(device(tmp_path / "third")) == 0
    assert artifact_bytes(phone) == size


def test_results_leave_the_phone_once_they_are_in_a_report(
    phones: Start, device: Words, tmp_path: Path
) -> None:
    phone = phones()
    assert main(device(tmp_path / "out")) == 0
    assert phone.run(f"ls {ROOT}/results {ROOT}/jobs").split() == [f"{ROOT}/jobs:", f"{ROOT}/results:"]


def test_two_phones_at_once_give_a_report_each(
    phones: Start, device: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = phones(), phones(properties={"ro.product.model": "Other Phone"})
    # each waits until the other has come as far: one after the other would never end
    for one in (first, second):
        one.place(ROOT).mkdir(parents=True)
        one.place(f"{ROOT}/fault").write_text(
            "touch here; i=0; while [ ! -f go ]; do sleep 0.1; i=$((i+1)); [ $i -lt 600 ] || exit 9; done\n"
        )

    def meet() -> None:
        waiting = [one.place(f"{ROOT}/here") for one in (first, second)]
        while not all(path.exists() for path in waiting):
            if stop.wait(0.1):
                return
        for one in (first, second):
            one.place(f"{ROOT}/go").touch()

    stop = threading.Event()
    meeting = threading.Thread(target=meet)
    meeting.start()
    try:
        assert main(device(tmp_path / "out", "--all-devices", names=NAMES[1:])) == 0
    finally:
        stop.set()
        meeting.join()
    verdict = last_json(capsys.readouterr().out)
    assert set(verdict["devices"]) == {first.address, second.address}  # type: ignore[call-overload]
    folders = sorted((tmp_path / "out").iterdir())
    models = {read_report(one / "report.json").context.device.model for one in folders}  # type: ignore[union-attr]
    assert models == {"Simulated Phone", "Other Phone"}


def test_threads_are_bound_to_the_big_cores_and_the_report_says_so(
    phones: Start, device: Words, tmp_path: Path
) -> None:
    setup = tmp_path / "cores.sh"
    setup.write_text(
        'cores=$root/sys/devices/system/cpu; mount -t tmpfs cores "$cores"; '
        'mkdir "$cores/cpu0" "$cores/cpu1"; '
        'echo 400 > "$cores/cpu0/cpu_capacity"; echo 1024 > "$cores/cpu1/cpu_capacity"\n'
    )
    phone = phones(setup=setup)
    phone.place(ROOT).mkdir()
    phone.place(f"{ROOT}/fault").write_text("grep Cpus_allowed_list /proc/self/status >> bound\n")
    for cores, words in (("big", "cores 1, the ones of highest capacity (1024)"), ("all", None)):
        out = tmp_path / cores
        assert main(device(out, "--cores", cores, names=NAMES[1:])) == 0
        told = read_report(out / "report.json").context.device
        assert told is not None
        assert told.affinity == words or (words is None and "any of cores" in str(told.affinity))
    bound = [line.split()[1] for line in phone.place(f"{ROOT}/bound").read_text().splitlines()]
    assert bound[0] == "1"
    assert bound[1] != "1"


def test_the_app_is_installed_once_and_each_cache_state_is_a_launch(
    phones: Start, device: Words, starter: Source, small_data: Path, tmp_path: Path
) -> None:
    (litert,) = export_litert(starter, [128], tmp_path / "litert", LiteRTOptions(lengths=(64, 256)))
    _, answered = answer(litert, small_data, tmp_path / "answer")
    phone = phones(programs=APP_PROGRAMS)
    lay_out_answers(phone, answered)
    apk = tmp_path / "harness.apk"
    apk.write_bytes(b"an app")
    words = ("--mode", "app", "--apk", str(apk))
    for name in ("first", "second"):
        assert main(device(tmp_path / name, *words, names=(str(litert),))) == 0
    calls = phone.place("/data/local/tmp/calls").read_text().splitlines()
    assert [line.split()[0] for line in calls].count("install") == 1
    assert [line for line in calls if "instrument" in line] == ["instrument build", "instrument warm"] * 2
    report = read_report(tmp_path / "second" / "report.json")
    states = set(report.profiles[0].cache_states)
    assert (report.context.versions["client"], states) == ("app", {"build", "warm"})


def test_an_app_that_was_replaced_meanwhile_is_installed_again(
    phones: Start, device: Words, starter: Source, small_data: Path, tmp_path: Path
) -> None:
    (litert,) = export_litert(starter, [128], tmp_path / "litert", LiteRTOptions(lengths=(64, 256)))
    _, answered = answer(litert, small_data, tmp_path / "answer")
    phone = phones(programs=APP_PROGRAMS)
    lay_out_answers(phone, answered)
    apk = tmp_path / "harness.apk"
    apk.write_bytes(b"an app")
    words = ("--mode", "app", "--apk", str(apk))
    assert main(device(tmp_path / "first", *words, names=(str(litert),))) == 0
    phone.place("/data/local/tmp/base.apk").write_bytes(b"a debuggable one")
    assert main(device(tmp_path / "second", *words, names=(str(litert),))) == 0
    assert phone.place("/data/local/tmp/calls").read_text().splitlines().count("install") == 2
    assert phone.place("/data/local/tmp/base.apk").read_bytes() == b"an app"


def test_the_real_payload_measures_on_the_phone(
    phones: Start, device: Words, small_data: Path, tmp_path: Path
) -> None:
    payload = tmp_path / "real.tar.gz"
    build_payload("x86_64", payload)
    phone = phones()
    assert main(device(tmp_path / "out", "--payload", str(payload), names=NAMES[1:])) == 0
    report = read_report(tmp_path / "out" / "report.json")
    (profile,) = report.profiles
    assert profile.golden.ids_equal
    assert profile.faults == []
    assert profile.ram_mb.peak_above_baseline > 10
    assert len(profile.latency_ms["16"].ms) == 30
    assert report.context.versions["onnxruntime"]
    assert ROOT not in phone.processes()
