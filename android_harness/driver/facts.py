"""What a phone says of itself before anything runs on it: build, ABI, cores; is it an emulator?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from android_harness.driver.emulators import is_emulator
from android_harness.driver.phone import ROOT, Phone
from android_harness.protocol import Device
from bench.report import DEVICE, EMULATED
from common.errors import UserError

ABIS = ("arm64-v8a", "x86_64")
"""What the shell payload and the app are built for."""
PROPERTIES = (
    *("ro.product.brand", "ro.product.model", "ro.product.device", "ro.build.fingerprint"),
    *("ro.build.version.release", "ro.build.version.sdk", "ro.product.cpu.abi", "ro.product.cpu.abilist"),
    *("ro.soc.manufacturer", "ro.soc.model", "ro.kernel.qemu", "ro.boot.qemu", "ro.hardware"),
)
COMMAND = "\n".join(
    [
        *(f'echo "{name}=$(getprop {name})"' for name in PROPERTIES),
        "for one in /sys/devices/system/cpu/cpu[0-9]*; do",
        '    echo "core ${one##*/cpu}=$(cat $one/cpu_capacity 2>/dev/null)'
        ' $(cat $one/cpufreq/cpuinfo_max_freq 2>/dev/null)"',
        "done",
        'echo "memory=$(grep MemTotal /proc/meminfo)"',
        'echo "page=$(getconf PAGESIZE 2>/dev/null)"',
    ]
)
IDENTITY_COMMAND = 'echo "$(getprop ro.serialno) $(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"'
"""Emulators have one serial number among them, but each has started by itself."""
THERMAL_COMMAND = "dumpsys thermalservice 2>/dev/null | grep -i 'thermal status' | head -n 1"


@dataclass(frozen=True)
class Facts:
    """Build properties by name, and by core its capacity and highest kHz (0: the kernel does not tell)."""

    properties: dict[str, str]
    capacities: dict[int, int]
    max_khz: dict[int, int]
    mem_total_bytes: int | None
    page_size_bytes: int | None

    @cached_property
    def abi(self) -> str:
        """The best ABI that pocketvec is built for; empty where there is none."""
        own = self.properties["ro.product.cpu.abilist"] or self.properties["ro.product.cpu.abi"]
        return next((one for one in own.split(",") if one in ABIS), "")

    @property
    def kind(self) -> str:
        """What it is for the gate: device or emulated."""
        flags = [self.properties[name] for name in ("ro.kernel.qemu", "ro.boot.qemu")]
        names = ("ro.product.cpu.abi", "ro.hardware", "ro.build.fingerprint")
        seems = is_emulator(*(self.properties[name] for name in names))
        return EMULATED if "1" in flags or seems else DEVICE

    def big_cores(self, threads: int) -> list[int]:
        """The cores of highest capacity, of all alike all, until each thread has one of its own.

        Chips of today have a single core or two of the highest capacity, and threads of a runtime that share
        a core wait for each other: 4 on one would measure the waiting. All cores where the kernel tells no
        difference.
        """
        found: list[int] = []
        for capacity in sorted({*self.capacities.values()}, reverse=True):
            if len(found) < threads:
                found += [core for core, own in self.capacities.items() if own == capacity]
        return sorted(found)

    def device(self) -> Device:
        """The facts as a report holds them."""
        own = self.properties
        chip = " ".join(filter(None, (own["ro.soc.manufacturer"], own["ro.soc.model"])))
        return Device(
            brand=own["ro.product.brand"],
            model=own["ro.product.model"],
            device=own["ro.product.device"],
            fingerprint=own["ro.build.fingerprint"],
            release=own["ro.build.version.release"],
            sdk=int(own["ro.build.version.sdk"]) if own["ro.build.version.sdk"].isdecimal() else None,
            abi=own["ro.product.cpu.abi"],
            soc=chip or None,
            cpu_max_freq_khz=[self.max_khz[core] for core in sorted(self.max_khz) if self.max_khz[core]],
            page_size_bytes=self.page_size_bytes,
            mem_total_bytes=self.mem_total_bytes,
        )


def read_facts(phone: Phone) -> Facts:
    """Ask a phone. Raises UserError for an ABI that nothing is built for."""
    facts = parse_facts(phone.shell(COMMAND, "reading its properties"))
    if not facts.abi:
        own = facts.properties["ro.product.cpu.abilist"] or facts.properties["ro.product.cpu.abi"]
        raise UserError(
            f"{phone.serial}: ABI '{own or 'unknown'}' is not supported; supported are {', '.join(ABIS)}"
        )
    return facts


def refuse_same(phones: Sequence[Phone]) -> None:
    """Raise UserError where two are one phone, by cable and by Wi-Fi: each run would end the other's."""
    known: dict[str, str] = {}
    for phone in phones if len(phones) > 1 else ():
        identity = phone.shell(IDENTITY_COMMAND, "asking for its serial number").rstrip("\n")
        if not identity.startswith(" ") and identity in known:
            raise UserError(
                f"{known[identity]} and {phone.serial} are the same phone; name one with --serial"
            )
        known[identity] = phone.serial


def parse_facts(text: str) -> Facts:
    """Facts from what COMMAND writes; whatever is missing is empty or None."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    capacities, max_khz = {}, {}
    for name, value in values.items():
        if name.startswith("core ") and name[5:].isdecimal():
            core, (capacity, _, khz) = int(name[5:]), value.partition(" ")
            capacities[core] = int(capacity) if capacity.isdecimal() else 0
            max_khz[core] = int(khz) if khz.isdecimal() else 0
    memory = re.search(r"(\d+) kB", values.get("memory", ""))
    page = values.get("page", "")
    return Facts(
        properties={name: values.get(name, "").strip() for name in PROPERTIES},
        capacities=dict(sorted(capacities.items())),
        max_khz=max_khz,
        mem_total_bytes=int(memory[1]) * 1024 if memory else None,
        page_size_bytes=int(page) if page.isdecimal() else None,
    )


def read_thermal(phone: Phone) -> int | None:
    """PowerManager's thermal status as dumpsys tells it (API 29), None where it does not."""
    said = phone.ask(THERMAL_COMMAND, "reading its temperature")
    found = re.search(r"status:\s*(\d+)", said.out, re.IGNORECASE)
    return int(found[1]) if found else None


def prepare_root(phone: Phone) -> None:
    """Make pocketvec's folder. Raises UserError where /data/local/tmp is missing or cannot be written to."""
    folders = " ".join(f"{ROOT}/{name}" for name in ("artifacts", "texts", "jobs", "results"))
    command = (
        f"[ -d /data/local/tmp ] || {{ echo '/data/local/tmp: No such file or directory' >&2; exit 1; }}; "
        f"mkdir -p {folders} && chmod 755 {ROOT} {ROOT}/artifacts {ROOT}/texts {ROOT}/jobs"
    )
    phone.shell(command, f"making {ROOT}")
