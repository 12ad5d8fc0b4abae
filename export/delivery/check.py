"""Whether a model reaches the phone whole: in a source folder, in an .apk, in an .aab."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from export.contract import ContractCheck
from export.delivery.asset_pack import DELIVERY_TYPES, INSTALL_TIME, PACK_NAME
from export.delivery.bundle_config import BundleConfig, read_bundle_config
from export.delivery.package import AAB, APK, FOLDER, Package, open_package
from export.delivery.packed_model import Findings, PackedModel, check_model, find_models, model_bytes
from export.delivery.play_limits import asset_pack_faults, base_module_faults, download_notes
from export.delivery.targeting import check_targeting, suffixes

BUILD_FILE = "build.gradle.kts"
PLUGIN = "com.android.asset-pack"
MANIFEST_OF_MODULE = "manifest/AndroidManifest.xml"
NOT_BUILT = "whether the files stay uncompressed: only an .apk or .aab shows it"
HOW_TARGETED = "which phones get which folder: an .apk is what one phone gets"


def check_android_assets(path: Path) -> ContractCheck:
    """All that is wrong with models among an app's assets.

    Looked at, in a folder, an .apk or an .aab: every file against the manifest beside it, that nothing is
    missing that the Kotlin library opens, that weights stay uncompressed and begin where they can be mapped,
    Google Play's limit for the base module. Raises UserError for what is none of the three.
    """
    package, found = open_package(path), Findings()
    config = read_bundle_config(package) if package.kind == AAB else None
    models = find_models(package, found, lambda one: package.kind != AAB or not _is_pack(package, one))
    for model in models:
        check_model(package, model, config, found)
        for suffix in suffixes(model.asset_path):
            found.faults.append(f"{model.folder}: '#{suffix}' is for asset packs only")
    if package.kind == FOLDER:
        found.unchecked.append(NOT_BUILT)
    size = _base_bytes(package, models)
    found.faults += base_module_faults(_what(package), size)
    found.notes += download_notes(_what(package), size)
    return _result(found)


def check_asset_pack(path: Path) -> ContractCheck:
    """All that is wrong with a model in an asset pack.

    Looked at, in a module's folder, an .aab or an .apk made of it: what `check_android_assets` looks at, the
    build file, folders by device group (all of them there, one for every other phone, each group able to
    match), that all hold one model, and Google Play's limit for a pack.
    """
    package, found = open_package(path), Findings()
    models = find_models(package, found, lambda one: package.kind != AAB or _is_pack(package, one))
    config = read_bundle_config(package) if package.kind == AAB else None
    for model in models:
        check_model(package, model, _config_of_pack(package, model, config), found)
        what, size = f"{model.folder}", model_bytes(package, model)
        found.faults += asset_pack_faults(what, size)
        found.notes += download_notes(what, size)
    if package.kind == APK:
        _check_apk(models, found)
    else:
        check_targeting(package, models, config, found)
    if package.kind == FOLDER:
        _check_build_file(package, found)
        found.unchecked.append(NOT_BUILT)
    return _result(found)


def _result(found: Findings) -> ContractCheck:
    return ContractCheck(tuple(found.faults), tuple(found.unchecked), notes=tuple(found.notes))


def _what(package: Package) -> str:
    return "the models" if package.kind == FOLDER else package.path.name


def _is_pack(package: Package, model: PackedModel) -> bool:
    """Whether a model of an .aab is in an asset pack: a module of nothing but assets and a manifest."""
    ours = [name for name in package.files if name.startswith(f"{model.module}/")]
    return all(name.startswith((f"{model.module}/assets/", f"{model.module}/manifest/")) for name in ours)


def _base_bytes(package: Package, models: list[PackedModel]) -> int:
    """What counts against the base module: all of an .apk, the base of an .aab, the models of a folder."""
    if package.kind == APK:
        return package.path.stat().st_size
    if package.kind == AAB:
        return sum(one.packed_bytes for one in package.files.values() if one.path.startswith("base/"))
    return sum(model_bytes(package, model) for model in models)


def _config_of_pack(package: Package, model: PackedModel, config: BundleConfig | None) -> BundleConfig | None:
    """The rules of compression where they bear on this pack; by default packs stay uncompressed."""
    if config is None or not config.compresses_packs:
        return None
    manifest = str(PurePosixPath(model.module, MANIFEST_OF_MODULE))
    if manifest in package.files and INSTALL_TIME.encode() not in package.read(manifest):
        return None  # delivered as files
    return config


def _check_apk(models: list[PackedModel], found: Findings) -> None:
    for model in models:
        for suffix in suffixes(model.asset_path):
            found.faults.append(
                f"{model.folder}: the suffix #{suffix} is still there, and no app looks there"
            )
    found.unchecked.append(HOW_TARGETED)


def _check_build_file(package: Package, found: Findings) -> None:
    """The module's build file: the plugin, a name that bundletool takes, a known time of delivery."""
    if BUILD_FILE not in package.files:
        found.faults.append(f"{BUILD_FILE}: missing, so that this is no module")
        return
    text = package.read(BUILD_FILE).decode(errors="replace")
    if PLUGIN not in text:
        found.faults.append(f"{BUILD_FILE}: does not apply the plugin {PLUGIN}")
    name, delivery = _value(text, "packName"), _value(text, "deliveryType")
    if not PACK_NAME.fullmatch(name):
        found.faults.append(f"{BUILD_FILE}: packName '{name}': letters, digits and _, a letter first")
    if delivery not in DELIVERY_TYPES:
        found.faults.append(f"{BUILD_FILE}: deliveryType '{delivery}': one of {', '.join(DELIVERY_TYPES)}")


def _value(text: str, name: str) -> str:
    found = re.search(rf"\b{name}\b(?:\.set\(|\s*=)\s*\"([^\"]*)\"", text)
    return found[1] if found else ""
