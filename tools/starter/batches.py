"""Which rows a step sees: shards in order, in each of them batches of similar length, shuffled by seed.

A place in the order is three numbers, from which everything that follows can be made again; that is all an
interrupted run has to keep.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from common.errors import UserError
from tools.starter.encoding import Encoded, Text, encode_shard
from tools.starter.loss import Sides
from tools.starter.teacher import lesson_path
from tools.starter.texts import shard_paths
from tools.starter.words import NONE

Int64 = npt.NDArray[np.int64]

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
    """Padded ids, their mask, and the row of each in the batch's words or NONE: int64 [n, longest]."""

    ids: torch.Tensor
    mask: torch.Tensor
    words: torch.Tensor

    def to(self, device: torch.device) -> Tokens:
        """The same on a device."""
        return Tokens(self.ids.to(device), self.mask.to(device), self.words.to(device))

    def first(self, rows: int) -> Tokens:
        """The first texts, without the padding that only others need."""
        longest = int(self.mask[:rows].sum(1).max())
        return Tokens(self.ids[:rows, :longest], self.mask[:rows, :longest], self.words[:rows, :longest])

    def unprompted(self) -> Tokens:
        """The texts without what stands between their first token and their first word."""
        start = torch.where((self.words != NONE).any(1), (self.words != NONE).int().argmax(1), 1)
        place = torch.arange(self.ids.shape[1], device=self.ids.device)
        source = (place + start.unsqueeze(1) - 1).clamp(max=len(place) - 1)
        source[:, 0] = 0
        kept = place < self.mask.sum(1, keepdim=True) - start.unsqueeze(1) + 1
        ids, words = (one.gather(1, source) for one in (self.ids, self.words))
        return Tokens(ids * kept, kept.to(self.mask.dtype), words.masked_fill(~kept, NONE))


@dataclass(frozen=True)
class Batch:
    """One step's texts with the teacher's vectors and states of their words; after: the place of the next."""

    queries: Tokens
    passages: Tokens
    teacher: Sides
    words: torch.Tensor
    after: Place

    @property
    def tokens(self) -> int:
        """Padded ones of both sides."""
        return self.queries.ids.numel() + self.passages.ids.numel()

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        sides = self.queries.to(device), self.passages.to(device), self.teacher.to(device)
        return Batch(*sides, self.words.to(device), self.after)


@dataclass(frozen=True)
class Order:
    """Where the texts are and how batches are drawn from them.

    tokens: padded ones of a batch, at most; held_out: shards at the end that no batch is drawn from;
    capitals: the share of rows in which words get some. first: the shard that the first epoch begins with.
    topics: into how many a shard is divided, so that the texts of a batch are hard to tell apart; 1 for not.
    """

    texts: Path
    donor: Path
    seed: int
    tokens: int
    held_out: int = 1
    capitals: float = 0.0
    first: int = 0
    topics: int = 1


def batches(order: Order, start: Place) -> Iterator[Batch]:
    """Batches from `start` on, without end; waits for shards that the teacher has not reached yet."""
    shards = training_shards(order)
    if start.shard >= len(shards):
        raise UserError(f"first shard {start.shard}: {order.texts} has {len(shards)} to train on, from 0")
    place = start
    while True:
        encoded = encode_shard(wait_for(shards[place.shard]), order.donor, order.capitals)
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
    """The shard, once its lesson is there."""
    while not lesson_path(shard).exists():
        time.sleep(POLL_SECONDS)
    return shard


def _following(place: Place, shards: int) -> Place:
    last = place.shard + 1 == shards
    return Place(place.epoch + 1, 0, 0) if last else Place(place.epoch, place.shard + 1, 0)


def _draw(encoded: Encoded, order: Order, place: Place) -> list[Int64]:
    """Row numbers by batch, for one shard of one epoch."""
    rng = np.random.default_rng([order.seed, place.epoch, place.shard])
    lengths = encoded.lengths() * rng.normal(1, LENGTH_NOISE, len(encoded.queries))
    sorted_rows = np.lexsort((lengths, _topics(encoded, order.topics, rng)))
    drawn = _fill(encoded, sorted_rows.tolist(), order.tokens)
    return [drawn[index] for index in rng.permutation(len(drawn))]


def _topics(encoded: Encoded, count: int, rng: np.random.Generator) -> Int64:
    """The topic of each row, int64 [rows]: the passage that the teacher finds nearest, of `count` drawn."""
    if count == 1:
        return np.zeros(len(encoded.queries), np.int64)
    passages = encoded.lesson.vectors[len(encoded.queries) :].astype(np.float32)
    drawn = passages[rng.choice(len(passages), min(count, len(passages)), replace=False)]
    return np.asarray((passages @ drawn.T).argmax(axis=1), np.int64)


def _fill(encoded: Encoded, rows: list[int], tokens: int) -> list[Int64]:
    """Cut rows into batches of at most `tokens` padded ones, or of two rows where those are longer."""
    groups: list[list[int]] = []
    longest = (0, 0)
    for row in rows:
        length = len(encoded.queries[row].ids), len(encoded.passages[row].ids)
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
    texts = np.concatenate([rows, rows + len(encoded.queries)])  # where they are in the lesson
    vectors = torch.from_numpy(encoded.lesson.vectors[texts].astype(np.float32))
    ends = np.cumsum(encoded.lesson.counts[texts])
    starts = (ends - encoded.lesson.counts[texts]).tolist()
    return Batch(
        pad([encoded.queries[row] for row in rows], starts[: len(rows)]),
        pad([encoded.passages[row] for row in rows], starts[len(rows) :]),
        Sides(vectors[: len(rows)], vectors[len(rows) :]),
        torch.from_numpy(encoded.words(texts)),
        after,
    )


def pad(rows: list[Text], starts: list[int]) -> Tokens:
    """Texts filled up with 0 to the right; starts: the row of each text's first word in the batch's words."""
    ids = np.zeros((len(rows), max(len(row.ids) for row in rows)), dtype=np.int64)
    mask, words = np.zeros_like(ids), np.full_like(ids, NONE)
    for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
        own = slice(None, len(row.ids))
        ids[number, own], mask[number, own] = row.ids, 1
        words[number, own] = np.where(row.words == NONE, NONE, row.words + start)
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(words))
