"""A model inside a package, held against its own manifest and against what a phone needs to open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from common.errors import UserError
from common.records import from_dict
from export.delivery.bundle_config import BundleConfig
from export.delivery.package import AAB, APK, FOLDER, Package, PackedFile
from export.delivery.phone_folder import PHONE_RUNTIMES, model_files
from export.delivery.play_limits import megabytes
from export.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    MODEL_FILES,
    TOKENIZER_BIN,
    TOKENIZER_NAME,
    Manifest,
    model_file,
)

ASSETS = "assets"
MAP_ALIGNMENT = 4
"""What zipalign asks of stored entries; a .tflite that begins elsewhere is copied, not mapped."""
PAGES = (4096, 16384)


@dataclass(frozen=True)
class PackedModel:
    """A model's folder in a package and its manifest."""

    folder: str
    manifest: Manifest

    @property
    def module(self) -> str:
        """What stands before the assets: the module of an .aab, src/main in a source folder."""
        return "/".join(self._parts[0])

    @property
    def asset_path(self) -> str:
        """Its folder under the assets, with suffixes."""
        return "/".join(self._parts[1])

    @property
    def _parts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        parts = PurePosixPath(self.folder).parts
        place = parts.index(ASSETS) if ASSETS in parts else -1
        return parts[: max(place, 0)], parts[place + 1 :]

    def place(self, name: str) -> str:
        """Path in the package of one of its files."""
        return str(PurePosixPath(self.folder, name))


@dataclass
class Findings:
    """What a check has found so far, a line each."""

    faults: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_models(
    package: Package, found: Findings, wanted: Callable[[PackedModel], bool]
) -> list[PackedModel]:
    """The wanted folders of the package with a pocketvec manifest.

    What is wrong with a manifest is a fault, as is finding none; others than the wanted ones are noted.
    """
    models = []
    for name in package.files:
        path = PurePosixPath(name)
        if path.name != MANIFEST_NAME or (package.kind != FOLDER and ASSETS not in path.parts):
            continue
        try:
            content = package.json(name)
            schema = content.get("schema") if isinstance(content, dict) else None
            if schema == MANIFEST_SCHEMA:
                manifest = from_dict(Manifest, content, name)
                models.append(PackedModel(str(path.parent), manifest))
            elif str(schema).startswith("pocketvec.manifest"):
                found.faults.append(f"{name}: schema '{schema}' is not '{MANIFEST_SCHEMA}'")
        except UserError as error:
            if _beside_a_model(package, path):
                found.faults.append(str(error).removeprefix(f"{package.path}: "))
    other = [model for model in models if not wanted(model)]
    found.notes += [f"{one.folder}: not looked at; it is delivered in another way" for one in other]
    models = [model for model in models if wanted(model)]
    if not models and not found.faults:
        found.faults.append(f"it holds no model: no assets/.../{MANIFEST_NAME} of schema {MANIFEST_SCHEMA}")
    return models


def _beside_a_model(package: Package, manifest: PurePosixPath) -> bool:
    """Whether a manifest.json that cannot be read is ours: other things have files of that name too."""
    names = (*MODEL_FILES.values(), TOKENIZER_BIN, GOLDEN_NAME)
    return any(str(manifest.with_name(name)) in package.files for name in names)


def check_model(package: Package, model: PackedModel, config: BundleConfig | None, found: Findings) -> None:
    """Add what is wrong with one model: files against its manifest, what a phone lacks, how it is packed."""
    _check_runtime(package, model, found)
    for name in model.manifest.files:
        _check_file(package, model.place(name), model, name, found)
    listed = {model.place(name) for name in (*model.manifest.files, MANIFEST_NAME)}
    for path in package.files:
        if str(PurePosixPath(path).parent) == model.folder and path not in listed:
            found.faults.append(f"{path}: not in the manifest's table")
    for name in stored_names(model.manifest):
        file = package.files.get(model.place(name))
        if file is not None:
            _check_packing(package, file, config, found)
    _note_ballast(model, found)


def stored_names(manifest: Manifest) -> list[str]:
    """Names of what is mapped or read as it lies: graph, weights, tokenizer.bin."""
    return [*model_files(manifest), *(name for name in (TOKENIZER_BIN,) if name in manifest.files)]


def model_bytes(package: Package, model: PackedModel) -> int:
    """Bytes of the model's files as they travel."""
    places = {model.place(name) for name in (*model.manifest.files, MANIFEST_NAME)}
    return sum(file.packed_bytes for path, file in package.files.items() if path in places)


def _check_runtime(package: Package, model: PackedModel, found: Findings) -> None:
    manifest = model.manifest
    if manifest.runtime not in PHONE_RUNTIMES:
        known = " and ".join(PHONE_RUNTIMES)
        found.faults.append(f"{model.folder}: runtime '{manifest.runtime}'; the Kotlin library runs {known}")
        return
    for name in (model_file(manifest.runtime), GOLDEN_NAME):
        if name not in manifest.files:
            found.faults.append(f"{model.folder}: the manifest's table lacks {name}")
    if TOKENIZER_BIN not in manifest.files and not _word_piece(package, model):
        found.faults.append(f"{model.folder}: neither {TOKENIZER_BIN} nor a WordPiece {TOKENIZER_NAME}")


def _word_piece(package: Package, model: PackedModel) -> bool:
    place = model.place(TOKENIZER_NAME)
    if TOKENIZER_NAME not in model.manifest.files or place not in package.files:
        return False
    try:
        content = package.json(place)
    except UserError:  # the hash says it better
        return True
    kind = content.get("model") if isinstance(content, dict) else None
    return isinstance(kind, dict) and kind.get("type") == "WordPiece"


def _check_file(package: Package, path: str, model: PackedModel, name: str, found: Findings) -> None:
    entry, file = model.manifest.files[name], package.files.get(path)
    if file is None:
        found.faults.append(f"{path}: missing, though the manifest lists it")
    elif file.bytes != entry.bytes:
        found.faults.append(f"{path}: {file.bytes} bytes, but the manifest says {entry.bytes}")
    elif package.sha256(path) != entry.sha256:
        found.faults.append(f"{path}: its SHA-256 differs from the manifest's; the file was altered")
    if path in package.repeated:
        found.faults.append(f"{path}: listed twice in the archive")


def _check_packing(package: Package, file: PackedFile, config: BundleConfig | None, found: Findings) -> None:
    """Whether a file that is to be mapped will lie in the .apk as it is, and at a good place."""
    if package.kind == APK and not file.stored:
        found.faults.append(f"{file.path}: compressed; add its ending to androidResources.noCompress")
    if package.kind == APK and file.offset is not None:
        _check_offset(file.path, file.offset, found)
    if package.kind == AAB and config is not None and not config.leaves_stored(_path_in_apk(file.path)):
        found.faults.append(
            f"{file.path}: no uncompressed_glob of BundleConfig.pb fits it, so that it will be compressed; "
            "add its ending to androidResources.noCompress"
        )


def _check_offset(path: str, offset: int, found: Findings) -> None:
    """Pages are for LiteRT, which can map a model in the .apk; what onnxruntime opens is copied out first."""
    if offset % MAP_ALIGNMENT:
        rule = f"not at a multiple of {MAP_ALIGNMENT}: zipalign it"
        found.faults.append(f"{path}: begins at byte {offset}, {rule}")
        return
    missed = [f"{page // 1024} KB" for page in PAGES if offset % page]
    if missed and path.endswith(".tflite"):
        sizes = " and ".join(missed)
        found.notes.append(f"{path}: begins within a page of {sizes}, at byte {offset}: map from its start")


def _path_in_apk(path: str) -> str:
    """A path of an .aab without its module."""
    return path.partition("/")[2]


def _note_ballast(model: PackedModel, found: Findings) -> None:
    needed = {*stored_names(model.manifest), GOLDEN_NAME}
    if TOKENIZER_BIN not in model.manifest.files:
        needed.add(TOKENIZER_NAME)
    ballast = {name: e.bytes for name, e in model.manifest.files.items() if name not in needed}
    if ballast:
        names, size = ", ".join(ballast), megabytes(sum(ballast.values()))
        found.notes.append(f"{model.folder}: {size} that a phone does not read: {names}")
