"""Whether the folders of an asset pack give every phone exactly one model.

What bundletool refuses: suffixes it does not know, groups that are not defined, folders with other sets of
groups than their neighbours. What it lets pass: a pack without a folder for all other phones, folders that
collide once suffixes are cut off, groups that never match because an earlier one takes all their phones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath

from export.delivery.bundle_config import BundleConfig, DeviceGroup, device_groups
from export.delivery.package import AAB, Package
from export.delivery.packed_model import Findings, PackedModel
from export.delivery.tiers import FALLBACK

KNOWN_KEYS = {"group": FALLBACK, "tier": "0"}
"""Key of a suffix, and the value that stands for all other phones."""
SUFFIX = re.compile(r"(group|tier)_([a-zA-Z0-9][a-zA-Z0-9_]*)")
ENDLESS = 1 << 62


def suffixes(path: str) -> list[str]:
    """What follows each # in a path, up to the end of its folder's name."""
    return [suffix for part in PurePosixPath(path).parts for suffix in part.split("#")[1:]]


def bare(path: str) -> str:
    """A path as the app sees it: without suffixes."""
    return "/".join(part.partition("#")[0] for part in PurePosixPath(path).parts)


def check_targeting(
    package: Package, models: list[PackedModel], config: BundleConfig | None, found: Findings
) -> None:
    """Add what is wrong with the models' folders by device group, module by module."""
    groups = device_groups(package)
    by_place: dict[tuple[str, str], list[PackedModel]] = defaultdict(list)
    for model in models:
        by_place[model.module, bare(model.asset_path)].append(model)
    for (module, place), alternatives in by_place.items():
        what = f"{module}/{place}".lstrip("/")
        _check_one_model(what, alternatives, found)
        values = _values(alternatives, found)
        if values:
            _check_values(what, alternatives, values, groups, found)
            if package.kind == AAB and config is not None and not config.splits_groups and "group" in values:
                found.faults.append(
                    f"{what}: the bundle is not split by device group (deviceGroup.enableSplit)"
                )
    _check_groups(groups, found)


def _check_one_model(what: str, alternatives: list[PackedModel], found: Findings) -> None:
    if len({one.manifest.model.checkpoint_sha256 for one in alternatives}) > 1:
        names = ", ".join(one.manifest.name for one in alternatives)
        found.faults.append(f"{what}: of more than one model ({names}), so that phones cannot share vectors")
    profiles = [one.manifest.name for one in alternatives]
    for name in sorted({one for one in profiles if profiles.count(one) > 1}):
        found.faults.append(f"{what}: the profile {name} is there more than once")


def _values(alternatives: list[PackedModel], found: Findings) -> dict[str, set[str]]:
    """Values of the suffixes by key; a suffix of another form is a fault."""
    values: dict[str, set[str]] = defaultdict(set)
    for model in alternatives:
        for suffix in suffixes(model.asset_path):
            if (match := SUFFIX.fullmatch(suffix)) is None:
                found.faults.append(f"{model.folder}: suffix '#{suffix}' is neither #group_NAME nor #tier_N")
            else:
                values[match[1]].add(match[2])
    return values


def _check_values(
    what: str,
    alternatives: list[PackedModel],
    values: dict[str, set[str]],
    groups: list[DeviceGroup],
    found: Findings,
) -> None:
    if any(not suffixes(model.asset_path) for model in alternatives):
        found.faults.append(
            f"{what}: a folder without a suffix goes to every phone, beside the one that has it"
        )
    for key, given in values.items():
        if KNOWN_KEYS[key] not in given:
            rest = f"#{key}_{KNOWN_KEYS[key]}"
            found.faults.append(f"{what}: no folder {rest}, so that phones in no group get no model")
    if "group" in values:
        _check_defined(what, values["group"] - {FALLBACK}, groups, found)
    if "tier" in values:
        found.unchecked.append(f"{what}: which phones are in which tier: Play holds that, not the bundle")


def _check_defined(what: str, given: set[str], groups: list[DeviceGroup], found: Findings) -> None:
    defined = {one.name for one in groups}
    for name in sorted(given - defined):
        found.faults.append(f"{what}: #group_{name} is not a group of the device targeting configuration")
    for name in sorted(defined - given - {FALLBACK}):
        found.faults.append(f"{what}: no folder #group_{name}, though the group is defined")


def _check_groups(groups: list[DeviceGroup], found: Findings) -> None:
    names = [group.name for group in groups]
    for name in sorted({one for one in names if names.count(one) > 1}):
        found.faults.append(f"device group {name}: defined more than once")
    if FALLBACK in names:
        found.faults.append(f"device group {FALLBACK}: Play defines it and refuses another definition")
    for place, group in enumerate(groups):
        earlier = [one for one in groups[:place] if one.ram_alone]
        for other in earlier:
            if group.ranges and all(any(_covers(o, own) for o in other.ranges) for own in group.ranges):
                found.faults.append(
                    f"device group {group.name}: {other.name} comes first and takes its phones"
                )


def _covers(outer: tuple[int, int], inner: tuple[int, int]) -> bool:
    """Whether one range of RAM holds another; an end of 0 is none."""
    return outer[0] <= inner[0] and (outer[1] or ENDLESS) >= (inner[1] or ENDLESS)
