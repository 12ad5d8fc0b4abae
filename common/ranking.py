"""Ranking a retrieval set by cosine and scoring it query by query, with ir_measures."""

from __future__ import annotations

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import RR, R, nDCG

from common.retrieval import RetrievalSet

Float32 = npt.NDArray[np.float32]

RANKED = 100
"""Documents kept per query; every metric looks at the first ten."""
METRICS = {"ndcg_at_10": nDCG @ 10, "recall_at_10": R @ 10, "mrr_at_10": RR @ 10}
"""ir_measures' metric by the name that reports use."""


def rank(data: RetrievalSet, queries: Float32, documents: Float32) -> dict[str, dict[str, float]]:
    """The best documents of every query with their cosines, best first, in the queries' order.

    `queries` [q, d] and `documents` [n, d] are unit vectors in the order of the retrieval set. Documents of
    equal score come in trec_eval's order: the last identifier first.
    """
    ids = [document.id for document in data.documents]
    by_id = np.argsort(np.array(ids), kind="stable")[::-1]
    run = {}
    for query, row in zip(data.queries, queries @ documents.T, strict=True):
        best = by_id[np.argsort(-row[by_id], kind="stable")][:RANKED]
        run[query] = {ids[index]: float(row[index]) for index in best}
    return run


def score_queries(data: RetrievalSet, run: dict[str, dict[str, float]]) -> dict[str, tuple[float, ...]]:
    """Every metric of METRICS by name: its value for each query, in the queries' order, between 0 and 1.

    Any grade above 0 counts as relevant, as in Sentence Transformers' InformationRetrievalEvaluator.
    """
    qrels = {query: {d: int(g > 0) for d, g in grades.items()} for query, grades in data.qrels.items()}
    found = {
        (one.measure, one.query_id): float(one.value)
        for one in ir_measures.calc(list(METRICS.values()), qrels, run).per_query
    }
    return {name: tuple(found[measure, query] for query in data.queries) for name, measure in METRICS.items()}
