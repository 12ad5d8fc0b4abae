"""Fixtures of the driver's tests: adb with a server of its own, simulated phones, answers to hand out."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from device_samples import NAMES, ONE, WORDS, answer, write_stand_in
from simulated_phone import SimulatedPhone

from android_harness.protocol import Job
from android_harness.toolchain.adb import adb_program, fetch, phone_programs
from android_harness.toolchain.fetch import tools
from pocketvec.cli import main


@pytest.fixture(scope="session")
def answers(
    artifacts: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Job, Path]]:
    """Job and results folder by profile."""
    root = tmp_path_factory.mktemp("answers")
    return {name: answer(artifacts / name, small_data, root) for name in NAMES}


@pytest.fixture(scope="session")
def stand_in(answers: dict[str, tuple[Job, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A payload that hands out those answers."""
    path = tmp_path_factory.mktemp("payload") / "payload.tar.gz"
    write_stand_in(path, answers)
    return path


@pytest.fixture(scope="session")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Limits for a small set of questions: parity alone."""
    path = tmp_path_factory.mktemp("gates") / "gates.toml"
    path.write_text('schema = "pocketvec.gates/2"\n[golden_cosine.default]\nmean = 0.9\nmin = 0.5\n')
    return path


@pytest.fixture(scope="session")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """The real adb, first on the PATH, with a home and a server of its own; gives what it says."""
    folder = tools() / "adb"
    fetch(folder)
    with pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        patch.setenv("PATH", f"{adb_program(folder).parent}:{os.environ['PATH']}")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        patch.setenv("ADB_LOCAL_TRANSPORT_MAX_PORT", "5554")  # looks for no emulators
        patch.delenv("ANDROID_SERIAL", raising=False)

        def run(*words: str) -> str:
            said = subprocess.run([adb_program(folder), *words], capture_output=True, text=True, timeout=60)
            return said.stdout + said.stderr

        run("start-server")
        yield run
        run("kill-server")


@pytest.fixture
def phones(adb: Callable[..., str], tmp_path: Path) -> Iterator[Callable[..., SimulatedPhone]]:
    """Starts a simulated phone, plugs it in, and takes it away after the test."""
    programs = phone_programs(tools() / "adb")
    with ExitStack() as stack:

        def start(*, connect: bool = True, **options: object) -> SimulatedPhone:
            folder = tmp_path / f"phone{len(list(tmp_path.glob('phone*')))}"
            phone = stack.enter_context(SimulatedPhone(folder, programs, **options))  # type: ignore[arg-type]
            stack.callback(adb, "disconnect", phone.address)
            if connect:
                adb("connect", phone.address)
            return phone

        yield start
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def device(artifacts: Path, small_data: Path, stand_in: Path, gates: Path) -> Callable[..., list[str]]:
    """The command line that measures the two profiles with the stand-in, and `words`."""

    def words(out: Path, *more: str, names: tuple[str, ...] = NAMES) -> list[str]:
        common = ["--data", str(small_data), "--payload", str(stand_in), "--gates", str(gates), *WORDS]
        return ["device", *(str(artifacts / name) for name in names), "--out", str(out), *common, *more]

    return words


@pytest.fixture
def fails(
    device: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command, which must end with exit code 2, one line and no report; gives the line."""

    def run(*words: str) -> str:
        before = {one.name for one in tmp_path.iterdir()}
        capsys.readouterr()
        assert main(device(tmp_path / "out", *words, names=ONE)) == 2
        said = capsys.readouterr()
        assert {one.name for one in tmp_path.iterdir()} == before
        assert said.out == ""
        (line,) = [one for one in said.err.splitlines() if one.startswith("pocketvec: error: ")]
        return line.removeprefix("pocketvec: error: ")

    return run
