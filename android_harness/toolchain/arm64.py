"""Emulated ARM: QEMU in user mode, a userland of Python and both runtimes, and three kinds of core.

QEMU translates each instruction of an arm64 program and hands its system calls to this machine's kernel, so
what runs is the very code that a phone's processor runs, at a tenth of the speed or less. It says how the
kernels for ARM compute, and nothing about time or memory (docs/arm.md).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_harness.toolchain import userland
from android_harness.toolchain.debs import open_packages
from android_harness.toolchain.fetch import downloads, install, tools
from bench.worker import INTERPRETER_VARIABLE
from common.errors import UserError
from common.files import write_text

ABI = userland.ABIS["arm64-v8a"]
EMULATOR = "qemu-aarch64"
BASE_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
DOTPROD_FEATURES = f"{BASE_FEATURES} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
PROCESSOR = """\
processor\t: {number}
BogoMIPS\t: 100.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 0

"""
"""An entry of /proc/cpuinfo as ARM's kernel writes it."""


@dataclass(frozen=True)
class Core:
    """A kind of core: QEMU's model, and the part number and features that the kernel would list."""

    model: str
    part: str
    features: str


CORES = {
    "a53": Core("cortex-a53", "0xd03", BASE_FEATURES),
    "a76": Core("cortex-a76", "0xd0b", DOTPROD_FEATURES),
    "i8mm": Core("max,sve=off,sme=off", "0xd4d", f"{DOTPROD_FEATURES} i8mm bf16"),
}
"""Without the dot product (phones until 2018 and the small cores of many since), with it (from 2018 on), with
matrix products of 8 bits too (from 2021 on). SVE and SME stay off: QEMU 7.2 computes SME wrongly."""


def fetch(folder: Path) -> None:
    """Have emulator, userland and cores in `folder`. Raises UserError where apt or pip cannot give a part."""
    userland.fetch(folder / "userland", ABI)
    install(folder / "qemu", f"{EMULATOR} 1", _fill_qemu)
    for name, core in CORES.items():
        _write_cpuinfo(folder / "cores" / name, core)


def home() -> Path:
    """The fetched part; fetched now where it is not there."""
    folder = tools() / "arm64"
    fetch(folder)
    return folder


def command(core: str, options: Sequence[str] = ()) -> list[str]:
    """What runs arm64 Python on a core, its own arguments to follow; `options` go to QEMU.

    Raises UserError for an unknown core.
    """
    if core not in CORES:
        raise UserError(f"core '{core}': unknown; known are {', '.join(CORES)}")
    folder = home()
    python = folder / "userland"
    emulator = [str(folder / "qemu" / EMULATOR), "-cpu", CORES[core].model, *options]
    started = [
        str(userland.loader(python)),
        "--library-path",
        str(python / "lib"),
        str(python / "bin/python3"),
    ]
    return [*emulator, "-L", str(folder / "cores" / core), *started]


def environment(core: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What arm64 Python needs in its environment, besides this process's own."""
    python = home() / "userland"
    project = str(Path(__file__).resolve().parents[2])
    return {
        **os.environ,
        "PYTHONHOME": str(python),
        "PYTHONPATH": os.pathsep.join((project, str(python / "site"))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        INTERPRETER_VARIABLE: shlex.join(command(core)),
        **(more or {}),
    }


def run_arm64(core: str, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run arm64 Python on a core with these arguments; the project's own packages can be imported.

    Raises UserError for an unknown core, and where the program does not end in time.
    """
    try:
        return subprocess.run(
            [*command(core), *arguments],
            env=environment(core),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{' '.join(arguments[:3])} on {core}: no end after {timeout_s:g} s") from None


def _fill_qemu(folder: Path) -> None:
    """The one static program of the package, which has thirty more."""
    with downloads() as work:
        with open_packages("amd64") as packages:
            packages.unpack(["qemu-user-static"], work, f"usr/bin/{EMULATOR}-static")
        program = work / "usr" / "bin" / f"{EMULATOR}-static"
        if not program.is_file():
            raise UserError(f"qemu-user-static: the distribution's package holds no {program.name}")
        shutil.copy(program, folder / EMULATOR)


def _write_cpuinfo(prefix: Path, core: Core) -> None:
    """The file that QEMU opens in place of /proc/cpuinfo.

    QEMU before 8.2 would show this machine's own, of which onnxruntime cannot make sense and crashes. It must
    have as many processors as the machine.
    """
    entries = [
        PROCESSOR.format(number=number, features=core.features, part=core.part)
        for number in range(os.sysconf("SC_NPROCESSORS_CONF"))
    ]
    path, text = prefix / "proc" / "cpuinfo", "".join(entries)
    if not path.is_file() or path.read_text() != text:  # others may be reading it
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
