"""The mutation table: faults, the real artifacts that they are put into, and the names that they must get.

The rows are in tests/fault_rows.py; tests/test_mutations.py holds bench and docs/faults.md to them. The edits
are those of the tests of the lint and of the diagnosis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutations as m
import pytest

import bench.structure
from bench.structure import examine_structure
from export.embedder import Embedder, Opening
from export.fault import Fault
from export.golden import read_golden

LINT, DIAGNOSIS, BOTH = "lint", "diagnosis", "both"
LONGEST = 64
"""Golden texts of up to so many tokens: the long ones take most of the time and decide nothing here."""

Change = Callable[[Path], Any]
Make = Callable[[Path], Change]


@dataclass(frozen=True)
class Row:
    """One fault. where: what is edited. artifact: its folder's name. make: from the folder of all, the edit.

    name: what must be named. lint, running: every name that the half which reads and the half which runs
    gives, in any order.
    """

    fault: str
    where: str
    artifact: str
    make: Make
    name: str
    lint: str = ""
    running: str = ""

    @property
    def found_by(self) -> str:
        """Which half gives the name."""
        halves = (self.name in self.lint.split(), self.name in self.running.split())
        return {(True, True): BOTH, (True, False): LINT, (False, True): DIAGNOSIS}[halves]

    @property
    def cells(self) -> list[str]:
        """The row as docs/faults.md has it."""
        halves = [" ".join(f"`{name}`" for name in half.split()) or "-" for half in (self.lint, self.running)]
        return [self.fault, self.where, self.artifact, f"`{self.name}`", *halves]


HEADER = ["Fault", "Where", "Artifact", "Name", "Lint", "Running"]


def markdown(rows: Sequence[Row]) -> list[str]:
    """The table of docs/faults.md, line by line."""
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


@dataclass(frozen=True)
class Examined:
    """What bench says of an artifact, and what each half says that it is made of."""

    faults: list[Fault]
    by_lint: list[Fault]
    by_running: list[Fault]
    embedder: Embedder

    @property
    def names(self) -> set[str]:
        """Of all faults."""
        return {fault.name for fault in self.faults}

    def without(self, patch: pytest.MonkeyPatch, half: str) -> set[str]:
        """The names that examine_structure gives with one half switched off, the other as it was."""
        with patch.context() as switched:
            self._replay(switched, LINT, "lint", [] if half == LINT else self.by_lint)
            self._replay(switched, DIAGNOSIS, "diagnose", [] if half == DIAGNOSIS else self.by_running)
            switched.setattr(bench.structure, "read_golden", lambda path: read_golden(path)[:1])
            return {fault.name for fault in examine_structure(self.embedder)[1]}

    @staticmethod
    def _replay(patch: pytest.MonkeyPatch, half: str, function: str, faults: list[Fault]) -> None:
        patch.setattr(bench.structure, function, lambda *_: faults)


def examined(folder: Path, longest: int | None = LONGEST) -> Examined:
    """Run examine_structure on an artifact folder, keeping what its parts give it."""
    embedder = Embedder.open(folder, Opening(use_weight_cache=False), verify=False)
    kept: dict[str, Any] = {}

    def keep(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            kept[name] = function(*given)
            return kept[name]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("lint", "diagnose"):
            patch.setattr(bench.structure, name, keep(name, getattr(bench.structure, name)))
        patch.setattr(bench.structure, "read_golden", lambda path: read_golden(path, longest))
        _, faults = examine_structure(embedder)
    return Examined(faults, kept["lint"], kept["diagnose"], embedder)


def mutated(row: Row, artifacts: Path, out: Path) -> Path:
    """A copy of the row's artifact with its fault."""
    return m.mutated(artifacts / row.artifact, out, row.make(artifacts))
