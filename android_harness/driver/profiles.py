"""A phone's answers as a report's profile: what can be worked out here is, with bench's functions."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from android_harness.driver.results import Answer
from android_harness.protocol import Cost
from bench.bearings import Bearings
from bench.cost import Timed, latency_of
from bench.drops import ASYMMETRIC, FULL_DIM, SAME_DIM, score_drops
from bench.measurements import CacheState
from bench.nearest import unit
from bench.quality import Quality, score
from bench.report import Profile
from bench.sanity import check_vectors
from bench.structure import summarise_golden
from common.retrieval import RetrievalSet
from export.artifact import Artifact
from export.fault import Fault
from export.golden import GoldenResult, read_golden, row_cosines
from export.lint.examine import lint

Float32 = npt.NDArray[np.float32]

DIGITS = 6


def make_profile(
    artifact: Artifact, answers: list[Answer], data: RetrievalSet, bearings: Bearings
) -> tuple[Profile, Quality]:
    """One artifact's measurements, ungated, and its quality by query. The last answer embeds the texts."""
    manifest, last = artifact.manifest, answers[-1]
    states = {name: _state(cost) for one in answers for name, cost in one.result.costs.items()}
    main = states[last.job.states[-1]]
    golden = golden_of(artifact, last)
    quality = quality_of(last, len(golden), data, bearings.server.get(manifest.dim))
    by_query, asymmetric = _rounded(quality.by_query), _rounded(quality.asymmetric_by_query)
    drops = score_drops(manifest.dim, by_query, asymmetric, bearings.reference)
    rounding = manifest.rounding
    profile = Profile(
        name=manifest.name,
        runtime=manifest.runtime,
        precision=manifest.precision,
        dim=manifest.dim,
        file_bytes=artifact.file_bytes,
        ndcg_at_10=round(quality.ndcg_at_10, DIGITS),
        recall_at_10=round(quality.recall_at_10, DIGITS),
        mrr_at_10=round(quality.mrr_at_10, DIGITS),
        ndcg_by_query=by_query,
        asymmetric_by_query=asymmetric,
        ndcg_drop_same_dim=drops[SAME_DIM],
        ndcg_drop_full_dim=drops[FULL_DIM],
        ndcg_drop_asymmetric=drops[ASYMMETRIC],
        golden=summarise_golden(golden),
        rounding_cosine_mean=rounding.golden_cosine_mean if rounding else None,
        rounding_cosine_min=rounding.golden_cosine_min if rounding else None,
        load_ms=main.load_ms,
        latency_ms=main.latency_ms,
        latency_ratio={},
        ram_mb=main.ram_mb,
        faults=_faults(artifact, answers, len(golden)),
        first_ms=main.first_ms,
        cache_states=states if len(states) > 1 else {},
        pss_mb=last.result.costs[last.job.states[-1]].pss_mb,
    )
    return profile, quality


def golden_of(artifact: Artifact, answer: Answer) -> list[GoldenResult]:
    """How the phone did on each golden text."""
    texts = read_golden(artifact.path)
    vectors = answer.vectors[: len(texts)]
    cosines = row_cosines(vectors, np.array([one.vector for one in texts], dtype=np.float32))
    return [
        GoldenResult(
            prompt=one.prompt,
            text=one.text,
            tokens=len(one.ids),
            ids_equal=equal,
            cosine=float(cosine),
            norm=float(np.linalg.norm(vector.astype(np.float64))),
            finite=bool(np.isfinite(vector).all()),
        )
        for one, equal, cosine, vector in zip(
            texts, answer.result.golden_ids_equal, cosines, vectors, strict=True
        )
    ]


def quality_of(answer: Answer, golden: int, data: RetrievalSet, server: Float32 | None) -> Quality:
    """Scores of the vectors after the golden ones; one that is not finite finds nothing and is not found."""
    vectors = answer.vectors[golden:]
    finite = np.isfinite(vectors).all(axis=1, keepdims=True)
    vectors = unit(np.where(finite, vectors, 0).astype(np.float32))
    queries = vectors[: len(data.queries)]
    quality = score(data, queries, vectors[len(data.queries) :])
    if server is None:
        return quality
    return dataclasses.replace(quality, asymmetric_by_query=score(data, queries, server).by_query)


def _state(cost: Cost) -> CacheState:
    latency = {length: latency_of(Timed(one.warm_up, one.ms)) for length, one in cost.latency_ms.items()}
    return CacheState(cost.load_ms, cost.first_ms, latency, cost.ram_mb, cost.cache_bytes)


def _faults(artifact: Artifact, answers: list[Answer], golden: int) -> list[Fault]:
    """What lint finds here, what the phone found, and what its vectors show, each name once."""
    manifest, vectors = artifact.manifest, answers[-1].vectors
    found = [*lint(artifact), *(fault for one in answers for fault in one.result.faults)]
    found += check_vectors(vectors[:golden], manifest.dim, manifest.full_dim)
    if not np.isfinite(vectors[golden:]).all():
        found += check_vectors(vectors[golden:], manifest.dim, manifest.full_dim)
    return [one for index, one in enumerate(found) if one.name not in {f.name for f in found[:index]}]


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(one, DIGITS) for one in values]
