"""Artifact: one profile in one folder, whole exactly when its manifest exists.

Opening an artifact checks every file's size and SHA-256, so that a truncated or altered file is named
before a runtime meets it. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import read_json, sha256_file, whole_folder, write_json
from common.records import from_dict
from export.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    TOKENIZER_NAME,
    FileEntry,
    Manifest,
    model_file,
)


@dataclass(frozen=True)
class Artifact:
    """An opened artifact folder."""

    path: Path
    manifest: Manifest

    @property
    def model_name(self) -> str:
        """Name of the graph file."""
        return model_file(self.manifest.runtime)

    @property
    def model_path(self) -> Path:
        """The graph file; its weights lie beside it."""
        return self.path / self.model_name

    @property
    def model_sha256(self) -> str:
        """Hash of graph and weights: what a runtime's cache of packed weights was built from."""
        hashes = {n: e.sha256 for n, e in self.manifest.files.items() if n.startswith(self.model_name)}
        if len(hashes) == 1:
            return hashes[self.model_name]
        return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()

    @property
    def file_bytes(self) -> int:
        """Bytes an app ships for the model itself: graph and weights, without tokenizer and golden."""
        return sum(e.bytes for name, e in self.manifest.files.items() if name.startswith(self.model_name))


def open_artifact(path: Path, verify: bool = True) -> Artifact:
    """Read the manifest and, unless told otherwise, check every file against it.

    Raises UserError naming the folder or file that is missing, truncated or altered.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such artifact folder")
    manifest_path = path / MANIFEST_NAME
    if not manifest_path.is_file():
        raise UserError(f"{path}: not a whole artifact, it has no {MANIFEST_NAME}")
    raw = read_json(manifest_path)
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != MANIFEST_SCHEMA:
        raise UserError(f"{manifest_path}: schema '{found}' is not '{MANIFEST_SCHEMA}'")
    manifest = from_dict(Manifest, raw, str(manifest_path))
    for name in (model_file(manifest.runtime), TOKENIZER_NAME, GOLDEN_NAME):
        if name not in manifest.files:
            raise UserError(f"{manifest_path}: its file table lacks {name}")
    if verify:
        for name, entry in manifest.files.items():
            _check_file(path / name, entry)
    return Artifact(path, manifest)


def _check_file(path: Path, entry: FileEntry) -> None:
    if not path.is_file():
        raise UserError(f"{path}: missing, though the manifest lists it")
    size = path.stat().st_size
    if size != entry.bytes:
        raise UserError(f"{path}: {size} bytes, but the manifest says {entry.bytes}")
    if sha256_file(path) != entry.sha256:
        raise UserError(f"{path}: its SHA-256 differs from the manifest's; the file was altered")


@contextmanager
def writing_artifact(final: Path) -> Iterator[Path]:
    """Yield the temporary folder of a new artifact; end with `write_manifest` inside the block."""
    with whole_folder(final) as folder:
        yield folder
        if not (folder / MANIFEST_NAME).is_file():
            raise RuntimeError(f"{final}: an artifact ends with its manifest")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Fill in the file table from what lies in `folder` and write the manifest, last of all."""
    files = {
        path.name: FileEntry(path.stat().st_size, sha256_file(path))
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST_NAME
    }
    complete = dataclasses.replace(manifest, files=files)
    write_json(folder / MANIFEST_NAME, dataclasses.asdict(complete))
