"""Google Play's limits on what an app may make a phone download.

Source: Play Console Help, "Optimize your app's size and stay within Google Play app size limits" (answer
9859372), as stored in September 2026; until 2025 it gave 200 MB for the base module. Play counts compressed
bytes for one device, by a calculation of its own. Quantised weights hardly compress, so bytes on disk are a
close upper bound.
"""

from __future__ import annotations

MB = 1_000_000
BASE_MODULE_BYTES = 500_000_000
ASSET_PACK_BYTES = 1_500_000_000
INSTALL_TIME_BYTES = 4_000_000_000
"""All modules and install-time packs of an app together."""
MOBILE_DATA_BYTES = 200_000_000
"""Above this, Play asks a person without Wi-Fi before it downloads."""


def megabytes(size: int) -> str:
    """A size in MB of a million bytes."""
    return f"{size / MB:,.0f} MB"


def base_module_faults(what: str, size: int) -> list[str]:
    """Why assets of `size` bytes cannot lie in the base module; empty when they can."""
    return _faults(what, size, BASE_MODULE_BYTES, "the base module")


def asset_pack_faults(what: str, size: int) -> list[str]:
    """Why `size` bytes cannot be one asset pack; empty when they can."""
    return _faults(what, size, ASSET_PACK_BYTES, "an asset pack")


def download_notes(what: str, size: int) -> list[str]:
    """What Play does about a download of `size` bytes that is within its limits."""
    if size <= MOBILE_DATA_BYTES:
        return []
    asked = f"above {megabytes(MOBILE_DATA_BYTES)} Play asks before it downloads without Wi-Fi"
    return [f"{what}: {megabytes(size)}; {asked}"]


def _faults(what: str, size: int, limit: int, where: str) -> list[str]:
    if size <= limit:
        return []
    return [f"{what}: {megabytes(size)}, but Google Play takes {megabytes(limit)} in {where}"]
