"""A profile's speed against its fp32 counterpart's: both open in fresh processes, taking turns.

Absolute times of a shared machine say as much about its other work as about the model. So the two take turns
within milliseconds, on one thread each, and what is compared is processor time: waiting for a core that
others hold does not count. On an idle machine that is the latency on one thread. Two threads would wait for
each other within each operator, and beside other work that is most of what a clock would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cost import MIN_RUNS, MS_DIGITS, Plan
from bench.measurements import LatencyRatio
from bench.probe import settled
from bench.statistics import paired_ratio
from bench.worker import Worker
from export.artifact import Artifact
from export.embedder import has_weight_cache
from export.manifest import Manifest
from export.weight_cache import WeightCache

FP32 = "fp32"
ONE_THREAD = 1
"""More of onnxruntime's stay awake for some 30 ms after a run, on the cores that the other one needs."""
RATIO_DIGITS = 4
SHORT_TOKENS = 32
"""Texts up to this length are run once before each timed run.

The processor's caches are full of the other's weights then, and refilling them is much of a short run.
"""
LONG_TOKENS = 128
"""Longer texts than this make MIN_RUNS pairs, which is enough for them, however many runs were asked for."""


@dataclass(frozen=True)
class Contender:
    """An artifact and the folder of its weight cache."""

    artifact: Artifact
    cache: Path

    def warm(self) -> None:
        """Build the weight cache, unless it is there or the profile has none."""
        manifest = self.artifact.manifest
        if not has_weight_cache(manifest):
            return
        if not WeightCache(self.cache, self.artifact.model_sha256, manifest.runtime).is_valid():
            with Worker(self.artifact.path) as worker:
                worker.open(ONE_THREAD, self.cache)


def counterpart(artifact: Artifact, others: Sequence[Artifact]) -> Artifact | None:
    """The fp32 profile of the same runtime, of the nearest dimension (of two the larger); None without one.

    An fp32 profile has none: it is what others are measured against.
    """
    mine = artifact.manifest
    if mine.precision == FP32:
        return None

    def distance(manifest: Manifest) -> tuple[int, int]:
        return abs(manifest.dim - mine.dim), -manifest.dim

    known = [one for one in others if (one.manifest.runtime, one.manifest.precision) == (mine.runtime, FP32)]
    return min(known, key=lambda one: distance(one.manifest), default=None)


def measure_ratios(profile: Contender, reference: Contender, plan: Plan) -> dict[str, LatencyRatio]:
    """The ratio by length, from `plan.runs` pairs of neighbouring inferences (MIN_RUNS of long texts).

    Both weight caches are warm. Who goes first alternates. While one runs, the other sleeps. Raises
    UserError when a process dies.
    """
    for one in (profile, reference):
        one.warm()
    with Worker(profile.artifact.path) as mine, Worker(reference.artifact.path) as other:
        mine.open(ONE_THREAD, profile.cache)
        other.open(ONE_THREAD, reference.cache)
        name = reference.artifact.manifest.name
        return {str(length): _ratio((mine, other), length, plan, name) for length in plan.lengths}


def _ratio(pair: tuple[Worker, Worker], length: int, plan: Plan, name: str) -> LatencyRatio:
    warm: list[list[float]] = [[], []]
    while not all(map(settled, warm)) and len(warm[0]) < plan.max_warm_up:
        _turns(pair, length, warm)
    taken: list[list[float]] = [[], []]
    for _ in range(MIN_RUNS if length > LONG_TOKENS else plan.runs):
        _turns(pair, length, taken)
    ms, reference_ms = ([round(one, MS_DIGITS) for one in values] for values in taken)
    ratio, interval = paired_ratio(ms, reference_ms)
    ends = [None if end is None else round(end, RATIO_DIGITS) for end in interval]
    return LatencyRatio(name, round(ratio, RATIO_DIGITS), ends, ms, reference_ms)


def _turns(pair: tuple[Worker, Worker], length: int, taken: list[list[float]]) -> None:
    """One turn of each; who was second goes first next time."""
    runs = 2 if length <= SHORT_TOKENS else 1
    for side in (0, 1) if len(taken[0]) % 2 == 0 else (1, 0):
        taken[side].append(pair[side].ask("work", length=length, runs=runs)["ms"][-1])
