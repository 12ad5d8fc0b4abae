"""A Sentence Transformers model taken apart: backbone, pooling, Dense layers, prompts, tokenizer.

Any model of the shape Transformer + Pooling (mean, cls or lasttoken) + Dense... + optional Normalize goes
through; what does not fit is refused with the module's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from export.head import DenseLayer
from export.manifest import VocabularyTrim
from train.checkpoint import (
    effective_window,
    load_sentence_transformer,
    read_checkpoint_info,
    resolve_model,
)

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

POOLINGS = ("mean", "cls", "lasttoken")


@dataclass(frozen=True)
class Source:
    """An opened checkpoint. `backbone` maps ids and mask to float32 token vectors [batch, seq, hidden].

    known: what was computed with this very model already, for the next runtime that it is exported to.
    """

    name: str
    folder: Path
    revision: str | None
    model: SentenceTransformer
    backbone: torch.nn.Module
    pooling: str
    include_prompt: bool
    layers: list[DenseLayer]
    hidden_dim: int
    max_tokens: int
    vocabulary: VocabularyTrim | None = None
    known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def full_dim(self) -> int:
        """Width of the untruncated embedding."""
        return len(self.layers[-1].weight) if self.layers else self.hidden_dim

    @property
    def table_rows(self) -> int:
        """Rows of the embedding table; a token id at or above it has no vector."""
        table: Any = self.model[0].model.get_input_embeddings()
        return int(table.weight.shape[0])

    @property
    def pad_id(self) -> int:
        """Token id of padding; 0 for a tokenizer that names none."""
        return self.tokenizer.pad_token_id or 0

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer."""
        return self.model.tokenizer


def open_source(name: str) -> Source:
    """Load a model by hub id or folder and check that its modules can be exported.

    Raises UserError for an unknown model, pickled weights or an unsupported module.
    """
    folder, revision = resolve_model(name)
    model = load_sentence_transformer(folder, device="cpu")
    _check_window(folder, model)
    if not getattr(model.tokenizer, "is_fast", False):
        raise UserError(f"{folder}: its tokenizer has no tokenizer.json form, which phones and bench need")
    transformer, pooling, layers = split_modules(model)
    return Source(
        name=name,
        folder=folder,
        revision=revision,
        model=model,
        backbone=transformer.model,
        pooling=pooling.pooling_mode,
        include_prompt=pooling.include_prompt,
        layers=layers,
        hidden_dim=pooling.embedding_dimension,
        max_tokens=_max_tokens(model),
    )


def _check_window(folder: Path, model: SentenceTransformer) -> None:
    """A tuned checkpoint must still have the window it was saved with; transformers 4.x halves it."""
    info = read_checkpoint_info(folder)
    window = effective_window(model)
    if info is not None and info.sliding_window != window:
        raise UserError(
            f"{folder}: its sliding window is {window} here but was {info.sliding_window} when it was tuned"
        )


def split_modules(model: SentenceTransformer) -> tuple[Any, Any, list[DenseLayer]]:
    """(Transformer, Pooling, Dense layers) of a model. Raises UserError naming a module that does not fit."""
    modules = list(model)
    kinds = [type(module).__name__ for module in modules]
    body = kinds[2:-1] if kinds[-1:] == ["Normalize"] else kinds[2:]
    if kinds[:2] != ["Transformer", "Pooling"] or any(kind != "Dense" for kind in body):
        raise UserError(
            f"modules {' + '.join(kinds)}: only Transformer + Pooling + Dense... + optional Normalize "
            "can be exported"
        )
    pooling = modules[1]
    if pooling.pooling_mode not in POOLINGS:
        raise UserError(f"pooling '{pooling.pooling_mode}': only {', '.join(POOLINGS)} can be exported")
    return modules[0], pooling, [_dense(module) for module in modules[2 : 2 + len(body)]]


def _dense(module: Any) -> DenseLayer:
    if getattr(module, "use_residual", False):
        raise UserError("a Dense module with a residual connection cannot be exported")
    activation = module.activation_function
    name = type(activation).__name__.lower()
    if name == "gelu" and activation.approximate != "none":
        raise UserError("a Dense module with approximate GELU cannot be exported")
    bias = module.linear.bias
    return DenseLayer(
        weight=_numpy(module.linear.weight),
        bias=None if bias is None else _numpy(bias),
        activation=name,
    )


def _numpy(tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return tensor.detach().cpu().float().numpy()  # type: ignore[no-any-return]


def _max_tokens(model: SentenceTransformer) -> int:
    positions = getattr(model[0].model.config, "max_position_embeddings", None)
    limits = [limit for limit in (model.max_seq_length, positions) if limit]
    if not limits:
        raise UserError("the model states no token limit (max_seq_length or max_position_embeddings)")
    return int(min(limits))
