"""The cache states of a job, each measured in a fresh process with bench's own code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from android_harness.payload.device import read_pss
from android_harness.protocol import Cost, Job, Pss, Timings
from bench.cost import BRIEF_WARM_UP, MIN_RUNS, MS_DIGITS, RAM_TOKENS, Plan, RawCost, measure_raw
from bench.measurements import NO_CACHE, WARM_CACHE
from bench.report import EMULATED
from bench.worker import Worker
from export.artifact import Artifact
from export.weight_cache import cache_bytes

HIGH_WATER_NOTE = (
    "high water: the kernel does not let it be set back (/proc/self/clear_refs), so each one is that of the "
    "whole process up to then"
)
PSS_NOTE = "pss: the kernel does not let a process's smaps_rollup be read"


@dataclass(frozen=True)
class Measured:
    """Costs by state, and what could not be measured as it should be, a line each."""

    costs: dict[str, Cost] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measure_states(artifact: Artifact, job: Job, cache: Path, say: Callable[[str], None]) -> Measured:
    """Every state that the job names, in its order; `cache` is an empty folder for the packed weights.

    The last state is the one that counts, and timed in full; the others only show what a cache is worth, and
    are timed briefly at the longest length.
    """
    measured = Measured()
    ram_tokens = 0 if job.kind == EMULATED else RAM_TOKENS  # memory under emulation is the emulator's
    plan = Plan(job.lengths, job.runs, job.threads, max_warm_up=job.max_warm_up, ram_tokens=ram_tokens)
    brief = dataclasses.replace(
        plan,
        timed=[max(job.lengths)],
        runs=min(MIN_RUNS, job.runs),
        max_warm_up=min(BRIEF_WARM_UP, job.max_warm_up),
    )
    for state in job.states:
        say(f"state {state}")
        if state == WARM_CACHE and cache_bytes(cache) == 0:
            _build(artifact, job, cache)
        one = plan if state == job.states[-1] else brief
        _measure(
            artifact, dataclasses.replace(one, cache=None if state == NO_CACHE else cache), state, measured
        )
    return measured


def _measure(artifact: Artifact, plan: Plan, state: str, measured: Measured) -> None:
    pss: dict[str, Pss] = {}

    def at(moment: str, pid: int) -> None:
        if (found := read_pss(pid)) is not None:
            pss[moment] = found

    raw = measure_raw(artifact.path, plan, at)
    measured.costs[state] = _cost(raw, cache_bytes(plan.cache) if plan.cache else 0, pss)
    for note, wanted in ((HIGH_WATER_NOTE, not raw.high_water_is_exact), (PSS_NOTE, not pss)):
        if wanted and note not in measured.notes:
            measured.notes.append(note)


def _cost(raw: RawCost, size: int, pss: dict[str, Pss]) -> Cost:
    latency = {
        length: Timings(one.warm_up, [round(ms, MS_DIGITS) for ms in one.ms])
        for length, one in raw.timed.items()
    }
    return Cost(raw.load_ms, raw.first_ms, latency, raw.ram_mb, size, pss)


def _build(artifact: Artifact, job: Job, cache: Path) -> None:
    """Build the weight cache in a process of its own, unwatched."""
    with Worker(artifact.path) as worker:
        worker.open(job.threads, cache)
