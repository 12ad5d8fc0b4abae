"""The facts that a lint holds an artifact against, taken from torch and never from a graph's builder.

Sketches: of every matrix of the encoder under torch's own name, of the norms of a Gemma encoder, and of the
head as the product of its Dense layers (here one after the other in float32; export.head folds on its own).
The encoder's constants come from its configuration.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from export.gemma import array, is_supported
from export.head import DenseLayer
from export.lint.sketch import Sketch, sketch_of
from export.lint.sketch_file import GGUF_HEAD, NORM, SKETCH_SCHEMA, SWAPPED_HEAD, Sketches
from export.manifest import EncoderRecord
from export.source import Source

Float32 = npt.NDArray[np.float32]


def encoder_record(source: Source) -> EncoderRecord | None:
    """The constants of a Gemma encoder; None for another one, whose graph is traced and not read back."""
    if not is_supported(source.backbone):
        return None
    config: Any = source.backbone.config
    return EncoderRecord(
        layers=[kind.removesuffix("_attention") for kind in config.layer_types],
        sliding_window=config.sliding_window - 1,  # transformers: distance < sliding_window
        rope_bases={
            kind.removesuffix("_attention"): float(one["rope_theta"])
            for kind, one in config.rope_parameters.items()
        },
        embedding_scale=math.sqrt(config.hidden_size),
        query_scale=config.query_pre_attn_scalar**-0.5,
        norm_epsilon=config.rms_norm_eps,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
    )


class ModelSketches:
    """The sketches of one model, its encoder's taken once for all dimensions."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._is_gemma = is_supported(source.backbone)
        self._encoder = {name: sketch_of(value) for name, value in self._parameters()}

    def of(self, runtime: str, dim: int) -> Sketches:
        """The sketches of the profile of a dimension."""
        weights, head = dict(self._encoder), _products(self._source.layers, dim)
        if runtime == "gguf" and (head or dim != self._source.hidden_dim):
            matrix = head[0] if head else np.eye(dim, self._source.hidden_dim, dtype=np.float32)
            norm: Any = self._source.backbone.norm
            del weights[NORM]
            weights[GGUF_HEAD] = sketch_of(matrix * (1 + array(norm.weight)))
        else:
            weights |= {f"head.{index}.weight": sketch_of(matrix) for index, matrix in enumerate(head)}
        return Sketches(SKETCH_SCHEMA, self._is_gemma, weights, self._decoys(dim))

    def _parameters(self) -> Iterator[tuple[str, Float32]]:
        for name, parameter in self._source.backbone.named_parameters():
            if parameter.ndim == 2:
                yield name, array(parameter)
            elif self._is_gemma and name.endswith("norm.weight"):
                yield name, 1 + array(parameter)

    def _decoys(self, dim: int) -> dict[str, Sketch]:
        """The head as it would be with its Dense layers in the wrong order, if their widths allow it."""
        layers = self._source.layers[::-1]
        widths = [layer.weight.shape for layer in layers]
        fits = all(one[0] == two[1] for one, two in itertools.pairwise(widths))
        fits = fits and all(layer.activation == "identity" for layer in layers)
        if len(layers) < 2 or not fits or widths[0][1] != self._source.hidden_dim:
            return {}
        return {SWAPPED_HEAD: sketch_of(_products(layers, dim)[0])}


def _products(layers: list[DenseLayer], dim: int) -> list[Float32]:
    """The matrices between activations, the last one cut to `dim` rows."""
    runs: list[list[Float32]] = [[]]
    for layer in layers:
        runs[-1].append(layer.weight.astype(np.float32))
        if layer.activation != "identity" and layer is not layers[-1]:
            runs.append([])
    products = [functools.reduce(lambda inner, outer: outer @ inner, run) for run in runs if run]
    return [*products[:-1], *(matrix[:dim] for matrix in products[-1:])]
