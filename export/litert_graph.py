"""From token vectors to a LiteRT signature: mask, pooling, head, normalisation.

A signature takes one int32 tensor of token ids [1, length], padded on the right, and gives one unit vector.
There is no mask input: Google's public files and the apps that load them know none. Tokens are what lies
between the first and the last id that is not padding, so that a padding token spelt out inside a text still
counts, as it does in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.head import NORM_FLOOR, DenseLayer
from export.tflite_graph import TYPES, GraphBuilder

IDS = "token_ids"
PROMPT_TOKENS = "prompt_tokens"
"""Second input of a model that leaves its prompt out of pooling: int32 [1, 1], leading tokens to skip."""

ACTIVATIONS: dict[str, tuple[str, Any]] = {
    "tanh": ("TANH", None),
    "relu": ("RELU", None),
    "gelu": ("GELU", schema.GeluOptionsT(approximate=False)),
    "sigmoid": ("LOGISTIC", None),
}


def signature_name(length: int, dim: int | None = None) -> str:
    """Name of the signature for texts of up to `length` tokens, at a dimension besides the profile's own."""
    return f"seq{length}" if dim is None else f"seq{length}_dim{dim}"


@dataclass(frozen=True)
class Span:
    """Where the tokens are: float32 tensors of a graph.

    positions [1, seq] counts from 1; first and last [1, 1] are positions of tokens; valid [1, seq] is 1 for
    a token and 0 for padding.
    """

    positions: int
    first: int
    last: int
    valid: int


def token_span(graph: GraphBuilder, ids: int, pad_id: int) -> Span:
    """Find the tokens of int32 ids [1, seq]. Without any token nothing is valid."""
    seq = graph.shape(ids)[1]
    is_token = graph.op(
        "NOT_EQUAL", [ids, graph.constant(pad_id, "int32")], [1, seq], "bool", schema.NotEqualOptionsT()
    )
    cast = schema.CastOptionsT(inDataType=TYPES["bool"], outDataType=TYPES["float32"])
    token = graph.op("CAST", [is_token], [1, seq], "float32", cast)
    counted = np.arange(1, seq + 1, dtype=np.float32)[None]
    positions, reverse = graph.constant(counted), graph.constant(counted[:, ::-1])
    last = graph.reduce("REDUCE_MAX", graph.mul(token, positions), 1)
    from_end = graph.reduce("REDUCE_MAX", graph.mul(token, reverse), 1)
    first = graph.sub(graph.constant(float(seq + 1)), from_end)
    inside = graph.minimum(graph.sub(last, positions), graph.sub(positions, first))
    return Span(positions, first, last, _clamp(graph, graph.add(inside, graph.constant(1.0))))


def _clamp(graph: GraphBuilder, value: int) -> int:
    """Whole numbers to 0 or 1."""
    return graph.minimum(graph.unary("RELU", value), graph.constant(1.0))


def pool(graph: GraphBuilder, vectors: int, span: Span, mode: str, prompt_tokens: int | None) -> int:
    """Reduce token vectors [seq, hidden] to [1, hidden] as Sentence Transformers does.

    `prompt_tokens` is the int32 [1, 1] input of a model that leaves its prompt out of pooling, else None.
    """
    start = span.first
    if prompt_tokens is not None:
        cast = schema.CastOptionsT(inDataType=TYPES["int32"], outDataType=TYPES["float32"])
        start = graph.add(start, graph.op("CAST", [prompt_tokens], [1, 1], "float32", cast))
    if mode == "mean":
        weights = span.valid
        if prompt_tokens is not None:
            after = graph.add(graph.sub(span.positions, start), graph.constant(1.0))
            weights = graph.mul(weights, _clamp(graph, after))
        total = graph.maximum(graph.reduce("SUM", weights, 1), graph.constant(1.0))
        weights = graph.div(weights, total)
    else:
        at = start if mode == "cls" else span.last
        distance = graph.unary("ABS", graph.sub(span.positions, at))
        weights = graph.sub(graph.constant(1.0), graph.minimum(distance, graph.constant(1.0)))
    return graph.matmul(weights, vectors)


def add_dense(graph: GraphBuilder, pooled: int, layers: list[DenseLayer]) -> int:
    """The folded Dense layers over pooled [1, hidden]; the pooled vector itself when there are none."""
    current = pooled
    for index, layer in enumerate(layers):
        bias = -1
        if layer.bias is not None:
            bias = graph.weight(f"head.{index}.bias", np.asarray(layer.bias, dtype=np.float32))
        weight = graph.weight(f"head.{index}.weight", np.asarray(layer.weight, dtype=np.float32))
        current = graph.linear(current, weight, bias)
        if layer.activation != "identity":
            kind, options = ACTIVATIONS[layer.activation]
            current = graph.unary(kind, current, options)
    return current


def truncate_normalise(graph: GraphBuilder, vector: int, dim: int) -> int:
    """The first `dim` components of [1, full] at unit length."""
    cut = graph.slice(vector, [0, 0], [1, dim])
    squares = graph.reduce("SUM", graph.mul(cut, cut), -1)
    inverse = graph.unary("RSQRT", graph.maximum(squares, graph.constant(NORM_FLOOR**2)))
    return graph.mul(cut, inverse)


def finish(graph: GraphBuilder, name: str, output: str, embedding: int) -> None:
    """Declare the output and the signature of a complete graph."""
    graph.graph.tensors[embedding].name = output
    graph.graph.outputs = [embedding]
    graph.builder.signature(name, graph, {output: embedding})
