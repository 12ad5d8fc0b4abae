"""What a phone answered, believed only as far as it fits the question."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from android_harness.protocol import RESULT_NAME, RESULT_SCHEMA, VECTORS_NAME, Cost, Job, Result
from bench.measurements import Memory, MemoryPoint
from bench.report import HOST
from common.errors import UserError
from common.files import sha256_file
from common.records import from_dict
from export.artifact import Artifact
from export.golden import read_golden
from export.manifest import MANIFEST_NAME

Float32 = npt.NDArray[np.float32]

SLACK_MB, SLACK_SHARE = 1.0, 0.02
"""The kernel's counters lag behind each other by some pages a thread."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Answer:
    """A result that fits its job, and its vectors, [rows, dim]: golden texts first, then the job's own."""

    job: Job
    result: Result
    vectors: Float32


def read_answer(folder: Path, job: Job, artifact: Artifact, texts: int, place: str) -> Answer:
    """Read result.json and vectors.f32 of a job strictly.

    `texts`: how many the job has besides the golden ones. Raises UserError beginning with `place` for JSON
    that is cut off or foreign, for another job's result and for parts that contradict the job or each other.
    """
    result = from_dict(Result, _parse(folder / RESULT_NAME, place), f"{place}: {RESULT_NAME}")
    for problem in _problems(result, job, artifact, texts):
        raise UserError(f"{place}: {RESULT_NAME}: {problem}")
    path = folder / VECTORS_NAME
    expected = result.rows * result.dim * FLOAT_BYTES
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise UserError(
            f"{place}: {VECTORS_NAME} has {found} bytes, "
            f"but {result.rows} vectors of {result.dim} numbers take {expected}"
        )
    return Answer(job, result, np.fromfile(path, dtype="<f4").astype(np.float32).reshape(-1, result.dim))


def _parse(path: Path, place: str) -> Any:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no measurement")

    try:
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except FileNotFoundError:
        raise UserError(f"{place}: it left no {RESULT_NAME}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: {RESULT_NAME} is cut off or not JSON ({error})") from None
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != RESULT_SCHEMA:
        raise UserError(f"{place}: {RESULT_NAME} is foreign: schema '{found}' is not '{RESULT_SCHEMA}'")
    return raw


def _problems(result: Result, job: Job, artifact: Artifact, texts: int) -> Iterator[str]:
    """What does not fit, the gravest first."""
    if result.job != job.id:
        yield f"it is the result of another job, {result.job}, not of {job.id}"
    if result.manifest_sha256 != sha256_file(artifact.path / MANIFEST_NAME):
        yield "it is of another artifact: manifest_sha256 differs"
    if result.target.kind == HOST:
        yield "target.kind is host, and a phone is none"
    golden = len(read_golden(artifact.path))
    dim = artifact.manifest.dim
    counts = [
        ("threads", result.target.threads, job.threads),
        ("rows", result.rows, golden + texts),
        ("dim", result.dim, dim),
        ("golden_ids_equal", len(result.golden_ids_equal), golden),
    ]
    yield from (f"{what} is {found}, it has to be {right}" for what, found, right in counts if found != right)
    if set(result.costs) != set(job.states):
        yield f"costs are of {', '.join(result.costs) or 'no state'}, asked for were {', '.join(job.states)}"
        return
    for state, cost in result.costs.items():
        for problem in _cost_problems(cost, job, state == job.states[-1]):
            yield f"costs.{state}: {problem}"


def _cost_problems(cost: Cost, job: Job, counts: bool) -> Iterator[str]:
    """What is wrong with one state; `counts`: it is the one that is timed in full."""
    lengths = [str(length) for length in job.lengths]
    wanted = lengths if counts else lengths[-1:]
    if missing := [length for length in wanted if length not in cost.latency_ms]:
        yield f"latency_ms lacks {missing[0]} tokens"
    if strange := [length for length in cost.latency_ms if length not in lengths]:
        yield f"latency_ms has {strange[0]} tokens, which were not asked for"
    for length, timed in cost.latency_ms.items():
        right = f"{job.runs}" if counts else f"1 to {job.runs}"
        if len(timed.ms) != job.runs if counts else not 1 <= len(timed.ms) <= job.runs:
            yield f"latency_ms.{length} has {len(timed.ms)} timings, it has to be {right}"
        if not 0 <= timed.warm_up <= job.max_warm_up:
            yield f"latency_ms.{length}.warm_up is {timed.warm_up}, at most {job.max_warm_up} were allowed"
    times = [cost.load_ms, cost.first_ms, *(one for timed in cost.latency_ms.values() for one in timed.ms)]
    if wrong := [one for one in times if not 0 < one < math.inf]:
        yield f"a time of {wrong[0]} ms"
    yield from _memory_problems(cost.ram_mb, lengths)


def _memory_problems(ram: Memory, lengths: list[str]) -> Iterator[str]:
    for name, found in (("run_peak", ram.run_peak), ("run_high_water", ram.run_high_water)):
        if set(found) != set(lengths):
            yield f"ram_mb.{name} is of {', '.join(found) or 'no length'}, not of {', '.join(lengths)}"
            return
    moments = {"start": ram.start, "after_load": ram.after_load, "load_peak": ram.load_peak}
    moments |= {"after_first": ram.after_first, "rest": ram.rest}
    moments |= {f"run_peak.{length}": point for length, point in ram.run_peak.items()}
    for name, point in moments.items():
        if min(point.anonymous, point.file_backed, point.shared) < 0 or point.rss <= 0:
            yield f"ram_mb.{name}: parts of a process that has memory are not negative, and not all nothing"
    marks = [("load_peak", ram.load_peak, ram.load_high_water)]
    marks += [(f"run_peak.{n}", point, ram.run_high_water[n]) for n, point in ram.run_peak.items()]
    for name, point, mark in marks:
        if _exceeds(point.rss, mark):
            yield f"ram_mb.{name} is {point.rss:g} MB, above the kernel's highest mark of {mark:g}"
    if _exceeds(_most_anonymous(moments.values()), ram.anonymous_peak) or _exceeds(
        ram.anonymous_peak, ram.peak
    ):
        yield f"ram_mb.anonymous_peak is {ram.anonymous_peak:g} MB, which does not fit the samples"


def _most_anonymous(points: Any) -> float:
    found: list[MemoryPoint] = list(points)
    return max(point.anonymous for point in found)


def _exceeds(value: float, bound: float) -> bool:
    return value > bound * (1 + SLACK_SHARE) + SLACK_MB
