"""The half of benchmarks.arm_parity that runs on each kind of core: golden texts in, vectors out.

`python -m benchmarks.arm_embed OUT ARTIFACT...` embeds the golden texts that `choose` takes, one by one, and
leaves OUT/<profile>.npz: `vectors` float32 [n, dim] and `ids_equal` bool [n].
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from export.embedder import Embedder, Opening
from export.golden import GoldenText, read_golden

SHORT_TOKENS, LONG_TOKENS = 24, 64
SHORT_TEXTS = 8


def choose(golden: list[GoldenText]) -> list[GoldenText]:
    """Some SHORT_TEXTS of up to SHORT_TOKENS tokens, spread over the list, and the longest of LONG_TOKENS."""
    short = [one for one in golden if len(one.ids) <= SHORT_TOKENS]
    longest = max((one for one in golden if len(one.ids) <= LONG_TOKENS), key=lambda one: len(one.ids))
    return [*short[:: -(-len(short) // SHORT_TEXTS)], longest]


def main() -> int:
    """Open every artifact as an app does, on one thread, its packed weights in a new cache."""
    out, *folders = map(Path, sys.argv[1:])
    for folder in folders:
        with tempfile.TemporaryDirectory() as cache:
            embedder = Embedder.open(folder, Opening(threads=1, weight_cache=Path(cache)))
            vectors, ids_equal = [], []
            for one in choose(read_golden(folder)):
                ids = embedder.tokenizer.ids(one.text, one.prompt)
                skip = embedder.tokenizer.prompt_tokens(one.prompt)
                vectors.append(embedder.run(embedder.tokenizer.batch([ids], skip))[0])
                ids_equal.append(ids == one.ids)
        np.savez(out / f"{folder.name}.npz", vectors=np.stack(vectors), ids_equal=np.array(ids_equal))
    return 0


if __name__ == "__main__":
    sys.exit(main())
