"""A phone's answers as a report's profile: what can be worked out here is, with bench's functions."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from android_harness.driver.results import Answer
from android_harness.protocol import Cost
from bench.bearings import Bearings
from bench.cost import Timed, latency_of
from bench.measure import profile_of
from bench.measurements import CacheState
from bench.nearest import unit
from bench.quality import Quality, score
from bench.report import Profile
from bench.sanity import check_vectors
from bench.structure import summarise_golden
from common.retrieval import RetrievalSet
from export.artifact import Artifact
from export.fault import Fault
from export.golden import GoldenResult, compare_vector, read_golden
from export.lint.examine import lint

Float32 = npt.NDArray[np.float32]


def make_profile(
    artifact: Artifact, answers: list[Answer], data: RetrievalSet, bearings: Bearings
) -> tuple[Profile, Quality]:
    """One artifact's measurements, ungated, and its quality by query. The last answer embeds the texts."""
    manifest, last = artifact.manifest, answers[-1]
    states = {name: _state(cost) for one in answers for name, cost in one.result.costs.items()}
    main = states[last.job.states[-1]]
    golden = golden_of(artifact, last)
    quality = quality_of(last, len(golden), data, bearings.server.get(manifest.dim))
    kept = states if len(states) > 1 else {}
    profile = profile_of(artifact, quality, summarise_golden(golden), (main, kept), bearings.reference)
    faults, pss = _faults(artifact, answers, len(golden)), last.result.costs[last.job.states[-1]].pss_mb
    return dataclasses.replace(profile, faults=faults, pss_mb=pss), quality


def golden_of(artifact: Artifact, answer: Answer) -> list[GoldenResult]:
    """How the phone did on each golden text."""
    texts = read_golden(artifact.path)
    vectors = answer.vectors[: len(texts)]
    equal = answer.result.golden_ids_equal
    return [compare_vector(*one) for one in zip(texts, vectors, equal, strict=True)]


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
