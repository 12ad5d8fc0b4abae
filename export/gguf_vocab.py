"""The tokenizer inside a GGUF file: llama.cpp's SentencePiece form of the checkpoint's own one.

llama.cpp merges the neighbours whose joint token has the highest score. The scores come from the
checkpoint's SentencePiece file or, without one, from the merge ranks of tokenizer.json, where it can be
shown that both rules merge alike.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError, missing_extra
from export.gguf_file import FLOAT32, INT32, Metadata, flag, numbers, string, strings, uint32
from export.manifest import SENTENCEPIECE_NAME
from export.source import Source

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""llama.cpp's kinds of tokens."""
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
SPACE = "\u2581"
REPLACES_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
SPLITS_AT_SPACES = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithPrevious",
    "invert": False,
}
"""Gemma's pre-tokenizer, which finds nothing to split once the spaces are replaced."""
UNREACHABLE = -1e6
"""Score of tokens that no merge leads to."""


@dataclass(frozen=True)
class Vocabulary:
    """Text, score and kind of every row of the embedding table."""

    tokens: list[str]
    scores: list[float]
    kinds: list[int]


def tokenizer_metadata(source: Source) -> Metadata:
    """The metadata from which llama.cpp tokenises as the checkpoint does.

    Raises UserError for a tokenizer of another kind than Gemma's, or one that llama.cpp would not follow.
    """
    vocabulary = read_vocabulary(source)
    tokenizer = source.tokenizer
    ids = tokenizer("a")["input_ids"]
    special = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    return {
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.pre": string("default"),
        "tokenizer.ggml.tokens": strings(vocabulary.tokens),
        "tokenizer.ggml.scores": numbers(vocabulary.scores, FLOAT32),
        "tokenizer.ggml.token_type": numbers(vocabulary.kinds, INT32),
        **{f"tokenizer.ggml.{name}_token_id": uint32(i) for name, i in special.items() if i is not None},
        "tokenizer.ggml.add_bos_token": flag(ids[0] == special["bos"]),
        "tokenizer.ggml.add_eos_token": flag(ids[-1] == special["eos"]),
        "tokenizer.ggml.add_space_prefix": flag(False),
    }


def read_vocabulary(source: Source) -> Vocabulary:
    """Every row of the table as llama.cpp's SentencePiece tokenizer needs it.

    Rows without a token get an unused one; tokens without a row are left out.
    """
    spec = json.loads(source.tokenizer.backend_tokenizer.to_str())
    _check_kind(spec, bool(source.model[0].do_lower_case))
    by_id = {index: text for text, index in spec["model"]["vocab"].items()}
    added = {one["id"]: one for one in spec["added_tokens"]}
    by_id |= {index: one["content"] for index, one in added.items()}
    kinds = {i: _kind(text, added.get(i), spec["model"]["unk_token"]) for i, text in by_id.items()}
    scores = _scores(source, spec, by_id, kinds)
    rows = range(source.table_rows)
    texts = [by_id.get(row, f"[PAD{row}]") for row in rows]
    return Vocabulary(
        [t.replace(SPACE, " ") if kinds.get(row) == USER_DEFINED else t for row, t in enumerate(texts)],
        [scores.get(text, UNREACHABLE) for text in texts],
        [kinds.get(row, UNUSED) for row in rows],
    )


def _check_kind(spec: dict[str, Any], lower_case: bool) -> None:
    model = spec["model"]
    plain = model["type"] == "BPE" and model.get("byte_fallback") and not model.get("ignore_merges")
    spaces = spec["normalizer"] == REPLACES_SPACES and spec["pre_tokenizer"] in (None, SPLITS_AT_SPACES)
    if lower_case or not plain or not spaces:
        raise UserError("format gguf: only Gemma's kind of tokenizer is written (BPE with byte fallback)")


def _kind(text: str, added: dict[str, Any] | None, unknown: str | None) -> int:
    if text == unknown:
        return UNKNOWN
    if added is not None:
        return CONTROL if added["special"] else USER_DEFINED
    return BYTE if BYTE_TOKEN.fullmatch(text) else NORMAL


def _scores(
    source: Source, spec: dict[str, Any], by_id: dict[int, str], kinds: dict[int, int]
) -> dict[str, float]:
    model = source.folder / SENTENCEPIECE_NAME
    if not model.is_file():
        normal = {text for index, text in by_id.items() if kinds[index] == NORMAL}
        return scores_from_merges(normal, spec["model"]["merges"])
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise missing_extra("llamacpp", "sentencepiece") from None
    pieces = SentencePieceProcessor(model_file=str(model))
    scores = {}
    for index in range(pieces.get_piece_size()):
        text = pieces.id_to_piece(index)
        renamed = kinds.get(index) in (CONTROL, USER_DEFINED)  # tokenizer.json has the last word on those
        if not renamed and by_id.get(index, text) not in (text, _TAB.get(text)):
            raise UserError(f"{model}: token {index} is '{text}', but '{by_id[index]}' in tokenizer.json")
        scores[text] = float(pieces.get_score(index))
    return scores


def scores_from_merges(tokens: set[str], merges: Sequence[Sequence[str]]) -> dict[str, float]:
    """Scores by token, the higher the earlier it is merged.

    A merge rank belongs to a pair, a score to what the pair becomes. Both rules merge alike when the pairs of
    a token have neighbouring ranks and no pair of two tokens that makes a third one lacks a rank. Raises
    UserError with a token for which that does not hold.
    """
    scores: dict[str, float] = {}
    pairs: Counter[str] = Counter()
    last = ""
    for left, right in merges:
        token = left + right
        if token != last and token in scores:
            raise UserError(f"token '{token}': {_NO_SCORE}, the ranks of its merges lie apart")
        scores.setdefault(token, -float(len(scores)))
        pairs[token] += 1
        last = token
    for token in tokens:
        splits = ((token[:at], token[at:]) for at in range(1, len(token)))
        if pairs[token] != sum(left in tokens and right in tokens for left, right in splits):
            raise UserError(f"token '{token}': {_NO_SCORE}, some of its parts have no merge rank")
    return scores


_TAB = {"<0x09>": "\t"}
"""transformers puts the character in the place of its byte when it converts Gemma's tokenizer."""
_NO_SCORE = f"llama.cpp cannot follow tokenizer.json here and the model has no {SENTENCEPIECE_NAME}"
