"""tokenizer.json of Gemma's kind to tokenizer.bin, a table that clients map instead of parsing.

What this cannot express exactly it refuses: a client without the file uses tokenizer.json as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bpe_format import FUSE_UNK, ID_BITS, NONE, PAGE_CHARS, PAGES, Header, pack

Content = Mapping[str, Any]
SPACE_MARK = "\u2581"
_ADDED_FLAGS = ("single_word", "lstrip", "rstrip")


class UnsupportedTokenizerError(Exception):
    """The tokenizer does something that tokenizer.bin has no form for; the message says what."""


@dataclass(frozen=True)
class AddedToken:
    """A token that is cut out of the text before merging; `text` is what is looked for."""

    id: int
    text: str
    special: bool
    normalised: bool


def build_table(tokenizer: Content) -> bytes:
    """The bytes of tokenizer.bin for the parsed content of a tokenizer.json.

    Raises UnsupportedTokenizerError for anything but BPE with literal replacements, literal splitting and a
    template of special tokens.
    """
    model = _check_model(tokenizer["model"])
    vocab: dict[str, int] = model["vocab"]
    merges = _merge_pairs(model["merges"])
    steps = _steps(tokenizer.get("normalizer"))
    rows = tokenizer.get("added_tokens") or []
    added = _added(rows, vocab, steps)
    pieces = {**{id_: piece for piece, id_ in vocab.items()}, **{row["id"]: row["content"] for row in rows}}
    size = max(pieces) + 1
    prefix, suffix = _template(tokenizer.get("post_processor"))
    sections = {
        **_characters(vocab),
        "byte_ids": _byte_ids(model, vocab),
        **_strings("steps", [text.encode() for step in steps for text in step]),
        "split": _split(tokenizer.get("pre_tokenizer")).encode(),
        "prefix": _u32(prefix),
        "suffix": _u32(suffix),
        "special": _u32(sorted(token.id for token in added if token.special)),
        **_patterns("raw", [token for token in added if not token.normalised]),
        **_patterns("normalised", [token for token in added if token.normalised]),
        **_merges(merges, vocab, size),
        **_strings("piece", [pieces.get(id_, "").encode() for id_ in range(size)]),
    }
    header = Header(
        size=size,
        unk=_unknown(model, vocab),
        flags=FUSE_UNK if model.get("fuse_unk") else 0,
        boundary=_boundary(vocab, merges),
        raw_longest=max((len(token.text) for token in added if not token.normalised), default=0),
        normalised_longest=max((len(token.text) for token in added if token.normalised), default=0),
    )
    return pack(header, sections)


def _check_model(model: Content) -> Content:
    if model.get("type") != "BPE":
        raise UnsupportedTokenizerError(f"model {model.get('type')}: only BPE has a form")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(name):
            raise UnsupportedTokenizerError(f"{name} {model[name]!r} has no form")
    vocab = model["vocab"]
    if not vocab or len(set(vocab.values())) < len(vocab):
        raise UnsupportedTokenizerError("a vocabulary that is empty or gives one id twice has no form")
    if max(len(model["merges"]), max(vocab.values()) + 1) > 1 << ID_BITS:
        raise UnsupportedTokenizerError(f"more than {1 << ID_BITS} pieces or merges have no form")
    return model


def _byte_ids(model: Content, vocab: dict[str, int]) -> bytes:
    """Ids of <0x00> to <0xFF>. Gemma's vocabulary lacks <0x09>, having a tab in its place."""
    fallback = vocab if model.get("byte_fallback") else {}
    return _u32(fallback.get(f"<0x{byte:02X}>", NONE) for byte in range(256))


def _unknown(model: Content, vocab: dict[str, int]) -> int:
    name = model.get("unk_token")
    if name is None:
        return NONE
    if name not in vocab:
        raise UnsupportedTokenizerError(f"unk_token {name!r} is not in the vocabulary")
    return vocab[name]


def _steps(normalizer: Content | None) -> list[tuple[str, str]]:
    """Literal replacements (pattern, content) in order; an empty pattern puts content before the text."""
    kind = normalizer["type"] if normalizer else None
    if normalizer is None:
        return []
    if kind == "Sequence":
        return [step for part in normalizer["normalizers"] for step in _steps(part)]
    if kind == "Prepend":
        return [("", normalizer["prepend"])]
    if kind == "Replace" and normalizer["pattern"].get("String"):
        return [(normalizer["pattern"]["String"], normalizer["content"])]
    raise UnsupportedTokenizerError(f"normalizer {kind}: only Replace of a literal and Prepend have a form")


def normalise(text: str, steps: list[tuple[str, str]]) -> str:
    """Apply the literal replacements to one stretch of text."""
    for pattern, content in steps:
        text = text.replace(pattern, content) if pattern else (content + text if text else text)
    return text


def _split(pre_tokenizer: Content | None) -> str:
    """The literal after which text is cut, empty for none."""
    if pre_tokenizer is None:
        return ""
    kind = pre_tokenizer["type"]
    if kind == "Split" and not pre_tokenizer["invert"] and pre_tokenizer["behavior"] == "MergedWithPrevious":
        literal: str = pre_tokenizer["pattern"].get("String", "")
        if literal:
            return literal
    raise UnsupportedTokenizerError(f"pre_tokenizer {kind}: only Split after a literal has a form")


def _template(post_processor: Content | None) -> tuple[list[int], list[int]]:
    """Ids before and behind the text."""
    if post_processor is None:
        return [], []
    if post_processor["type"] != "TemplateProcessing":
        raise UnsupportedTokenizerError(
            f"post_processor {post_processor['type']}: only a template has a form"
        )
    sides: list[list[int]] = [[]]
    for part in post_processor["single"]:
        if "Sequence" in part:
            sides.append([])
        else:
            sides[-1] += post_processor["special_tokens"][part["SpecialToken"]["id"]]["ids"]
    if len(sides) != 2:
        raise UnsupportedTokenizerError("a template without exactly one text has no form")
    return sides[0], sides[1]


def _added(rows: list[Content], vocab: dict[str, int], steps: list[tuple[str, str]]) -> list[AddedToken]:
    """The added tokens, checked to have the ids that the library gives them when it loads the file."""
    tokens = []
    fresh = len(vocab)
    for row in rows:
        content, id_ = row["content"], row["id"]
        if any(row[flag] for flag in _ADDED_FLAGS):
            raise UnsupportedTokenizerError(
                f"added token {content!r}: {', '.join(_ADDED_FLAGS)} have no form"
            )
        if id_ != vocab.get(content, fresh):
            raise UnsupportedTokenizerError(
                f"added token {content!r}: the library gives it another id than {id_}"
            )
        fresh += content not in vocab
        text = normalise(content, steps) if row["normalized"] else content
        tokens.append(AddedToken(id_, text, row["special"], row["normalized"]))
    for normalised in (False, True):
        texts = [token.text for token in tokens if token.normalised is normalised]
        if "" in texts or len(set(texts)) < len(texts):
            raise UnsupportedTokenizerError("added tokens that are empty or alike have no form")
    if len({token.id for token in tokens}) < len(tokens):
        raise UnsupportedTokenizerError("added tokens that share an id have no form")
    return tokens


def _merge_pairs(merges: list[Any]) -> list[tuple[str, str]]:
    """Merges as pairs; older files write them as one string."""
    pairs = [m.split(" ") if isinstance(m, str) else m for m in merges]
    if any(len(pair) != 2 for pair in pairs):
        raise UnsupportedTokenizerError("a merge that is not of two pieces has no form")
    return [(left, right) for left, right in pairs]


def _boundary(vocab: dict[str, int], merges: list[tuple[str, str]]) -> int:
    """The space mark, when no merge joins it to another character before it; otherwise 0.

    A reader may then merge word by word, and need not merge a word again that it has seen.
    """
    crossed = any(right[:1] == SPACE_MARK and left[-1:] != SPACE_MARK for left, right in merges)
    return 0 if crossed or SPACE_MARK not in vocab else ord(SPACE_MARK)


def _characters(vocab: dict[str, int]) -> dict[str, bytes]:
    """Code point to id in two steps; page 0 is the one that has none."""
    pages = np.zeros(PAGES, dtype="<u2")
    known = sorted((ord(piece), id_) for piece, id_ in vocab.items() if len(piece) == 1)
    used = sorted({code // PAGE_CHARS for code, _ in known})
    pages[used] = np.arange(1, len(used) + 1)
    ids = np.full((len(used) + 1, PAGE_CHARS), NONE, dtype="<u4")
    for code, id_ in known:
        ids[pages[code // PAGE_CHARS], code % PAGE_CHARS] = id_
    return {"char_pages": pages.tobytes(), "char_ids": ids.tobytes()}


def _merges(pairs: list[tuple[str, str]], vocab: dict[str, int], size: int) -> dict[str, bytes]:
    """Records of right id, rank and new id, sorted by left and then by right id; where each left begins."""
    try:
        ids = [(vocab[left], vocab[right], vocab[left + right]) for left, right in pairs]
    except KeyError as error:
        raise UnsupportedTokenizerError(f"merges need {error}, which is not in the vocabulary") from None
    left, right, new = np.array(ids, dtype=np.uint64).reshape(-1, 3).T
    rank = np.arange(len(pairs), dtype=np.uint64)
    order = np.lexsort((rank, right, left))
    left, right, new, rank = left[order], right[order], new[order], rank[order]
    last = np.ones(len(pairs), dtype=bool)  # of a pair that is listed twice the library keeps the last
    last[:-1] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    records = (right << np.uint64(2 * ID_BITS)) | (rank << np.uint64(ID_BITS)) | new
    counts = np.bincount(left[last].astype(np.int64), minlength=size)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return {"merge_starts": starts.astype("<u4").tobytes(), "merges": records[last].astype("<u8").tobytes()}


def _patterns(name: str, tokens: list[AddedToken]) -> dict[str, bytes]:
    """Sorted strings with their ids and, for each, the longest other one that it begins with."""
    rows = sorted((token.text.encode(), token.id) for token in tokens)
    parents: list[int] = []
    chain: list[int] = []
    for index, (text, _) in enumerate(rows):
        while chain and not text.startswith(rows[chain[-1]][0]):
            chain.pop()
        parents.append(chain[-1] if chain else NONE)
        chain.append(index)
    return {
        **_strings(name, [text for text, _ in rows]),
        f"{name}_ids": _u32(id_ for _, id_ in rows),
        f"{name}_parents": _u32(parents),
        f"{name}_first": "".join(sorted({token.text[0] for token in tokens})).encode(),
    }


def _strings(name: str, texts: list[bytes]) -> dict[str, bytes]:
    """Strings one behind the other, and where each begins and the last ends."""
    starts = accumulate(map(len, texts), initial=0)
    return {f"{name}_starts": _u32(starts), f"{name}_bytes": b"".join(texts)}


def _u32(values: Any) -> bytes:
    array: npt.NDArray[np.uint32] = np.array(list(values), dtype="<u4")
    return array.tobytes()
