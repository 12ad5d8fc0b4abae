"""The head: Dense layers, truncation and normalisation. The only module that knows how they combine.

Neighbouring Dense layers without an activation are one linear map, so Dense . Dense . slice folds exactly
into the single matrix that a dimension needs; for EmbeddingGemma's 768 -> 3072 -> 768 at 128 dimensions
that is 0.1M weights in place of 4.7M. A Dense with an activation stays a layer of its own. Sentence
Transformers truncates after its Normalize and does not renormalise; the reference for a d-dimensional
profile is therefore ``encode(..., truncate_dim=d, normalize_embeddings=True)``, and that is what the
exported head computes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.dims import check_dim
from common.errors import UserError

Float32 = npt.NDArray[np.float32]
Float = npt.NDArray[np.float32] | npt.NDArray[np.float64]

ACTIVATIONS = ("identity", "tanh", "relu", "gelu", "sigmoid")
NORM_FLOOR = 1e-12
"""Smallest norm divided by, as in torch.nn.functional.normalize."""


@dataclass(frozen=True)
class DenseLayer:
    """y = activation(weight @ x + bias); weight float32 [out, in], bias float32 [out] or None."""

    weight: Float
    bias: Float | None = None
    activation: str = "identity"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(f"Dense activation '{self.activation}' cannot be exported; known: {known}")


def fold_head(layers: list[DenseLayer], dim: int) -> list[DenseLayer]:
    """The fewest layers that give the first `dim` outputs of `layers`.

    Products are formed in float64 and rounded once. Raises UserError when `dim` exceeds the last
    layer's width.
    """
    folded: list[DenseLayer] = []
    for layer in layers:
        if folded and folded[-1].activation == "identity":
            folded.append(_compose(folded.pop(), layer))
        else:
            folded.append(layer)
    if folded:
        folded.append(_truncate(folded.pop(), dim))
    return [_rounded(layer) for layer in folded]


def _compose(first: DenseLayer, second: DenseLayer) -> DenseLayer:
    """The float64 product, held as such until the last one is rounded."""
    outer = second.weight.astype(np.float64)
    weight = outer @ first.weight.astype(np.float64)
    bias = None if second.bias is None else second.bias.astype(np.float64)
    if first.bias is not None:
        bias = outer @ first.bias.astype(np.float64) + (0 if bias is None else bias)
    return DenseLayer(weight, bias, second.activation)


def _rounded(layer: DenseLayer) -> DenseLayer:
    bias = None if layer.bias is None else layer.bias.astype(np.float32)
    return DenseLayer(layer.weight.astype(np.float32), bias, layer.activation)


def _truncate(layer: DenseLayer, dim: int) -> DenseLayer:
    check_dim(dim, len(layer.weight))
    bias = None if layer.bias is None else layer.bias[:dim]
    return DenseLayer(layer.weight[:dim], bias, layer.activation)


def truncate_normalise(vectors: Float32, dim: int) -> Float32:
    """The same rule for stored full-length vectors: first `dim` entries of [n, full], unit norm."""
    check_dim(dim, vectors.shape[1])
    head = vectors[:, :dim].astype(np.float64)
    norms = np.maximum(np.linalg.norm(head, axis=1, keepdims=True), NORM_FLOOR)
    unit: Float32 = (head / norms).astype(np.float32)
    return unit
