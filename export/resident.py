"""Which of a process's mapped pages stay resident: advice to the kernel, on Linux only.

Pages of a file that are only read are clean: handed back, they stay in the page cache and are mapped again
when they are read again.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAPS = Path("/proc/self/maps")
CODE = "r-xp"
"""Permissions of a library's code, the one part of it that is never written to."""

Range = tuple[int, int]


def mapped(file: Path, permissions: str = "") -> set[Range]:
    """(address, size) of every mapping of a file in this process; none where the system does not tell."""
    if _LIBC is None or not MAPS.exists():
        return set()
    target = str(file.resolve())
    ranges = set()
    for line in MAPS.read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == target and permissions in ("", fields[1]):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            ranges.add((start, end - start))
    return ranges


def read_singly(ranges: Iterable[Range]) -> None:
    """Map single pages on access, without their neighbours: for tables, of which few rows are read."""
    _advise(ranges, "MADV_RANDOM")


def hand_back(ranges: Iterable[Range]) -> None:
    """Let go of clean pages of files; what is read again is mapped again."""
    _advise(ranges, "MADV_DONTNEED")


def hand_back_code(library: Path) -> None:
    """Let go of a library's code: opening a model runs much of it that inference does not."""
    hand_back(mapped(library, CODE))


def hand_back_heap() -> None:
    """Return freed memory to the system, which glibc else keeps for later."""
    if _LIBC is not None and hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def _advise(ranges: Iterable[Range], advice: str) -> None:
    for start, size in ranges:
        _LIBC.madvise(start, size, getattr(mmap, advice))


def _load_libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


_LIBC = _load_libc()
