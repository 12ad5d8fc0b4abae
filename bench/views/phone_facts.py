"""What a report says of the phone it was measured on, in words, and which limits count there."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.device import Device
from bench.measurements import BYTES_PER_MB, Latency
from bench.report import DEVICE, EMULATED, Report

DRIFT = 0.1
"""How far the last third of the timings may lie from the first before it is said."""
COUNTING = {
    DEVICE: "all of them count, absolute latency and memory included",
    EMULATED: "parity and NDCG count; latency and memory are the emulator's and are not applied",
}


def phone_facts(report: Report) -> Iterator[tuple[str, str]]:
    """(name, text) pairs beyond those of every report; none for a host's."""
    if device := report.context.device:
        yield "Phone", _phone(device)
        yield "Build", device.fingerprint
        yield "Cores", _cores(device)
        yield "Battery and heat", _heat(device)
    if report.context.target.kind in COUNTING:
        yield "Limits", COUNTING[report.context.target.kind]
    if drifting := list(_drifting(report)):
        yield "Drift", f"last third of the timings against the first, medians: {'; '.join(drifting)}"
    if rest := [
        f"{one.name} {one.pss_mb['rest'].total:.1f}" for one in report.profiles if "rest" in one.pss_mb
    ]:
        yield "PSS at rest, MB", ", ".join(rest)


def drift(latency: Latency) -> float:
    """How much slower the last third of the timed runs was than the first, by their medians; 0.1 is 10 %."""
    third = max(1, latency.runs // 3)
    first, last = statistics.median(latency.ms[:third]), statistics.median(latency.ms[-third:])
    return last / first - 1 if first > 0 else 0.0


def _drifting(report: Report) -> Iterator[str]:
    for profile in report.profiles if report.context.device else []:
        for length, timed in sorted(profile.latency_ms.items(), key=lambda one: int(one[0])):
            if abs(drift(timed)) > DRIFT:
                yield f"{profile.name} at {length} tokens {drift(timed):+.0%}"


def _phone(device: Device) -> str:
    parts = [
        f"{device.brand} {device.model} ({device.device})",
        f"Android {device.release}" + (f", API {device.sdk}" if device.sdk is not None else ""),
        device.soc or "",
        device.abi,
        f"{device.mem_total_bytes / BYTES_PER_MB:.0f} MB of RAM" if device.mem_total_bytes else "",
        f"pages of {device.page_size_bytes} bytes" if device.page_size_bytes else "",
    ]
    return ", ".join(filter(None, parts))


def _cores(device: Device) -> str:
    speeds = ", ".join(f"{khz / 1e6:.2f}" for khz in device.cpu_max_freq_khz)
    parts = [f"threads on {device.affinity}" if device.affinity else "threads not bound"]
    return "; ".join(parts + ([f"highest GHz by core {speeds}"] if speeds else []))


def _heat(device: Device) -> str:
    charge = "battery not read" if device.battery_percent is None else f"battery {device.battery_percent} %"
    charging = {True: ", charging", False: ", not charging", None: ""}[device.charging]
    known = [one.status for one in device.thermal if one.status is not None]
    heat = (
        f"highest thermal status {max(known)} of {len(known)} readings"
        if known
        else "thermal status not read"
    )
    return f"{charge}{charging}; {heat}"
