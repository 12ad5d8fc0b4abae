"""Training pairs to shards of texts: chosen by set, passages cut at sentence ends, order shuffled once.

A shard is one JSONL file. Everything later goes through the shards in their order, so that training can
begin while the teacher still embeds the later ones.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import refuse_existing, whole_folder
from common.retrieval import numbered_lines, parse_row, text_field

SHARD_ROWS = 4096
LIMITS = {
    "openstax_en": 63_000,
    "wordnet": 40_000,
    "debian_desc_en": 12_000,
    "acl_title_abstract": 7_200,
    "disfl_qa": 6_000,
    "intents_banking77_clinc150": 6_000,
    "scitldr": 4_400,
    "stackexchange_small": 4_000,
    "opentriviaqa": 3_400,
    "msdocs_win32_en": 3_000,
    "owasp_en": 2_900,
    "d2l_en": 2_100,
    "msdocs_cpp_en": 1_500,
    "msdocs_powershell_en": 1_500,
    "kotlin_docs_en": 1_000,
    "rust_book_en": 1_000,
}
"""The most pairs of each set: in English, which the teacher knows; prose first, manuals thinned out."""
PASSAGE_CHARACTERS = ((0.75, 320), (1.0, 1000))
"""(share of rows up to here, characters kept): most passages short, which is more texts for the same time."""
QUERY_CHARACTERS = 240
TITLE_SHARE = 0.15
LONGEST_TITLE = 60
SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+(?=\S)")


@dataclass(frozen=True)
class Row:
    """A query, the passage that answers it, and the passage's title or None."""

    query: str
    passage: str
    title: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The title, where there is one, and the passage."""
        return (self.title, self.passage) if self.title else (self.passage,)


def write_shards(pairs: Path, out: Path, seed: int) -> int:
    """Write the folder `out` of 0000.jsonl, 0001.jsonl, ... and return how many shards there are.

    `pairs` is JSONL with fields query, positive and set. Raises UserError for a bad row (file, line, rule)
    and for an `out` that exists.
    """
    refuse_existing(out)
    rng = random.Random(seed)  # noqa: S311
    rows = [_cut(query, passage, rng) for query, passage in _chosen(pairs, rng)]
    with whole_folder(out) as folder:
        for shard, start in enumerate(range(0, len(rows), SHARD_ROWS)):
            lines = [json.dumps(vars(row), ensure_ascii=False) for row in rows[start : start + SHARD_ROWS]]
            (folder / f"{shard:04d}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return -(-len(rows) // SHARD_ROWS)


def read_shard(path: Path) -> list[Row]:
    """The rows of one shard. Raises UserError for a file that is not there or not a shard."""
    rows = [(parse_row(raw, place), place) for place, raw in numbered_lines(path)]
    return [
        Row(text_field(row, "query", place), text_field(row, "passage", place), row.get("title"))
        for row, place in rows
    ]


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder in order. Raises UserError when there is none."""
    if not (paths := sorted(folder.glob("[0-9]*.jsonl"))):
        raise UserError(f"{folder}: no shards of texts in it; write them with `texts` first")
    return paths


def _chosen(pairs: Path, rng: random.Random) -> Iterator[tuple[str, str]]:
    by_set: dict[str, list[tuple[str, str]]] = {name: [] for name in LIMITS}
    for place, raw in numbered_lines(pairs):
        row = parse_row(raw, place)
        if (name := text_field(row, "set", place)) in by_set:
            by_set[name].append((text_field(row, "query", place), text_field(row, "positive", place)))
    found = [pair for name, rows in by_set.items() for pair in rng.sample(rows, min(LIMITS[name], len(rows)))]
    rng.shuffle(found)
    yield from found


def _cut(query: str, passage: str, rng: random.Random) -> Row:
    place, titled = rng.random(), rng.random() < TITLE_SHARE
    limit = next(characters for share, characters in PASSAGE_CHARACTERS if place < share)
    heading = "?" not in query and len(query) <= LONGEST_TITLE < len(passage)
    query = leading(query, QUERY_CHARACTERS)
    return Row(query, leading(passage, limit), query if titled and heading else None)


def leading(text: str, limit: int) -> str:
    """The leading whole sentences of `text` within `limit` characters; words where the first is longer."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    ends = [found.start() for found in SENTENCE_END.finditer(text) if found.start() <= limit]
    return text[: ends[-1]] if ends else text[:limit].rsplit(" ", 1)[0]
