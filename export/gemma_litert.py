"""The Gemma 3 text encoder written as LiteRT operators, so that XNNPACK takes it whole.

A converted graph computes masks and rotary tables per layer, repeats key/value heads and leaves operators
outside the delegate. Here the mask and the tables are made once per graph, query heads that share a key head
are folded into rows, and sliding layers of long signatures attend in bands. The weights are the checkpoint's
own; parity with transformers is a test (tests/test_litert_parity.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.gemma import FINE, MASKED, array, key_norm, norm_weight, query_norm, rotary_factors
from export.tflite_graph import GraphBuilder

Float32 = npt.NDArray[np.float32]

FULL_CHUNK = 1024
SLIDING_CHUNK = 512
"""Queries per attention step in long signatures: bounds the score matrix, and for sliding layers the work."""


@dataclass(frozen=True)
class Band:
    """Queries [start, stop) attend to keys [first, last); `mask` is added to their scores."""

    start: int
    stop: int
    first: int
    last: int
    mask: int


class GemmaEncoder:
    """Adds the encoder of one backbone to a graph: int32 ids and a float mask in, token vectors out."""

    def __init__(self, graph: GraphBuilder, backbone: Any, seq: int) -> None:
        """`seq` is the fixed length of this signature; `backbone` passes `is_supported`."""
        self.graph = graph
        self.backbone = backbone
        self.config = backbone.config
        self.seq = seq
        self.heads = self.config.num_attention_heads
        self.groups = self.config.num_key_value_heads
        self.head_dim = self.config.head_dim

    def token_vectors(self, ids: int, valid: int) -> int:
        """float32 [seq, hidden] for ids int32 [1, seq]; `valid` float32 [1, seq] is 1 for a token, else 0."""
        graph, config = self.graph, self.config
        bands = {kind: self._bands(kind, valid) for kind in set(config.layer_types)}
        tables = {kind: self._rotary_tables(kind) for kind in set(config.layer_types)}
        table = graph.weight("embed_tokens.weight", array(self.backbone.embed_tokens.weight))
        flat = graph.reshape(ids, [self.seq], "int32")
        hidden = graph.op("EMBEDDING_LOOKUP", [flat, table], [self.seq, config.hidden_size])
        scale = float(self.backbone.embed_tokens.embed_scale)
        hidden = graph.mul(hidden, graph.constant(scale))
        for index, (layer, kind) in enumerate(zip(self.backbone.layers, config.layer_types, strict=True)):
            hidden = self._layer(f"layers.{index}", layer, hidden, tables[kind], bands[kind])
        return self._norm("norm", self.backbone.norm, hidden)

    def _layer(self, name: str, layer: Any, hidden: int, tables: tuple[int, int], bands: list[Band]) -> int:
        graph = self.graph
        normed = self._norm(f"{name}.input_layernorm", layer.input_layernorm, hidden)
        attended = self._attention(f"{name}.self_attn", layer.self_attn, normed, tables, bands)
        name_after = f"{name}.post_attention_layernorm"
        hidden = graph.add(hidden, self._norm(name_after, layer.post_attention_layernorm, attended))
        name_before = f"{name}.pre_feedforward_layernorm"
        normed = self._norm(name_before, layer.pre_feedforward_layernorm, hidden)
        gate = self._linear(f"{name}.mlp.gate_proj", layer.mlp.gate_proj, normed)
        gate = graph.unary("GELU", gate, schema.GeluOptionsT(approximate=True))
        up = self._linear(f"{name}.mlp.up_proj", layer.mlp.up_proj, normed)
        down = self._linear(f"{name}.mlp.down_proj", layer.mlp.down_proj, graph.mul(gate, up))
        name_after = f"{name}.post_feedforward_layernorm"
        return graph.add(hidden, self._norm(name_after, layer.post_feedforward_layernorm, down))

    def _attention(
        self, name: str, attention: Any, normed: int, tables: tuple[int, int], bands: list[Band]
    ) -> int:
        """One product for queries, keys and values; queries and keys are normed and rotated together."""
        graph, dim = self.graph, self.head_dim
        rotated = self.heads + self.groups
        merged = self._stack(f"{name}.qkv_proj", (attention.q_proj, attention.k_proj, attention.v_proj))
        split = graph.reshape(graph.linear(normed, merged), [self.seq, rotated + self.groups, dim])
        value = self._heads_first(graph.slice(split, [0, rotated, 0], [self.seq, self.groups, dim]))
        both = graph.slice(split, [0, 0, 0], [self.seq, rotated, dim])
        both = self._heads_first(self._rms(both, self._head_norms(name, attention)))
        both = self._rotate(both, tables)
        query = graph.slice(both, [0, 0, 0], [self.heads, self.seq, dim])
        key = graph.slice(both, [self.heads, 0, 0], [self.groups, self.seq, dim])
        parts = [self._attend(query, key, value, band) for band in bands]
        joined = graph.transpose(graph.concat(parts, 1), [1, 0, 2])
        attended = graph.reshape(joined, [self.seq, self.heads * dim])
        return self._linear(f"{name}.o_proj", attention.o_proj, attended)

    def _head_norms(self, name: str, attention: Any) -> int:
        """Weights [heads + groups, dim] of query and key norms, the softmax scale in the queries'."""
        query, key = query_norm(self.config, attention), key_norm(attention)
        rows = np.concatenate([np.tile(query, (self.heads, 1)), np.tile(key, (self.groups, 1))])
        return self.graph.weight(f"{name}.qk_norm.weight", rows)

    def _attend(self, query: int, key: int, value: int, band: Band) -> int:
        """Attention of one band; query heads of one key head are rows of one product: [heads, rows, dim]."""
        graph, dim = self.graph, self.head_dim
        rows, keys = band.stop - band.start, band.last - band.first
        query = graph.slice(query, [0, band.start, 0], [self.heads, rows, dim])
        key = graph.slice(key, [0, band.first, 0], [self.groups, keys, dim])
        value = graph.slice(value, [0, band.first, 0], [self.groups, keys, dim])
        folded = graph.reshape(query, [self.groups, self.heads // self.groups * rows, dim])
        scores = graph.add(graph.matmul(folded, key, transpose_right=True), band.mask)
        weights = graph.unary("SOFTMAX", scores, schema.SoftmaxOptionsT(beta=1.0))
        return graph.reshape(graph.matmul(weights, value), [self.heads, rows, dim])

    def _heads_first(self, value: int) -> int:
        """[seq, heads, dim] to [heads, seq, dim]."""
        if self.graph.shape(value)[1] == 1:
            return self.graph.reshape(value, [1, self.seq, self.head_dim])
        return self.graph.transpose(value, [1, 0, 2])

    def _norm(self, name: str, norm: Any, value: int) -> int:
        """RMSNorm of a hidden state, with weight 1 + w as Gemma has it."""
        return self._rms(value, self.graph.weight(f"{name}.weight", norm_weight(norm)))

    def _rms(self, value: int, weight: int) -> int:
        graph = self.graph
        mean = graph.reduce("MEAN", graph.mul(value, value), -1)
        inverse = graph.unary("RSQRT", graph.add(mean, graph.constant(self.config.rms_norm_eps)))
        return graph.mul(graph.mul(value, inverse), weight)

    def _linear(self, name: str, linear: Any, value: int) -> int:
        return self.graph.linear(value, self.graph.weight(f"{name}.weight", array(linear.weight)))

    def _stack(self, name: str, linears: tuple[Any, ...]) -> int:
        """The weights of several linears with one input, output rows under each other."""
        return self.graph.weight(f"{name}.weight", np.concatenate([array(one.weight) for one in linears]))

    def _rotate(self, value: int, tables: tuple[int, int]) -> int:
        """Rotary embedding of [heads, seq, dim]: x * cos + (halves of x swapped) * signed sin."""
        graph, half = self.graph, self.head_dim // 2
        cos, sin = tables
        size = [graph.shape(value)[0], self.seq, half]
        low, high = graph.slice(value, [0, 0, 0], size), graph.slice(value, [0, 0, half], size)
        return graph.add(graph.mul(value, cos), graph.mul(graph.concat([high, low], -1), sin))

    def _rotary_tables(self, kind: str) -> tuple[int, int]:
        """Cosines and signed sines [seq, dim], summed from a coarse and a fine angle.

        Two small tables in place of one per length: all lengths together would add megabytes to the file.
        """
        graph, half = self.graph, self.head_dim // 2
        (cos_c, sin_c), (cos_f, sin_f) = (
            [graph.weight(f"rope.{kind}.{part}.{name}", table) for name, table in tables]
            for part, tables in rotary_factors(self.config, kind)
        )
        steps = -(-self.seq // FINE)
        cos_c, sin_c = (graph.slice(table, [0, 0, 0], [steps, 1, half]) for table in (cos_c, sin_c))
        cos = graph.sub(graph.mul(cos_c, cos_f), graph.mul(sin_c, sin_f))
        sin = graph.add(graph.mul(sin_c, cos_f), graph.mul(cos_c, sin_f))
        flat = [graph.reshape(table, [steps * FINE, half]) for table in (cos, sin)]
        cos, sin = (graph.slice(table, [0, 0], [self.seq, half]) for table in flat)
        negative = graph.mul(sin, graph.constant(-1.0))
        return graph.concat([cos, cos], -1), graph.concat([negative, sin], -1)

    def _bands(self, kind: str, valid: int) -> list[Band]:
        """How the queries of one kind of layer are grouped, each group with its mask."""
        graph = self.graph
        masked = graph.mul(graph.sub(valid, graph.constant(1.0)), graph.constant(-MASKED))
        mask = graph.reshape(masked, [1, 1, self.seq])
        window = self.config.sliding_window if kind == "sliding_attention" else self.seq
        chunk = SLIDING_CHUNK if kind == "sliding_attention" else FULL_CHUNK
        if self.seq <= window and self.seq <= chunk:
            return [Band(0, self.seq, 0, self.seq, mask)]
        bands = []
        for start in range(0, self.seq, chunk):
            stop = min(start + chunk, self.seq)
            first, last = max(0, start - window + 1), min(self.seq, stop + window - 1)
            keys = graph.slice(mask, [0, 0, first], [1, 1, last - first])
            if window < self.seq:
                keys = self._banded(keys, (start, stop), (first, last), window)
            bands.append(Band(start, stop, first, last, keys))
        return bands

    def _banded(self, keys: int, rows: tuple[int, int], columns: tuple[int, int], window: int) -> int:
        """Mask [1, heads / groups * rows, columns] that also hides keys at a distance of `window` or more.

        Computed from positions, because as a constant it would be stored in the file for every length.
        """
        graph = self.graph
        queries = graph.constant(np.arange(*rows, dtype=np.float32).reshape(1, -1, 1))
        positions = graph.constant(np.arange(*columns, dtype=np.float32).reshape(1, 1, -1))
        distance = graph.unary("ABS", graph.sub(queries, positions))
        beyond = graph.unary("RELU", graph.sub(distance, graph.constant(float(window - 1))))
        hidden = graph.mul(graph.minimum(beyond, graph.constant(1.0)), graph.constant(MASKED))
        return graph.concat([graph.add(hidden, keys)] * (self.heads // self.groups), 1)
