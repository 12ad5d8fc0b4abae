"""One progress display for a whole job: a line per stage with a bar, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """Reports one finished unit of a stage, with a word on it."""

    def __call__(self, note: str = "", amount: int = 1) -> None:
        """Advance the stage by `amount`; with amount 0, `note` is a remark on the way."""


def silent(note: str = "", amount: int = 1) -> None:
    """A Step that shows nothing."""


class Display:
    """Bars on a terminal; elsewhere (a CI log) a plain line per finished stage and per remark on the way."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=self._console,
            disable=not self._live,
        )

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        """Show stage `name` with `total` units; yields the Step that advances it."""
        task = self._progress.add_task(name, total=total, note="")
        started = time.monotonic()
        last = ""

        def step(note: str = "", amount: int = 1) -> None:
            nonlocal last
            last = note or last
            self._progress.update(task, advance=amount, note=last)
            if note and not amount:
                self._say(f"{name:<10} {note}")

        yield step
        self._finish(task, name, total, last, time.monotonic() - started)

    def done(self, name: str, note: str) -> None:
        """Show a stage that an earlier run finished."""
        task = self._progress.add_task(name, total=1, completed=1, note=note)
        self._finish(task, name, 1, note, 0.0)

    def _finish(self, task: TaskID, name: str, total: int, note: str, seconds: float) -> None:
        self._progress.update(task, completed=total)
        self._say(f"{name:<10} {total}/{total}  {seconds:6.1f} s  {note}")

    def _say(self, line: str) -> None:
        """A plain line where there are no bars."""
        if not self._live:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
