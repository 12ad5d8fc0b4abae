"""Text to token ids on the measuring side: the `tokenizers` library on tokenizer.json, no transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from common.errors import UserError
from export.manifest import PROMPT_MASK, TOKENIZER_NAME, Manifest

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenBatch:
    """`input_ids` and `attention_mask`, both int64 [batch, sequence]."""

    input_ids: Int64
    attention_mask: Int64


class TextTokenizer:
    """Tokenises prompt + text exactly as the checkpoint's own tokenizer does."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Load tokenizer.json of an artifact folder."""
        self._spec = manifest.tokenizer
        self._include_prompt = manifest.include_prompt
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens)
        added = self._tokenizer.get_added_tokens_decoder()
        self._special_ids = {id_ for id_, token in added.items() if token.special}

    def ids(self, text: str, prompt: str = "") -> list[int]:
        """Token ids of one text behind its prompt, special tokens included, cut to the model's limit.

        Raises UserError for a text that yields no token.
        """
        whole = prompt + text
        encoded = self._tokenizer.encode(whole.lower() if self._spec.lower_case else whole)
        ids: list[int] = encoded.ids
        if not ids:
            raise UserError("an empty text gives no token with this tokenizer; add a prompt or drop it")
        return ids

    def prompt_tokens(self, prompt: str) -> int:
        """How many leading tokens of a text belong to `prompt` (0 when prompts are pooled like text)."""
        if self._include_prompt or not prompt:
            return 0
        ids = self.ids("", prompt)
        return len(ids) - (ids[-1] in self._special_ids)

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
