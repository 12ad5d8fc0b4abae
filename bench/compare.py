"""The same model in both runtimes, side by side: do they rank alike, and what does each cost?"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.report import Comparison, Profile

if TYPE_CHECKING:
    from bench.quality import Quality

ONNX, LITERT = "onnx", "litert"
COUNTERPARTS = {"fp32": ("fp32",), "int8": ("int8", "q8_0"), "mixed": ("mixed",), "q4_0": ("q4_0",)}
"""ONNX's precisions that answer to one of LiteRT's, the nearest first. A recipe of one's own has none.

LiteRT has no 8-bit blocks, so its int8 stands beside ONNX's Q8_0 where there is no int8 of ONNX.
"""
DIGITS = 6


def counterparts(profiles: Sequence[Profile]) -> list[tuple[Profile, Profile]]:
    """(ONNX, LiteRT) profiles of one dimension and counterpart precisions, in the order of the latter.

    Each LiteRT profile has one counterpart at most.
    """
    onnx = {(one.precision, one.dim): one for one in profiles if one.runtime == ONNX}
    pairs = []
    for litert in (one for one in profiles if one.runtime == LITERT):
        names = COUNTERPARTS.get(litert.precision, ())
        nearest = [onnx[name, litert.dim] for name in names if (name, litert.dim) in onnx]
        pairs += [(one, litert) for one in nearest[:1]]
    return pairs


def compare_runtimes(profiles: Sequence[Profile], quality: Mapping[str, Quality]) -> list[Comparison]:
    """One comparison per pair of counterparts; `quality` is by profile name."""
    return [_compare(*pair, *(quality[one.name] for one in pair)) for pair in counterparts(profiles)]


def mean_overlap(left: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """Share of the best documents that both rankings hold, mean over the queries, between 0 and 1."""
    shares = [len({*a} & {*b}) / len(a) for a, b in zip(left, right, strict=True)]
    return sum(shares) / len(shares)


def _compare(onnx: Profile, litert: Profile, onnx_found: Quality, litert_found: Quality) -> Comparison:
    length = max({*onnx.latency_ms} & {*litert.latency_ms}, key=int, default=None)
    distance, error = ndcg_distance(onnx_found.by_query, litert_found.by_query)
    return Comparison(
        onnx=onnx.name,
        litert=litert.name,
        dim=onnx.dim,
        top10_overlap=round(mean_overlap(onnx_found.top, litert_found.top), DIGITS),
        onnx_ndcg_at_10=onnx.ndcg_at_10,
        litert_ndcg_at_10=litert.ndcg_at_10,
        ndcg_relative=distance,
        ndcg_error=error,
        size_ratio=round(litert.file_bytes / onnx.file_bytes, DIGITS),
        p50_length=length,
        p50_ratio=_ratio(litert.latency_ms[length].p50, onnx.latency_ms[length].p50) if length else None,
        ram_ratio=_ratio(litert.ram_mb.peak_above_baseline, onnx.ram_mb.peak_above_baseline),
    )


def ndcg_distance(left: Sequence[float], right: Sequence[float]) -> tuple[float, float | None]:
    """How far two scores by query lie apart, as a share of the higher mean, with the standard error of that.

    The error is None for a single query, and where both found nothing.
    """
    higher = max(statistics.fmean(left), statistics.fmean(right))
    if higher <= 0:
        return 0.0, None
    differences = np.subtract(left, right)
    error = None
    if len(differences) > 1:
        error = round(float(differences.std(ddof=1)) / len(differences) ** 0.5 / higher, DIGITS)
    return round(abs(float(differences.mean())) / higher, DIGITS), error


def _ratio(value: float, of: float) -> float | None:
    return round(value / of, DIGITS) if of > 0 else None
