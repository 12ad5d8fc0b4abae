"""A tiny .tflite of the rag-sdk form, for tests that break it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.litert_graph import finish, pool, token_span, truncate_normalise
from export.tflite_file import write_tflite
from export.tflite_graph import GraphBuilder, ModelBuilder

SEQ = 64
ROWS = 16


def write_tiny(
    path: Path,
    change: Callable[[GraphBuilder], None] = lambda graph: None,
    masked: bool = True,
    unit: bool = True,
    table: object = None,
    lookup: str = "EMBEDDING_LOOKUP",
) -> Path:
    """A file of the contract that averages rows of a table, or one that breaks it in the ways asked for."""
    builder = ModelBuilder("tiny")
    graph = GraphBuilder(builder, "main")
    ids = graph.input("args_0", [1, 8], "int32")
    values = np.random.default_rng(0).normal(size=(ROWS, 4)) if table is None else table
    flat = graph.reshape(ids, [8], "int32")
    if lookup == "EMBEDDING_LOOKUP":
        weight = graph.weight("table", np.asarray(values, np.float32))
        vectors = graph.op(lookup, [flat, weight], [8, 4])
    else:
        weight = graph.weight("table", np.asarray(values, np.float16))
        unpacked = graph.op("DEQUANTIZE", [weight], [ROWS, 4], options=schema.DequantizeOptionsT())
        vectors = graph.op("GATHER", [unpacked, flat], [8, 4], options=schema.GatherOptionsT(axis=0))
    span = token_span(graph, ids, pad_id=0 if masked else ROWS)
    vector = pool(graph, vectors, span, "mean", None)
    finish(graph, "serving_default", "output_0", truncate_normalise(graph, vector, 4) if unit else vector)
    change(graph)
    write_tflite(path, builder.model, builder.weights)
    return path
