"""What one artifact costs to load and run: figures of fresh processes, one per state of its weight cache.

`measure_raw` gives them as they were taken, and runs on a phone as it does here; percentiles and their
intervals are made of them afterwards, where there is scipy.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measurements import BUILD_CACHE, NO_CACHE, WARM_CACHE, CacheState, Interval, Latency, Memory
from bench.probe import WARM_UP_WINDOW
from bench.statistics import quantile
from bench.worker import Answer, Watched, Worker, memory_point
from common.errors import UserError
from export.weight_cache import cache_bytes

MIN_RUNS = 30
RAM_RUNS, RAM_TOKENS = 3, 1000
"""Runs whose memory is watched: so many, or more of short texts, which are over between two samples."""
MS_DIGITS = 4
READ_BYTES = 1 << 20
WARM_UP_MAX_RUNS = 60
BRIEF_WARM_UP = 2 * WARM_UP_WINDOW


@dataclass(frozen=True)
class Plan:
    """Token lengths, timed runs and at most so many warm-up runs per length, threads.

    cache: folder of the runtime's weight cache, None for none. timed: those of `lengths` that are timed and
    not only run for their memory (None: all). ram_tokens: so many of each length are run for its memory.
    """

    lengths: list[int]
    runs: int
    threads: int
    cache: Path | None = None
    max_warm_up: int = WARM_UP_MAX_RUNS
    timed: list[int] | None = None
    ram_tokens: int = RAM_TOKENS


@dataclass(frozen=True)
class Timed:
    """Milliseconds of every timed run of one length, in order, after `warm_up` others."""

    warm_up: int
    ms: list[float]


@dataclass(frozen=True)
class RawCost:
    """One fresh process as it was measured.

    high_water_is_exact: whether the kernel's mark could be set back before each step; where it could not,
    each high water is that of the whole process up to then.
    """

    load_ms: float
    first_ms: float
    timed: dict[str, Timed]
    ram_mb: Memory
    high_water_is_exact: bool


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


def read_back(folder: Path) -> None:
    """Bring a folder's files into the page cache as an app finds them: read from storage, in order.

    The cache of a file that has just been written is in larger pieces, and the kernel maps a whole one on
    access: 11 MB more of the starter's fp32 table. Where nothing can be dropped (tmpfs) nothing changes.
    """
    for path in filter(Path.is_file, folder.iterdir()):
        with path.open("rb", buffering=0) as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(READ_BYTES):
                pass


def measure_cost(folder: Path, plan: Plan) -> Cost:
    """Load, run and time an artifact in a fresh process, with percentiles.

    Raises UserError when the process dies or the kernel's high-water mark cannot be set back.
    """
    raw = measure_raw(folder, plan)
    if not raw.high_water_is_exact:
        raise UserError(f"{folder}: peaks need /proc/self/clear_refs, which cannot be written to here")
    latency = {length: latency_of(timed) for length, timed in raw.timed.items()}
    return Cost(raw.load_ms, raw.first_ms, latency, raw.ram_mb)


def measure_raw(folder: Path, plan: Plan, at: Callable[[str, int], None] | None = None) -> RawCost:
    """Load, run and time an artifact in a fresh process: memory first, then latency, which is not watched.

    Memory is that of some inferences of each length, the shortest first, since runtimes keep what a longer
    text has needed. `at` is told the process's id at moments between two steps: start, after_load,
    after_first, rest. Raises UserError when the process dies.
    """
    for place in (folder, plan.cache):
        if place is not None and place.is_dir():
            read_back(place)
    with Worker(folder) as worker:

        def reach(moment: str) -> None:
            if at is not None:
                at(moment, worker.pid)

        if at is not None:
            worker.ask("ready")
        reach("start")
        cache = str(plan.cache) if plan.cache else None
        opened, load = worker.watch("open", threads=plan.threads, cache=cache)
        if opened["heavy_modules"]:
            raise RuntimeError(f"the measuring process imported {opened['heavy_modules']}")
        reach("after_load")
        first, after_first = worker.watch("first")
        reach("after_first")
        lengths = sorted({*plan.lengths})
        runs = {
            n: worker.watch("run", length=n, runs=max(RAM_RUNS, plan.ram_tokens // n))[1] for n in lengths
        }
        reach("rest")
        ram = _memory(opened, load, after_first, runs)
        wanted = plan.lengths if plan.timed is None else plan.timed
        timed = {str(length): _time(worker, length, plan) for length in wanted}
    return RawCost(round(opened["load_ms"], 2), round(first["first_ms"], 3), timed, ram, opened["resets"])


def latency_of(timed: Timed) -> Latency:
    """Percentiles of timed runs, with their intervals."""
    (p50, near50), (p90, near90), (p99, near99) = (_quantile(timed.ms, share) for share in (0.5, 0.9, 0.99))
    ms = [round(one, MS_DIGITS) for one in timed.ms]
    return Latency(p50, p90, p99, near50, near90, near99, timed.warm_up, ms)


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


def _memory(opened: Answer, load: Watched, first: Watched, runs: dict[int, Watched]) -> Memory:
    return Memory(
        start=memory_point(opened["start"]),
        after_load=load.end,
        load_peak=load.peak,
        load_high_water=load.high_water,
        after_first=first.end,
        run_peak={str(length): one.peak for length, one in runs.items()},
        run_high_water={str(length): one.high_water for length, one in runs.items()},
        anonymous_peak=max(one.anonymous for one in (load, first, *runs.values())),
        rest=runs[max(runs)].end,
    )


def _time(worker: Worker, length: int, plan: Plan) -> Timed:
    timed = worker.ask("time", length=length, runs=plan.runs, max_warm_up=plan.max_warm_up)
    return Timed(timed["warm_up"], timed["ms"])


def _quantile(ms: list[float], share: float) -> tuple[float, Interval]:
    value, ends = quantile(ms, share)
    return round(value, MS_DIGITS), [None if end is None else round(end, MS_DIGITS) for end in ends]
