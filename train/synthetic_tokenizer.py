"""A tokenizer of the real one's size and shape, grown from the starter's: for measuring, never for use.

EmbeddingGemma's own may not be redistributed. What decides memory and speed is taken after it: 262,144
pieces, about two merges for each, some 6,200 added tokens that are not special, characters of many scripts.
"""

from __future__ import annotations

import copy
import random
import sys
import unicodedata
from typing import Any

from common.errors import missing_extra

SPACE_MARK = "\u2581"
LONGEST_PIECE = 16
CHARACTER_SHARE = 0.08
"""Pieces that are one character, of those that are new."""
UNUSED_SHARE = 6100 / 262_144
RUN_LENGTHS = range(2, 32)
TAGS = ("table", "thead", "tr", "td", "th", "h1", "h2", "p", "blockquote", "ul", "ol", "li", "b", "i", "code")
PARTS = 5
"""Short pieces in a row that make a family of new ones."""
LONGEST_PART = 3
_USER_DEFINED, _NORMAL = 4, 1
_FIRST_IDS = 4
"""First ids of the starter: pad, eos, bos, unk."""


def grow(tokenizer: dict[str, Any], size: int, seed: int) -> dict[str, Any]:
    """The content of a tokenizer.json of `size` pieces that begins with `tokenizer`'s own.

    The same arguments give the same content. Added tokens are runs of newlines, tabs and space marks, tags
    and `<unusedN>`, as Gemma has them, none special. Raises ValueError for a size that is too small or,
    near a million, too large.
    """
    rng = random.Random(seed)  # noqa: S311 - a figure, not a secret
    grown = copy.deepcopy(tokenizer)
    vocab: dict[str, int] = grown["model"]["vocab"]
    added = [text for text in _added_texts(size) if text not in vocab]
    characters = _characters(vocab, int(CHARACTER_SHARE * (size - len(vocab))))
    merged = size - len(vocab) - len(added) - len(characters)
    if merged < 0:
        raise ValueError(f"{size} pieces: too few to grow to from {len(vocab)}")
    if len(characters) < int(CHARACTER_SHARE * (size - len(vocab))):
        raise ValueError(f"{size} pieces: more than Unicode has letters for")
    for piece in added:
        vocab[piece] = len(vocab)
    new = _pieces([p for p in vocab if _can_merge(p)], characters, merged, rng)
    for piece in new:
        vocab[piece] = len(vocab)
    for piece in characters:
        vocab[piece] = len(vocab)
    runs = [piece for piece in added if set(piece) == {SPACE_MARK}]
    grown["model"]["merges"] += [pair for piece in [*runs, *new] for pair in _splits(piece, vocab)]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    grown["added_tokens"] += [{"id": vocab[text], "content": text, **flags} for text in added]
    return grown


def sentencepiece_model(template: bytes, grown: dict[str, Any]) -> bytes:
    """The SentencePiece model file with the same pieces, in the settings of the starter's `template`.

    Raises UserError with the extra that holds sentencepiece when it is missing.
    """
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        raise missing_extra("pack", "sentencepiece") from None

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(template)
    added = {row["content"] for row in grown["added_tokens"]}
    for piece, id_ in list(grown["model"]["vocab"].items())[len(model.pieces) :]:
        model.pieces.add(
            piece=piece, score=float(_FIRST_IDS - id_), type=_USER_DEFINED if piece in added else _NORMAL
        )
    model.trainer_spec.vocab_size = len(model.pieces)
    content: bytes = model.SerializeToString()
    return content


def _added_texts(size: int) -> list[str]:
    runs = [char * length for char in ("\n", SPACE_MARK, "\t") for length in RUN_LENGTHS]
    tags = [f"<{slash}{tag}>" for tag in TAGS for slash in ("", "/")]
    return [*runs, *tags, *(f"<unused{number}>" for number in range(int(UNUSED_SHARE * size)))]


def _characters(vocab: dict[str, int], count: int) -> list[str]:
    """Letters, marks and digits in Unicode's order, every second one: pages of the table half filled."""
    letters = (
        chr(code) for code in range(0xA1, sys.maxunicode, 2) if unicodedata.category(chr(code))[0] in "LMN"
    )
    fresh = ["\n"] if "\n" not in vocab else []
    for letter in letters:
        if len(fresh) >= count:
            break
        if letter not in vocab:
            fresh.append(letter)
    return fresh


def _can_merge(piece: str) -> bool:
    return piece[:1] != "<" and not set(piece) & set("\n\t") and piece.count(SPACE_MARK) <= 1


def _pieces(old: list[str], characters: list[str], count: int, rng: random.Random) -> list[str]:
    """New pieces in families: a few short pieces in a row, and every stretch of that row.

    A stretch of n parts has n - 1 merges that lead to it, so that a family has about two for each piece.
    """
    short = [piece for piece in old if len(piece) <= LONGEST_PART]
    known = {*old, *characters}
    new: list[str] = []
    while len(new) < count:
        parts = [rng.choice(characters if rng.random() < CHARACTER_SHARE else short) for _ in range(PARTS)]
        if SPACE_MARK in "".join(parts)[1:] or sum(map(len, parts)) > LONGEST_PIECE:
            continue
        for length in range(2, PARTS + 1):
            for start in range(PARTS + 1 - length):
                piece = "".join(parts[start : start + length])
                if piece not in known and len(new) < count:
                    known.add(piece)
                    new.append(piece)
    return new


def _splits(piece: str, vocab: dict[str, int]) -> list[list[str]]:
    """Every pair of pieces that makes `piece`, in the order in which SentencePiece's converter lists them."""
    pairs = [[piece[:cut], piece[cut:]] for cut in range(1, len(piece))]
    return sorted(
        (pair for pair in pairs if pair[0] in vocab and pair[1] in vocab),
        key=lambda pair: (vocab[pair[0]], vocab[pair[1]]),
    )
