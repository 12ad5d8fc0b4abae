"""Latency of one inference as a pytest-benchmark case: its JSON, compare and histogram options apply."""

from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from bench.probe import token_batch
from export.embedder import Embedder
from export.session import usable_cores


def test_latency(benchmark: BenchmarkFixture, artifact: Path, length: int) -> None:
    embedder = Embedder.open(artifact, threads=usable_cores())
    batch = token_batch(embedder, length)
    benchmark.extra_info |= {"precision": embedder.manifest.precision, "dim": embedder.manifest.dim}
    vectors = benchmark.pedantic(embedder.run, args=(batch,), warmup_rounds=10, rounds=50)  # type: ignore[no-untyped-call]
    assert np.isfinite(vectors).all()
