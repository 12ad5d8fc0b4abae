"""Files that appear whole or not at all, and their hashes.

A folder is built under a temporary name beside its final one and renamed at the end, so whatever
interrupts the work (an error, a full disk, Ctrl-C) leaves the final name untouched.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UserError

HASH_CHUNK_BYTES = 1 << 20
FULL_DISK_MARKS = ("No space left", "os error 28", "File too large", "os error 27", "PytorchStreamWriter")
"""How libraries that write files outside Python say that the disk is full or a quota is reached."""

NUMBERS = re.compile(r"\[\s+(?:(?:-?[\d.]+(?:e[-+]?\d+)?|null),?\s+)+\]")
"""A list of numbers as json.dumps indents it. No string of JSON holds the newlines that it needs."""


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_files(paths: list[Path]) -> str:
    """Hex SHA-256 over several files: their names and their contents, in name order."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, a list of numbers on one line, by way of a temporary name."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, NUMBERS.sub(lambda found: "".join(found[0].split()).replace(",", ", "), text) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises UserError naming the file when it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number or nesting without end
        raise UserError(f"{path}: not valid JSON ({error})") from None


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `final` when the block ends without an exception.

    Raises UserError when `final` already exists with something in it: nothing is overwritten.
    """
    refuse_existing(final)
    new_parents = [parent for parent in final.parents if not parent.exists()]
    final.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent))
    try:
        building.chmod(0o755)  # mkdtemp makes it private; an artifact is an ordinary folder
        yield building
        if final.exists():
            final.rmdir()
        building.replace(final)
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        remove_empty(new_parents)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(final)  # a failed write does not say where; the message should
        raise


def remove_empty(folders: list[Path]) -> None:
    """Remove those of `folders`, innermost first, that hold nothing."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def naming_full_disk(place: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Turn a full disk that a library reports as one of its own `kinds` of error into a UserError."""
    try:
        yield
    except kinds as error:
        if not any(mark in str(error) for mark in FULL_DISK_MARKS):
            raise
        raise UserError(f"{place}: cannot be written, the disk is full or a size limit reached") from None


def refuse_existing(path: Path) -> None:
    """Raise UserError when `path` is a file or a folder that is not empty."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"{path}: already exists; choose another output folder or remove it first")
