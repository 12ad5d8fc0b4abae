"""Artifacts as a Gradle module that Google Play delivers: an asset pack, chosen by a phone's RAM."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.files import whole_folder, write_text
from export.artifact import Artifact
from export.delivery.android_assets import ASSETS, GRADLE_LINES, INSTALLER, MODELS, NOTES_NAME
from export.delivery.phone_folder import phone_files, write_phone_folder
from export.delivery.play_limits import asset_pack_faults, download_notes
from export.delivery.templating import render
from export.delivery.tiers import GROUP_SUFFIX, Tier, assign_tiers

INSTALL_TIME = "install-time"
DELIVERY_TYPES = (INSTALL_TIME, "fast-follow", "on-demand")
PACK_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
"""bundletool's rule for names of modules."""
RESERVED_NAMES = ("base",)
FOR_APP = "for-app"
"""Folder of what belongs into the app module and the project, not into the pack."""
TARGETING = "device_targeting_config.xml"
SETTINGS_LINES = "add-to-settings.gradle.kts"
PROPERTIES_LINES = "add-to-gradle.properties"
TARGETING_SWITCH = "android.experimental.enableDeviceTargetingConfigApi"
"""Without it the Android Gradle Plugin refuses a targeting configuration."""


@dataclass(frozen=True)
class PackOptions:
    """Name of the pack, which is the module's as well; when Play delivers it; smallest RAM by profile."""

    name: str = "pocketvec_model"
    delivery: str = "fast-follow"
    ram: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what Gradle or Play would refuse much later."""
        if not PACK_NAME.fullmatch(self.name) or self.name in RESERVED_NAMES:
            raise UserError(f"pack name '{self.name}': letters, digits and _, a letter first, not 'base'")
        if self.delivery not in DELIVERY_TYPES:
            raise UserError(f"delivery '{self.delivery}': one of {', '.join(DELIVERY_TYPES)}")


def write_asset_pack(artifacts: list[Artifact], out: Path, options: PackOptions) -> list[str]:
    """Write the module of an asset pack; return what to know of it, line by line.

    One artifact goes to every phone; of several, each phone gets one, by its RAM. Raises UserError when
    `out` exists, a file is more than an asset pack holds, the artifacts are not of one model, or the Kotlin
    library could not open one of them.
    """
    _refuse_mixed(artifacts)
    if len(artifacts) == 1 and options.ram:
        raise UserError("--ram: one artifact goes to every phone; give several to choose among")
    tiers = assign_tiers(artifacts, options.ram) if len(artifacts) > 1 else []
    sizes = {one.manifest.name: _phone_bytes(one) for one in artifacts}
    for artifact in artifacts:
        for fault in asset_pack_faults(str(artifact.path), sizes[artifact.manifest.name]):
            raise UserError(fault)
    with whole_folder(out) as folder:
        for place, artifact in _places(artifacts, tiers):
            write_phone_folder(artifact, folder / ASSETS / place)
        _write_texts(folder, artifacts, tiers, options)
    return [
        f"copy {out} into the project as {options.name}/ and add what is in {FOR_APP}; {NOTES_NAME} says why",
        *(f"{tier.artifact.manifest.name}: {tier.devices}" for tier in tiers),
        *(line for name, size in sizes.items() for line in download_notes(name, size)),
    ]


def _refuse_mixed(artifacts: list[Artifact]) -> None:
    """Raise UserError for artifacts of two models, or one given twice: their vectors are one app's index."""
    names = [one.manifest.name for one in artifacts]
    for artifact in artifacts:
        if names.count(artifact.manifest.name) > 1:
            raise UserError(f"{artifact.path}: the profile {artifact.manifest.name} is given twice")
        if artifact.manifest.model.checkpoint_sha256 != artifacts[0].manifest.model.checkpoint_sha256:
            raise UserError(f"{artifact.path}: of another model than {artifacts[0].path}; a pack holds one")


def _phone_bytes(artifact: Artifact) -> int:
    return sum(artifact.manifest.files[name].bytes for name in phone_files(artifact))


def _places(artifacts: list[Artifact], tiers: list[Tier]) -> list[tuple[str, Artifact]]:
    """Folder under the assets by artifact; the suffix is cut off on the phone."""
    if not tiers:
        return [(MODELS, artifacts[0])]
    return [(f"{MODELS}{GROUP_SUFFIX}{tier.group}", tier.artifact) for tier in tiers]


def _write_texts(folder: Path, artifacts: list[Artifact], tiers: list[Tier], options: PackOptions) -> None:
    values = {
        "pack": options.name,
        "delivery": options.delivery,
        "installed": options.delivery == INSTALL_TIME,
        "tiers": tiers,
        "profiles": [one.manifest.name for one in artifacts],
        "asset_folder": MODELS,
        "targeting": TARGETING,
    }
    app = folder / FOR_APP
    app.mkdir()
    write_text(folder / "build.gradle.kts", render("asset-pack.gradle.kts.j2", **values))
    write_text(app / GRADLE_LINES, render("app.gradle.kts.j2", **values))
    write_text(app / SETTINGS_LINES, f'include(":{options.name}")\n')
    write_text(folder / NOTES_NAME, render("asset-pack-notes.md.j2", **values))
    if tiers:
        write_text(app / TARGETING, render("device_targeting_config.xml.j2", **values))
        write_text(app / PROPERTIES_LINES, f"{TARGETING_SWITCH}=true\n")
    if options.delivery == INSTALL_TIME:
        (app / INSTALLER).parent.mkdir(parents=True)
        write_text(app / INSTALLER, render("BundledModel.kt.j2", **values))
