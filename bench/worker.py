"""The other end of bench.probe: starts the process, asks, samples its memory meanwhile, and ends it."""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.measurements import BYTES_PER_MB, MemoryPoint
from bench.proc import Status
from common.errors import UserError

SAMPLE_SECONDS = 0.001
GRACE_SECONDS = 30
INTERPRETER_VARIABLE = "POCKETVEC_PYTHON"
"""How to start Python, in a shell's words, where sys.executable alone does not start: through a loader or an
emulator. The environment has the rest."""
CHUNK = 1 << 16
DIGITS = 3

Answer = dict[str, Any]


@dataclass(frozen=True)
class Watched:
    """Memory in MB while one request was served.

    peak: the sample with the highest total. anonymous: the highest of any sample. high_water: the kernel's
    own mark. end: when the answer was ready.
    """

    peak: MemoryPoint
    anonymous: float
    high_water: float
    end: MemoryPoint


class Worker:
    """A process that holds one artifact; to be used in a `with`, which ends it in every case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        command = [*interpreter(), "-P", "-m", "bench.probe", str(folder)]  # -P: not from the user's folder
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )
        self.pid = self._process.pid
        self._status = Status(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the process end by itself after success, and kill it otherwise.

        Raises UserError when it fails at its end: an app of the user's would too.
        """
        try:
            if kind is None and self._end() != 0:
                raise self._died()
        finally:
            self._process.kill()
            self._process.communicate()
            self._status.close()
            self._said.close()

    def open(self, threads: int, cache: Path | None) -> Answer:
        """Open the artifact without watching."""
        return self.ask("open", threads=threads, cache=str(cache) if cache else None)

    def ask(self, do: str, **what: object) -> Answer:
        """Send a request and wait. Raises UserError when the process dies of it."""
        self._send(do, what)
        return self._receive(None)

    def watch(self, do: str, **what: object) -> tuple[Answer, Watched]:
        """The same, with the process's memory sampled every SAMPLE_SECONDS.

        The process's own reading at the end counts as a sample.
        """
        samples: list[dict[str, int]] = []
        self._send(do, what)
        answer = self._receive(samples)
        end = answer["memory"]
        points = [memory_point(one) for one in (*samples, end) if "RssAnon" in one]
        peak = max(points, key=lambda point: point.rss)
        marked = max(end["VmHWM"] / BYTES_PER_MB, peak.rss)  # some kernels count the mark less exactly
        highest = max(point.anonymous for point in points)
        return answer, Watched(peak, highest, round(marked, DIGITS), memory_point(end))

    def _send(self, do: str, what: dict[str, object]) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the process has pipes")
        try:
            self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self, samples: list[dict[str, int]] | None) -> Answer:
        if self._process.stdout is None:
            raise RuntimeError("the process has pipes")
        answers, text = self._process.stdout.fileno(), b""
        while not text.endswith(b"\n"):
            if samples is not None and not select.select([answers], [], [], SAMPLE_SECONDS)[0]:
                samples.append(self._status.read())
                continue
            part = os.read(answers, CHUNK)
            if not part:
                raise self._died()
            text += part
        answer: Answer = json.loads(text)
        return answer

    def _end(self) -> int:
        if self._process.stdin is None:
            raise RuntimeError("the process has pipes")
        self._process.stdin.close()
        self._process.stdin = None
        try:
            return self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"{self.folder}: the measuring process does not end") from None

    def _died(self) -> UserError:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        return UserError(f"{self.folder}: the measuring process ended with {code}: {last}")


def interpreter() -> list[str]:
    """The command that starts another process of this Python."""
    return shlex.split(os.environ.get(INTERPRETER_VARIABLE, "")) or [sys.executable]


def memory_point(status: dict[str, int]) -> MemoryPoint:
    """One reading as reports hold it."""
    parts = (status[name] / BYTES_PER_MB for name in ("RssAnon", "RssFile", "RssShmem"))
    return MemoryPoint(*(round(part, DIGITS) for part in parts))
