"""Why no phone can be measured on, over the real adb client: one line, exit code 2, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_phone import SimulatedPhone

pytestmark = pytest.mark.android
pytest_plugins = ("device_fixtures",)

Start = Callable[..., SimulatedPhone]
Adb = Callable[..., str]
Fails = Callable[..., str]


def test_no_adb(fails: Fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    assert fails().startswith("adb: not on the PATH and not in $ANDROID_HOME/platform-tools")


def test_adb_of_the_sdk_is_found_where_the_path_has_none(
    adb: Adb, fails: Fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "sdk" / "platform-tools"
    folder.mkdir(parents=True)
    (folder / "adb").symlink_to(str(shutil.which("adb")))
    monkeypatch.setenv(
        "PATH", "/usr/bin:/bin" if not shutil.which("adb", path="/usr/bin:/bin") else "/nowhere"
    )
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert fails().startswith("no device")


def test_a_server_that_does_not_start(adb: Adb, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:no-such-host.invalid:5037")
    assert "its server does not start" in fails()


def test_no_device(adb: Adb, fails: Fails) -> None:
    assert fails().startswith("no device: connect a phone with USB debugging switched on")


def test_a_phone_that_has_not_allowed_this_computer(phones: Start, adb: Adb, fails: Fails) -> None:
    phone = phones(connect=False)
    phone.adbd.faults.asks = "permission"
    adb("connect", phone.address)
    assert fails() == (
        f"{phone.address}: unauthorised: unlock the phone and allow USB debugging from this computer"
    )


def test_a_phone_that_is_offline(phones: Start, adb: Adb, fails: Fails) -> None:
    phone = phones()
    phone.adbd.stop()
    assert fails() == f"{phone.address}: offline: plug it in again, or run adb reconnect"


def test_two_phones_and_no_word_which(phones: Start, fails: Fails) -> None:
    first, second = phones(), phones()
    line = fails()
    assert line.startswith("2 devices (")
    assert first.address in line
    assert second.address in line
    assert line.endswith("say which with --serial or --all-devices")


def test_one_phone_that_is_listed_twice(phones: Start, fails: Fails) -> None:
    first, second = (phones(properties={"ro.serialno": "1A2B3C"}) for _ in range(2))
    line = fails("--all-devices")
    assert {first.address, second.address} <= set(line.split())
    assert line.endswith(" are the same phone; name one with --serial")


def test_a_serial_that_is_not_there(phones: Start, fails: Fails) -> None:
    phone = phones()
    assert fails("--serial", "R58M") == f"serial 'R58M': no such device; adb lists {phone.address}"


def test_an_abi_that_nothing_is_built_for(phones: Start, fails: Fails) -> None:
    old = {"ro.product.cpu.abi": "armeabi-v7a", "ro.product.cpu.abilist": "armeabi-v7a,armeabi"}
    phone = phones(properties=old)
    assert fails() == (
        f"{phone.address}: ABI 'armeabi-v7a,armeabi' is not supported; supported are arm64-v8a, x86_64"
    )
