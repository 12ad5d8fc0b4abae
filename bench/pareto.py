"""Which profiles no other beats on cost and quality at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.report import Profile


def size_of(profile: Profile) -> float:
    """Bytes of graph and weights."""
    return profile.file_bytes


def pareto_front(profiles: Sequence[Profile], cost: Callable[[Profile], float] = size_of) -> list[str]:
    """Names on the front of lower `cost` (by default the size) and higher `ndcg_at_10`, cheapest first.

    Two profiles alike in both stay on it together.
    """
    points = [(cost(one), one.ndcg_at_10, one.name) for one in profiles]
    front = [one for one in points if not any(_beats(other[:2], one[:2]) for other in points)]
    return [name for _, _, name in sorted(front, key=lambda one: one[0])]


def _beats(other: tuple[float, float], one: tuple[float, float]) -> bool:
    """No worse in both and better in one."""
    return other[0] <= one[0] and other[1] >= one[1] and other != one
