"""A shard's texts as token ids behind the donor's prompts, the word of each token, and the lesson."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from common.files import read_json
from common.prompts import default_document_prompt, default_query_prompt, split_document
from common.retrieval import Document
from tools.starter.teacher import Lesson, read_lesson
from tools.starter.texts import Row, read_shard
from tools.starter.words import NONE, owners

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

MAX_TOKENS = 320
TITLE_LABEL = "title: "
"""What the prompts of EmbeddingGemma have before a title."""
CAPITALISED_WORDS = 0.5
"""Of a text that is chosen for it, so many of its words."""
SMALL_WORD = re.compile(r"\b[a-z](?=[a-z]{2})")
KEPT_SHARDS = 2
"""Encoded ones in memory: an epoch reads one after another."""


@dataclass(frozen=True)
class Text:
    """Token ids of a text behind its prompt, and the word of each or NONE: int32 [tokens] both."""

    ids: Int32
    words: Int32


@dataclass(frozen=True)
class Encoded:
    """A shard: its queries and passages, and the teacher's lesson of them, queries first."""

    queries: list[Text]
    passages: list[Text]
    lesson: Lesson

    def lengths(self) -> Float32:
        """Tokens of each row's passage and query together, float32 [rows]."""
        pairs = zip(self.queries, self.passages, strict=True)
        return np.array([len(query.ids) + len(passage.ids) for query, passage in pairs], np.float32)

    def words(self, texts: Int64) -> Float32:
        """The teacher's states of all words of some of the lesson's texts, float32 [words, width]."""
        starts = np.cumsum(self.lesson.counts) - self.lesson.counts
        chosen = np.concatenate(
            [np.arange(starts[text], starts[text] + self.lesson.counts[text]) for text in texts]
        )
        scales = self.lesson.scales[chosen].astype(np.float32)
        return np.asarray(self.lesson.codes[chosen] * scales[:, None], np.float32)


@lru_cache(KEPT_SHARDS)
def encode_shard(shard: Path, donor: Path, capitals: float = 0.0) -> Encoded:
    """Tokenise a shard behind the donor's prompts, titles in their place.

    capitals: the share of rows in which words get a capital that they did not have. To an uncased teacher
    they are the same words; the donor's tokenizer has other pieces for them.
    """
    rows, lesson = read_shard(shard), read_lesson(shard)
    rng = random.Random(shard.name)  # noqa: S311
    rows = [_capitalised(row, rng) if rng.random() < capitals else row for row in rows]
    prompts = read_json(donor / "config_sentence_transformers.json")["prompts"]
    tokenizer = Tokenizer.from_file(str(donor / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    ask = default_query_prompt(prompts)
    asked = [(ask + row.query, ((len(ask), row.query),)) for row in rows]
    told = [_told(default_document_prompt(prompts), row) for row in rows]
    texts = [
        Text(np.array(encoding.ids, np.int32), owners(encoding.offsets, parts))
        for (_, parts), encoding in zip(
            asked + told, tokenizer.encode_batch([whole for whole, _ in asked + told]), strict=True
        )
    ]
    _forget_unseen(texts, lesson)
    return Encoded(texts[: len(rows)], texts[len(rows) :], lesson)


def _capitalised(row: Row, rng: random.Random) -> Row:
    def some(text: str) -> str:
        return SMALL_WORD.sub(
            lambda found: found[0].upper() if rng.random() < CAPITALISED_WORDS else found[0], text
        )

    return Row(some(row.query), some(row.passage), row.title)


def _told(prompt: str, row: Row) -> tuple[str, tuple[tuple[int, str], ...]]:
    """A passage behind its prompt, and the parts of it with their offsets, in the teacher's order."""
    head, text = split_document(prompt, Document("", row.passage, row.title))
    parts: tuple[tuple[int, str], ...] = ((len(head), text),)
    if row.title:
        labelled = f"{TITLE_LABEL}{row.title}"
        parts = ((head.index(labelled) + len(TITLE_LABEL), row.title), *parts)
    return head + text, parts


def _forget_unseen(texts: list[Text], lesson: Lesson) -> None:
    """Tokens of words that the teacher has cut off, or made nothing of, belong to none; in place."""
    end = 0
    for text, count in zip(texts, lesson.counts.tolist(), strict=True):
        start, end = end, end + count
        text.words[text.words >= count] = NONE
        known = text.words != NONE
        text.words[known] = np.where(lesson.scales[start + text.words[known]] > 0, text.words[known], NONE)
