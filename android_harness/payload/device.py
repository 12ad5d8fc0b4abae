"""What a phone says about itself to a program in its shell; what it does not say is None."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from android_harness.protocol import Device, Pss, Thermal
from bench.measurements import BYTES_PER_MB

KB = 1024
TOOL_TIMEOUT_S = 20
CPU_INFO, MEMORY_INFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
CORES = Path("/sys/devices/system/cpu")
BATTERY = Path("/sys/class/power_supply/battery")
POWERED = re.compile(r"(?:AC|USB|Wireless|Dock) powered: true")
CHARGING = ("Charging", "Full")


def read_device(thermal: list[Thermal]) -> Device | None:
    """The phone's facts; None for a system without Android's `getprop`."""
    if shutil.which("getprop") is None:
        return None
    level, charging = battery()
    sdk = _property("ro.build.version.sdk")
    soc = " ".join(filter(None, (_property("ro.soc.manufacturer"), _property("ro.soc.model"))))
    return Device(
        brand=_property("ro.product.brand"),
        model=_property("ro.product.model"),
        device=_property("ro.product.device"),
        fingerprint=_property("ro.build.fingerprint"),
        release=_property("ro.build.version.release"),
        sdk=int(sdk) if sdk.isdecimal() else None,
        abi=_property("ro.product.cpu.abi"),
        soc=soc or _property("ro.board.platform") or None,
        cpu_features=cpu_features(),
        cpu_max_freq_khz=max_frequencies(),
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        mem_total_bytes=_mem_total(),
        battery_percent=level,
        charging=charging,
        affinity=f"any of cores {', '.join(map(str, sorted(os.sched_getaffinity(0))))}",
        thermal=thermal,
    )


def read_thermal(moment: str) -> Thermal:
    """The thermal status as PowerManager has it (API 29), through `dumpsys`."""
    found = re.search(r"Thermal Status: (\d)", _output("dumpsys", "thermalservice"))
    return Thermal(moment, int(found[1]) if found else None)


def read_pss(pid: int) -> Pss | None:
    """A process's proportional and private memory; None where the kernel does not let it be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = {name: int(value) * KB for name, value in re.findall(r"(\w+):\s+(\d+) kB", text)}
    if not {"Pss", "Private_Dirty", "Private_Clean"} <= set(found):
        return None
    parts = (found[name] / BYTES_PER_MB for name in ("Pss", "Private_Dirty", "Private_Clean"))
    return Pss(*(round(part, 3) for part in parts))


def cpu_name() -> str:
    """The chip as the system names it, else as its cores name themselves."""
    soc = " ".join(filter(None, (_property("ro.soc.manufacturer"), _property("ro.soc.model"))))
    lines = _cpu_info()
    for name in ("Hardware", "model name"):
        if not soc and (values := [value for key, value in lines if key == name]):
            return values[0]
    parts = [value for key, value in lines if key == "CPU part"]
    cores = ", ".join(f"{parts.count(part)} x part {part}" for part in dict.fromkeys(parts))
    return " with ".join(filter(None, (soc, cores))) or os.uname().machine


def cpu_features() -> list[str]:
    """Instruction sets that every core has, as /proc/cpuinfo lists them (`flags` on x86)."""
    listed = [value.split() for key, value in _cpu_info() if key in ("Features", "flags")]
    return [one for one in listed[0] if all(one in other for other in listed)] if listed else []


def max_frequencies() -> list[int]:
    """Highest clock of each core in kHz, in the order of their numbers; empty where it cannot be read."""
    found = []
    for core in sorted(CORES.glob("cpu[0-9]*"), key=lambda path: int(path.name[3:])):
        text = _text(core / "cpufreq" / "cpuinfo_max_freq").strip()
        if text.isdecimal():
            found.append(int(text))
    return found


def battery() -> tuple[int | None, bool | None]:
    """Percent and whether it is being charged, through `dumpsys`, else from /sys."""
    said = _output("dumpsys", "battery")
    if level := re.search(r"^\s*level: (\d+)", said, re.MULTILINE):
        return int(level[1]), bool(POWERED.search(said))
    capacity, status = _text(BATTERY / "capacity").strip(), _text(BATTERY / "status").strip()
    return int(capacity) if capacity.isdecimal() else None, status in CHARGING if status else None


def _property(name: str) -> str:
    return _output("getprop", name).strip()


def _output(*command: str) -> str:
    """What one of the phone's programs says; nothing where there is no such program, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=TOOL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def _cpu_info() -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in _text(CPU_INFO).splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _mem_total() -> int | None:
    found = re.search(r"MemTotal:\s+(\d+) kB", _text(MEMORY_INFO))
    return int(found[1]) * KB if found else None


def _text(path: Path) -> str:
    """A small file; nothing where it is not there or may not be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
