"""Retrieval quality through the exported model: NDCG@10, recall@10 and MRR@10, by ir_measures."""

from __future__ import annotations

from dataclasses import dataclass

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import RR, R, nDCG

from common.retrieval import RetrievalSet
from export.embedder import Embedder

Float32 = npt.NDArray[np.float32]

RANKED = 100
"""Documents kept per query; every metric looks at the first ten."""


@dataclass(frozen=True)
class Quality:
    """Means over the queries of a split, each between 0 and 1."""

    ndcg_at_10: float
    recall_at_10: float
    mrr_at_10: float


def measure_quality(embedder: Embedder, data: RetrievalSet, prompt_name: str | None) -> Quality:
    """Embed a retrieval set with an artifact, rank by cosine and score."""
    queries = embedder.embed_queries(list(data.queries.values()), prompt_name)
    documents = embedder.embed_documents(list(data.documents))
    return score(data, queries, documents)


def score(data: RetrievalSet, queries: Float32, documents: Float32) -> Quality:
    """Metrics of unit vectors: `queries` and `documents` in the order of the retrieval set.

    Any grade above 0 counts as relevant, as in Sentence Transformers' InformationRetrievalEvaluator.
    """
    similarities = queries @ documents.T
    ids = [document.id for document in data.documents]
    run = {}
    for query, row in zip(data.queries, similarities, strict=True):
        best = np.argsort(-row, kind="stable")[:RANKED]
        run[query] = {ids[index]: float(row[index]) for index in best}
    qrels = {query: {d: int(g > 0) for d, g in grades.items()} for query, grades in data.qrels.items()}
    means = ir_measures.calc_aggregate([nDCG @ 10, R @ 10, RR @ 10], qrels, run)
    return Quality(float(means[nDCG @ 10]), float(means[R @ 10]), float(means[RR @ 10]))
