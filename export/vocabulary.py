"""Which pieces a trimmed vocabulary keeps, and how much longer texts get without the others.

Always kept: special tokens, bytes or single characters to fall back on, the model's prompts. Then what the
corpus uses, most frequent first, each piece with all that BPE makes on its way to it; then, where a size is
asked for, pieces in the order in which BPE learnt them, which is that of use in its training text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from common.errors import UserError
from common.retrieval import Document
from export.corpus import Corpus, as_embedded, read_corpus
from export.pieces import Pieces
from export.scripts import parse_languages, written_in

Int64 = npt.NDArray[np.int64]
BATCH = 1000
HELD_OUT_SHARE = 10
"""One text in this many is kept from the selection that the held-out inflation is measured with."""


@dataclass(frozen=True)
class TrimRequest:
    """What to keep: the pieces of a corpus or of languages, at most `size` rows; `data` is a BEIR folder."""

    corpus: Path | None
    languages: tuple[str, ...]
    size: int | None = None
    data: Path | None = None

    @property
    def scored_on(self) -> Path | None:
        """The folder that NDCG@10 before and after is measured on, if there is one."""
        if self.data is None and self.corpus is not None and (self.corpus / "qrels").is_dir():
            return self.corpus
        return self.data


def parse_trim(vocab: str | None, size: int | None, data: Path | None) -> TrimRequest | None:
    """The request on the command line: an existing path is a corpus, anything else languages.

    Raises UserError for an unknown language, and for a size or data without a vocabulary.
    """
    if vocab is None:
        for option, value in (("--vocab-size", size), ("--data", data)):
            if value is not None:
                raise UserError(f"{option} {value}: it goes with --vocab, which says what to keep")
        return None
    path = Path(vocab)
    return TrimRequest(path, (), size, data) if path.exists() else _languages(vocab, size, data)


def _languages(vocab: str, size: int | None, data: Path | None) -> TrimRequest:
    return TrimRequest(None, parse_languages(vocab), size, data)


@dataclass(frozen=True)
class Encoding:
    """How the model turns text into pieces: its prompts, whether it lower-cases, rows of its table."""

    pieces: Pieces
    prompts: dict[str, str]
    lower_case: bool
    rows: int


@dataclass(frozen=True)
class Selection:
    """The ids to keep, and tokens after over tokens before: on the corpus, and on text not selected from."""

    keep: frozenset[int]
    selected_by: str
    corpus_sha256: str | None
    inflation: float | None
    held_out_inflation: float | None


def select(encoding: Encoding, request: TrimRequest) -> Selection:
    """Choose the ids to keep. Raises UserError for a corpus without text or a size that cannot be held."""
    if request.size is not None and request.size > encoding.rows:
        raise UserError(f"vocab-size {request.size}: the model's table has only {encoding.rows} rows")
    if request.corpus is None:
        return _select_languages(encoding, request)
    return _select_corpus(encoding, request, read_corpus(request.corpus))


def _select_languages(encoding: Encoding, request: TrimRequest) -> Selection:
    allowed = written_in(request.languages)
    nothing = np.zeros(max(encoding.pieces.names) + 1, dtype=np.int64)
    keep = choose(encoding, nothing, request.size or encoding.rows, allowed)
    unseen = None
    if request.data is not None:
        unseen = inflation(encoding, keep, read_corpus(request.data).texts)
    return Selection(frozenset(keep), f"languages {','.join(request.languages)}", None, None, unseen)


def _select_corpus(encoding: Encoding, request: TrimRequest, corpus: Corpus) -> Selection:
    texts = list(corpus.texts)
    random.Random(0).shuffle(texts)  # noqa: S311
    held = texts[: len(texts) // HELD_OUT_SHARE]
    counts = count(encoding, texts[len(held) :])
    unseen = None
    if held:
        unseen = inflation(encoding, choose(encoding, counts, request.size), held)
        counts += count(encoding, held)
    keep = choose(encoding, counts, request.size)
    seen = inflation(encoding, keep, texts)
    return Selection(frozenset(keep), f"corpus {corpus.name}", corpus.sha256, seen, unseen)


def choose(
    encoding: Encoding, counts: Int64, size: int | None, allowed: Callable[[str], bool] | None = None
) -> set[int]:
    """The ids to keep for pieces used `counts` times ([highest id + 1]), in at most `size` rows.

    Without a size only what is used is kept; with one, rows left over go to further pieces whose text is
    `allowed`. Raises UserError when `size` does not hold what every trimmed vocabulary needs.
    """
    pieces = encoding.pieces
    keep = _closure(pieces, pieces.always() | _prompt_ids(encoding))
    beyond = sum(id_ >= encoding.rows for id_ in keep)
    if size is not None and len(keep) - beyond > size:
        raise UserError(
            f"vocab-size {size}: special tokens, bytes, single characters and the prompts alone need "
            f"{len(keep) - beyond} rows"
        )
    room = len(pieces.names) if size is None else size + beyond
    used = sorted(np.flatnonzero(counts).tolist(), key=lambda id_: (-counts[id_], id_))
    _add(keep, used, pieces, room)
    if size is not None:
        _add(keep, _by_use(encoding, allowed or (lambda text: True)), pieces, room)
    return keep


def _add(keep: set[int], candidates: Iterable[int], pieces: Pieces, room: int) -> None:
    """Keep each candidate that fits with all of its parts."""
    for id_ in candidates:
        if len(keep) >= room:
            return
        new = pieces.with_parts(id_) - keep
        if len(keep) + len(new) <= room:
            keep |= new


def _by_use(encoding: Encoding, allowed: Callable[[str], bool]) -> list[int]:
    """Ids that may fill the table, the most used in the tokenizer's own training first."""
    pieces = encoding.pieces
    last = len(pieces.ranks)
    found = [
        id_
        for name, id_ in pieces.ids.items()
        if id_ < encoding.rows and pieces.is_useful(name) and allowed(pieces.text(name))
    ]
    return sorted(found, key=lambda id_: (pieces.ranks.get(pieces.names[id_], last), id_))


def _prompt_ids(encoding: Encoding) -> set[int]:
    prompts = [Document("", prompt) for prompt in encoding.prompts.values() if prompt]
    return set(np.flatnonzero(count(encoding, prompts)).tolist()) if prompts else set()


def _closure(pieces: Pieces, ids: Iterable[int]) -> set[int]:
    return set().union(*(pieces.with_parts(id_) for id_ in ids))


def count(encoding: Encoding, texts: Iterable[Document]) -> Int64:
    """How often each id occurs in all forms in which the texts are embedded: int64 [highest id + 1]."""
    tokenizer = encoding.pieces.tokenizer()
    counts = np.zeros(max(encoding.pieces.names) + 1, dtype=np.int64)
    forms = (form for text in texts for form in as_embedded(text, encoding.prompts))
    for ids in _encoded(tokenizer, forms, encoding.lower_case):
        counts += np.bincount(np.array(ids, dtype=np.int64), minlength=len(counts))
    return counts


def inflation(encoding: Encoding, keep: Iterable[int], texts: Iterable[Document]) -> float:
    """Tokens after over tokens before, of the bare texts without prompts and special tokens."""
    bare = [text.text for text in texts]
    before, after = (
        sum(len(ids) for ids in _encoded(tokenizer, iter(bare), encoding.lower_case))
        for tokenizer in (encoding.pieces.tokenizer(), encoding.pieces.tokenizer(keep))
    )
    return after / max(before, 1)


def _encoded(tokenizer: Tokenizer, texts: Iterator[str], lower_case: bool) -> Iterator[list[int]]:
    while batch := list(islice(texts, BATCH)):
        rows = [text.lower() for text in batch] if lower_case else batch
        yield from (one.ids for one in tokenizer.encode_batch(rows, add_special_tokens=False))
