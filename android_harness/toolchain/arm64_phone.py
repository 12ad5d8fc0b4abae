"""What a simulated arm64 phone needs besides an x86 one: mksh and toybox for it, and a kernel that runs them.

The kernel is told to start arm64 programs through QEMU, by a binfmt_misc of the phone's own user namespace
(Linux 6.7 and later): nothing of the machine's own changes, and it ends with the phone.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from android_harness.toolchain import arm64, userland
from android_harness.toolchain.debs import open_packages
from android_harness.toolchain.fetch import downloads, install, tools

PACKAGES = ("mksh", "toybox", "libcrypt1")
LIBRARIES = ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6")
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""An ELF header's first bytes: 64 bits, little endian, a program of either kind, for AArch64 (183)."""
FLAGS = "OCF"
"""F: the emulator is opened now, so that it is found from within the phone's own root."""
SETUP = """\
# Sourced while a phone's root is prepared, in its own namespaces, with $root set and $root/proc mounted.
mount -t binfmt_misc binfmt_misc "$root/proc/sys/fs/binfmt_misc"
printf '%s' {rule} > "$root/proc/sys/fs/binfmt_misc/register"
mount --bind {cpuinfo} "$root/proc/cpuinfo"
mkdir -p "$root/lib"
mount --bind {libraries} "$root/lib"
"""


def fetch(folder: Path) -> None:
    """Have the phone's programs in `folder`. Raises UserError where apt cannot give one of them."""
    python = arm64.home() / "userland"
    install(folder, f"phone 1 {userland.wanted()}", lambda building: _fill(building, python))


def home() -> Path:
    """The fetched part; fetched now where it is not there."""
    folder = tools() / "arm64_phone"
    fetch(folder)
    return folder


def programs() -> dict[str, Path]:
    """The phone's shell and its toybox, by name."""
    return {name: home() / "bin" / name for name in ("mksh", "toybox")}


def environment(core: str) -> dict[str, str]:
    """What every program of the phone needs in its environment to run on this kind of core."""
    return {"QEMU_CPU": arm64.CORES[core].model}


def write_setup(path: Path, core: str) -> Path:
    """Write the part of a phone's set-up that makes it one with this kind of core; see SETUP."""
    emulator = arm64.home() / "qemu" / arm64.EMULATOR
    text = SETUP.format(
        rule=shlex.quote(f":qemu-aarch64:M::{MAGIC}:{MASK}:{emulator}:{FLAGS}"),
        cpuinfo=shlex.quote(str(arm64.home() / "cores" / core / "proc" / "cpuinfo")),
        libraries=shlex.quote(str(home() / "lib")),
    )
    path.write_text(text)
    return path


def _fill(folder: Path, python: Path) -> None:
    for made in ("bin", "lib"):
        (folder / made).mkdir()
    with downloads() as work:
        with open_packages(arm64.ABI.debian) as packages:
            packages.unpack(PACKAGES, work)
        shutil.copy(next(work.glob("**/*-linux-musl/bin/mksh")), folder / "bin" / "mksh")
        shutil.copy(next(work.glob("**/bin/toybox")), folder / "bin" / "toybox")
        shutil.copy(next(work.glob("**/libcrypt.so.1")), folder / "lib" / "libcrypt.so.1")
    for name in LIBRARIES:
        shutil.copy(python / "lib" / name, folder / "lib" / name)
