"""What a diagnosis says: a fault by its name, with the numbers that show it. docs/faults.md has the names."""

from __future__ import annotations

from dataclasses import dataclass

UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an artifact: a name in kebab-case, and a line of evidence with numbers."""

    name: str
    evidence: str
