"""A tokenizer.json taken apart: its pieces, how BPE reaches each, and the same file with fewer pieces.

BPE applies the merge of lowest rank first, anywhere in the text. Within the span of a piece these are the
merges that build the piece on its own. So a text whose pieces are kept together with every piece on their
way (`with_parts`) meets the same merges in the same order, and is split as before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel

from common.errors import UserError

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
PLACEHOLDER = re.compile(r"[<\[]unused_?\d+[>\]]")
"""Rows that were reserved and never trained."""
KINDS = ("BPE", "WordPiece")
UNDECODABLE = "\ufffd"
LAST_ASCII, SPACE = "\x7f", "▁"


class Pieces:
    """The pieces of one tokenizer.json, by id. Ids may have gaps and may lie beyond the embedding table."""

    def __init__(self, text: str) -> None:
        """Parse `text`, the content of a tokenizer.json. Raises UserError for a kind that cannot be cut."""
        self.json: dict[str, Any] = json.loads(text)
        model = self.json["model"]
        self.kind = str(model.get("type"))
        _refuse_kind(model, self.kind)
        added = {token["content"]: token["id"] for token in self.json["added_tokens"]}
        self.ids: dict[str, int] = {**model["vocab"], **added}
        self.names: dict[int, str] = {id_: name for name, id_ in self.ids.items()}
        self._ranks = {(left, right): n for n, (left, right) in enumerate(model.get("merges", ()))}
        self._parts: dict[str, frozenset[str]] = {}

    @cached_property
    def byte_level(self) -> bool:
        """Whether its characters stand for bytes, as GPT-2's do, so that no text is unknown to it."""
        return '"ByteLevel"' in json.dumps([self.json["pre_tokenizer"], self.json["decoder"]])

    @cached_property
    def ranks(self) -> dict[str, int]:
        """When BPE first makes each piece; WordPiece lists its pieces by use instead."""
        if self.kind == "WordPiece":
            return dict(self.ids)
        found: dict[str, int] = {}
        for (left, right), rank in self._ranks.items():
            found.setdefault(left + right, rank)
        return found

    def always(self) -> set[int]:
        """Ids that every trimmed tokenizer needs: special tokens, bytes, single characters as fallback.

        With bytes to fall back on ASCII is enough; without (WordPiece) all single characters stay, so that
        a word known before is never unknown after.
        """
        keep = {
            token["id"]
            for token in self.json["added_tokens"]
            if token["special"] and not PLACEHOLDER.fullmatch(token["content"])
        }
        keep |= {id_ for name, id_ in self.ids.items() if self._is_fallback(name)}
        unknown = self.json["model"].get("unk_token")
        if unknown in self.ids:
            keep.add(self.ids[unknown])
        return keep | {id_ for id_ in _template_ids(self.json["post_processor"]) if id_ in self.names}

    def _is_fallback(self, name: str) -> bool:
        if BYTE_PIECE.fullmatch(name):
            return True
        if self.json["model"].get("byte_fallback"):
            return name == SPACE or (len(name) == 1 and name <= LAST_ASCII)
        return len(name.removeprefix(self.json["model"].get("continuing_subword_prefix") or "")) == 1

    def text(self, name: str) -> str:
        """The text that a piece stands for; bytes that are no whole character give U+FFFD."""
        return str(ByteLevel().decode([name])) if self.byte_level else name

    def is_useful(self, name: str) -> bool:
        """Whether a piece may be kept without a corpus that needs it."""
        return PLACEHOLDER.fullmatch(name) is None and UNDECODABLE not in self.text(name)

    def with_parts(self, id_: int) -> set[int]:
        """The id of a piece and of every piece on BPE's way to it."""
        return {self.ids[name] for name in self._way(self.names[id_]) if name in self.ids}

    def _way(self, name: str) -> frozenset[str]:
        if name not in self._parts:
            parts = self._last_merge(name) if self._ranks else ()
            self._parts[name] = frozenset([name]).union(*(self._way(part) for part in parts))
        return self._parts[name]

    def _last_merge(self, name: str) -> tuple[str, ...]:
        """The pieces that the last merge on the way joins: two, or more where merges do not reach it."""
        symbols = list(name)
        while len(symbols) > 2:
            found = [(self._ranks[p], at) for at, p in enumerate(pairwise(symbols)) if p in self._ranks]
            if not found:
                break
            _, at = min(found)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return tuple(symbols) if len(symbols) > 1 else ()

    def tokenizer(self, keep: Iterable[int] | None = None) -> Tokenizer:
        """The tokenizer itself, of all pieces or of those in `keep`, without truncation and padding."""
        content = self.json if keep is None else self.trimmed(renumber(keep))
        made = Tokenizer.from_str(json.dumps(content))
        made.no_truncation()
        made.no_padding()
        return made

    def trimmed(self, new_ids: dict[int, int]) -> dict[str, Any]:
        """The content of tokenizer.json with the pieces in `new_ids` alone, under their new ids."""
        model = dict(self.json["model"])
        model["vocab"] = {name: new_ids[id_] for name, id_ in model["vocab"].items() if id_ in new_ids}
        if "merges" in model:
            kept = model["vocab"]
            model["merges"] = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= kept.keys()]
        added = [
            {**token, "id": new_ids[token["id"]]}
            for token in self.json["added_tokens"]
            if token["id"] in new_ids
        ]
        processor = _renumbered(self.json["post_processor"], new_ids)
        content = {**self.json, "model": model, "added_tokens": added, "post_processor": processor}
        return {**content, "truncation": None, "padding": None}


def renumber(keep: Iterable[int]) -> dict[int, int]:
    """New contiguous ids in the order of the old: the first ones (pad, eos, bos, unk) keep theirs."""
    return {old: new for new, old in enumerate(sorted(keep))}


def _refuse_kind(model: dict[str, Any], kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"vocab: a tokenizer of the kind {kind} cannot be trimmed, only {', '.join(KINDS)}")
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    if kind == "BPE" and any(model.get(name) for name in affixes):
        raise UserError("vocab: BPE with a prefix or suffix on its pieces cannot be trimmed")


def _template_ids(processor: Any) -> set[int]:
    """Ids that the post-processor puts around a text."""
    found: set[int] = set()

    def note(id_: int) -> int:
        found.add(id_)
        return id_

    _map_ids(processor, note)
    return found


def _renumbered(processor: Any, new_ids: dict[int, int]) -> Any:
    return _map_ids(processor, new_ids.__getitem__)


def _map_ids(value: Any, change: Any) -> Any:
    """A post-processor with its token ids changed: template `ids`, and BERT's `sep` and `cls` pairs."""
    if isinstance(value, list):
        return [_map_ids(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    mapped = {}
    for key, item in value.items():
        if key == "ids":
            mapped[key] = [change(id_) for id_ in item]
        elif key in ("sep", "cls") and isinstance(item, list):
            mapped[key] = [item[0], change(item[1])]
        else:
            mapped[key] = _map_ids(item, change)
    return mapped
