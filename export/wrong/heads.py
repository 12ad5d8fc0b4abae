"""Pooling and head gone wrong on purpose: other poolings, Dense layers left out or turned, wrong slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from export.head import DenseLayer, fold_head, truncate_normalise

Float32 = npt.NDArray[np.float32]

POOLINGS: dict[str, Callable[[Float32], Float32]] = {
    "mean": lambda states: states.mean(axis=0),
    "cls": lambda states: states[0],
    "lasttoken": lambda states: states[-1],
    "max": lambda states: states.max(axis=0),
}
"""float32 [tokens, hidden] to [hidden], by Sentence Transformers' names; prompt tokens are cut off before."""
NAMES = {
    "mean": "mean-pooling",
    "cls": "cls-pooling",
    "lasttoken": "last-token-pooling",
    "max": "max-pooling",
}


def wrong_poolings(
    states: Float32, mode: str, prompt_tokens: int, unpooled: int
) -> Iterator[tuple[str, Float32]]:
    """Wrong pooled vectors by name of the fault, from the token vectors [tokens, hidden] of one text.

    prompt_tokens: how many tokens the prompt has; unpooled: how many of them the model leaves out, which is
    all or none.
    """
    for name, pool in POOLINGS.items():
        if name != mode:
            yield NAMES[name], pool(states[unpooled:])
    if unpooled:
        yield "prompt-pooled", POOLINGS[mode](states)
    elif 0 < prompt_tokens < len(states):
        yield "prompt-not-pooled", POOLINGS[mode](states[prompt_tokens:])
    if mode == "mean" and len(states) > unpooled + 2:
        yield "special-tokens-not-pooled", states[max(unpooled, 1) : -1].mean(axis=0)


def wrong_heads(
    layers: Sequence[DenseLayer], pooled: Float32, right: Float32, dim: int
) -> Iterator[tuple[str, Float32]]:
    """Wrong unit vectors [n, dim] by name of the fault, for pooled vectors [n, hidden] and right [n, full].

    Only what the shapes allow, for the rest does not run; Dense layers with a bias or an activation are left
    out of where it would matter.
    """
    full = right.shape[1]
    if dim < full:
        yield "slice-wrong/the last numbers", truncate_normalise(right[:, full - dim :], dim)
        yield "slice-wrong/every n-th number", truncate_normalise(right[:, :: full // dim], dim)
    linear = all(layer.bias is None and layer.activation == "identity" for layer in layers)
    if not layers or not linear:
        return
    if pooled.shape[1] >= dim:
        yield "dense-missing/all", truncate_normalise(pooled, dim)
    weights = [layer.weight.astype(np.float32) for layer in layers]
    for left_out in range(len(weights) if len(weights) > 1 else 0):
        yield from _product(f"dense-missing/{left_out + 1}", pooled, _without(weights, left_out), dim)
    square = pooled.shape[1] == full == dim  # all layers turned are then the folded one turned
    if len(weights) > 1:
        yield from _product("dense-order-swapped", pooled, weights[::-1], dim)
    if len(weights) > 1 and not square:
        yield from _product("dense-order-swapped/transposed", pooled, [one.T for one in weights[::-1]], dim)
    for place in range(len(weights)):
        turned = [one.T if index == place else one for index, one in enumerate(weights)]
        yield from _product(f"dense-transposed/{place + 1}", pooled, turned, dim)
    folded = fold_head(list(layers), dim)[0].weight
    misread = folded.T.reshape(folded.shape)
    yield "head-transposed", truncate_normalise(pooled @ misread.T.astype(np.float32), dim)


def _without(weights: list[Float32], place: int) -> list[Float32]:
    return [one for index, one in enumerate(weights) if index != place]


def _product(name: str, pooled: Float32, weights: list[Float32], dim: int) -> Iterator[tuple[str, Float32]]:
    """The vectors behind these layers, where their shapes fit each other and give enough numbers."""
    widths = [pooled.shape[1], *(len(one) for one in weights)]
    if widths[-1] >= dim and all(one.shape[1] == width for one, width in zip(weights, widths, strict=False)):
        vectors = pooled
        for one in weights:
            vectors = vectors @ one.T
        yield name, truncate_normalise(vectors, dim)
