"""The adb client as a program: found, started, asked, and given up on when its time is up."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError

POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
SERVER_SECONDS = 60.0
QUESTION_SECONDS = 60.0
SDK_VARIABLES = ("ANDROID_HOME", "ANDROID_SDK_ROOT")


class Stopped(Exception):  # noqa: N818 - not an error: someone pressed Ctrl-C
    """Work was given up because `Adb.stop` was set."""


class TimeUp(UserError):  # noqa: N818 - as Stopped
    """A call did not end in its time and was ended."""


@dataclass(frozen=True)
class Said:
    """How a call ended: exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last line that says something, stderr's before stdout's."""
        lines = [line for text in (self.out, self.err) for line in text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else "no message"


@dataclass(frozen=True)
class Adb:
    """The client. Setting `stop` ends every call that waits, with Stopped."""

    program: Path
    stop: threading.Event = field(default_factory=threading.Event)

    def call(self, *words: str, seconds: float = QUESTION_SECONDS, heed_stop: bool = True) -> Said:
        """Run adb to its end. Raises TimeUp or Stopped, adb killed; UserError when it cannot be run."""
        command = [str(self.program), *words]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:  # a session of its own: Ctrl-C is ours to hear
            process = subprocess.Popen(command, **pipes, start_new_session=True)  # type: ignore[call-overload]
        except OSError as error:
            raise UserError(f"{self.program}: cannot be run: {error.strerror}") from None
        ends = time.monotonic() + seconds
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if heed_stop and self.stop.is_set():
                        raise Stopped from None
                    if time.monotonic() > ends:
                        what = " ".join(words[:3])
                        raise TimeUp(f"{self.program} {what} ...: no end within {seconds:g} s") from None
                    continue
                return Said(process.returncode, *(text.decode(errors="replace") for text in (out, err)))
        finally:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a server that it started keeps the pipes
                process.communicate(timeout=GRACE_SECONDS)

    def start_server(self) -> None:
        """Have adb's server run. Raises UserError with adb's reason when it does not start."""
        try:
            said = self.call("start-server", seconds=SERVER_SECONDS)
        except TimeUp:
            raise UserError(
                f"{self.program}: its server does not start within {SERVER_SECONDS:g} s"
            ) from None
        if said.code:
            reasons = [line.strip() for line in said.err.splitlines() if "error" in line.lower()]
            raise UserError(f"{self.program}: its server does not start: {(reasons or [said.last_line])[0]}")

    def list_devices(self) -> str:
        """What `adb devices -l` prints."""
        try:
            said = self.call("devices", "-l")
        except TimeUp:
            raise UserError(f"{self.program}: its server does not answer; try adb kill-server") from None
        if said.code:
            raise UserError(f"{self.program}: devices cannot be listed: {said.last_line}")
        return said.out


def find_adb() -> Adb:
    """The adb of the PATH, or of the Android SDK that ANDROID_HOME names. Raises UserError without one."""
    if found := shutil.which("adb"):
        return Adb(Path(found))
    for variable in SDK_VARIABLES:
        program = Path(os.environ.get(variable, "")) / "platform-tools" / "adb"
        if os.environ.get(variable) and program.is_file():
            return Adb(program)
    raise UserError(
        "adb: not on the PATH and not in $ANDROID_HOME/platform-tools; install Android's platform tools"
    )
