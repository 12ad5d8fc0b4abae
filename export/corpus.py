"""The texts that a trimmed vocabulary must serve: plain lines, JSONL, or a BEIR folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import sha256_files
from common.prompts import default_document_prompt, default_query_prompt, split_document
from common.retrieval import Document, decode_line, numbered_lines, parse_row, text_field

BEIR_FILES = ("corpus.jsonl", "queries.jsonl", "train.jsonl")
TEXT_FIELDS = ("text", "query", "positive", "negative")


@dataclass(frozen=True)
class Corpus:
    """Distinct texts, with a title where there is one, and where they came from."""

    name: str
    sha256: str
    texts: tuple[Document, ...]


def read_corpus(path: Path) -> Corpus:
    """Read one text a line, JSONL with the fields of BEIR or of training pairs, or a BEIR folder.

    A folder gives its passages, its queries and its training pairs. Raises UserError naming file, line and
    reason for a row that cannot be read, and for a corpus without a text.
    """
    files = [path / name for name in BEIR_FILES if (path / name).is_file()] if path.is_dir() else [path]
    texts = tuple(dict.fromkeys(text for file in files for text in _texts(file)))
    if not texts:
        what = f"none of {', '.join(BEIR_FILES)}" if path.is_dir() else "no text"
        raise UserError(f"{path}: a corpus to keep a vocabulary for, but it has {what}")
    return Corpus(path.resolve().name, sha256_files(files), texts)


def _texts(path: Path) -> Iterator[Document]:
    if path.suffix != ".jsonl":
        for place, raw in numbered_lines(path):
            yield Document("", decode_line(raw, place))
        return
    for place, raw in numbered_lines(path):
        row = parse_row(raw, place)
        title = text_field(row, "title", place) if row.get("title") else None
        found = [name for name in TEXT_FIELDS if row.get(name) is not None]
        if not found:
            raise UserError(f"{place}: none of the fields {', '.join(TEXT_FIELDS)}")
        for name in found:
            yield Document("", text_field(row, name, place), None if name == "query" else title)


def as_embedded(text: Document, prompts: dict[str, str]) -> list[str]:
    """Every string that embedding this text can hand to the tokenizer: bare, as a query, as a passage.

    What comes before a text changes where its first piece begins, so each form is counted.
    """
    passage = "".join(split_document(default_document_prompt(prompts), text))
    forms = [text.text, default_query_prompt(prompts) + text.text, passage]
    return list(dict.fromkeys([*forms, text.title] if text.title else forms))
