"""What an .aab tells bundletool about assets: which stay uncompressed, and which phones are which group.

Sources: config.proto and device_targeting_config.proto of bundletool 1.18; the Android Gradle Plugin writes
both files into the bundle.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from common.errors import UserError
from export.delivery.package import AAB, FOLDER, Package
from export.delivery.protobuf import Fields, fields, integer, messages, texts

CONFIG = "BundleConfig.pb"
GROUPS = "BUNDLE-METADATA/com.android.tools.build.bundletool/DeviceGroupConfig.pb"
OPTIMIZATIONS, SPLITS, DIMENSION, COMPRESSION = 2, 1, 1, 3
UNCOMPRESSED_GLOB, ASSET_MODULES = 1, 2
COMPRESSED = 2
DIMENSION_VALUE, NEGATE, SUFFIX_STRIPPING, ENABLED = 1, 2, 3, 1
DEVICE_GROUP = 9
GROUP, NAME, SELECTOR, RAM, RAM_MIN, RAM_MAX = 1, 1, 2, 1, 1, 2
NAMESPACE = "{http://schemas.android.com/apk/config}"


@dataclass(frozen=True)
class DeviceGroup:
    """A group of phones: its name and ranges of RAM in bytes, the ends 0 where there are none.

    ram_alone: whether its selectors ask for nothing else.
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    ram_alone: bool = True


@dataclass(frozen=True)
class BundleConfig:
    """Globs of what stays uncompressed, the fate of install-time packs, and splits by device group."""

    uncompressed: tuple[str, ...]
    compresses_packs: bool
    splits_groups: bool

    def leaves_stored(self, path: str) -> bool:
        """Whether a path of an .apk, such as assets/x.onnx, stays uncompressed by a glob."""
        return any(glob_matches(glob, path) for glob in self.uncompressed)


def read_bundle_config(package: Package) -> BundleConfig:
    """Read BundleConfig.pb. Raises UserError when it is none."""
    config = _fields(package, CONFIG)
    compression = next(iter(messages(config, COMPRESSION)), {})
    splits = [s for o in messages(config, OPTIMIZATIONS) for s in messages(o, SPLITS)]
    dimensions = [one for split in splits for one in messages(split, DIMENSION)]
    return BundleConfig(
        uncompressed=tuple(texts(compression, UNCOMPRESSED_GLOB)),
        compresses_packs=integer(compression, ASSET_MODULES) == COMPRESSED,
        splits_groups=any(_splits_groups(one) for one in dimensions),
    )


def device_groups(package: Package) -> list[DeviceGroup]:
    """Device groups in order of priority, from an .aab or from the XML file of a folder; empty without one.

    Raises UserError for a file that cannot be read.
    """
    if package.kind == AAB and GROUPS in package.files:
        return [_group(one) for one in messages(_fields(package, GROUPS), GROUP)]
    if package.kind == FOLDER:
        for name in package.files:
            if name.endswith("device_targeting_config.xml"):
                return _groups_of_xml(package, name)
    return []


def glob_matches(glob: str, path: str) -> bool:
    """Whether a glob in Java's sense matches a whole path: * within a folder, ** across, case as it is."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern, place = "", 0
    for found in re.finditer(r"\*\*|\*|\?|\[[^\]]*\]|\{[^}]*\}", glob):
        pattern += re.escape(glob[place : found.start()])
        pattern += parts.get(found[0]) or _choice(found[0])
        place = found.end()
    return re.fullmatch(pattern + re.escape(glob[place:]), path) is not None


def _choice(part: str) -> str:
    """A [class] as it is, {a,b} as alternatives."""
    if part.startswith("["):
        return part.replace("[!", "[^")
    return "(?:" + "|".join(re.escape(one) for one in part[1:-1].split(",")) + ")"


def _fields(package: Package, name: str) -> Fields:
    try:
        return fields(package.read(name))
    except UserError as error:
        raise UserError(f"{package.path}: {name}: {error}") from None


def _splits_groups(dimension: Fields) -> bool:
    stripped = any(integer(one, ENABLED) for one in messages(dimension, SUFFIX_STRIPPING))
    return integer(dimension, DIMENSION_VALUE) == DEVICE_GROUP and not integer(dimension, NEGATE) and stripped


def _group(group: Fields) -> DeviceGroup:
    selectors = messages(group, SELECTOR)
    rams = [next(iter(messages(selector, RAM)), {}) for selector in selectors]
    ranges = [(integer(ram, RAM_MIN), integer(ram, RAM_MAX)) for ram in rams]
    alone = all(set(selector) <= {RAM} for selector in selectors)
    return DeviceGroup(next(iter(texts(group, NAME)), ""), tuple(ranges), alone)


def _groups_of_xml(package: Package, name: str) -> list[DeviceGroup]:
    try:
        root = ElementTree.fromstring(package.read(name))  # noqa: S314  (expat expands no bombs since 2.4)
        return [
            DeviceGroup(
                group.get("name", ""),
                tuple(
                    (int(one.get("ram-min-bytes", "0")), int(one.get("ram-max-bytes", "0"))) for one in group
                ),
                all(not len(one) for one in group),
            )
            for group in root.iter(f"{NAMESPACE}device-group")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{package.path}: {name}: not a device targeting configuration ({error})") from None
