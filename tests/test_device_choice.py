"""Which phones are meant: what `adb devices -l` prints, and every reason why one cannot be used."""

import pytest

from android_harness.driver.choice import Listed, choose, parse_devices
from common.errors import UserError

PRINTED = """\
* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
R58M123ABC             device usb:1-2 product:nine model:Phone_9 device:nine transport_id:3
emulator-5554          device product:sdk model:sdk_gphone64_x86_64 device:emu64xa transport_id:1
0123456789             unauthorized usb:1-3 transport_id:4
192.168.1.5:5555       offline transport_id:5
adb-1A2B3C-xYz (2)._adb-tls-connect._tcp device product:nine model:Phone_9 device:nine transport_id:6
????????????           no permissions (missing udev rules? user is in the plugdev group); see [http://x]

"""


def test_every_listed_phone_is_read_with_its_state() -> None:
    found = parse_devices(PRINTED)
    assert [(one.serial, one.state, one.model) for one in found] == [
        ("R58M123ABC", "device", "Phone_9"),
        ("emulator-5554", "device", "sdk_gphone64_x86_64"),
        ("0123456789", "unauthorized", ""),
        ("192.168.1.5:5555", "offline", ""),
        ("adb-1A2B3C-xYz (2)._adb-tls-connect._tcp", "device", "Phone_9"),
        ("????????????", "no permissions", ""),
    ]


def test_the_only_phone_needs_no_name_and_several_are_all_or_named() -> None:
    one, two = Listed("a", "device"), Listed("b", "device")
    assert choose([one], [], all_devices=False) == [one]
    assert choose([one, two], [], all_devices=True) == [one, two]
    assert choose([one, two], ["b"], all_devices=False) == [two]


def test_the_variable_that_adb_heeds_names_the_phone_unless_the_command_does() -> None:
    one, two = Listed("a", "device"), Listed("b", "device")
    assert choose([one, two], [], all_devices=False, preset="b") == [two]
    assert choose([one, two], ["a"], all_devices=False, preset="b") == [one]
    assert choose([one, two], [], all_devices=True, preset="b") == [one, two]
    with pytest.raises(UserError, match="ANDROID_SERIAL serial 'c': no such device; adb lists a, b"):
        choose([one, two], [], all_devices=False, preset="c")


@pytest.mark.parametrize(
    ("listed", "serials", "words"),
    [
        ([], [], "no device: connect a phone"),
        ([], ["x"], "serial 'x': no such device; adb lists none"),
        ([Listed("a", "device")], ["x"], "serial 'x': no such device; adb lists a"),
        ([Listed("a", "device")], ["a", "a"], "serial 'a': given twice"),
        ([Listed("a", "device"), Listed("b", "device")], [], "2 devices (a, b): say which"),
        ([Listed("a", "unauthorized")], [], "a: unauthorised: unlock the phone"),
        ([Listed("a", "offline")], [], "a: offline"),
        ([Listed("a", "no permissions")], [], "a: no permission to talk to it"),
        ([Listed("a", "device"), Listed("a", "device")], [], "a: two devices call themselves so"),
        ([Listed("a", "rescue")], [], "a: in state 'rescue', not ready"),
    ],
)
def test_what_cannot_be_used_is_named(listed: list[Listed], serials: list[str], words: str) -> None:
    with pytest.raises(UserError) as raised:
        choose(listed, serials, all_devices=False)
    assert str(raised.value).startswith(words)
