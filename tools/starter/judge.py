"""What each part of a checkpoint is worth: NDCG@10 with it, and with it taken away or wrong.

A layer that may be replaced by identity without a loss has learned nothing; a fault that costs nothing is
one that no gate can see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from common.prompts import default_document_prompt, default_query_prompt
from common.retrieval import RetrievalSet, read_retrieval_set
from tools.starter.student import Skip, skipped
from train.checkpoint import load_sentence_transformer
from train.evaluate import MatryoshkaEvaluator, encode_prompted

WRONG_POOLINGS = ("cls", "lasttoken", "max")
RED_PLANET = "Which planet is known as the Red Planet?"
PLANETS = {
    "Venus": "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars": "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter": "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn": "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
}
"""The example of google/embeddinggemma-300m's model card."""


@dataclass(frozen=True)
class Sample:
    """How much of a retrieval set to use: its first queries, and passages beyond those that answer them.

    None is all of them. titles: whether passages keep theirs.
    """

    queries: int | None = None
    others: int | None = None
    titles: bool = True


def read_sample(folder: Path, split: str, sample: Sample) -> RetrievalSet:
    """A part of a retrieval set that is quick to embed, the same at every call."""
    data = read_retrieval_set(folder, split)
    queries = dict(list(data.queries.items())[: sample.queries])
    qrels = {query: data.qrels[query] for query in queries}
    answers = {document for grades in qrels.values() for document in grades}
    others = [one.id for one in data.documents if one.id not in answers][: sample.others]
    kept = answers | set(others)
    documents = tuple(one for one in data.documents if one.id in kept)
    if not sample.titles:
        documents = tuple(dataclasses.replace(one, title=None) for one in documents)
    return dataclasses.replace(data, documents=documents, queries=queries, qrels=qrels)


def scores(model: SentenceTransformer, data: RetrievalSet, dims: Sequence[int]) -> dict[str, float]:
    """NDCG@10 by dimension."""
    return MatryoshkaEvaluator(data, dims, default_query_prompt(model.prompts)).by_dim(model)


def planets(model: SentenceTransformer) -> dict[str, float]:
    """Cosines of the model card's question and its four passages, by planet."""
    asked = [(default_query_prompt(model.prompts), RED_PLANET)]
    told = [(default_document_prompt(model.prompts), text) for text in PLANETS.values()]
    question, *passages = encode_prompted(model, asked + told)
    return {name: round(float(question @ one), 3) for name, one in zip(PLANETS, passages, strict=True)}


def judge(folder: Path, data: RetrievalSet, dim: int) -> Iterator[tuple[str, float]]:
    """NDCG@10 at one dimension of the checkpoint as it is, then with each fault in turn, by name."""
    model = load_sentence_transformer(folder, device="cpu")
    yield "as it is", scores(model, data, [dim])[str(dim)]
    for name, fault in faults(model):
        with fault:
            yield name, scores(model, data, [dim])[str(dim)]


def faults(model: SentenceTransformer) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    """What can be broken, by name: each breaks the model when entered and mends it when left."""
    backbone: Any = model[0].model
    for index in range(len(backbone.layers)):
        yield f"layer {index} skipped", skipped(backbone.layers, index)
    nothing = torch.nn.ModuleList(Skip() for _ in backbone.layers)
    yield "all layers skipped", _set(backbone, "layers", nothing)
    window = backbone.config.sliding_window
    yield "window halved", _set(backbone.config, "sliding_window", window // 2 + 1)
    for pooling in WRONG_POOLINGS:
        yield f"{pooling} pooling", _set(model[1], "pooling_mode", pooling)
    yield "no prompts", _set(model, "prompts", dict.fromkeys(model.prompts, ""))
    for index in range(2, len(model) - 1):
        weight = model[index].linear.weight
        yield f"Dense {index - 1} misread", _set(weight, "data", weight.data.T.reshape(weight.shape))


@contextmanager
def _set(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
