"""Training pairs and triplets, checked row by row before any training starts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import sha256_files
from common.retrieval import Document, RetrievalSet, numbered_lines, parse_row, read_retrieval_set, text_field

SHOWN_FAULTS = 3
HOLD_OUT_SHARE = 0.1
QRELS_SOURCES = ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv")


@dataclass(frozen=True)
class Pair:
    """A query, the passage that answers it, optionally one that does not, and the passage's title."""

    query: str
    positive: str
    negative: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class TrainingData:
    """Checked pairs with their identity, and retrieval sets by split (dev always, test when known)."""

    name: str
    sha256: str
    pairs: tuple[Pair, ...]
    splits: dict[str, RetrievalSet]


def read_training_data(path: Path, seed: int) -> TrainingData:
    """Read a JSONL file of pairs or triplets, or a dataset folder in BEIR layout.

    A folder gives its pairs in train.jsonl or in qrels/train.tsv, and is scored on qrels/dev.tsv and
    qrels/test.tsv. A JSONL file alone has a tenth of its passages held out as dev. Raises UserError naming
    file, line and reason of the bad rows.
    """
    if path.is_dir():
        pairs_file = path / "train.jsonl"
        pairs = read_pairs(pairs_file) if pairs_file.is_file() else _pairs_from_qrels(path)
        hashed = [pairs_file] if pairs_file.is_file() else [path / name for name in QRELS_SOURCES]
        splits = {s: read_retrieval_set(path, s) for s in ("dev", "test") if _has_split(path, s)}
        if "dev" in splits:
            return TrainingData(path.resolve().name, sha256_files(hashed), tuple(pairs), splits)
    else:
        pairs, hashed, splits = read_pairs(path), [path], {}
    sha256 = sha256_files(hashed)
    kept, dev = hold_out(pairs, seed, sha256)
    return TrainingData(
        path.resolve().name if path.is_dir() else path.stem, sha256, tuple(kept), {"dev": dev, **splits}
    )


def _has_split(folder: Path, split: str) -> bool:
    return (folder / "qrels" / f"{split}.tsv").is_file()


def read_pairs(path: Path) -> list[Pair]:
    """Every row of a JSONL file as a Pair. All rows are read before a fault is raised."""
    pairs: list[Pair] = []
    faults: list[str] = []
    for place, raw in numbered_lines(path):
        try:
            pairs.append(_pair(parse_row(raw, place), place))
        except UserError as fault:
            faults.append(str(fault))
    _raise_faults(faults)
    if not pairs:
        raise UserError(f"{path}: no training pairs in it")
    with_negative = sum(pair.negative is not None for pair in pairs)
    if 0 < with_negative < len(pairs):
        raise UserError(
            f"{path}: {with_negative} of {len(pairs)} rows have 'negative'; give it to all or none"
        )
    return pairs


def _raise_faults(faults: list[str]) -> None:
    if faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more bad rows" if len(faults) > SHOWN_FAULTS else ""
        raise UserError("; ".join(faults[:SHOWN_FAULTS]) + more)


def _pair(row: dict[str, Any], place: str) -> Pair:
    given = [name for name in ("negative", "title") if row.get(name) is not None]
    optional = {name: text_field(row, name, place) for name in given if name != "title" or row[name]}
    return Pair(text_field(row, "query", place), text_field(row, "positive", place), **optional)


def _pairs_from_qrels(folder: Path) -> list[Pair]:
    train = read_retrieval_set(folder, "train")
    documents = {document.id: document for document in train.documents}
    return [
        Pair(train.queries[query], documents[name].text, title=documents[name].title)
        for query, grades in train.qrels.items()
        for name, grade in grades.items()
        if grade > 0
    ]


def hold_out(pairs: list[Pair], seed: int, sha256: str) -> tuple[list[Pair], RetrievalSet]:
    """Split off a tenth of the passages, with all of their queries, as a dev retrieval set.

    A held-out query is not trained with its other passages either; they count as relevant too. The dev
    corpus is every positive passage, so that held-out queries face trained ones as distractors.
    """
    passages = list(dict.fromkeys(pair.positive for pair in pairs))
    if len(passages) < 2:
        raise UserError("training pairs name a single passage; nothing can be held out for dev")
    chosen = set(random.Random(seed).sample(passages, max(1, int(len(passages) * HOLD_OUT_SHARE))))  # noqa: S311
    ids = {passage: f"p{number}" for number, passage in enumerate(passages)}
    titles = {pair.positive: pair.title for pair in pairs}
    held = {pair.query: f"q{n}" for n, pair in enumerate(pairs) if pair.positive in chosen}
    kept = [pair for pair in pairs if pair.query not in held]
    if not kept:
        raise UserError("every training query shares a held-out passage; give a dev split of your own")
    qrels: dict[str, dict[str, int]] = {}
    for pair in pairs:
        if pair.query in held:
            qrels.setdefault(held[pair.query], {})[ids[pair.positive]] = 1
    dev = RetrievalSet(
        name="held-out",
        split="dev",
        sha256=sha256,
        documents=tuple(Document(ids[passage], passage, titles[passage]) for passage in passages),
        queries={identifier: query for query, identifier in held.items()},
        qrels=qrels,
    )
    return kept, dev
