"""The one way to open an artifact and embed text; every measurement goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from common.prompts import choose_query_prompt, default_document_prompt, pick_prompt, split_document
from common.retrieval import Document
from export.artifact import Artifact, open_artifact
from export.manifest import Manifest
from export.session import OnnxSession
from export.tokenizer import TextTokenizer, TokenBatch
from export.weight_cache import WeightCache, default_cache_folder

Float32 = npt.NDArray[np.float32]

TOKENS_PER_BATCH = 4096
"""Padded tokens per inference call: enough to keep two cores busy, small enough to stay in cache."""


class Session(Protocol):
    """An open model of any runtime."""

    def run_batch(self, batch: TokenBatch) -> Float32:
        """Unit vectors float32 [batch, dim] of a token batch."""


@dataclass(frozen=True)
class Opening:
    """How a model is opened: runtime threads (None: one per core) and its weight cache.

    weight_cache: folder of the cache file (None: pocketvec's folder in the user's cache home).
    use_weight_cache: False packs the weights anew in memory each time.
    dim: one of the file's further dimensions (None: the profile's own).
    """

    threads: int | None = None
    weight_cache: Path | None = None
    use_weight_cache: bool = True
    dim: int | None = None


def open_session(artifact: Artifact, opening: Opening) -> Session:
    """Open an artifact in the runtime that it is made for.

    Raises UserError when that cannot read it, or for a dimension that the file has no signature for.
    """
    dims = [artifact.manifest.dim, *artifact.manifest.further_dims]
    if opening.dim not in (None, *dims):
        raise UserError(f"dimension {opening.dim}: {artifact.manifest.name} has {', '.join(map(str, dims))}")
    if artifact.manifest.runtime == "onnx":
        return OnnxSession(artifact.model_path, opening.threads, _cache(artifact, opening))
    if artifact.manifest.runtime == "gguf":
        from export.gguf_session import GgufSession

        return GgufSession(artifact, opening.threads)
    from export.litert_session import LiteRTSession

    return LiteRTSession(artifact, opening.threads, _cache(artifact, opening), opening.dim)


def has_weight_cache(manifest: Manifest) -> bool:
    """Whether a profile is opened from a cache of packed weights: on ONNX all but fp32, for no phone."""
    return manifest.runtime == "litert" or (manifest.runtime == "onnx" and manifest.precision != "fp32")


def _cache(artifact: Artifact, opening: Opening) -> WeightCache | None:
    if not (opening.use_weight_cache and has_weight_cache(artifact.manifest)):
        return None
    folder = opening.weight_cache or default_cache_folder()
    return WeightCache(folder, artifact.model_sha256, artifact.manifest.runtime)


class Embedder:
    """Unit-norm sentence vectors from one artifact.

    >>> embedder = Embedder.open("runs/default/artifacts/onnx-q8_0-256d")  # doctest: +SKIP
    >>> embedder.embed(["How strong is the brine?"], prompt_name="query").shape  # doctest: +SKIP
    (1, 256)
    """

    def __init__(self, artifact: Artifact, opening: Opening | None = None) -> None:
        """Load the tokenizer and open the model by path."""
        self.artifact = artifact
        self.manifest = artifact.manifest
        self.dim = (opening.dim if opening else None) or artifact.manifest.dim
        self.tokenizer = TextTokenizer(artifact.path, artifact.manifest)
        self._session = open_session(artifact, opening or Opening())

    @property
    def session(self) -> Session:
        """The open model, which trusts its ids; what embeds texts goes through `run`."""
        return self._session

    @classmethod
    def open(cls, path: str | Path, opening: Opening | None = None, verify: bool = True) -> Embedder:
        """Open an artifact folder, its hashes checked unless `verify` is False."""
        return cls(open_artifact(Path(path), verify), opening)

    def run(self, batch: TokenBatch) -> Float32:
        """One inference call: token batch in, float32 [batch, dim] out.

        Raises UserError for an id outside the embedding table, for which GatherBlockQuantized would
        silently return zeros: some tokenizers know tokens that the table has no row for.
        """
        rows = self.manifest.tokenizer.vocab_size
        if not 0 <= batch.input_ids.min() <= batch.input_ids.max() < rows:
            bad = next(i for i in batch.input_ids.ravel().tolist() if not 0 <= i < rows)
            raise UserError(f"token id {bad}: lies outside the embedding table of {rows} rows")
        return self._session.run_batch(batch)

    def embed(self, texts: list[str], prompt_name: str | None = None, prompt: str = "") -> Float32:
        """Embed texts behind a prompt of the model (by name) or a literal one: float32 [n, dim].

        Raises UserError for an unknown prompt name or a text without tokens.
        """
        if prompt_name is not None:
            prompt = pick_prompt(self.manifest.prompts, prompt_name)
        return self.embed_prompted([(prompt, text) for text in texts])

    def embed_queries(self, texts: list[str], prompt_name: str | None = None) -> Float32:
        """Embed search queries behind the model's query prompt, or another prompt of it by name."""
        return self.embed(texts, prompt=choose_query_prompt(self.manifest.prompts, prompt_name))

    def embed_documents(self, documents: list[Document]) -> Float32:
        """Embed passages behind the model's document prompt, titles in place."""
        prompt = default_document_prompt(self.manifest.prompts)
        return self.embed_prompted([split_document(prompt, document) for document in documents])

    def embed_prompted(self, pairs: list[tuple[str, str]]) -> Float32:
        """Embed (prompt, text) pairs in batches of similar length, in the order given."""
        rows = [self.tokenizer.ids(text, prompt) for prompt, text in pairs]
        skips = {prompt: self.tokenizer.prompt_tokens(prompt) for prompt, _ in pairs}
        vectors = np.empty((len(pairs), self.dim), dtype=np.float32)
        for skip in set(skips.values()):
            chosen = [index for index, (prompt, _) in enumerate(pairs) if skips[prompt] == skip]
            for indices in _by_length(chosen, rows):
                batch = self.tokenizer.batch([rows[index] for index in indices], skip)
                vectors[indices] = self.run(batch)
        return vectors


def _by_length(indices: list[int], rows: list[list[int]]) -> list[list[int]]:
    """Group rows of similar length so that padded tokens per group stay under TOKENS_PER_BATCH."""
    groups: list[list[int]] = []
    for index in sorted(indices, key=lambda i: len(rows[i]), reverse=True):
        if groups and (len(groups[-1]) + 1) * len(rows[groups[-1][0]]) <= TOKENS_PER_BATCH:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
