"""XNNPACK's weight cache as a file that is trusted only when it is known to be this model's.

The runtime looks packed weights up by tensor number, so a cache of another model of the same shape would be
taken without complaint and give wrong vectors. The file is therefore named after what it was built from, and
a record beside it, written when the build is over, holds the same facts and the file's size.
"""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from common.errors import UserError
from common.files import read_json, write_json

SUFFIX = ".xnnpack"
MAX_BYTES = 2_000_000_000
"""Caches of other models are dropped, the longest unused first, when a folder would hold more."""
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class CacheKey:
    """What packed weights depend on: the model's content, the runtime's version, the processor."""

    model_sha256: str
    runtime: str
    processor: str


class WeightCache:
    """The cache file of one model in one folder."""

    def __init__(self, folder: Path, model_sha256: str) -> None:
        self.folder = folder
        self.key = CacheKey(model_sha256, version("ai-edge-litert"), processor_features())
        name = hashlib.sha256(repr(self.key).encode()).hexdigest()[:24]
        self.file = folder / f"{name}{SUFFIX}"
        self.record = self.file.with_suffix(f"{SUFFIX}.json")
        self._building = folder / f".{name}.{os.getpid()}{SUFFIX}"

    def prepare(self) -> Path:
        """The file to hand to XNNPACK: the finished cache, or a new one that `seal` puts in its place.

        Raises UserError when the folder cannot be written and holds no finished cache.
        """
        if self.is_valid():
            with suppress(OSError):  # a folder that may only be read serves all the same
                os.utime(self.file)
            return self.file
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.record.unlink(missing_ok=True)
            self.file.unlink(missing_ok=True)
            self._make_room()
            self._building.unlink(missing_ok=True)
            self._building.touch()
            self._building.unlink()
        except OSError as error:
            raise self._unwritable(error) from None
        return self._building

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
        return bool(found == {**asdict(self.key), "bytes": self.file.stat().st_size})

    def seal(self) -> None:
        """Put a cache that the runtime has just built in place and record it; else there is nothing to do."""
        if self._building.is_file():
            self._building.replace(self.file)
            write_json(self.record, {**asdict(self.key), "bytes": self.file.stat().st_size})

    def discard(self) -> None:
        """Remove what a failed build has left."""
        self._building.unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Remove the longest unused caches until those left take at most MAX_BYTES."""
        total = 0
        files = list(self.folder.glob(f"*{SUFFIX}"))
        for file in sorted(files, key=lambda one: one.stat().st_mtime, reverse=True):
            total += file.stat().st_size
            if total > MAX_BYTES:
                file.with_suffix(f"{SUFFIX}.json").unlink(missing_ok=True)
                file.unlink()


def default_cache_folder() -> Path:
    """$POCKETVEC_CACHE, or pocketvec's folder in the user's cache home."""
    if chosen := os.environ.get("POCKETVEC_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "pocketvec"


def processor_features() -> str:
    """Architecture, model and instruction sets of this processor; XNNPACK packs for them."""
    text = CPU_INFO.read_text() if CPU_INFO.is_file() else platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = dict.fromkeys(line for line in text.splitlines() if line.startswith(wanted))
    return hashlib.sha256("\n".join((platform.machine(), *lines)).encode()).hexdigest()[:16]
