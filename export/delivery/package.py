"""A folder, an .apk or an .aab as one list of files, whose contents can be read.

What a client maps from an .apk lies where its local header says, which need not be what the directory at
the end suggests: the extra field there may have another length.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from common.errors import UserError
from common.files import HASH_CHUNK_BYTES
from export.task_bundle import data_offset

FOLDER, APK, AAB = KINDS = ("folder", "apk", "aab")
ENCRYPTED = 1
LARGEST_JSON_BYTES = 64_000_000


@dataclass(frozen=True)
class PackedFile:
    """A file of a package: bytes as it is and as it travels, whether it is stored, and where it begins.

    offset: byte of the package at which its data begins; None in a folder and for what is compressed.
    """

    path: str
    bytes: int
    packed_bytes: int
    stored: bool = True
    offset: int | None = None


@dataclass(frozen=True)
class Package:
    """What was found at `path`; files by their path in it, with forward slashes.

    repeated: paths that an archive lists more than once, of which a reader may take any.
    """

    path: Path
    kind: str
    files: dict[str, PackedFile]
    repeated: tuple[str, ...] = ()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """The content of one file. Raises UserError when it is damaged."""
        if self.kind == FOLDER:
            with (self.path / name).open("rb") as file:
                yield file
            return
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{self.path}: {name}: damaged ({error})") from None

    def sha256(self, name: str) -> str:
        """Hex SHA-256 of one file's content."""
        digest = hashlib.sha256()
        with self.open(name) as file:
            while chunk := file.read(HASH_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def read(self, name: str) -> bytes:
        """The content of a small file. Raises UserError for one of more than 64 MB."""
        if self.files[name].bytes > LARGEST_JSON_BYTES:
            raise UserError(f"{self.path}: {name}: {self.files[name].bytes} bytes")
        with self.open(name) as file:
            return file.read()

    def json(self, name: str) -> Any:
        """A parsed JSON file. Raises UserError when it is none."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.path}: {name}: not valid JSON ({error})") from None


def open_package(path: Path) -> Package:
    """List a folder or an archive. Raises UserError for what is neither a folder nor an .apk or .aab."""
    if path.is_dir():
        files = (one for one in sorted(path.rglob("*")) if one.is_file())
        return Package(path, FOLDER, {one.path: one for one in (_on_disk(path, file) for file in files)})
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: not a whole .apk or .aab ({error})") from None
    names = Counter(one.filename for one in entries)
    repeated = tuple(name for name, count in names.items() if count > 1)
    return Package(path, _archive_kind(path, names), {e.filename: _entry(path, e) for e in entries}, repeated)


def _archive_kind(path: Path, names: Counter[str]) -> str:
    if "BundleConfig.pb" in names:
        return AAB
    if "AndroidManifest.xml" in names:
        return APK
    raise UserError(f"{path}: neither an .apk (no AndroidManifest.xml) nor an .aab (no BundleConfig.pb)")


def _on_disk(folder: Path, file: Path) -> PackedFile:
    size = file.stat().st_size
    return PackedFile(file.relative_to(folder).as_posix(), size, size)


def _entry(path: Path, entry: zipfile.ZipInfo) -> PackedFile:
    if entry.flag_bits & ENCRYPTED:
        raise UserError(f"{path}: {entry.filename}: encrypted")
    stored = entry.compress_type == zipfile.ZIP_STORED
    try:
        offset = data_offset(path, entry) if stored else None
    except struct.error:
        raise UserError(f"{path}: {entry.filename}: its local header is missing") from None
    return PackedFile(entry.filename, entry.file_size, entry.compress_size, stored, offset)
