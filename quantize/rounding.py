"""What rounding the weights costs when all arithmetic stays fp32: the part that no kernel can win back.

The dimensions of an ONNX model differ only in the head, so the pooled vectors of the golden texts are
computed once for each recipe and every head is put on them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.artifact import Artifact
from export.embedder import Embedder, Opening
from export.golden import GoldenText, golden_parity, read_golden, row_cosines
from export.manifest import OUTPUT, POOLED, RoundingCost
from export.onnx_file import trunk_file
from export.session import OnnxSession
from export.tokenizer import TextTokenizer
from quantize.recipes import Recipe

Float32 = npt.NDArray[np.float32]

LONGEST = 512
"""Golden texts beyond are left out: rounding does not depend on length, but its cost in time does."""
LONGEST_GGUF = 256
"""llama.cpp allocates logits for every token, a megabyte each at 262,144 rows."""


class RoundingMeter:
    """Measures recipes on artifacts; remembers the pooled vectors of trunks that it has seen."""

    def __init__(self) -> None:
        self._pooled: dict[tuple[str, Recipe], Float32] = {}

    def cost(self, source: Artifact, recipe: Recipe, rewriter: Any, scratch_parent: Path) -> RoundingCost:
        """Golden cosine, mean and least, of the fp32 graph of `source` with its weights rounded by `recipe`.

        `rewriter` is the module for its runtime. A graph as large as the fp32 one lies for a moment in a
        temporary folder under `scratch_parent`.
        """
        with tempfile.TemporaryDirectory(prefix=".rounded.", dir=scratch_parent) as scratch:
            folder = Path(scratch)
            if source.manifest.runtime == "onnx":
                return self._onnx(source, recipe, rewriter, folder)
            copy_rest(source, folder)
            rewriter.write_rounded(source.model_path, folder / source.model_name, recipe)
            embedder = Embedder(Artifact(folder, source.manifest), Opening(use_weight_cache=False))
            longest = LONGEST_GGUF if source.manifest.runtime == "gguf" else LONGEST
            parity = golden_parity(embedder, longest)
        return RoundingCost(parity.cosine_mean, parity.cosine_min)

    def _onnx(self, source: Artifact, recipe: Recipe, rewriter: Any, folder: Path) -> RoundingCost:
        golden = read_golden(source.path, LONGEST)
        key = (source.manifest.files[trunk_file(source.model_path).name].sha256, recipe)
        trunk, head = folder / "trunk.onnx", folder / "head.onnx"
        rewriter.write_rounded(source.model_path, recipe, head, None if key in self._pooled else trunk)
        if key not in self._pooled:
            self._pooled[key] = _pooled_vectors(source, trunk, golden)
        session = OnnxSession(head).session
        vectors = session.run([OUTPUT], {POOLED: self._pooled[key]})[0]
        cosines = row_cosines(vectors, np.array([text.vector for text in golden], dtype=np.float32))
        return RoundingCost(float(cosines.mean()), float(cosines.min()))


def _pooled_vectors(source: Artifact, trunk: Path, golden: list[GoldenText]) -> Float32:
    """float32 [texts, hidden] of golden texts, one at a time."""
    session = OnnxSession(trunk, output=POOLED)
    tokenizer = TextTokenizer(source.path, source.manifest)
    batches = (tokenizer.batch([text.ids], tokenizer.prompt_tokens(text.prompt)) for text in golden)
    return np.concatenate([session.run_batch(batch) for batch in batches])


def copy_rest(source: Artifact, folder: Path) -> None:
    """Everything of an artifact but the graph and its weights."""
    for name in source.manifest.files:
        if not name.startswith(source.model_name):
            shutil.copyfile(source.path / name, folder / name)
