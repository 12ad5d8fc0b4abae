"""adb as a program: found where Android's tools are, ended when time is up or someone says stop."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from android_harness.driver.adb import Adb, Said, Stopped, TimeUp, find_adb
from common.errors import UserError

SLEEP = Path(str(shutil.which("sleep")))


def test_a_call_that_does_not_end_in_its_time_is_one_line() -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=r"sleep 30 \.\.\.: no end within 0\.3 s") as raised:
        Adb(SLEEP).call("30", seconds=0.3)
    assert isinstance(raised.value, TimeUp)
    assert time.monotonic() - started < 20


def test_stop_ends_a_call_that_waits_but_not_one_that_tidies_up() -> None:
    adb = Adb(SLEEP)
    threading.Timer(0.3, adb.stop.set).start()
    with pytest.raises(Stopped):
        adb.call("30")
    assert adb.call("0.3", heed_stop=False).code == 0


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing: cannot be run: No such file"):
        Adb(tmp_path / "nothing").call("devices")


def test_adb_is_sought_on_the_path_and_then_in_the_sdk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    with pytest.raises(UserError, match="adb: not on the PATH"):
        find_adb()
    for folder in ("sdk/platform-tools", "bin"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "adb").symlink_to(SLEEP)
        assert find_adb().program == tmp_path / folder / "adb"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (Said(1, "working\n", "error: closed\n\n"), "error: closed"),
        (Said(1, "adb: error: no such\n", ""), "adb: error: no such"),
        (Said(1, "", " \n"), "no message"),
    ],
)
def test_the_last_line_that_says_something_is_quoted(said: Said, line: str) -> None:
    assert said.last_line == line
