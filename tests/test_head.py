"""export/head.py: the folded head computes what the layers did, in the first `dim` outputs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from common.errors import UserError
from export.head import ACTIVATIONS, DenseLayer, fold_head, truncate_normalise

Float64 = npt.NDArray[np.float64]


def activate(name: str, x: Float64) -> Float64:
    results: dict[str, Float64] = {
        "identity": x,
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "gelu": x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        "sigmoid": 1 / (1 + np.exp(-x)),
    }
    return results[name]


def apply(layers: list[DenseLayer], x: Float64) -> Float64:
    for layer in layers:
        x = x @ layer.weight.astype(np.float64).T
        if layer.bias is not None:
            x = x + layer.bias.astype(np.float64)
        x = activate(layer.activation, x)
    return x


def random_layer(seed: int, wide: int, narrow: int, bias: bool, activation: str = "identity") -> DenseLayer:
    random = np.random.default_rng(seed)
    weight = (random.standard_normal((wide, narrow)) / math.sqrt(narrow)).astype(np.float32)
    offset = random.standard_normal(wide).astype(np.float32)
    return DenseLayer(weight, offset if bias else None, activation)


def random_head(activations: tuple[str, ...], biases: tuple[bool, ...]) -> list[DenseLayer]:
    widths = (24, 96, 48, 32)
    return [
        random_layer(n, widths[n + 1], widths[n], bias, activation)
        for n, (activation, bias) in enumerate(zip(activations, biases, strict=True))
    ]


HEADS = [
    (("identity",), 1),
    (("tanh",), 1),
    (("identity", "identity"), 1),
    (("identity", "tanh"), 1),
    (("tanh", "identity"), 2),
    (("gelu", "relu"), 2),
    (("identity", "identity", "identity"), 1),
    (("identity", "sigmoid", "identity"), 2),
    (("relu", "identity", "identity"), 2),
    (("identity", "identity", "gelu"), 1),
]


@pytest.mark.parametrize(("activations", "count"), HEADS)
@pytest.mark.parametrize("first_bias", [False, True])
@pytest.mark.parametrize("last_bias", [False, True])
@pytest.mark.parametrize("dim", [1, 16, 32])
def test_the_folded_head_gives_the_first_outputs_of_the_unfolded_one(
    activations: tuple[str, ...], count: int, first_bias: bool, last_bias: bool, dim: int
) -> None:
    biases = (first_bias, *[last_bias] * (len(activations) - 1))
    layers = random_head(activations, biases)
    folded = fold_head(layers, dim)
    x = np.random.default_rng(9).standard_normal((20, 24))
    np.testing.assert_allclose(apply(folded, x), apply(layers, x)[:, :dim], rtol=0, atol=3e-6)
    assert len(folded) == count


def test_no_bias_is_made_up_where_no_layer_had_one() -> None:
    (folded,) = fold_head(random_head(("identity", "identity"), (False, False)), 8)
    assert folded.bias is None
    assert folded.weight.shape == (8, 24)
    assert folded.weight.dtype == np.float32


@pytest.mark.parametrize("count", [2, 3])
def test_a_folded_weight_is_the_float64_product_rounded_once(count: int) -> None:
    layers = random_head(("identity",) * count, (False,) * count)
    exact = layers[0].weight.astype(np.float64)
    for layer in layers[1:]:
        exact = layer.weight.astype(np.float64) @ exact
    (folded,) = fold_head(layers, len(exact))
    half_a_step = np.spacing(np.abs(folded.weight)).astype(np.float64) / 2
    assert (np.abs(folded.weight - exact) <= half_a_step * (1 + 1e-6)).all()


def test_folding_leaves_the_given_layers_alone() -> None:
    layers = random_head(("identity", "tanh"), (True, True))
    before = [layer.weight.copy() for layer in layers]
    fold_head(layers, 4)
    assert all(np.array_equal(layer.weight, kept) for layer, kept in zip(layers, before, strict=True))


def test_a_model_without_dense_layers_has_an_empty_head() -> None:
    assert fold_head([], 4) == []


@pytest.mark.parametrize("dim", [49, 0, -1])
def test_a_dimension_the_head_does_not_give_is_refused_with_the_range(dim: int) -> None:
    with pytest.raises(UserError, match=f"dimension {dim}: the model gives 48; choose 1 to 48"):
        fold_head(random_head(("identity", "identity"), (True, True)), dim)


def test_an_unknown_activation_is_refused_with_those_known() -> None:
    with pytest.raises(UserError, match=f"'softmax' cannot be exported; known: {', '.join(ACTIVATIONS)}"):
        DenseLayer(np.ones((2, 2), dtype=np.float32), None, "softmax")


def test_truncated_vectors_are_the_first_entries_at_unit_length() -> None:
    vectors = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    cut = truncate_normalise(vectors, 8)
    assert (cut.shape, cut.dtype) == ((5, 8), np.dtype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)
    ratios = cut / vectors[:, :8]
    np.testing.assert_allclose(ratios, np.repeat(ratios[:, :1], 8, axis=1), rtol=1e-5)


def test_a_vector_of_zeros_stays_zero() -> None:
    assert not truncate_normalise(np.zeros((1, 4), dtype=np.float32), 2).any()


def test_stored_vectors_are_not_stretched_to_a_larger_dimension() -> None:
    with pytest.raises(UserError, match="dimension 33: the model gives 32"):
        truncate_normalise(np.ones((1, 32), dtype=np.float32), 33)
