"""A process that holds one open model and times it on request, so that models can be timed side by side.

Each line on stdin is `tokens runs`; the answer is a line of milliseconds as JSON. The first line out says
that the model is open.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

THREADS = 2
Ids = npt.NDArray[np.int64]
Run = Callable[[Ids], object]


def open_artifact_run(path: Path) -> Run:
    """An artifact through the Embedder, as every client of ours."""
    from export.embedder import Embedder, Opening
    from export.tokenizer import TokenBatch

    embedder = Embedder.open(path, Opening(THREADS), verify=False)
    return lambda ids: embedder.run(TokenBatch(ids, np.ones_like(ids)))


def open_onnx_run(path: Path) -> Run:
    """A plain ONNX graph with our inputs, opened as our own are without a cache."""
    from export.session import OnnxSession
    from export.tokenizer import TokenBatch

    session = OnnxSession(path, THREADS)
    return lambda ids: session.run_batch(TokenBatch(ids, np.ones_like(ids)))


def open_torch_run(path: Path) -> Run:
    """Sentence Transformers in fp32, from token ids."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)

    def run(ids: Ids) -> object:
        features = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.ones(ids.shape, dtype=torch.int64),
        }
        with torch.inference_mode():
            return model(features)["sentence_embedding"]

    return run


OPENERS = {"artifact": open_artifact_run, "onnx": open_onnx_run, "torch": open_torch_run}


def main() -> int:
    """`python -m benchmarks.worker KIND PATH`."""
    run = OPENERS[sys.argv[1]](Path(sys.argv[2]))
    print("open", flush=True)
    for line in sys.stdin:
        tokens, runs = map(int, line.split())
        ids = np.random.default_rng(tokens).integers(300, 250_000, (1, tokens))
        taken = []
        for _ in range(runs):
            started = time.perf_counter()
            run(ids)
            taken.append((time.perf_counter() - started) * 1e3)
        print(json.dumps(taken), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
