"""The Gemma 3 text encoder written as ONNX operators: few, large, and the same numbers.

A traced graph spells out every normalisation and rotation in half a dozen operators, makes masks and rotary
tables in every layer, and repeats key/value heads. Here each is one operator, mask and tables are made once,
and the query heads that share a key head are folded into the rows of one product, which for one key head
takes no copy at all. Parity with the traced graph and with transformers is a test (tests/test_gemma_onnx.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from export.gemma import FINE, MASKED, array, key_norm, norm_weight, query_norm, rotary_factors
from export.onnx_build import OnnxBuilder


@dataclass(frozen=True)
class Axes:
    """int64 [1] tensors of a graph: the sizes of the batch and of the sequence."""

    batch: str
    seq: str


class GemmaEncoder:
    """Adds the encoder of one backbone to a graph; `backbone` passes `export.gemma.is_supported`."""

    def __init__(self, graph: OnnxBuilder, backbone: Any) -> None:
        self.graph = graph
        self.backbone = backbone
        self.config = backbone.config
        self.heads = self.config.num_attention_heads
        self.groups = self.config.num_key_value_heads
        self.head_dim = self.config.head_dim

    def token_vectors(self, ids: str, attend: str) -> str:
        """float32 [batch, seq, hidden] for int64 ids and mask [batch, seq]; a mask of 0 hides a token."""
        graph, config = self.graph, self.config
        axes = self._axes(ids)
        positions = self._positions(axes)
        kinds = sorted(set(config.layer_types))
        tables = {kind: self._rotary_tables(kind, axes) for kind in kinds}
        masks = {kind: self._mask(kind, attend, axes) for kind in kinds}
        table = graph.weight("embed_tokens.weight", array(self.backbone.embed_tokens.weight))
        hidden = graph.reshape(graph.op("Gather", [table, ids], "embed_tokens"), -1, config.hidden_size)
        hidden = graph.op("Mul", [hidden, graph.constant(float(self.backbone.embed_tokens.embed_scale))])
        for index, (layer, kind) in enumerate(zip(self.backbone.layers, config.layer_types, strict=True)):
            attention = _Attention(self, axes, positions, tables[kind], masks[kind])
            hidden = self._layer(f"layers.{index}", layer, hidden, attention)
        return graph.reshape(
            self._norm("norm", self.backbone.norm, hidden), axes.batch, axes.seq, config.hidden_size
        )

    def _layer(self, name: str, layer: Any, hidden: str, attention: _Attention) -> str:
        """One layer on tokens [batch * seq, hidden]. Products that a norm follows are free in their scale."""
        graph = self.graph
        normed = self._norm(f"{name}.input_layernorm", layer.input_layernorm, hidden)
        attended = attention.attend(f"{name}.self_attn", layer.self_attn, normed)
        after = self._norm(f"{name}.post_attention_layernorm", layer.post_attention_layernorm, attended)
        hidden = graph.op("Add", [hidden, after])
        before = f"{name}.pre_feedforward_layernorm"
        normed = self._norm(before, layer.pre_feedforward_layernorm, hidden)
        gate = self.linear(f"{name}.mlp.gate_proj", layer.mlp.gate_proj, normed)
        up = self.linear(f"{name}.mlp.up_proj", layer.mlp.up_proj, normed, scale_free=True)
        inner = graph.op("Mul", [graph.op("Gelu", [gate], approximate="tanh"), up])
        down = self.linear(f"{name}.mlp.down_proj", layer.mlp.down_proj, inner, scale_free=True)
        after = f"{name}.post_feedforward_layernorm"
        return graph.op("Add", [hidden, self._norm(after, layer.post_feedforward_layernorm, down)])

    def linear(self, name: str, linear: Any, value: str, scale_free: bool = False) -> str:
        """A product with a linear's weights; see export.onnx_build.SCALE_FREE."""
        return self.graph.product(value, name, array(linear.weight), scale_free)

    def _norm(self, name: str, norm: Any, value: str) -> str:
        return self.rms(name, value, norm_weight(norm))

    def rms(self, name: str, value: str, weight: Any) -> str:
        """RMSNorm along the last axis."""
        inputs = [value, self.graph.weight(f"{name}.weight", weight)]
        epsilon = self.config.rms_norm_eps
        return self.graph.op("RMSNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def _axes(self, ids: str) -> Axes:
        shape = self.graph.op("Shape", [ids])
        axis = [self.graph.constant([index], "int64") for index in (0, 1)]
        return Axes(*(self.graph.op("Gather", [shape, one]) for one in axis))

    def _positions(self, axes: Axes) -> str:
        """int64 [batch, seq]: each token's place, which rotary embedding looks its angle up by."""
        shape = self.graph.op("Concat", [axes.batch, axes.seq], axis=0)
        return self.graph.op("Expand", [self._range(axes.seq), shape])

    def _range(self, length: str) -> str:
        graph = self.graph
        scalar = graph.op("Squeeze", [length])
        return graph.op("Range", [graph.constant(0, "int64"), scalar, graph.constant(1, "int64")])

    def _rotary_tables(self, kind: str, axes: Axes) -> tuple[str, str]:
        """Cosines and sines [seq or a little more, head_dim / 2], from a coarse and a fine angle.

        Two small tables in place of one row for each of 2048 positions, which would add megabytes.
        """
        graph = self.graph
        (cos_c, sin_c), (cos_f, sin_f) = (
            [graph.weight(f"rope.{kind}.{part}.{name}", table) for name, table in tables]
            for part, tables in rotary_factors(self.config, kind)
        )
        fine = graph.constant([FINE], "int64")
        last = graph.op("Add", [axes.seq, graph.constant([FINE - 1], "int64")])
        steps = graph.op("Div", [last, fine])
        zero = graph.constant([0], "int64")
        cos_c, sin_c = (graph.op("Slice", [table, zero, steps, zero]) for table in (cos_c, sin_c))
        cos_cos, sin_sin = graph.op("Mul", [cos_c, cos_f]), graph.op("Mul", [sin_c, sin_f])
        sin_cos, cos_sin = graph.op("Mul", [sin_c, cos_f]), graph.op("Mul", [cos_c, sin_f])
        cos, sin = graph.op("Sub", [cos_cos, sin_sin]), graph.op("Add", [sin_cos, cos_sin])
        half = self.head_dim // 2
        return graph.reshape(cos, -1, half), graph.reshape(sin, -1, half)

    def _mask(self, kind: str, attend: str, axes: Axes) -> str:
        """What is added to scores [batch, groups, rows, seq]: MASKED for padding, and beyond the window."""
        graph = self.graph
        hidden = graph.op("Cast", [graph.op("Equal", [attend, graph.constant(0, "int64")])], to=1)
        padding = graph.op("Mul", [hidden, graph.constant(MASKED)])
        padding = graph.op("Unsqueeze", [padding, graph.constant([1, 2], "int64")])
        if kind != "sliding_attention":
            return padding
        heads = self.heads // self.groups
        rows = self._range(graph.op("Mul", [axes.seq, graph.constant([heads], "int64")]))
        query = graph.op("Cast", [graph.op("Div", [rows, graph.constant(heads, "int64")])], to=1)
        query = graph.op("Unsqueeze", [query, graph.constant([1], "int64")])
        key = graph.op("Cast", [self._range(axes.seq)], to=1)
        distance = graph.op("Abs", [graph.op("Sub", [query, key])])
        window = graph.constant(float(self.config.sliding_window))
        beyond = graph.op("Cast", [graph.op("GreaterOrEqual", [distance, window])], to=1)
        return graph.op("Add", [graph.op("Mul", [beyond, graph.constant(MASKED)]), padding])


@dataclass(frozen=True)
class _Attention:
    """The attention of one kind of layer: positions, rotary tables and mask are made already."""

    encoder: GemmaEncoder
    axes: Axes
    positions: str
    tables: tuple[str, str]
    mask: str

    def attend(self, name: str, attention: Any, normed: str) -> str:
        """Attention of normed tokens [batch * seq, hidden], with its output product."""
        encoder, graph = self.encoder, self.encoder.graph
        linear = encoder.linear
        query = linear(f"{name}.q_proj", attention.q_proj, normed, scale_free=True)
        key = linear(f"{name}.k_proj", attention.k_proj, normed, scale_free=True)
        value = linear(f"{name}.v_proj", attention.v_proj, normed)
        query = self._rotate(f"{name}.q_norm", query, query_norm(encoder.config, attention), encoder.heads)
        key = self._rotate(f"{name}.k_norm", key, key_norm(attention), encoder.groups)
        folded = self._grouped(query, encoder.heads // encoder.groups)
        turned = graph.op("Transpose", [self._grouped(key, 1)], perm=[0, 1, 3, 2])
        scores = graph.op("Add", [graph.op("MatMul", [folded, turned]), self.mask])
        weights = graph.op("Softmax", [scores], axis=-1)
        attended = graph.op("MatMul", [weights, self._grouped(value, 1)])
        return linear(f"{name}.o_proj", attention.o_proj, self._joined(attended), scale_free=True)

    def _rotate(self, name: str, value: str, weight: Any, heads: int) -> str:
        """Per-head RMSNorm and rotary embedding of [batch * seq, heads * dim]; adds the batch axis."""
        encoder, graph = self.encoder, self.encoder.graph
        dim = encoder.head_dim
        normed = encoder.rms(name, graph.reshape(value, -1, dim), weight)
        flat = graph.reshape(normed, self.axes.batch, self.axes.seq, heads * dim)
        return graph.op("RotaryEmbedding", [flat, *self.tables, self.positions], num_heads=heads)

    def _grouped(self, value: str, heads: int) -> str:
        """[batch, groups, seq * heads, dim]: heads of a group become rows; a view for one group."""
        graph, groups, dim = self.encoder.graph, self.encoder.groups, self.encoder.head_dim
        if groups == 1:
            return graph.reshape(value, self.axes.batch, 1, -1, dim)
        split = graph.reshape(value, self.axes.batch, self.axes.seq, groups, heads * dim)
        return graph.reshape(
            graph.op("Transpose", [split], perm=[0, 2, 1, 3]), self.axes.batch, groups, -1, dim
        )

    def _joined(self, attended: str) -> str:
        """Back from `_grouped` to [batch * seq, heads * dim]."""
        encoder, graph = self.encoder, self.encoder.graph
        width = encoder.heads * encoder.head_dim
        if encoder.groups > 1:
            each = width // encoder.groups
            split = graph.reshape(attended, self.axes.batch, encoder.groups, self.axes.seq, each)
            attended = graph.op("Transpose", [split], perm=[0, 2, 1, 3])
        return graph.reshape(attended, -1, width)
