"""What profiles are measured against: the fp32 reference, and documents that an fp32 server embedded."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.quality import score
from bench.report import Reference
from common.retrieval import RetrievalSet
from export.artifact import Artifact
from export.embedder import Embedder, Opening
from export.head import truncate_normalise

Float32 = npt.NDArray[np.float32]

DIGITS = 6


@dataclass(frozen=True)
class Bearings:
    """The reference (None: there is none) and the fp32 vectors of all documents by dimension, [n, dim]."""

    reference: Reference | None
    server: dict[int, Float32] = field(default_factory=dict)


def take_bearings(
    artifacts: Sequence[Artifact], data: RetrievalSet, reference: Reference | None, prompt_name: str | None
) -> Bearings:
    """Embed the set with the widest fp32 artifact among those given, if there is one.

    Its vectors, cut and normalised, are the server's at every dimension (all are Matryoshka slices of one
    another); without a `reference` its scores are the reference, if it has the model's full width.
    """
    plain = [one for one in artifacts if one.manifest.precision == "fp32"]
    if not plain:
        return Bearings(reference)
    widest = max(plain, key=lambda one: one.manifest.dim)
    dims = sorted({a.manifest.dim for a in artifacts if a.manifest.dim <= widest.manifest.dim})
    embedder = Embedder(widest, Opening(use_weight_cache=False))
    documents = embedder.embed_documents(list(data.documents))
    server = {dim: truncate_normalise(documents, dim) for dim in dims}
    if reference is None and widest.manifest.dim == widest.manifest.full_dim:
        queries = embedder.embed_queries(list(data.queries.values()), prompt_name)
        reference = _score(widest.manifest.name, data, queries, server)
    return Bearings(reference, server)


def _score(name: str, data: RetrievalSet, queries: Float32, server: dict[int, Float32]) -> Reference:
    by_query = {}
    for dim, documents in server.items():
        scores = score(data, truncate_normalise(queries, dim), documents).by_query
        by_query[str(dim)] = [round(one, DIGITS) for one in scores]
    after = {dim: round(statistics.fmean(values), DIGITS) for dim, values in by_query.items()}
    return Reference(f"the profile {name}, for want of fp32 PyTorch", after, by_query)
