"""A runtime's packed weights in a file, trusted only when it is known to be this model's.

Both runtimes repack every weight for the processor when a model is opened, into memory of the app's own.
XNNPACK and onnxruntime can each keep the result in a file that later openings map. XNNPACK looks packed
weights up by tensor number, so a cache of another model of the same shape would be taken without complaint
and give wrong vectors. Files are therefore named after what they were built from, and a record beside them,
written when the build is over, holds the same facts and their size.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from common.errors import UserError
from common.files import read_json, write_json

SUFFIXES = {"litert": ".xnnpack", "onnx": ".prepacked"}
"""What a cache file's name ends in, by runtime; onnxruntime's has its weights in a second file."""
PACKAGES = {"litert": "ai-edge-litert", "onnx": "onnxruntime"}
DATA_SUFFIX = ".data"
MAX_BYTES = 2_000_000_000
"""Caches of other models are dropped, the longest unused first, when a folder would hold more."""
ABANDONED_AFTER_S = 3600
"""A build takes seconds; what is left of one after this time belongs to a process that was killed."""
WORKSHOP = re.compile(r"\.[0-9a-f]{24}\..+")
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class CacheKey:
    """What packed weights depend on: the model's content, the runtime's version, the processor."""

    model_sha256: str
    runtime: str
    processor: str


class WeightCache:
    """The cache of one model in one folder."""

    def __init__(self, folder: Path, model_sha256: str, runtime: str = "litert") -> None:
        package = PACKAGES[runtime]
        self.folder = folder
        self.key = CacheKey(model_sha256, f"{package} {version(package)}", processor_features())
        name = hashlib.sha256(repr(self.key).encode()).hexdigest()[:24]
        self.file = folder / f"{name}{SUFFIXES[runtime]}"
        self.record = folder / f"{self.file.name}.json"
        self._workshop: Path | None = None

    def prepare(self) -> Path:
        """The file to hand to the runtime: the finished cache, or a new one that `seal` puts in its place.

        Raises UserError when the folder cannot be written and holds no finished cache.
        """
        if self.is_valid():
            with suppress(OSError):  # a folder that may only be read serves all the same
                os.utime(self.file)
            return self.file
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in (self.record, *_parts(self.file)):
                file.unlink(missing_ok=True)
            self._make_room()
            self.discard()
            self._workshop = Path(tempfile.mkdtemp(prefix=f".{self.file.stem}.", dir=self.folder))
        except OSError as error:
            raise self._unwritable(error) from None
        return self._workshop / self.file.name

    def _unwritable(self, error: OSError) -> UserError:
        reason = (error.strerror or str(error)).lower()
        return UserError(f"{self.folder}: cannot hold the weight cache ({reason}); choose another folder")

    def is_valid(self) -> bool:
        """Whether a finished cache of this very model, runtime version and processor lies there."""
        if not (self.file.is_file() and self.record.is_file()):
            return False
        try:
            found = read_json(self.record)
        except UserError:
            return False
        return bool(found == self._facts(_size(self.file)))

    def seal(self) -> None:
        """Put a cache that the runtime has just built in place and record it; else there is nothing to do."""
        if self._workshop is None:
            return
        file = self._workshop / self.file.name
        if file.is_file():
            record = self._workshop / self.record.name
            write_json(record, self._facts(_size(file)))
            for part in (*reversed(_parts(file)), record):
                part.replace(self.folder / part.name)
        self.discard()

    def discard(self) -> None:
        """Remove what an unfinished build has left."""
        if self._workshop:
            shutil.rmtree(self._workshop, ignore_errors=True)

    def _facts(self, size: int) -> dict[str, str | int]:
        return {**asdict(self.key), "bytes": size}

    def _make_room(self) -> None:
        """Remove the longest unused caches until those left take at most MAX_BYTES, and abandoned builds."""
        total = 0
        for file in sorted(_caches(self.folder), key=_last_use, reverse=True):
            total += _size(file)
            if total > MAX_BYTES:
                file.with_name(f"{file.name}.json").unlink(missing_ok=True)
                for part in _parts(file):
                    part.unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if WORKSHOP.fullmatch(path.name) and time.time() - _last_use(path) > ABANDONED_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)


def cache_bytes(folder: Path) -> int:
    """Bytes of all finished caches in a folder."""
    return sum(map(_size, _caches(folder)))


def _caches(folder: Path) -> list[Path]:
    return [file for suffix in SUFFIXES.values() for file in folder.glob(f"*{suffix}")]


def _last_use(path: Path) -> float:
    """Time of the last change, in seconds; 0 for what another process has just removed."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0


def _parts(file: Path) -> list[Path]:
    """A cache's files that exist."""
    return [part for part in (file, file.with_name(f"{file.name}{DATA_SUFFIX}")) if part.is_file()]


def _size(file: Path) -> int:
    return sum(part.stat().st_size for part in _parts(file))


def default_cache_folder() -> Path:
    """$POCKETVEC_CACHE, or pocketvec's folder in the user's cache home."""
    if chosen := os.environ.get("POCKETVEC_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "pocketvec"


def processor_features() -> str:
    """Architecture, model and instruction sets of this processor; runtimes pack for them."""
    text = CPU_INFO.read_text() if CPU_INFO.is_file() else platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = dict.fromkeys(line for line in text.splitlines() if line.startswith(wanted))
    return hashlib.sha256("\n".join((platform.machine(), *lines)).encode()).hexdigest()[:16]
