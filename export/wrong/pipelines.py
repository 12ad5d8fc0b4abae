"""The fault dictionary of a model: deliberately wrong pipelines, run where torch and the right one are.

Two short probes go through every wrong pipeline, one text beyond the sliding window through the wrong windows
alone. Wrong are, in turn, the ids, the encoder (export.wrong.gemma), the pooling and the head.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from common.prompts import default_document_prompt, default_query_prompt
from export.gemma import is_supported
from export.head import truncate_normalise
from export.source import Source
from export.wrong.gemma import Masks, alterations, causal_masks, wrong_windows
from export.wrong.heads import POOLINGS, wrong_heads, wrong_poolings
from export.wrong.inputs import right_ids, wrong_inputs
from export.wrong.table import DOCUMENT, QUERY, FaultTable, Probe, Wrong

Float32 = npt.NDArray[np.float32]

SHORT_TEXTS = {
    QUERY: "Which planet is known as the Red Planet?",
    DOCUMENT: "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
}
LONG_WORDS = tuple(
    "The tide book gives height and board gives truth while every reeve decides at dawn".split()  # noqa: SIM905
)
BEYOND_WINDOW = 3
"""Tokens of the long probe as a multiple of the window, so that one of twice the width is told from none."""
NOTHING = 1e-6
"""A wrong pipeline that moves no vector by more than this is no fault of the model at hand."""


@dataclass(frozen=True)
class _Text:
    """A tokenised probe; prompt_tokens are its prompt's, unpooled those of them that are not pooled."""

    role: str
    prompt: str
    text: str
    ids: list[int]
    prompt_tokens: int
    unpooled: int


@dataclass(frozen=True)
class _Found:
    """What a wrong pipeline makes of a probe (by place): the vector, and the ids where those are wrong."""

    name: str
    place: int
    vector: Float32
    ids: list[int] | None = None


@dataclass(frozen=True)
class FaultMaker:
    """A model's probes rightly and wrongly embedded, to be cut to any dimension.

    texts: the short ones, and the long one where there is one; pooled and right: float32 [texts, hidden] and
    [texts, full]. needed: tokens from which on a limit cuts none of them.
    """

    source: Source
    texts: list[_Text]
    pooled: Float32
    right: Float32
    wrong: list[_Found]
    needed: int

    def table(self, dim: int) -> FaultTable:
        """What goes into faults.json of an artifact of `dim` dimensions."""
        right = truncate_normalise(self.right, dim)
        wrong: dict[str, list[Wrong]] = {}
        for one in self._at(dim):
            difference = one.vector - right[one.place]
            if np.linalg.norm(difference) > NOTHING:
                wrong.setdefault(one.name, []).append(Wrong(one.place, difference, one.ids))
        probes = [
            Probe(text.role, text.prompt, text.text, text.ids, vector)
            for text, vector in zip(self.texts, right, strict=True)
        ]
        cut = np.linalg.norm(truncate_normalise(self.right, self.right.shape[1])[:, :dim], axis=1)
        rows = self.source.table_rows
        return FaultTable(dim, probes, wrong, [float(norm) for norm in cut], rows)

    def _at(self, dim: int) -> Iterator[_Found]:
        """Everything wrong, as unit vectors of `dim` numbers."""
        short = len(SHORT_TEXTS)
        for one in self.wrong:
            yield _Found(one.name, one.place, truncate_normalise(one.vector[None], dim)[0], one.ids)
        for name, vectors in wrong_heads(self.source.layers, self.pooled[:short], self.right[:short], dim):
            yield from (_Found(name, place, vector) for place, vector in enumerate(vectors))


def make_faults(source: Source, max_tokens: int) -> FaultMaker:
    """Embed the probes rightly and wrongly, each of at most `max_tokens`; the model is as before after it.

    At EmbeddingGemma's full size it takes some twenty seconds on two cores and no memory to speak of.
    """
    import torch

    limit, source.model.max_seq_length = source.model.max_seq_length, max_tokens
    try:
        with torch.no_grad():
            return _Run(source, max_tokens).maker()
    finally:
        source.model.max_seq_length = limit


class _Run:
    """The work of `make_faults`: one model, its probes, one forward pass after the other."""

    def __init__(self, source: Source, max_tokens: int) -> None:
        self.source = source
        self.backbone: Any = source.backbone
        self.is_gemma = is_supported(source.backbone)
        config: Any = self.backbone.config
        self.window: int | None = config.sliding_window if self.is_gemma else None
        self.max_tokens = max_tokens
        self.longest = int(BEYOND_WINDOW * (self.window or 0))
        self.short = [self._text(role, text) for role, text in SHORT_TEXTS.items()]
        self.long = self._long_text()

    def maker(self) -> FaultMaker:
        """Everything, in the order of the probes' places."""
        texts = [*self.short, *self.long]
        pooled = np.stack([self._pooled(text) for text in texts])
        wrong = [*self._wrong_ids(), *self._wrong_poolings(), *self._wrong_encoders(), *self._wrong_windows()]
        right = np.stack([self._head(vector) for vector in pooled])
        longest = max(self.longest, *(len(text.ids) for text in texts))
        return FaultMaker(self.source, texts, pooled, right, wrong, longest + 1)

    def _prompt(self, role: str) -> str:
        prompts = self.source.model.prompts
        return default_query_prompt(prompts) if role == QUERY else default_document_prompt(prompts)

    def _text(self, role: str, text: str) -> _Text:
        prompt = self._prompt(role)
        special = set(self.source.tokenizer.all_special_ids)
        alone = right_ids(self.source, prompt) if prompt else []
        tokens = len(alone) - (bool(alone) and alone[-1] in special)
        unpooled = 0 if self.source.include_prompt else tokens
        return _Text(role, prompt, text, right_ids(self.source, prompt + text), tokens, unpooled)

    def _long_text(self) -> list[_Text]:
        """A text beyond the window that does not repeat itself; none where that has no effect."""
        if self.window is None:
            return []
        wanted = min(self.max_tokens, int(BEYOND_WINDOW * self.window))
        words: list[str] = []
        while len((text := self._text(DOCUMENT, " ".join(words))).ids) < wanted:
            words.append(LONG_WORDS[(len(words) * 5 + len(words) // 7) % len(LONG_WORDS)])
        return [text] if wanted > self.window else []

    def _wrong_ids(self) -> Iterator[_Found]:
        for place, text in enumerate(self.short):
            prompts = (text.prompt, self.short[1 - place].prompt)
            for name, ids in wrong_inputs(self.source, prompts, text.text):
                self.longest = max(self.longest, len(ids))
                if len(ids) <= self.max_tokens:
                    yield _Found(name, place, self._head(self._pool(self._states(ids), text.unpooled)), ids)

    def _wrong_poolings(self) -> Iterator[_Found]:
        for place, text in enumerate(self.short):
            states = self._states(text.ids)
            mode = self.source.pooling
            for name, pooled in wrong_poolings(states, mode, text.prompt_tokens, text.unpooled):
                yield _Found(name, place, self._head(pooled))

    def _wrong_encoders(self) -> Iterator[_Found]:
        if not self.is_gemma:
            yield from self._other_encoders()
            return
        contexts = alterations(self.backbone.config.layer_types)
        for name, alter in contexts.items():
            yield from self._altered(name, alter(self.backbone))
        for name, masks in causal_masks(self.window).items():
            yield from self._altered(name, nullcontext(), masks)

    def _altered(
        self, name: str, context: AbstractContextManager[None], masks: Masks | None = None
    ) -> Iterator[_Found]:
        with context:
            vectors = [self._head(self._pooled(text, masks)) for text in self.short]
        yield from (_Found(name, place, vector) for place, vector in enumerate(vectors))

    def _other_encoders(self) -> Iterator[_Found]:
        """What may be wrong with an encoder of which only the interface is known."""
        known = inspect.signature(self.backbone.forward).parameters
        for place, text in enumerate(self.short):
            inputs = self._inputs(text.ids)
            if "position_ids" in known and len(text.ids) < self.max_tokens:
                moved = (inputs["attention_mask"].cumsum(1)).long()
                yield from self._other("positions-off-by-one", place, {**inputs, "position_ids": moved})
            if "token_type_ids" in known and getattr(self.backbone.config, "type_vocab_size", 0) > 1:
                kinds = {**inputs, "token_type_ids": inputs["attention_mask"]}
                yield from self._other("token-types-wrong", place, kinds)
            states = self.backbone(**inputs, output_hidden_states=True).hidden_states
            if states is not None and len(states) > 1:
                pooled = self._pool(states[-2][0].numpy(), text.unpooled)
                yield _Found("layer-missing/the last", place, self._head(pooled))

    def _other(self, name: str, place: int, inputs: dict[str, Any]) -> Iterator[_Found]:
        states = self.backbone(**inputs).last_hidden_state[0].numpy()
        yield _Found(name, place, self._head(self._pool(states, self.short[place].unpooled)))

    def _wrong_windows(self) -> Iterator[_Found]:
        for place, text in enumerate(self.long, len(self.short)):
            for name, masks in wrong_windows(self.window or 0).items():
                yield _Found(name, place, self._head(self._pooled(text, masks)))

    def _pooled(self, text: _Text, masks: Masks | None = None) -> Float32:
        return self._pool(self._states(text.ids, masks), text.unpooled)

    def _states(self, ids: list[int], masks: Masks | None = None) -> Float32:
        """Token vectors float32 [tokens, hidden]."""
        inputs = self._inputs(ids)
        if masks:
            inputs["attention_mask"] = masks.tensors(len(ids))
        states: Float32 = self.backbone(**inputs).last_hidden_state[0].numpy()
        return states

    def _inputs(self, ids: list[int]) -> dict[str, Any]:
        import torch

        row = torch.tensor([ids])
        return {"input_ids": row, "attention_mask": torch.ones_like(row)}

    def _pool(self, states: Float32, unpooled: int) -> Float32:
        return POOLINGS[self.source.pooling](states[unpooled:] if len(states) > unpooled else states)

    def _head(self, pooled: Float32) -> Float32:
        """The model's own Dense layers and normalisation."""
        import torch

        features = {"sentence_embedding": torch.from_numpy(np.asarray(pooled))[None]}
        for module in list(self.source.model)[2:]:
            features = module(features)
        vector: Float32 = features["sentence_embedding"][0].numpy()
        return vector
