"""Google's adb client, and a phone's shell and tools, as Debian builds them: unpacked, not installed.

The adb client runs from the folder with its libraries beside it. mksh and toybox are what a phone has in
/system/bin; the simulated phone of the tests has them there.
"""

from __future__ import annotations

from pathlib import Path

from android_harness.toolchain.debs import open_packages
from android_harness.toolchain.fetch import install

PACKAGES = (
    *("adb", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog"),
    *("libbsd0", "libmd0", "libusb-1.0-0", "libudev1"),
    *("mksh", "toybox"),
)
LAUNCHER = """\
#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
libraries=$root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$libraries/android:$libraries:$root/lib/x86_64-linux-gnu"
exec "$root/usr/lib/android-sdk/platform-tools/adb" "$@"
"""


def fetch(folder: Path) -> None:
    """Have adb, mksh and toybox in `folder`. Raises UserError where apt cannot give one of them."""
    install(folder, f"adb 1 {' '.join(PACKAGES)}", _fill)


def adb_program(folder: Path) -> Path:
    """The adb command of a folder that `fetch` filled."""
    return folder / "launch" / "adb"


def phone_programs(folder: Path) -> dict[str, Path]:
    """The phone's shell and its toybox in a folder that `fetch` filled, by name."""
    return {"mksh": folder / "bin" / "mksh", "toybox": next(folder.glob("**/bin/toybox"))}


def _fill(folder: Path) -> None:
    with open_packages("amd64") as packages:
        packages.unpack(PACKAGES, folder)
    program = adb_program(folder)
    program.parent.mkdir()
    program.write_text(LAUNCHER, encoding="utf-8")
    program.chmod(0o755)
