"""Retrieval quality through the exported model: NDCG@10, recall@10, MRR@10 by ir_measures; the top 10."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.ranking import rank, score_queries
from common.retrieval import RetrievalSet
from export.embedder import Embedder

Float32 = npt.NDArray[np.float32]

TOP = 10


@dataclass(frozen=True)
class Quality:
    """Means over the queries of a split, each between 0 and 1, and what they rest on, in the queries' order.

    top: ids of each query's TOP documents (all of a smaller corpus), best first, equal scores in the order
    that NDCG counts them. by_query: its NDCG@10. asymmetric_by_query: the same over documents embedded by the
    fp32 model, empty where there were none.
    """

    ndcg_at_10: float
    recall_at_10: float
    mrr_at_10: float
    top: tuple[tuple[str, ...], ...]
    by_query: tuple[float, ...]
    asymmetric_by_query: tuple[float, ...] = ()


def measure_quality(
    embedder: Embedder, data: RetrievalSet, prompt_name: str | None, server: Float32 | None = None
) -> Quality:
    """Embed a retrieval set with an artifact, rank by cosine and score.

    `server`: the documents as an fp32 model embeds them, [n, dim], for queries that are embedded on the phone
    and sent to an index that a server made.
    """
    queries = embedder.embed_queries(list(data.queries.values()), prompt_name)
    quality = score(data, queries, embedder.embed_documents(list(data.documents)))
    if server is None:
        return quality
    return dataclasses.replace(quality, asymmetric_by_query=score(data, queries, server).by_query)


def score(data: RetrievalSet, queries: Float32, documents: Float32) -> Quality:
    """Metrics of unit vectors: `queries` and `documents` in the order of the retrieval set.

    Any grade above 0 counts as relevant, as in Sentence Transformers' InformationRetrievalEvaluator.
    """
    run = rank(data, queries, documents)
    by_query = score_queries(data, run)
    means = {name: statistics.fmean(values) for name, values in by_query.items()}
    return Quality(
        ndcg_at_10=means["ndcg_at_10"],
        recall_at_10=means["recall_at_10"],
        mrr_at_10=means["mrr_at_10"],
        top=tuple(tuple(best)[:TOP] for best in run.values()),
        by_query=by_query["ndcg_at_10"],
    )
