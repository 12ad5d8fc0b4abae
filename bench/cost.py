"""What one artifact costs to load and run: figures of fresh processes, one per state of its weight cache."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.probe import WARM_UP_WINDOW, Plan
from bench.report import (
    BUILD_CACHE,
    BYTES_PER_MB,
    NO_CACHE,
    WARM_CACHE,
    CacheState,
    Interval,
    Latency,
    Memory,
    MemoryPoint,
)
from bench.statistics import quantile
from common.errors import UserError
from export.weight_cache import cache_bytes

MIN_RUNS = 30
MS_DIGITS = 4
BRIEF_WARM_UP = 2 * WARM_UP_WINDOW


@dataclass(frozen=True)
class Cost:
    """One fresh process; fields as in Profile."""

    load_ms: float
    first_ms: float
    latency_ms: dict[str, Latency]
    ram_mb: Memory


@contextmanager
def weight_cache() -> Iterator[Path]:
    """An empty folder for weight caches, so that no earlier use of the user's own is measured."""
    with tempfile.TemporaryDirectory(prefix="pocketvec.", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def measure_cost(folder: Path, plan: Plan) -> Cost:
    """Load, run and time an artifact in a fresh process."""
    raw = run_probe(folder, plan)
    return Cost(
        load_ms=round(raw["load_ms"], 2),
        first_ms=round(raw["first_ms"], 3),
        latency_ms={length: _percentiles(timed) for length, timed in raw["latency"].items()},
        ram_mb=_memory(raw, plan),
    )


def measure_cache_states(folder: Path, plan: Plan, cache: Path) -> dict[str, CacheState]:
    """An artifact without its weight cache, at first use and warm, each in a fresh process.

    `cache` is an empty folder, which then holds the file. What only shows the cache's worth is timed briefly,
    at the longest length alone; memory is that of all lengths in every state.
    """
    longest = [max(plan.lengths)]
    brief = dataclasses.replace(plan, timed=longest, runs=MIN_RUNS, max_warm_up=BRIEF_WARM_UP, cache=None)
    plans = {
        NO_CACHE: brief,
        BUILD_CACHE: dataclasses.replace(brief, cache=cache),
        WARM_CACHE: dataclasses.replace(plan, cache=cache),
    }
    states = {}
    for state, one in plans.items():
        cost = measure_cost(folder, one)
        states[state] = CacheState(**vars(cost), cache_bytes=cache_bytes(cache))
    return states


def run_probe(folder: Path, plan: Plan) -> dict[str, Any]:
    """Raw figures of `bench.probe` in a fresh interpreter. Raises UserError when it dies."""
    command = [sys.executable, "-P", "-m", "bench.probe", str(folder)]  # -P: not from the user's folder
    command += ["--lengths", ",".join(map(str, plan.lengths)), "--runs", str(plan.runs)]
    command += ["--threads", str(plan.threads), "--max-warm-up", str(plan.max_warm_up)]
    if plan.timed is not None:
        command += ["--timed", ",".join(map(str, plan.timed))]
    if plan.cache is not None:
        command += ["--cache", str(plan.cache)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{folder}: the measuring process ended with {finished.returncode}: {last}")
    figures: dict[str, Any] = json.loads(finished.stdout)
    if figures["heavy_modules"]:
        raise RuntimeError(f"the measuring process imported {figures['heavy_modules']}")
    return figures


def _percentiles(timed: dict[str, Any]) -> Latency:
    (p50, near50), (p90, near90), (p99, near99) = (
        _quantile(timed["ms"], share) for share in (0.5, 0.9, 0.99)
    )
    ms = [round(one, MS_DIGITS) for one in timed["ms"]]
    return Latency(p50, p90, p99, near50, near90, near99, timed["warm_up"], ms)


def _quantile(ms: list[float], share: float) -> tuple[float, Interval]:
    value, ends = quantile(ms, share)
    return round(value, MS_DIGITS), [None if end is None else round(end, MS_DIGITS) for end in ends]


def _memory(raw: dict[str, Any], plan: Plan) -> Memory:
    mb = {name: round(raw[name] / BYTES_PER_MB, 2) for name in raw if isinstance(raw[name], int)}
    peak = MemoryPoint(mb["anonymous"], mb["file_backed"], 0.0)
    lengths = [str(length) for length in plan.lengths]
    return Memory(
        start=MemoryPoint(mb["baseline_rss"], 0.0, 0.0),
        after_load=peak,
        load_peak=peak,
        load_high_water=mb["load_peak_rss"],
        after_first=peak,
        run_peak=dict.fromkeys(lengths, peak),
        run_high_water=dict.fromkeys(lengths, mb["run_peak_rss"]),
        anonymous_peak=mb["anonymous"],
        rest=peak,
    )
