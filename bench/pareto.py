"""Which profiles no other beats on size and quality at once."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import Profile


def pareto_front(profiles: Sequence[Profile]) -> list[str]:
    """Names on the front of smaller `file_bytes` and higher `ndcg_at_10`, smallest first.

    Two profiles alike in both stay on it together.
    """
    front = [one for one in profiles if not any(_beats(other, one) for other in profiles)]
    return [one.name for one in sorted(front, key=lambda one: one.file_bytes)]


def _beats(other: Profile, one: Profile) -> bool:
    """No worse in both and better in one."""
    no_worse = other.file_bytes <= one.file_bytes and other.ndcg_at_10 >= one.ndcg_at_10
    return no_worse and (other.file_bytes, other.ndcg_at_10) != (one.file_bytes, one.ndcg_at_10)
