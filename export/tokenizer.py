"""Text to token ids on the measuring side, without transformers: tokenizer.bin where an artifact has it.

Otherwise tokenizer.json, which needs the `tokenizers` library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from export.bpe_tokenizer import BpeTokenizer, check_text
from export.manifest import PROMPT_MASK, TOKENIZER_BIN, TOKENIZER_NAME, Manifest

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenBatch:
    """`input_ids` and `attention_mask`, both int64 [batch, sequence]."""

    input_ids: Int64
    attention_mask: Int64


class Encoder(Protocol):
    """Either form of the tokenizer."""

    special_ids: frozenset[int]

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Token ids, special tokens included, at most `max_tokens`."""


class JsonTokenizer:
    """tokenizer.json in the `tokenizers` library, which it parses as a whole."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer  # here: an artifact with a tokenizer.bin needs none of it

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        added = self._tokenizer.get_added_tokens_decoder()
        self.special_ids = frozenset(id_ for id_, token in added.items() if token.special)

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """See Encoder. Raises UserError for half a surrogate pair."""
        check_text(text)
        self._tokenizer.enable_truncation(max_tokens)
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids


def open_encoder(folder: Path, manifest: Manifest) -> Encoder:
    """The compact form when the artifact has it, tokenizer.json otherwise."""
    if TOKENIZER_BIN in manifest.files:
        return BpeTokenizer(folder / TOKENIZER_BIN)
    return JsonTokenizer(folder / TOKENIZER_NAME)


class TextTokenizer:
    """Tokenises prompt + text exactly as the checkpoint's own tokenizer does."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Open the tokenizer of an artifact folder."""
        self._spec = manifest.tokenizer
        self._include_prompt = manifest.include_prompt
        self._max_tokens = manifest.max_tokens
        self._encoder = open_encoder(folder, manifest)

    def ids(self, text: str, prompt: str = "") -> list[int]:
        """Token ids of one text behind its prompt, special tokens included, cut to the model's limit.

        Raises UserError for a text that yields no token or that has no UTF-8 form.
        """
        whole = prompt + text
        ids = self._encoder.encode(whole.lower() if self._spec.lower_case else whole, self._max_tokens)
        if not ids:
            raise UserError("an empty text gives no token with this tokenizer; add a prompt or drop it")
        return ids

    def prompt_tokens(self, prompt: str) -> int:
        """How many leading tokens of a text belong to `prompt` (0 when prompts are pooled like text)."""
        if self._include_prompt or not prompt:
            return 0
        ids = self.ids("", prompt)
        return len(ids) - (ids[-1] in self._encoder.special_ids)

    def batch(self, rows: list[list[int]], prompt_tokens: int = 0) -> TokenBatch:
        """Pad rows of ids to the longest, on the tokenizer's side, and mark padding and prompt."""
        length = max(map(len, rows))
        input_ids = np.full((len(rows), length), self._spec.pad_id, dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for index, row in enumerate(rows):
            start = length - len(row) if self._spec.padding_side == "left" else 0
            input_ids[index, start : start + len(row)] = row
            mask[index, start : start + len(row)] = 1
            mask[index, start : start + prompt_tokens] *= PROMPT_MASK
        return TokenBatch(input_ids, mask)
