"""An artifact as assets of an app module, with what Gradle and the app need to use it."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError
from common.files import whole_folder, write_text
from export.artifact import Artifact
from export.delivery.phone_folder import phone_files, write_phone_folder
from export.delivery.play_limits import base_module_faults, download_notes, megabytes
from export.delivery.templating import no_compress, render

ASSETS = Path("src/main/assets")
MODELS = "pocketvec"
"""Folder of the assets under which models lie."""
GRADLE_LINES = "add-to-build.gradle.kts"
NOTES_NAME = "NOTES.md"
INSTALLER = Path("src/main/kotlin/dev/pocketvec/assets/BundledModel.kt")


def write_android_assets(artifact: Artifact, out: Path) -> list[str]:
    """Write what an app module needs to carry an artifact in its assets; return what to know, line by line.

    Raises UserError when `out` exists, the Kotlin library could not open the artifact, or Google Play would
    not take it in a base module.
    """
    stored = phone_files(artifact)
    size = sum(artifact.manifest.files[name].bytes for name in stored)
    for fault in base_module_faults(str(artifact.path), size):
        raise UserError(f"{fault}; pack it --for play-asset-pack")
    name = artifact.manifest.name
    values = {
        "profile": name,
        "asset_folder": f"{MODELS}/{name}",
        "runtime": artifact.manifest.runtime,
        "no_compress": no_compress(stored),
        "size": megabytes(size),
    }
    with whole_folder(out) as folder:
        write_phone_folder(artifact, folder / ASSETS / MODELS / name)
        (folder / INSTALLER).parent.mkdir(parents=True)
        write_text(folder / INSTALLER, render("BundledModel.kt.j2", **values))
        write_text(folder / GRADLE_LINES, render("assets.gradle.kts.j2", **values))
        write_text(folder / NOTES_NAME, render("assets-notes.md.j2", **values))
    return [
        f"copy {out}/src into the app module and add the lines of {GRADLE_LINES}; {NOTES_NAME} says why",
        *download_notes(name, size),
    ]
