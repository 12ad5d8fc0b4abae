"""A structural fault by name, with what shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Something wrong: its name in kebab case, and the value, the rule and the place in one line."""

    name: str
    evidence: str
