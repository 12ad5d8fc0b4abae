"""Which rows a step sees: shards in order, in each of them batches of similar length, shuffled by seed.

A place in the order is three numbers, from which everything that follows can be made again; that is all an
interrupted run has to keep.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from common.files import read_json
from common.prompts import default_document_prompt, default_query_prompt, split_document
from common.retrieval import Document
from tools.starter.loss import Sides
from tools.starter.teacher import embedded_rows, vectors_path
from tools.starter.texts import shard_paths

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]

MAX_TOKENS = 320
LENGTH_NOISE = 0.15
"""Spread of the lengths by which rows are sorted, as a share: batches differ from epoch to epoch."""
POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Place:
    """The next batch: its number within the shard within the epoch."""

    epoch: int = 0
    shard: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Tokens:
    """Padded ids [n, longest] and their mask, int64."""

    ids: torch.Tensor
    mask: torch.Tensor

    def to(self, device: torch.device) -> Tokens:
        """The same on a device."""
        return Tokens(self.ids.to(device), self.mask.to(device))


@dataclass(frozen=True)
class Batch:
    """One step's texts with the teacher's vectors; after: the place of the batch that follows."""

    queries: Tokens
    passages: Tokens
    teacher: Sides
    after: Place

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.queries.to(device), self.passages.to(device), self.teacher.to(device), self.after)


@dataclass(frozen=True)
class Encoded:
    """A shard's token ids and the teacher's vectors of them."""

    queries: list[Int32]
    passages: list[Int32]
    query_vectors: Float16
    passage_vectors: Float16

    def lengths(self) -> Float32:
        """Tokens of each row's passage and query together, float32 [rows]."""
        pairs = zip(self.queries, self.passages, strict=True)
        return np.array([len(query) + len(passage) for query, passage in pairs], dtype=np.float32)


@dataclass(frozen=True)
class Order:
    """Where the texts are and how batches are drawn from them.

    tokens: padded ones of a batch, at most; held_out: shards at the end that no batch is drawn from.
    """

    texts: Path
    donor: Path
    seed: int
    tokens: int
    held_out: int = 1


def batches(order: Order, start: Place) -> Iterator[Batch]:
    """Batches from `start` on, without end; waits for shards that the teacher has not reached yet."""
    shards = training_shards(order)
    place = start
    while True:
        encoded = encode_shard(wait_for(shards[place.shard]), order.donor)
        drawn = _draw(encoded, order, place)
        following = _following(place, len(shards))
        for number in range(place.batch, len(drawn)):
            after = Place(place.epoch, place.shard, number + 1)
            yield _batch(encoded, drawn[number], following if number + 1 == len(drawn) else after)
        place = following


def training_shards(order: Order) -> list[Path]:
    """The shards that batches are drawn from; the last ones are held out."""
    shards = shard_paths(order.texts)
    return shards[: len(shards) - order.held_out]


def wait_for(shard: Path) -> Path:
    """The shard, once its vectors are there."""
    while not vectors_path(shard).exists():
        time.sleep(POLL_SECONDS)
    return shard


@cache
def encode_shard(shard: Path, donor: Path) -> Encoded:
    """Tokenise a shard behind the donor's prompts, titles in their place."""
    rows, queries, passages = embedded_rows(shard)
    prompts = read_json(donor / "config_sentence_transformers.json")["prompts"]
    ask, tell = default_query_prompt(prompts), default_document_prompt(prompts)
    told = ["".join(split_document(tell, Document("", row.passage, row.title))) for row in rows]
    tokenizer = Tokenizer.from_file(str(donor / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    asked = [ask + row.query for row in rows]
    ids = [[np.array(one.ids, np.int32) for one in tokenizer.encode_batch(side)] for side in (asked, told)]
    return Encoded(ids[0], ids[1], queries, passages)


def _following(place: Place, shards: int) -> Place:
    last = place.shard + 1 == shards
    return Place(place.epoch + 1, 0, 0) if last else Place(place.epoch, place.shard + 1, 0)


def _draw(encoded: Encoded, order: Order, place: Place) -> list[Int64]:
    """Row numbers by batch, for one shard of one epoch."""
    rng = np.random.default_rng([order.seed, place.epoch, place.shard])
    lengths = encoded.lengths() * rng.normal(1, LENGTH_NOISE, len(encoded.queries))
    groups = _fill(encoded, np.argsort(lengths, kind="stable").tolist(), order.tokens)
    return [groups[index] for index in rng.permutation(len(groups))]


def _fill(encoded: Encoded, rows: list[int], tokens: int) -> list[Int64]:
    """Cut rows into batches of at most `tokens` padded ones, or of two rows where those are longer."""
    groups: list[list[int]] = []
    longest = (0, 0)
    for row in rows:
        length = len(encoded.queries[row]), len(encoded.passages[row])
        widest = max(longest[0], length[0]), max(longest[1], length[1])
        if groups and (len(groups[-1]) < 2 or (len(groups[-1]) + 1) * sum(widest) <= tokens):
            groups[-1].append(row)
            longest = widest
        else:
            groups.append([row])
            longest = length
    if len(groups) > 1 and len(groups[-1]) < 2:
        groups[-2] += groups.pop()
    return [np.array(group) for group in groups]


def _batch(encoded: Encoded, rows: Int64, after: Place) -> Batch:
    vectors = (
        torch.from_numpy(side[rows]).float() for side in (encoded.query_vectors, encoded.passage_vectors)
    )
    return Batch(
        pad([encoded.queries[row] for row in rows]),
        pad([encoded.passages[row] for row in rows]),
        Sides(*vectors),
        after,
    )


def pad(rows: list[Int32]) -> Tokens:
    """Ids to the right of which 0 fills up, and the mask that says which are which."""
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
