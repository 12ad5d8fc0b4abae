"""The fresh process that one artifact is measured in: ``python -m bench.probe ARTIFACT``.

It imports what a client needs and nothing else (no torch, no transformers), and does what it is asked to:
each line on stdin is a JSON object, `do` with its arguments, and the answer is one on stdout. Whoever asks
(bench.worker) samples this process's memory from outside meanwhile, so that what is measured holds no
instrument; only the kernel's counters at rest, and its high-water mark since the request came, are read here.

`open` comes first. The interpreter's share is read before the runtime is imported, so that the runtime's own
code counts against the artifact.
"""

from __future__ import annotations

import json
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.proc import read_status, reset_high_water

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from export.embedder import Embedder
    from export.tokenizer import TokenBatch

WARM_UP_WINDOW = 5
WARM_UP_DRIFT = 0.05
FIRST_TEXT = "The quick brown fox jumps over the lazy dog."
FORBIDDEN_MODULES = ("torch", "transformers", "sentence_transformers", "onnx", "scipy")

Answer = dict[str, Any]


class Probe:
    """One artifact and what can be asked of it. Batch 1 throughout; memory in bytes, times in ms."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._batches: dict[int, TokenBatch] = {}

    def ready(self) -> Answer:
        """Nothing: the process has come to its baseline when it answers."""
        return {}

    def open(self, threads: int, cache: str | None) -> Answer:
        """Import the runtime, open tokenizer and model by path; `load_ms` is the time of the second alone."""
        start = read_status()
        resets = reset_high_water()
        from export.embedder import Embedder, Opening  # here: the runtime's memory belongs to the artifact

        _load_runtime(self._folder)
        opening = Opening(threads, Path(cache) if cache else None, use_weight_cache=cache is not None)
        started = time.perf_counter()
        self._embedder = Embedder.open(self._folder, opening, verify=False)
        load_ms = (time.perf_counter() - started) * 1e3
        heavy = [name for name in FORBIDDEN_MODULES if name in sys.modules]
        memory = read_status()
        return {
            "start": start,
            "load_ms": load_ms,
            "memory": memory,
            "heavy_modules": heavy,
            "resets": resets,
        }

    def first(self) -> Answer:
        """The first inference, its text tokenised before."""
        reset_high_water()
        batch = self._embedder.tokenizer.batch([self._embedder.tokenizer.ids(FIRST_TEXT)])
        return {"first_ms": _once(partial(self._embedder.run, batch)), "memory": read_status()}

    def run(self, length: int, runs: int) -> Answer:
        """So many inferences of `length` tokens, one after the other."""
        reset_high_water()
        call = self._call(length)
        return {"ms": [_once(call) for _ in range(runs)], "memory": read_status()}

    def work(self, length: int, runs: int) -> Answer:
        """The same in processor time, of all threads, which does not count what others do meanwhile."""
        call = self._call(length)
        return {"ms": [_once(call, time.process_time) for _ in range(runs)]}

    def time(self, length: int, runs: int, max_warm_up: int) -> Answer:
        """Warm up until two neighbouring windows agree, then time `runs` inferences."""
        call = self._call(length)
        warm = [_once(call) for _ in range(min(2 * WARM_UP_WINDOW, max_warm_up))]
        while len(warm) < max_warm_up and not settled(warm):
            warm.append(_once(call))
        return {"warm_up": len(warm), "ms": [_once(call) for _ in range(runs)]}

    def _call(self, length: int) -> Callable[[], object]:
        if length not in self._batches:
            self._batches[length] = token_batch(self._embedder, length)
        return partial(self._embedder.run, self._batches[length])


def settled(ms: Sequence[float]) -> bool:
    """Whether the medians of the last two windows of timings are alike."""
    if len(ms) < 2 * WARM_UP_WINDOW:
        return False
    before = float(np.median(ms[-2 * WARM_UP_WINDOW : -WARM_UP_WINDOW]))
    return abs(float(np.median(ms[-WARM_UP_WINDOW:])) - before) <= WARM_UP_DRIFT * before


def token_batch(embedder: Embedder, length: int) -> TokenBatch:
    """One text of exactly `length` random tokens, the same ones every time."""
    vocabulary = embedder.manifest.tokenizer.vocab_size
    rng = random.Random(length)  # noqa: S311 - not a secret; numpy's would add 2 MB to what is measured
    return embedder.tokenizer.batch([[rng.randrange(vocabulary // 8, vocabulary) for _ in range(length)]])


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


def _once(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    run()
    return (clock() - started) * 1e3


def main() -> int:
    """Answer requests until stdin ends, which it does when whoever asks is gone."""
    probe = Probe(Path(sys.argv[1]))
    known: dict[str, Callable[..., Answer]]
    offered = (probe.ready, probe.open, probe.first, probe.run, probe.time, probe.work)
    known = {one.__name__: one for one in offered}
    for line in sys.stdin:
        request = json.loads(line)
        answer = known[request.pop("do")](**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
