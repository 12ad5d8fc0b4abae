"""The phone that a report was measured on."""

from __future__ import annotations

from dataclasses import dataclass, field

MODERATE_THERMAL = 2
"""PowerManager.THERMAL_STATUS_MODERATE: from here on the phone slows down, and timings mean nothing."""


@dataclass(frozen=True)
class Thermal:
    """How hot the phone is at a moment of the run.

    status: PowerManager.getCurrentThermalStatus (API 29), headroom: getThermalHeadroom (API 30).
    """

    moment: str
    status: int | None = None
    headroom: float | None = None


@dataclass(frozen=True)
class Device:
    """The phone. Build fields carry android.os.Build's values; what could not be read is None.

    sdk: API level. soc: manufacturer and model of the chip. cpu_features: as /proc/cpuinfo lists them.
    affinity: which cores the threads could run on, in words.
    """

    brand: str
    model: str
    device: str
    fingerprint: str
    release: str
    sdk: int | None
    abi: str
    soc: str | None = None
    cpu_features: list[str] = field(default_factory=list)
    cpu_max_freq_khz: list[int] = field(default_factory=list)
    page_size_bytes: int | None = None
    mem_total_bytes: int | None = None
    battery_percent: int | None = None
    charging: bool | None = None
    affinity: str | None = None
    thermal: list[Thermal] = field(default_factory=list)
