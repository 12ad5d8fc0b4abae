"""NDCG@10 at every Matryoshka dimension with Sentence Transformers' InformationRetrievalEvaluator.

The texts are embedded once at full width; each dimension's evaluator is handed the truncated and
renormalised vectors, which is what ``truncate_dim`` with ``normalize_embeddings=True`` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import (
    InformationRetrievalEvaluator,
    SentenceEvaluator,
)

from common.prompts import default_document_prompt, split_document
from common.ranking import rank, score_queries
from common.retrieval import RetrievalSet

Float32 = npt.NDArray[np.float32]
DIGITS = 6


def encode_prompted(model: SentenceTransformer, pairs: Sequence[tuple[str, str]]) -> Float32:
    """Embed (prompt, text) pairs at full width: float32 [n, width], unit norm, in the order given.

    A model that pools prompts like text takes them joined, in one call; for the others Sentence
    Transformers must know which tokens are prompt, so that each prompt is a call of its own.
    """
    if getattr(model[1], "include_prompt", True):
        joined = [prompt + text for prompt, text in pairs]
        return np.asarray(model.encode(joined, prompt="", normalize_embeddings=True), dtype=np.float32)
    vectors: dict[int, Any] = {}
    for prompt in dict.fromkeys(prompt for prompt, _ in pairs):
        rows = [index for index, pair in enumerate(pairs) if pair[0] == prompt]
        texts = [pairs[index][1] for index in rows]
        encoded = model.encode(texts, prompt=prompt, normalize_embeddings=True)
        vectors.update(zip(rows, encoded, strict=True))
    return np.stack([vectors[index] for index in range(len(pairs))]).astype(np.float32)


class _PrecomputedEvaluator(InformationRetrievalEvaluator):  # type: ignore[misc]
    """An InformationRetrievalEvaluator whose inputs are looked up instead of embedded."""

    vectors: dict[str, torch.Tensor]

    def embed_inputs(self, model: Any, sentences: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Rows of the precomputed table, cut to this evaluator's dimension and normalised."""
        rows = torch.stack([self.vectors[sentence] for sentence in sentences])[:, : self.truncate_dim]
        return torch.nn.functional.normalize(rows, dim=1)


class MatryoshkaEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """NDCG@10 of a model on one retrieval split by dimension; the primary metric is their mean."""

    def __init__(self, data: RetrievalSet, dims: Sequence[int], query_prompt: str) -> None:
        super().__init__()
        self._data, self._dims, self._query_prompt = data, tuple(dims), query_prompt
        self.primary_metric = "ndcg_at_10"

    def __call__(self, model: SentenceTransformer, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The scores keyed ``ndcg_at_10`` and ``ndcg_at_10_<dim>``."""
        scores = {f"ndcg_at_10_{dim}": value for dim, value in self.by_dim(model).items()}
        return {"ndcg_at_10": sum(scores.values()) / len(scores), **scores}

    def by_dim(self, model: SentenceTransformer) -> dict[str, float]:
        """NDCG@10 keyed by dimension, as strings for JSON."""
        vectors = self._embed(model)
        return {str(dim): round(self._ndcg(model, vectors, dim), DIGITS) for dim in self._dims}

    def by_query(self, model: SentenceTransformer) -> dict[str, list[float]]:
        """NDCG@10 of each query in the split's order, keyed by dimension, for paired comparisons."""
        vectors = self._embed(model)
        return {str(dim): self._ndcg_by_query(vectors, dim) for dim in self._dims}

    def _embed(self, model: SentenceTransformer) -> dict[str, torch.Tensor]:
        """Full vectors keyed by q:<query id> and d:<document id>."""
        data = self._data
        document_prompt = default_document_prompt(model.prompts)
        pairs = {f"q:{key}": (self._query_prompt, text) for key, text in data.queries.items()}
        pairs |= {f"d:{d.id}": split_document(document_prompt, d) for d in data.documents}
        matrix = torch.from_numpy(encode_prompted(model, list(pairs.values())))
        return dict(zip(pairs, matrix, strict=True))

    def _ndcg_by_query(self, vectors: dict[str, torch.Tensor], dim: int) -> list[float]:
        def rows(keys: list[str]) -> Float32:
            cut = torch.stack([vectors[key] for key in keys])[:, :dim]
            return np.asarray(torch.nn.functional.normalize(cut, dim=1), dtype=np.float32)

        queries = rows([f"q:{query}" for query in self._data.queries])
        documents = rows([f"d:{document.id}" for document in self._data.documents])
        scores = score_queries(self._data, rank(self._data, queries, documents))["ndcg_at_10"]
        return [round(score, DIGITS) for score in scores]

    def _ndcg(self, model: SentenceTransformer, vectors: dict[str, torch.Tensor], dim: int) -> float:
        data = self._data
        evaluator = _PrecomputedEvaluator(
            queries={key: f"q:{key}" for key in data.queries},
            corpus={document.id: f"d:{document.id}" for document in data.documents},
            relevant_docs={
                query: {d for d, g in grades.items() if g > 0} for query, grades in data.qrels.items()
            },
            name=str(dim),
            truncate_dim=dim,
            write_csv=False,
            main_score_function="cosine",
        )
        evaluator.vectors = vectors
        return float(evaluator(model)[f"{dim}_cosine_ndcg@10"])
