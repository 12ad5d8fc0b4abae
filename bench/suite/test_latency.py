"""Latency of one inference as a pytest-benchmark case: its JSON, compare and histogram options apply."""

from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from bench.probe import token_batch
from export.embedder import Embedder, Opening
from export.session import usable_cores


def test_latency(benchmark: BenchmarkFixture, artifact: Path, length: int, cache_folder: Path) -> None:
    opening = Opening(usable_cores(), cache_folder)
    Embedder.open(artifact, opening)  # so that the one below finds its weight cache warm
    embedder = Embedder.open(artifact, opening, verify=False)
    batch = token_batch(embedder, length)
    manifest = embedder.manifest
    benchmark.extra_info |= {name: getattr(manifest, name) for name in ("runtime", "precision", "dim")}
    vectors = benchmark.pedantic(embedder.run, args=(batch,), warmup_rounds=10, rounds=50)  # type: ignore[no-untyped-call]
    assert np.isfinite(vectors).all()
