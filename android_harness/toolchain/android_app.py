"""The app without Android Studio: manifest and resources linked, Kotlin compiled against written signatures.

What comes of it does not run on a phone. It shows that the sources fit together, that what they name exists,
and (`android_api`) that no Android from minSdk on lacks what they call.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from android_harness.toolchain import modules
from android_harness.toolchain.aapt2 import aapt2, framework
from android_harness.toolchain.fetch import ROOT, tools
from android_harness.toolchain.kotlin import compile_kotlin, fingerprint, libraries
from common.errors import UserError

HARNESS = ROOT / "android_harness"
APP = HARNESS / "app"
STUBS = HARNESS / "stubs" / "android" / "src" / "main" / "java"
ANDROID = "http://schemas.android.com/apk/res/android"
TOOLS = "http://schemas.android.com/tools"
MERGE_RULE = f"{{{TOOLS}}}node"


@dataclass(frozen=True)
class BuildFile:
    """What app/build.gradle.kts decides about the manifest."""

    application_id: str
    min_sdk: int
    target_sdk: int
    version_code: int
    version_name: str
    legacy_packaging: bool
    no_compress: tuple[str, ...]


@dataclass(frozen=True)
class Linked:
    """The package that aapt2 links, without code, and the class of resource ids."""

    package: Path
    ids: Path


def build_file(path: Path = APP / "build.gradle.kts") -> BuildFile:
    """Read the values. Raises UserError for one that is not there once, as a literal."""
    text = path.read_text(encoding="utf-8")

    def value(name: str, pattern: str) -> str:
        found = re.findall(rf"\b{name} = {pattern}", text)
        if len(found) != 1:
            raise UserError(f"{path}: '{name}' stands there {len(found)} times as a literal, not once")
        return str(found[0])

    kept = re.search(r"noCompress \+= listOf\(([^)]*)\)", text)
    return BuildFile(
        application_id=value("applicationId", '"(.+)"'),
        min_sdk=int(value("minSdk", r"(\d+)")),
        target_sdk=int(value("targetSdk", r"(\d+)")),
        version_code=int(value("versionCode", r"(\d+)")),
        version_name=value("versionName", '"(.+)"'),
        legacy_packaging=value("useLegacyPackaging", "(true|false)") == "true",
        no_compress=tuple(re.findall(r'"(\w+)"', kept[1])) if kept else (),
    )


def merged_manifest(source: Path, build: BuildFile, out: Path) -> None:
    """Write the manifest as Gradle's merger gives it to aapt2, as far as this app's goes.

    The merger puts in the package, versions and how libraries are packed, and obeys `tools:node="remove"`.
    What libraries' manifests add is not in it.
    """
    ET.register_namespace("android", ANDROID)
    manifest = ET.parse(source).getroot()  # noqa: S314 - our own file
    for element in [element for element in manifest if element.get(MERGE_RULE) == "remove"]:
        manifest.remove(element)
    manifest.set("package", build.application_id)
    manifest.set(f"{{{ANDROID}}}versionCode", str(build.version_code))
    manifest.set(f"{{{ANDROID}}}versionName", build.version_name)
    versions = {"minSdkVersion": build.min_sdk, "targetSdkVersion": build.target_sdk}
    sdk = ET.Element("uses-sdk", {f"{{{ANDROID}}}{name}": str(level) for name, level in versions.items()})
    manifest.insert(0, sdk)
    for application in manifest.iter("application"):
        application.set(f"{{{ANDROID}}}extractNativeLibs", str(build.legacy_packaging).lower())
    ET.ElementTree(manifest).write(out, encoding="utf-8", xml_declaration=True)


def link(folder: Path, app: Path = APP) -> Linked:
    """Compile the app's resources and link them with its manifest into an empty folder.

    Raises UserError with aapt2's first error, such as a string that no resource file has.
    """
    build, manifest, source = build_file(), folder / "AndroidManifest.xml", app / "src" / "main"
    merged_manifest(source / "AndroidManifest.xml", build, manifest)
    aapt2("compile", "--dir", source / "res", "-o", folder / "resources.zip")
    linked = folder / "linked.apk"
    command: list[str | Path] = ["link", "-I", framework(), "--manifest", manifest, "-o", linked]
    for extension in build.no_compress:
        command += ["-0", extension]
    aapt2(*command, "--auto-add-overlay", "--java", folder, folder / "resources.zip")
    ids = folder.joinpath(*build.application_id.split("."), "R.java")
    return Linked(linked, ids)


def compile_app(ids: Path) -> Path:
    """Compile the app's Kotlin against core, the signatures in stubs/android and its resource ids.

    Gives the folder of its classes, which is made anew only when something changed. Raises UserError with the
    compiler's first error; a warning counts as one.
    """
    kotlin, core = sorted((APP / "src" / "main" / "kotlin").rglob("*.kt")), modules.build("core")
    sources = [*kotlin, *sorted(STUBS.rglob("*.java")), ids]
    classes = tools() / "classes" / f"app-{fingerprint(sources, [*libraries(), core], ())[:16]}"
    compile_kotlin(sources, [core], classes)
    return classes
