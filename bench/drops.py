"""A profile's NDCG@10 lost to the fp32 reference: at its dimension, at full width, with fp32 documents."""

from __future__ import annotations

from collections.abc import Sequence

from bench.measurements import Drop
from bench.report import Profile, Reference
from bench.statistics import CONFIDENCE, paired_drop

SAME_DIM, FULL_DIM, ASYMMETRIC = DROPS = (
    "ndcg_drop_same_dim",
    "ndcg_drop_full_dim",
    "ndcg_drop_asymmetric",
)


def drops_of(
    profile: Profile, reference: Reference | None, confidence: float = CONFIDENCE
) -> dict[str, Drop | None]:
    """A profile's drops by name: as it holds them or, for another confidence, from its scores by query."""
    if confidence == CONFIDENCE:
        return {name: getattr(profile, name) for name in DROPS}
    return score_drops(profile.dim, profile.ndcg_by_query, profile.asymmetric_by_query, reference, confidence)


def score_drops(
    dim: int,
    by_query: Sequence[float],
    asymmetric_by_query: Sequence[float],
    reference: Reference | None,
    confidence: float = CONFIDENCE,
) -> dict[str, Drop | None]:
    """Every drop by name, None where the reference was not scored at that dimension."""
    if reference is None or not reference.by_query:
        return dict.fromkeys(DROPS)
    same, full = reference.by_query.get(str(dim)), reference.by_query[max(reference.by_query, key=int)]
    return {
        SAME_DIM: paired_drop(same, by_query, confidence) if same else None,
        FULL_DIM: paired_drop(full, by_query, confidence),
        ASYMMETRIC: paired_drop(same, asymmetric_by_query, confidence)
        if same and asymmetric_by_query
        else None,
    }
