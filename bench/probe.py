"""The fresh process that one artifact is measured in: ``python -m bench.probe ARTIFACT``.

It imports what a client needs and nothing else (no torch, no transformers), reads the kernel's memory
counters, and prints one JSON object. The interpreter's share is read before the runtime is imported, so that
the runtime's own code counts against the artifact.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from export.embedder import Embedder
    from export.tokenizer import TokenBatch

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_HIGH_WATER = "5"
SAMPLE_SECONDS = 0.001
RAM_RUNS = 3

WARM_UP_WINDOW = 5
WARM_UP_DRIFT = 0.05
WARM_UP_MAX_RUNS = 60
FIRST_TEXT = "The quick brown fox jumps over the lazy dog."
FORBIDDEN_MODULES = ("torch", "transformers", "sentence_transformers")


def read_status() -> dict[str, int]:
    """The memory fields of /proc/self/status in bytes."""
    fields = {}
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.strip().endswith("kB"):
            fields[name] = int(value.split()[0]) * 1024
    return fields


def reset_high_water() -> None:
    """Let VmHWM start anew at the present size (Linux: writing 5 to clear_refs)."""
    CLEAR_REFS.write_text(RESET_HIGH_WATER)


class Sampler(threading.Thread):
    """Samples anonymous and file-backed memory while it runs; the kernel keeps no peak of those."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.file_backed = 0
        self._stopped = threading.Event()
        self._sample()  # a kernel without these fields fails here, not in the thread, unseen

    def run(self) -> None:
        """Sample until `finish`."""
        while True:
            self._sample()
            if self._stopped.wait(SAMPLE_SECONDS):
                return

    def _sample(self) -> None:
        status = read_status()
        self.anonymous = max(self.anonymous, status["RssAnon"])
        self.file_backed = max(self.file_backed, status["RssFile"] + status["RssShmem"])

    def finish(self) -> None:
        """Take the last sample and stop."""
        self._stopped.set()
        self.join()


@dataclass(frozen=True)
class Plan:
    """Token lengths, timed runs and at most so many warm-up runs per length, threads.

    cache: folder of the runtime's weight cache, None for none. timed: those of `lengths` that are timed and
    not only run for their memory (None: all).
    """

    lengths: list[int]
    runs: int
    threads: int
    cache: Path | None = None
    max_warm_up: int = WARM_UP_MAX_RUNS
    timed: list[int] | None = None


def probe(folder: Path, plan: Plan) -> dict[str, object]:
    """Measure one artifact: memory first, then latency without the sampler. Batch 1 throughout."""
    baseline = read_status()["VmRSS"]
    reset_high_water()
    sampler = Sampler()
    sampler.start()
    from export.embedder import Embedder, Opening  # here: the runtime's memory belongs to the artifact

    _load_runtime(folder)
    opening = Opening(plan.threads, plan.cache, use_weight_cache=plan.cache is not None)
    started = time.perf_counter()
    embedder = Embedder.open(folder, opening, verify=False)
    load_ms = _since(started)
    load_peak = read_status()["VmHWM"]
    reset_high_water()
    first_ms = _first(embedder)
    batches = {length: token_batch(embedder, length) for length in plan.lengths}
    for batch in batches.values():
        for _ in range(RAM_RUNS):
            embedder.run(batch)
    run_peak = read_status()["VmHWM"]
    sampler.finish()
    timed = plan.lengths if plan.timed is None else plan.timed
    latency = {str(length): _time(partial(embedder.run, batches[length]), plan) for length in timed}
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "latency": latency,
        "baseline_rss": baseline,
        "load_peak_rss": load_peak,
        "run_peak_rss": run_peak,
        "anonymous": sampler.anonymous,
        "file_backed": sampler.file_backed,
        "heavy_modules": [name for name in FORBIDDEN_MODULES if name in sys.modules],
    }


def _load_runtime(folder: Path) -> None:
    """Import the runtime that the artifact is for, and no other one."""
    from export.artifact import open_artifact

    runtime = open_artifact(folder, verify=False).manifest.runtime
    if runtime == "litert":
        from export.litert_session import load_litert

        load_litert()
    elif runtime == "gguf":
        from export.gguf_session import load_llamacpp

        load_llamacpp()
    else:
        from export.session import load_onnxruntime

        load_onnxruntime()


def _first(embedder: Embedder) -> float:
    """Milliseconds of the first inference, its text tokenised before."""
    batch = embedder.tokenizer.batch([embedder.tokenizer.ids(FIRST_TEXT)])
    started = time.perf_counter()
    embedder.run(batch)
    return _since(started)


def _since(started: float) -> float:
    """Milliseconds since a reading of the performance counter."""
    return (time.perf_counter() - started) * 1e3


def token_batch(embedder: Embedder, length: int) -> TokenBatch:
    """One text of exactly `length` random tokens, the same ones every time."""
    vocabulary = embedder.manifest.tokenizer.vocab_size
    rng = random.Random(length)  # noqa: S311 - not a secret; numpy's would add 2 MB to what is measured
    return embedder.tokenizer.batch([[rng.randrange(vocabulary // 8, vocabulary) for _ in range(length)]])


def _time(run: Callable[[], object], plan: Plan) -> dict[str, object]:
    """Warm up until two neighbouring windows agree, then time `plan.runs` calls in milliseconds."""

    def once() -> float:
        started = time.perf_counter()
        run()
        return _since(started)

    warm = [once() for _ in range(2 * WARM_UP_WINDOW)]
    while len(warm) < plan.max_warm_up:
        before, now = (
            np.median(warm[-2 * WARM_UP_WINDOW : -WARM_UP_WINDOW]),
            np.median(warm[-WARM_UP_WINDOW:]),
        )
        if abs(now - before) <= WARM_UP_DRIFT * before:
            break
        warm.append(once())
    return {"warm_up": len(warm), "ms": [once() for _ in range(plan.runs)]}


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> int:
    """Parse arguments, measure, print JSON."""
    parser = argparse.ArgumentParser(prog="bench.probe", description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--lengths", type=_numbers, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--max-warm-up", type=int, default=WARM_UP_MAX_RUNS)
    parser.add_argument("--timed", type=_numbers, default=None)
    given = parser.parse_args()
    plan = Plan(given.lengths, given.runs, given.threads, given.cache, given.max_warm_up, given.timed)
    sys.stdout.write(json.dumps(probe(given.artifact, plan)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
