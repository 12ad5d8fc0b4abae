"""One phone over adb: commands, files to it and from it, and what went wrong in one line.

adb's own exit codes do not tell how a command ended from a cable that was pulled (`adb shell` then ends with
0, 1 or 255, by its version), so that every command says its exit code in its last line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from android_harness.driver.adb import QUESTION_SECONDS, Adb, Said, TimeUp
from common.errors import UserError

ROOT = "/data/local/tmp/pocketvec"
"""Everything on the phone lies below; the adb shell may write here and an app may read."""
EXIT_MARK = re.compile(r"\n?pocketvec-exit (\d+)\s*\Z")
TRANSFER_SECONDS = 3600.0
DISK_REASONS = {
    "No space left on device": "no space left on the device",
    "Read-only file system": "its file system is read-only",
    "Permission denied": "permission denied on the device",
    "Disk quota exceeded": "no space left on the device (quota)",
}


@dataclass(frozen=True)
class Phone:
    """A phone by its serial."""

    adb: Adb
    serial: str

    def ask(self, command: str, doing: str, seconds: float = QUESTION_SECONDS) -> Said:
        """Run a shell command and give its own exit code.

        Raises UserError when the connection goes meanwhile, TimeUp when `seconds` pass.
        """
        said = self._call("shell", f"({command}\n)\necho pocketvec-exit $?", seconds=seconds)
        mark = EXIT_MARK.search(said.out)
        if mark is None:
            raise self._lost(doing, said)
        return Said(int(mark[1]), said.out[: mark.start()], said.err)

    def shell(self, command: str, doing: str, seconds: float = QUESTION_SECONDS) -> str:
        """Run a shell command that must succeed and give what it writes. Raises UserError when it fails."""
        try:
            said = self.ask(command, doing, seconds)
        except TimeUp:
            raise UserError(f"{self.serial}: no answer within {seconds:g} s during {doing}") from None
        if said.code:
            raise self.failure(doing, said)
        return said.out

    def push(self, files: Sequence[Path], target: str, doing: str = "push") -> None:
        """Copy files into a folder (or one file to a name). Raises UserError when that fails."""
        said = self._call("push", *map(str, files), target, seconds=TRANSFER_SECONDS)
        if said.code:
            raise self.failure(doing, said)

    def pull(self, path: str, target: Path) -> None:
        """Copy a file from the phone. Raises UserError when that fails."""
        said = self._call("pull", path, str(target), seconds=TRANSFER_SECONDS)
        if said.code:
            raise self.failure("pull", said)

    def quietly(self, command: str) -> None:
        """Run a command whose outcome does not matter, even after Ctrl-C; a lost phone is no error here."""
        try:
            self.adb.call("-s", self.serial, "shell", command, seconds=10, heed_stop=False)
        except TimeUp:
            return

    def failure(self, doing: str, said: Said) -> UserError:
        """Why a push, a pull or a command failed, in one line."""
        text = said.out + said.err
        for mark, reason in DISK_REASONS.items():
            if mark in text:
                return UserError(f"{self.serial}: {reason} during {doing}: {_line_with(mark, text)}")
        if not self._is_there():
            return self._lost(doing, said)
        return UserError(f"{self.serial}: {doing} failed: {_reason(said)}")

    def _call(self, *words: str, seconds: float) -> Said:
        return self.adb.call("-s", self.serial, *words, seconds=seconds)

    def _is_there(self) -> bool:
        try:
            said = self._call("get-state", seconds=10)
        except TimeUp:
            return False
        return said.code == 0 and said.out.strip() == "device"

    def _lost(self, doing: str, said: Said) -> UserError:
        reasons = [line for line in said.err.splitlines() if "error" in line]
        more = f" ({reasons[-1].strip()})" if reasons else ""
        return UserError(
            f"{self.serial}: connection lost during {doing}{more}; plug it in and start again to continue"
        )


def quoted(*parts: str) -> str:
    """A path of the phone's, safe in a command."""
    return shlex.quote("/".join(parts))


def _line_with(mark: str, text: str) -> str:
    return next(line.strip() for line in text.splitlines() if mark in line)


def _reason(said: Said) -> str:
    """What adb itself complains of, if it does, otherwise the last line."""
    lines = (said.out + "\n" + said.err).splitlines()
    return next((line.removeprefix("adb: ").strip() for line in lines if "error:" in line), said.last_line)
