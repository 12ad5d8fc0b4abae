"""The student: Gemma's encoder, mean pooling, two Dense layers, and two probes into the teacher's space.

The token table starts from the teacher's vectors of single pieces, which is knowledge of words that few
steps cannot teach, and is fitted with the head alone first: a good bag of words. The layers come in as a
whisper and are made louder step by step, to a size that training may not take back: in the end three
quarters of the stream are what layers added, and they have to be right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from transformers import AutoConfig, AutoModel

from common.files import read_json
from tools.starter.words import NONE

Float32 = npt.NDArray[np.float32]

RARE = 1e-3
"""Pieces of this frequency start with half of a rare piece's weight."""
LEAST_WEIGHT = 0.03
WORD_SIZE = 5.3
"""Mean norm of all-MiniLM-L6-v2's states."""
NORM_SUFFIX = "norm"


@dataclass(frozen=True)
class Beginning:
    """What the weights start from.

    pieces: the teacher's vectors of the tokenizer's pieces, float32 [rows, width]; frequencies: their share
    of the training texts' tokens, float32 [rows]; sentences: some of the teacher's sentence vectors, float32
    [n, width], whose principal components the table keeps.
    """

    pieces: Float32
    frequencies: Float32
    sentences: Float32


class Student(nn.Module):
    """Token ids and their mask [batch, tokens] to sentence vectors, not normalised, and states of tokens."""

    def __init__(self, donor: Path, teacher_width: int) -> None:
        """Random weights in the shape of the checkpoint folder `donor`."""
        super().__init__()
        config = AutoConfig.from_pretrained(donor)
        config.use_cache = False
        self.encoder: Any = AutoModel.from_config(config, attn_implementation="eager", dtype=torch.float32)
        widths = [read_json(donor / place / "config.json") for place in ("2_Dense", "3_Dense")]
        self.first, self.second = (
            nn.Linear(one["in_features"], one["out_features"], bias=False) for one in widths
        )
        self.probe = nn.Linear(widths[1]["out_features"], teacher_width, bias=False)
        self.word_probe = nn.Linear(config.hidden_size, teacher_width)
        self.wordy = False
        """Whether the layers are left out, which leaves a bag of words."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Float32 [batch, full], and the states [batch, tokens, hidden] that these are the means of."""
        if self.wordy:
            states = self.encoder.norm(self.encoder.embed_tokens(ids))
        else:
            states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        kept = mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * kept).sum(1) / kept.sum(1)
        vectors: torch.Tensor = self.second(self.first(pooled))
        return vectors.float(), states

    def read_words(
        self, states: Sequence[torch.Tensor], words: Sequence[torch.Tensor], count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The word probe's reading of each word's mean state, float32 [count, teacher's], and what was seen.

        states: [batch, tokens, hidden] of several batches; words: the word of each token, below `count`, or
        NONE.
        """
        flat = torch.cat([one.flatten(0, 1) for one in states])
        owners = torch.cat([one.flatten() for one in words])
        flat, owners = flat[owners != NONE].float(), owners[owners != NONE]
        sums = flat.new_zeros(count, flat.shape[1]).index_add(0, owners, flat)
        tokens = torch.bincount(owners, minlength=count)
        means = sums / tokens.clamp(min=1).unsqueeze(1)
        return self.word_probe(means).float(), tokens > 0


def fuse_norms(student: Student) -> None:
    """Have one compiled kernel do the encoder's norms, which saves a quarter of a step's time on CPUs.

    transformers' own takes a pass over memory for each of its seven operations. Needs a C++ compiler.
    """
    compiled = torch.compile(_rms_norm, dynamic=True)
    for name, module in student.encoder.named_modules():
        if name.endswith(NORM_SUFFIX):
            module.forward = functools.partial(_fused, compiled, module)


def _fused(compiled: Callable[..., torch.Tensor], module: Any, states: torch.Tensor) -> torch.Tensor:
    return compiled(states, module.weight, module.eps)


def _rms_norm(states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Gemma's norm, whose weight is what its factor is above 1."""
    wide = states.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return (scaled * (1.0 + weight.float())).type_as(states)


class Skip(nn.Module):
    """A layer that passes its input on."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The states as they came."""
        return hidden_states


@contextmanager
def skipped(layers: nn.ModuleList, index: int) -> Iterator[None]:
    """One layer replaced by identity inside the `with`."""
    before = layers[index]
    layers[index] = Skip()
    try:
        yield
    finally:
        layers[index] = before


@torch.no_grad()
def hold_branches(student: Student, scale: float) -> None:
    """Give every residual branch this root mean square; a token's vector has 1 where it enters.

    How a branch's size is shared among its channels is left as it is.
    """
    for layer in student.encoder.layers:
        for norm in (layer.post_attention_layernorm, layer.post_feedforward_layernorm):
            factor = norm.weight + 1  # what transformers multiplies with
            norm.weight.copy_(factor * (scale / factor.square().mean().sqrt()) - 1)


@torch.no_grad()
def begin(student: Student, beginning: Beginning, seed: int) -> None:
    """Set the weights that training starts from, in place."""
    generator = torch.Generator().manual_seed(seed)
    hidden = student.encoder.config.hidden_size
    basis = _principal(beginning.sentences, hidden - 1)
    table = _table(beginning, basis)
    table[student.encoder.config.pad_token_id] = 0
    student.encoder.embed_tokens.weight.copy_(table)
    for layer in student.encoder.layers:
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
    _begin_head(student, basis, generator)


def _principal(vectors: Float32, count: int) -> torch.Tensor:
    """The first principal directions of row vectors: float32 [width, min(count, width)]."""
    centred = torch.from_numpy(vectors - vectors.mean(axis=0))
    directions: torch.Tensor = torch.linalg.eigh(centred.T @ centred).eigenvectors
    return directions.flip(1)[:, :count]


def _table(beginning: Beginning, basis: torch.Tensor) -> torch.Tensor:
    """Rows of norm 1: the piece's direction, shorter the more frequent it is, and one filler component.

    The last norm of the encoder would undo a row's length; the filler is what keeps frequent pieces small.
    """
    pieces, share = torch.from_numpy(beginning.pieces), torch.from_numpy(beginning.frequencies)
    centred = F.normalize(pieces - share @ pieces, dim=1)
    weight = (RARE / (RARE + share)).clamp(min=LEAST_WEIGHT)
    meaning = F.normalize(centred @ basis, dim=1) * weight[:, None]
    filler = (1 - meaning.square().sum(1, keepdim=True)).clamp(min=1e-4).sqrt()
    return torch.cat([meaning, filler], dim=1)


def _begin_head(student: Student, basis: torch.Tensor, generator: torch.Generator) -> None:
    """An isometry that drops the filler, each further output a small mix; the probe reads it back."""
    middle, hidden = student.first.weight.shape
    full, kept = student.second.out_features, basis.shape[1]
    turn = torch.linalg.qr(torch.randn(middle, hidden, generator=generator)).Q
    spread = torch.zeros(full, hidden)
    spread[:kept, :kept] = torch.eye(kept)[:full]
    spread[kept:, :kept] = 0.25 * kept**-0.5 * torch.randn(full - kept, kept, generator=generator)
    student.first.weight.copy_(turn)
    student.second.weight.copy_(spread @ turn.T)
    student.probe.weight.zero_()
    student.probe.weight[:, :kept] = basis
    student.word_probe.weight.zero_()
    student.word_probe.weight[:, :kept] = basis * WORD_SIZE / hidden**0.5
    student.word_probe.bias.zero_()
