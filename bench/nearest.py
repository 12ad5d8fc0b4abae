"""Which wrong pipeline an artifact's vectors come from: the nearest of those in faults.json.

The artifact's vectors v of the probes are compared with the right ones g and each wrong pipeline's f. What f
explains is 1 - |v - f|^2 / |v - g|^2: one for a clean match, below zero where g is nearer. Rounding moves v
too, but hardly ever the way a fault does, so that a fault larger than half of the rounding still shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.wrong.table import FaultTable, Wrong

Float32 = npt.NDArray[np.float32]

EXACT_EXPLAINED, ROUNDED_EXPLAINED = 0.5, 0.2
"""Least share that a fault must explain: of an fp32 profile and of a quantised one. Right profiles: 0.02."""
EXACT_NOISE = 5e-4
"""Distance at which an fp32 profile may lie from its pipeline. Measured: 1e-6, with llama.cpp 1.2e-4."""
CLEAR = 0.9
"""Share that is a name whatever is left: a wrong pipeline may round worse than the right one does."""
NOISE_FACTOR = 2.0
STORED = 0.03
"""Share of a difference that its storage in 8 bits may cost. Measured: 0.02."""


@dataclass(frozen=True)
class Match:
    """A wrong pipeline beside the vectors: the share that it explains, and root mean square distances.

    moved: from the right vectors; left: from the wrong ones, where rounding should be all that is left.
    """

    name: str
    explained: float
    moved: float
    left: float


def unit(vectors: Float32) -> Float32:
    """Rows of length one; a zero row stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def matches(table: FaultTable, vectors: Float32) -> list[Match]:
    """Every wrong pipeline beside the probes' vectors [probes, dim], the best explanation first."""
    right = np.stack([probe.vector for probe in table.probes])
    moved = (unit(vectors) - right).astype(np.float64)
    found = [_match(name, wrong, moved) for name, wrong in table.wrong.items()]
    return sorted(found, key=lambda match: match.explained, reverse=True)


def _match(name: str, wrong: list[Wrong], moved: npt.NDArray[np.float64]) -> Match:
    known = max(one.probe for one in wrong) + 1
    expected = np.zeros((known, moved.shape[1]))
    for one in wrong:
        expected[one.probe] = one.difference
    before = float(np.sum(moved[:known] ** 2))
    after = float(np.sum((moved[:known] - expected) ** 2))
    explained = 1 - after / before if before > 0 else -math.inf
    return Match(name, explained, math.sqrt(before / known), math.sqrt(after / known))


def is_named(match: Match, rounding_cosine: float | None) -> bool:
    """Whether a match explains enough, and nearly all or so much that no more is left than rounding leaves.

    rounding_cosine: mean cosine to the golden vectors that rounding the weights leaves; None for fp32.
    """
    if rounding_cosine is None:
        least, noise = EXACT_EXPLAINED, EXACT_NOISE
    else:
        least, noise = ROUNDED_EXPLAINED, math.sqrt(max(0.0, 2 - 2 * rounding_cosine))
    is_clear = match.explained >= CLEAR or match.left <= NOISE_FACTOR * noise + STORED * match.moved
    return match.explained >= least and is_clear
