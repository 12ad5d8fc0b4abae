"""android_harness/toolchain/fetch.py and its command: all or nothing, pinned, one line for a failure."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from android_harness.toolchain import fetch, java
from android_harness.toolchain.__main__ import PARTS, main
from android_harness.toolchain.fetch import Pin, install, pip_wheel, run, tools
from common.errors import UserError
from common.files import sha256_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(fetch.TOOLS_VARIABLE, str(tmp_path / "tools"))
    return tools() / "part"


def test_a_part_is_filled_once_and_again_when_its_stamp_changes(folder: Path) -> None:
    filled: list[str] = []

    def fill(building: Path) -> None:
        filled.append("once more")
        (building / f"content-{len(filled)}").write_text("x")

    for stamp in ("a", "a", "b", "b"):
        install(folder, stamp, fill)
    assert len(filled) == 2
    assert [path.name for path in folder.glob("content-*")] == ["content-2"]


def test_a_part_that_fails_leaves_nothing_and_is_tried_again(folder: Path) -> None:
    def fail(building: Path) -> None:
        (building / "half").write_text("x")
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        install(folder, "a", fail)
    assert not folder.exists()
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == []
    install(folder, "a", lambda building: None)
    assert folder.is_dir()


def test_of_several_who_want_a_part_one_fills_it(folder: Path) -> None:
    filled: list[int] = []
    started = threading.Barrier(4)

    def want() -> None:
        started.wait()
        install(folder, "a", lambda building: filled.append(1))

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert filled == [1]


def test_a_wheel_with_other_bytes_is_refused_by_hash_and_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the folder below is all that pip may look at
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel = _wheel(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError) as refusal:
        pip_wheel(Pin("some-tool", "1.0", "0" * 64), out)
    assert all(part in str(refusal.value) for part in (wheel.name, "pinned is 000", "nothing was unpacked"))
    right = Pin("some-tool", "1.0", sha256_file(wheel))
    assert pip_wheel(right, out).name == wheel.name


def test_a_version_that_the_registry_lacks_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"pip download.*ERROR: .*some-tool==1.0"):
        pip_wheel(Pin("some-tool", "1.0", "0" * 64), tmp_path)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no-such-program: not on the PATH"):
        run(["no-such-program", "--help"])


def test_an_unknown_part_ends_with_2_and_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradle"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(part in said for part in ("gradle", *PARTS))


def test_an_old_java_is_refused_with_the_version_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UserError, match=r"11\.0\.2.*Java 17 or later"):
        java.java()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="java: not on the PATH"):
        java.java()


def test_the_command_says_in_one_line_which_part_does_not_come(tmp_path: Path) -> None:
    environment = {"PATH": "/nowhere", fetch.TOOLS_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-m", "android_harness.toolchain", "junit"]
    done = subprocess.run(command, env=environment, cwd=fetch.ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    line = "android_harness.toolchain: error: junit: dpkg: not on the PATH, and the toolchain needs it\n"
    assert done.stderr == line


def _wheel(folder: Path) -> Path:
    path = folder / "some_tool-1.0-py3-none-any.whl"
    info = "some_tool-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-tool\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path
