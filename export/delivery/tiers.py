"""Which artifact a phone gets, by its RAM: Google Play's device groups.

A device group is a name and a range of RAM; folders of an asset pack that end in #group_<name> go to its
devices alone, under the name without the suffix. Devices in no group get #group_other, which is implicit.
Source: developer.android.com/google/play/device-targeting (beta), bundletool's DeviceTargetingUtils.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError
from export.artifact import Artifact

FALLBACK = "other"
"""The group of every device that no other group takes; Play adds it by itself and refuses its definition."""
GROUP_SUFFIX = "#group_"
MB = 1_000_000
RAM_CLASSES_MB = (3_500, 5_000, 7_000, 10_000, 14_000)
"""Below phones sold with 4, 6, 8, 12 and 16 GB, and above those sold with less, whether Play counts what is
printed on the box or the tenth less that the kernel reports: its documentation does not say."""
RAM_PER_MODEL_BYTE = 20
"""Unless told otherwise, a larger model goes to phones that have it at most as 5 % of their RAM."""


@dataclass(frozen=True)
class Tier:
    """One artifact and its devices: RAM from `min_mb` up to but without `max_mb`, in MB of a million bytes.

    group: the name of the device group. The fallback has no bounds; min_mb is 0 for it alone.
    """

    artifact: Artifact
    group: str
    min_mb: int = 0
    max_mb: int | None = None

    @property
    def min_bytes(self) -> int:
        """Smallest RAM of the group, inclusive."""
        return self.min_mb * MB

    @property
    def max_bytes(self) -> int | None:
        """End of the group's RAM, exclusive; None for the largest phones."""
        return None if self.max_mb is None else self.max_mb * MB

    @property
    def devices(self) -> str:
        """Which phones it serves, in words."""
        if self.group == FALLBACK:
            return "every other phone"
        if self.max_mb is None:
            return f"phones with {self.min_mb} MB of RAM or more"
        return f"phones with {self.min_mb} MB of RAM or more, below {self.max_mb} MB"


def parse_ram(values: list[str]) -> dict[str, int]:
    """Smallest RAM in MB by profile, from `MB=PROFILE`. Raises UserError for anything else."""
    found: dict[str, int] = {}
    for value in values:
        number, _, profile = value.partition("=")
        if not number.isdecimal() or int(number) == 0 or not profile:
            raise UserError(f"--ram {value}: expected MB=PROFILE, for instance 5000=litert-int8-256d")
        if profile in found:
            raise UserError(f"--ram {value}: {profile} has a bound already")
        if int(number) in found.values():
            raise UserError(f"--ram {value}: another profile begins at {number} MB")
        found[profile] = int(number)
    return found


def assign_tiers(artifacts: list[Artifact], ram: dict[str, int]) -> list[Tier]:
    """Tiers of several artifacts, the one for the largest phones first, the fallback last.

    Without `ram` the smallest file is the fallback and the others take the RAM classes in order of size.
    Raises UserError when `ram` names a profile that is not given, or leaves not exactly one as the fallback.
    """
    bounds = ram or default_ram(artifacts)
    by_name = {one.manifest.name: one for one in artifacts}
    for profile in bounds:
        if profile not in by_name:
            raise UserError(f"--ram {bounds[profile]}={profile}: given are {', '.join(by_name)}")
    left = [name for name in by_name if name not in bounds]
    if len(left) != 1:
        found = ", ".join(left) or "none"
        raise UserError(f"--ram: exactly one profile has no bound, for all other phones; here: {found}")
    tiers, end = [], None
    for profile in sorted(bounds, key=bounds.__getitem__, reverse=True):
        tiers.append(Tier(by_name[profile], f"ram_{bounds[profile]}_mb", bounds[profile], end))
        end = bounds[profile]
    return [*tiers, Tier(by_name[left[0]], FALLBACK)]


def default_ram(artifacts: list[Artifact]) -> dict[str, int]:
    """A bound for every artifact but the smallest: the next RAM class that its size allows."""
    bounds: dict[str, int] = {}
    least = 0
    for artifact in sorted(artifacts, key=lambda one: one.file_bytes)[1:]:
        need = max(least, RAM_PER_MODEL_BYTE * artifact.file_bytes // MB)
        fitting = [ram for ram in RAM_CLASSES_MB if ram >= need]
        if not fitting:
            raise UserError(
                f"{artifact.path}: too large for a bound by its size; give all of them with --ram"
            )
        bounds[artifact.manifest.name] = fitting[0]
        least = fitting[0] + 1
    return bounds
