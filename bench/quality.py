"""Retrieval quality through the exported model: NDCG@10, recall@10, MRR@10 by ir_measures; the top 10."""

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
TOP = 10


@dataclass(frozen=True)
class Quality:
    """Means over the queries of a split, each between 0 and 1, and what they rest on, in the queries' order.

    top: ids of each query's TOP documents (all of a smaller corpus), best first, equal scores in the order
    that NDCG counts them. by_query: its NDCG@10.
    """

    ndcg_at_10: float
    recall_at_10: float
    mrr_at_10: float
    top: tuple[tuple[str, ...], ...]
    by_query: tuple[float, ...]


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
    by_id = np.argsort(np.array(ids), kind="stable")[::-1]  # trec_eval's rule for equal scores: last id first
    run, top = {}, []
    for query, row in zip(data.queries, similarities, strict=True):
        best = by_id[np.argsort(-row[by_id], kind="stable")][:RANKED]
        run[query] = {ids[index]: float(row[index]) for index in best}
        top.append(tuple(ids[index] for index in best[:TOP]))
    qrels = {query: {d: int(g > 0) for d, g in grades.items()} for query, grades in data.qrels.items()}
    found = ir_measures.calc([nDCG @ 10, R @ 10, RR @ 10], qrels, run)
    by_query = {one.query_id: float(one.value) for one in found.per_query if one.measure == nDCG @ 10}
    means = found.aggregated
    return Quality(
        ndcg_at_10=float(means[nDCG @ 10]),
        recall_at_10=float(means[R @ 10]),
        mrr_at_10=float(means[RR @ 10]),
        top=tuple(top),
        by_query=tuple(by_query[query] for query in data.queries),
    )
