"""Which of the phones that adb lists are meant, and why one cannot be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError

READY = "device"
REASONS = {
    "unauthorized": "unauthorised: unlock the phone and allow USB debugging from this computer",
    "authorizing": "not authorised yet: unlock the phone and allow USB debugging from this computer",
    "offline": "offline: plug it in again, or run adb reconnect",
    "connecting": "still connecting: wait a moment",
    "no permissions": "no permission to talk to it: this computer's udev rules do not allow its USB device",
    "recovery": "in recovery: start Android on it",
    "sideload": "in sideload mode: start Android on it",
    "bootloader": "in its bootloader: start Android on it",
}
SERIAL_VARIABLE = "ANDROID_SERIAL"
"""Names the phone that adb itself takes where it is not told another one."""
LINE = re.compile(r"(?P<serial>\S.*?)\s+(?P<state>no permissions|[a-z]+)\b(?P<more>.*)")
"""A phone that is found over Wi-Fi can have a space in its name: `adb-1A2B-xyz (2)._adb-tls-connect._tcp`."""


@dataclass(frozen=True)
class Listed:
    """One phone as adb lists it."""

    serial: str
    state: str
    model: str = ""


def parse_devices(text: str) -> list[Listed]:
    """The phones in the output of `adb devices -l`; what else adb says there is left out."""
    found = []
    for line in text.splitlines():
        if line.startswith(("List of devices", "*", "adb ")):
            continue
        if match := LINE.fullmatch(line.strip()):
            model = re.search(r"\bmodel:(\S+)", match["more"])
            found.append(Listed(match["serial"], match["state"], model[1] if model else ""))
    return found


def choose(
    listed: Sequence[Listed], serials: Sequence[str], all_devices: bool, preset: str = ""
) -> list[Listed]:
    """The phones to measure on: those of `serials`, all of them, the one of `preset`, or the only one.

    `preset`: what ANDROID_SERIAL says. Raises UserError where there is none, where it is not said which, for
    a serial that adb does not list, lists twice or that is given twice, and for a phone that cannot be used.
    """
    known = {one.serial: one for one in listed}
    if preset and not serials and not all_devices:
        serials, source = [preset], f"{SERIAL_VARIABLE} "
    else:
        source = ""
    for serial in serials:
        if serial not in known:
            names = f"adb lists {', '.join(known)}" if known else "adb lists none"
            raise UserError(f"{source}serial '{serial}': no such device; {names}")
        if list(serials).count(serial) > 1:
            raise UserError(f"serial '{serial}': given twice")
    if not known:
        raise UserError("no device: connect a phone with USB debugging switched on; adb devices must list it")
    if not serials and not all_devices and len(known) > 1:
        raise UserError(
            f"{len(known)} devices ({', '.join(known)}): say which with --serial or --all-devices"
        )
    chosen = [known[serial] for serial in serials] if serials else list(listed)
    for one in chosen:
        if [other.serial for other in listed].count(one.serial) > 1:
            raise UserError(f"{one.serial}: two devices call themselves so; leave one of them connected")
        if one.state != READY:
            raise UserError(f"{one.serial}: {REASONS.get(one.state, f'in state {one.state!r}, not ready')}")
    return chosen
