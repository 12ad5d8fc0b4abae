"""The kernel's memory counters of a process, all from one read, so that the parts add up to the whole."""

from __future__ import annotations

import os
import re
from pathlib import Path

CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_HIGH_WATER = "5"
KB = 1024
FIELDS = re.compile(rb"(VmHWM|VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+) kB")
STATUS_BYTES = 4096


class Status:
    """An open /proc/PID/status: reading it again costs some 15 to 35 microseconds and no memory."""

    def __init__(self, pid: int | str = "self") -> None:
        self._file = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        self._pages = Path(f"/proc/{pid}/statm")

    def read(self) -> dict[str, int]:
        """Bytes by the kernel's names: VmRSS = RssAnon + RssFile + RssShmem, and VmHWM, the highest VmRSS.

        Empty when the process has ended.
        """
        try:
            text = os.pread(self._file, STATUS_BYTES, 0)
        except ProcessLookupError:
            return {}
        found = {name.decode(): int(value) * KB for name, value in FIELDS.findall(text)}
        if "VmRSS" not in found or "RssAnon" in found:
            return found
        try:
            return found | parts_of(self._pages.read_bytes(), os.sysconf("SC_PAGE_SIZE"))
        except (FileNotFoundError, ProcessLookupError):
            return {}

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def parts_of(pages: bytes, page_size: int) -> dict[str, int]:
    """The parts by /proc/PID/statm, for Linux before 4.5 (many phones with Android 8 to 10).

    Their status has the whole alone. Pages of files and shared ones are one number, told as file-backed.
    """
    whole, shared = (int(number) * page_size for number in pages.split()[1:3])
    return {"VmRSS": whole, "RssAnon": whole - shared, "RssFile": shared, "RssShmem": 0}


def read_status() -> dict[str, int]:
    """One reading of this process."""
    status = Status()
    try:
        return status.read()
    finally:
        status.close()


def reset_high_water() -> bool:
    """Let VmHWM of this process start anew at its present size (Linux: writing 5 to clear_refs).

    False where the kernel refuses it: VmHWM then goes on counting from the start of the process.
    """
    try:
        CLEAR_REFS.write_text(RESET_HIGH_WATER)
    except OSError:
        return False
    return True
