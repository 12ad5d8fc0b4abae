"""The measured process and whoever watches it: figures that add up and repeat, nothing left running."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cost import Plan, measure_cost
from bench.measurements import Memory
from bench.proc import Status, read_status
from bench.worker import Worker
from common.errors import UserError
from export.artifact import open_artifact

ROOT = Path(__file__).parent.parent
PROFILES = [("artifacts", "onnx-fp32-768d"), ("litert_artifacts", "litert-int8-128d")]
PLAN = Plan([16, 64], runs=1, threads=2, timed=[])
UNSEEN_MB = 4
"""Of a peak that lasts less than the time between two samples."""


@pytest.fixture(scope="module", params=PROFILES, ids=[name for _, name in PROFILES])
def folder(request: pytest.FixtureRequest) -> Path:
    fixture, name = request.param
    made: Path = request.getfixturevalue(fixture) / name
    return made


@pytest.fixture(scope="module")
def twice(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Memory]:
    """Two processes at second use, after one that has built the weight cache."""
    plan = Plan([16, 64], 1, 2, tmp_path_factory.mktemp("weights"), timed=[])
    return [measure_cost(folder, plan).ram_mb for _ in range(3)][1:]


def test_the_kernels_split_adds_up_to_the_whole_in_every_reading() -> None:
    status, held = Status(), []
    for _ in range(200):
        held.append(bytearray(100_000))
        now = status.read()
        assert now["RssAnon"] + now["RssFile"] + now["RssShmem"] == now["VmRSS"] <= now["VmHWM"]
    status.close()


def test_a_reading_agrees_with_the_count_of_mapped_pages() -> None:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    counted = {name: int(value) for name, value in (line.split()[:2] for line in lines[1:])}
    now = read_status()
    assert abs(now["VmRSS"] - counted["Rss:"] * 1024) < 2_000_000
    assert abs(now["RssAnon"] - counted["Anonymous:"] * 1024) < 2_000_000


def test_a_kernel_that_tells_the_whole_alone_has_its_parts_counted_in_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = read_status()
    monkeypatch.setattr("bench.proc.FIELDS", re.compile(rb"(VmHWM|VmRSS):\s+(\d+) kB"))
    old = read_status()
    assert set(old) == set(now)
    assert old["RssAnon"] + old["RssFile"] == old["VmRSS"]
    assert abs(old["RssAnon"] - now["RssAnon"]) < 2_000_000
    assert abs(old["RssFile"] - now["RssFile"] - now["RssShmem"]) < 2_000_000


def test_samples_see_nearly_all_of_what_the_kernel_marks_as_the_peak(twice: list[Memory]) -> None:
    for ram in twice:
        marks = [ram.load_high_water, *ram.run_high_water.values()]
        sampled = [ram.load_peak.rss, *(point.rss for point in ram.run_peak.values())]
        assert all(-0.001 < mark - seen < UNSEEN_MB for mark, seen in zip(marks, sampled, strict=True))


def test_memory_is_told_at_every_moment_and_in_its_order(twice: list[Memory], folder: Path) -> None:
    for ram in twice:
        assert ram.start.rss < ram.after_load.rss <= ram.load_peak.rss
        assert ram.rest.rss <= ram.run_peak["64"].rss
        assert ram.start.anonymous < ram.highest.anonymous <= ram.anonymous_peak < ram.peak
        assert ram.highest.file_backed > ram.start.file_backed
        assert ram.after_first.rss <= ram.peak
        assert ram.peak_above_baseline * 1e6 > 0.5 * open_artifact(folder).file_bytes


def test_the_kernels_mark_is_that_of_each_part_by_itself(artifacts: Path, litert_artifacts: Path) -> None:
    """Opening takes more than running a short text; LiteRT hands back what a long one has needed."""
    ram = measure_cost(artifacts / "onnx-int8-768d", Plan([16, 1000], 1, 1, timed=[])).ram_mb
    assert ram.run_high_water["16"] < ram.load_high_water < ram.run_high_water["1000"] == ram.peak
    with Worker(litert_artifacts / "litert-fp32-768d") as worker:
        worker.open(1, None)
        long, short = (worker.watch("run", length=length, runs=2)[1] for length in (1000, 16))
    assert short.high_water < long.high_water - 1


def test_two_processes_need_the_same_memory_within_5_percent(twice: list[Memory]) -> None:
    figures = [
        (one.peak_above_baseline, one.anonymous, one.highest.file_backed, *one.run_high_water.values())
        for one in twice
    ]
    for first, second in zip(*figures, strict=True):
        assert abs(first - second) <= 0.05 * min(first, second)


def test_a_file_just_written_costs_what_it_does_when_it_is_read_later(
    artifacts: Path, tmp_path: Path
) -> None:
    """The kernel maps more around each access to what was just written."""
    for file in (artifacts / "onnx-fp32-768d").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    written = measure_cost(tmp_path, PLAN).ram_mb.run_high_water["16"]
    for file in tmp_path.iterdir():
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            opened.read()
    with Worker(tmp_path) as worker:
        worker.open(2, None)
        _, read = worker.watch("run", length=16, runs=30)
    assert abs(written - read.high_water) < 0.05 * read.high_water


def test_the_measured_process_is_the_lean_one(artifacts: Path) -> None:
    """No sampler, no thread of ours: the interpreter, numpy and the few modules that the probe needs."""
    with Worker(artifacts / "onnx-fp32-128d") as worker:
        (start,) = Path(f"/proc/{worker.pid}/task").iterdir()
        assert start.name == str(worker.pid)
        answer, load = worker.watch("open", threads=1, cache=None)
    alone = "import numpy; print(open('/proc/self/status').read())"
    text = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True).stdout
    bare = next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))
    assert answer["start"]["VmRSS"] - bare < 2_500_000
    assert load.end.rss * 1e6 > answer["start"]["VmRSS"]


def test_a_heavy_module_in_the_measured_process_is_refused(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys, json; sys.modules['torch'] = json")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    with pytest.raises(RuntimeError, match=r"imported \['torch'\]"):
        measure_cost(artifacts / "onnx-fp32-128d", PLAN)


def test_an_artifact_that_cannot_be_read_is_one_line(artifacts: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (artifacts / "onnx-fp32-128d").iterdir():
        (broken / file.name).write_bytes(b"no graph" if file.suffix == ".onnx" else file.read_bytes())
    with pytest.raises(
        UserError, match=r"broken: the measuring process ended with 1: .*cannot open"
    ) as caught:
        measure_cost(broken, PLAN)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("delay", ["0", "0.3"])
def test_a_process_that_is_killed_before_or_while_it_runs_is_one_line(artifacts: Path, delay: str) -> None:
    with pytest.raises(UserError, match="the measuring process ended with -9: no message"):
        run_and_kill(artifacts / "onnx-fp32-128d", delay)


def run_and_kill(folder: Path, delay: str) -> None:
    with Worker(folder) as worker:
        worker.open(1, None)
        with subprocess.Popen(["/bin/sh", "-c", f"sleep {delay}; kill -9 {worker.pid}"]) as killer:
            if delay == "0":
                killer.wait()
            worker.ask("run", length=512, runs=100_000)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_running_after_an_error(artifacts: Path, kind: type[BaseException]) -> None:
    started: list[int] = []
    with pytest.raises(kind):
        fail_with(kind, artifacts / "onnx-fp32-128d", started)
    assert is_gone(started[0])


def fail_with(kind: type[BaseException], folder: Path, started: list[int]) -> None:
    with Worker(folder) as worker:
        started.append(worker.pid)
        worker.open(1, None)
        raise kind


LONG_JOB = """
import sys
from pathlib import Path
from bench.worker import Worker
with Worker(Path(sys.argv[1])) as worker:
    worker.open(1, None)
    print(worker.pid, flush=True)
    while True:
        worker.watch("run", length=16, runs=10)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_measured_process_ends_with_whoever_measures(artifacts: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", LONG_JOB, str(artifacts / "onnx-fp32-128d")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as measuring:
        assert measuring.stdout is not None
        pid = int(measuring.stdout.readline())
        measuring.send_signal(number)
    assert is_gone(pid)


def is_gone(pid: int) -> bool:
    """Whether a process has ended within ten seconds."""
    for _ in range(200):
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]:
                return True  # ended, and not yet waited for by whoever inherited it
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
