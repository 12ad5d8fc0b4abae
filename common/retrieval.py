"""A retrieval set in BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

Layout: https://github.com/beir-cellar/beir. Identifiers are strings; a relevance grade above 0 means
relevant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import sha256_files

QRELS_COLUMNS = ("query-id", "corpus-id", "score")


@dataclass(frozen=True)
class Document:
    """One passage, with the title that the document prompt may carry."""

    id: str
    text: str
    title: str | None = None


@dataclass(frozen=True)
class RetrievalSet:
    """The corpus, the queries of one split and which documents answer them.

    Every query has at least one relevant document and every document named in `qrels` exists.
    """

    name: str
    split: str
    sha256: str
    documents: tuple[Document, ...]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read_retrieval_set(folder: Path, split: str) -> RetrievalSet:
    """Read and check one split of a BEIR folder.

    Raises UserError (file, line, rule) for a missing file, a bad row, an empty corpus, a repeated
    identifier, or qrels that name an unknown query or document.
    """
    corpus_file, queries_file = folder / "corpus.jsonl", folder / "queries.jsonl"
    qrels_file = folder / "qrels" / f"{split}.tsv"
    documents = tuple(_documents(corpus_file))
    if not documents:
        raise UserError(f"{corpus_file}: the corpus is empty; at least one passage is needed")
    texts = {identifier: text_field(row, "text", at) for at, identifier, row in _identified(queries_file)}
    qrels = _qrels(qrels_file, set(texts), {document.id for document in documents})
    return RetrievalSet(
        name=folder.resolve().name,
        split=split,
        sha256=sha256_files([corpus_file, queries_file, qrels_file]),
        documents=documents,
        queries={query: texts[query] for query in qrels},
        qrels=qrels,
    )


def numbered_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield ("file:line", bytes) for every line of a file that is not blank."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, start=1):
            if raw.strip():
                yield f"{path}:{number}", raw


def decode_line(raw: bytes, place: str) -> str:
    """The text of one line without its line end. Raises UserError with the place when it is not UTF-8."""
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: not UTF-8 ({error.reason} at byte {error.start})") from None


def parse_row(raw: bytes, place: str) -> dict[str, Any]:
    """One JSONL line as an object. Raises UserError with the place when it is not UTF-8 or not an object."""
    try:
        row = json.loads(decode_line(raw, place))
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, nesting without end
        raise UserError(f"{place}: not JSON that can be read ({error})") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: expected a JSON object, found {type(row).__name__}")
    return row


def text_field(row: dict[str, Any], name: str, place: str) -> str:
    """A required, non-empty string field of one row."""
    if name not in row:
        raise UserError(f"{place}: the field '{name}' is missing")
    value = row[name]
    if not isinstance(value, str):
        raise UserError(f"{place}: '{name}' must be a string, found {type(value).__name__}")
    if not value.strip():
        raise UserError(f"{place}: '{name}' is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(f"{place}: '{name}' has half of a surrogate pair, which is no character")
    return value


def _documents(path: Path) -> Iterator[Document]:
    for place, identifier, row in _identified(path):
        title = text_field(row, "title", place) if row.get("title") else None
        yield Document(identifier, text_field(row, "text", place), title)


def _identified(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    seen: set[str] = set()
    for place, raw in numbered_lines(path):
        row = parse_row(raw, place)
        identifier = text_field(row, "_id", place)
        if identifier in seen:
            raise UserError(f"{place}: the identifier '{identifier}' appears twice")
        seen.add(identifier)
        yield place, identifier, row


def _qrels(path: Path, queries: set[str], documents: set[str]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for place, raw in numbered_lines(path):
        cells = decode_line(raw, place).split("\t")
        if not qrels and tuple(cells) == QRELS_COLUMNS:
            continue
        query, document, grade = _judgement(cells, place)
        for identifier, known, what in ((query, queries, "query"), (document, documents, "document")):
            if identifier not in known:
                raise UserError(f"{place}: unknown {what} id '{identifier}'")
        if document in qrels.get(query, {}):
            raise UserError(f"{place}: query '{query}' and document '{document}' are judged twice")
        qrels.setdefault(query, {})[document] = grade
    relevant = {query: grades for query, grades in qrels.items() if any(g > 0 for g in grades.values())}
    if not relevant:
        raise UserError(f"{path}: no query has a relevant document")
    return relevant


def _judgement(cells: list[str], place: str) -> tuple[str, str, int]:
    if len(cells) != len(QRELS_COLUMNS):
        raise UserError(f"{place}: expected 3 tab-separated columns {QRELS_COLUMNS}, found {len(cells)}")
    try:
        return cells[0], cells[1], int(cells[2])
    except ValueError:
        raise UserError(f"{place}: the score '{cells[2]}' is not an integer") from None
