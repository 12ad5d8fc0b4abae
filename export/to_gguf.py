"""Checkpoint to fp32 GGUF artifacts: a Gemma encoder as llama.cpp loads it, one file per dimension.

Two things are other than in the files that llama.cpp's own converter writes. The Dense layers are folded into
one matrix that gives the profile's dimensions and no more (``embedding_length_out``). And the window is
written as llama.cpp counts it: a key is seen at a distance of up to half of the value.

Source: ``src/models/gemma-embedding.cpp`` of llama.cpp for names, norms and scales.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from export.gemma import array, is_supported
from export.gguf_file import F32, Metadata, NewTensor, float32, string, uint32, write_gguf
from export.gguf_session import SESSION_OPTIONS
from export.gguf_vocab import tokenizer_metadata
from export.golden import make_golden
from export.head import fold_head
from export.manifest import TensorSpec, model_file
from export.profiles import Form, check_profiles, write_profiles
from export.source import Source

Float32 = npt.NDArray[np.float32]

RUNTIME = "gguf"
ARCHITECTURE = "gemma-embedding"
MEAN_POOLING = 1
TABLE = "token_embd.weight"
HEAD = "dense_2.weight"
OUTPUT_NORM = "output_norm.weight"


def export_gguf(
    source: Source, dims: list[int], out: Path, step: Callable[[str], None] = lambda what: None
) -> list[Path]:
    """Write one fp32 artifact per dimension under `out` and return their folders.

    `step` is called with a word on each finished piece (two more times than there are dimensions). Raises
    UserError before any work for a model that llama.cpp has no form for, a dimension that it does not have or
    an artifact that exists already.
    """
    check_profiles(source, RUNTIME, dims, out)
    _check_model(source)
    heads = {dim: head_matrix(source, dim) for dim in dims}
    tokenizer = tokenizer_metadata(source)
    step("tokenizer")
    golden = make_golden(source, source.max_tokens)
    step("golden vectors")

    def write_model(folder: Path, dim: int) -> None:
        head = heads[dim]
        metadata = {**_model_metadata(source, dim, head is not None), **tokenizer}
        tensors = list(_encoder_tensors(source.backbone))
        if head is not None:
            tensors.append(_tensor(HEAD, head))
        write_gguf(folder / model_file(RUNTIME), metadata, tensors)

    return write_profiles(source, _form(source), dims, out, golden, write_model, step)


def _check_model(source: Source) -> None:
    if not is_supported(source.backbone):
        name = type(source.backbone).__name__
        raise UserError(f"format gguf: only Gemma 3 text encoders are written, this model is a {name}")
    if source.pooling != "mean":
        raise UserError(f"format gguf: pooling '{source.pooling}'; of Gemma encoders only mean is written")
    if not source.include_prompt:
        raise UserError("format gguf: llama.cpp pools every token, but this model's pooling skips the prompt")
    sliding_period(source.backbone.config.layer_types)  # type: ignore[union-attr,arg-type]


def head_matrix(source: Source, dim: int) -> Float32 | None:
    """The one matrix [dim, hidden] between pooling and normalisation; None where there is nothing to do.

    Raises UserError for Dense layers with a bias or an activation, which llama.cpp does not load.
    """
    layers = fold_head(source.layers, dim)
    if not layers:
        return None if dim == source.hidden_dim else np.eye(dim, source.hidden_dim, dtype=np.float32)
    (first, *more) = layers
    if more or first.bias is not None or first.activation != "identity":
        raise UserError("format gguf: llama.cpp loads no Dense layer with a bias or an activation")
    return first.weight.astype(np.float32)


def _model_metadata(source: Source, dim: int, has_head: bool) -> Metadata:
    config: Any = source.backbone.config
    rope = config.rope_parameters
    values = {
        "context_length": uint32(source.max_tokens),
        "embedding_length": uint32(config.hidden_size),
        "embedding_length_out": uint32(dim),
        "block_count": uint32(config.num_hidden_layers),
        "feed_forward_length": uint32(config.intermediate_size),
        "attention.head_count": uint32(config.num_attention_heads),
        "attention.head_count_kv": uint32(config.num_key_value_heads),
        "attention.key_length": uint32(config.head_dim),
        "attention.value_length": uint32(config.head_dim),
        "attention.layer_norm_rms_epsilon": float32(config.rms_norm_eps),
        "attention.sliding_window": uint32(2 * (config.sliding_window - 1)),
        "attention.sliding_window_pattern": uint32(sliding_period(config.layer_types)),
        "rope.freq_base": float32(_base(rope, "full_attention")),
        "rope.freq_base_swa": float32(_base(rope, "sliding_attention")),
        "pooling_type": uint32(MEAN_POOLING),
    }
    if has_head:
        values |= {"dense_2_feat_in": uint32(config.hidden_size), "dense_2_feat_out": uint32(dim)}
    return {
        "general.architecture": string(ARCHITECTURE),
        "general.type": string("model"),
        "general.name": string(source.folder.resolve().name),
        "general.file_type": uint32(0),
        "pocketvec.prompts": string(json.dumps(dict(source.model.prompts), ensure_ascii=False)),
        **{f"{ARCHITECTURE}.{key}": value for key, value in values.items()},
    }


def _base(rope: dict[str, dict[str, Any]], kind: str) -> float:
    """The rotary base of a kind of layer; a model without such layers does not care."""
    return float(rope.get(kind, next(iter(rope.values())))["rope_theta"])


def sliding_period(layer_types: list[str]) -> int:
    """Every how many layers one has full attention, as llama.cpp counts them.

    Raises UserError for layers in another order, and of one kind alone: llama.cpp aborts on those.
    """
    full = [kind == "full_attention" for kind in layer_types]
    period = full.index(True) + 1 if any(full) else 0
    if period < 2 or full != [index % period == period - 1 for index in range(len(full))]:
        raise UserError("format gguf: llama.cpp wants every n-th layer to be the one with full attention")
    return period


def _encoder_tensors(backbone: Any) -> Iterator[NewTensor]:
    """The checkpoint's weights under llama.cpp's names, norms as 1 + w."""
    yield _tensor(TABLE, array(backbone.embed_tokens.weight))
    yield _tensor(OUTPUT_NORM, 1 + array(backbone.norm.weight))
    for index, layer in enumerate(backbone.layers):
        for name, weight in _layer_weights(layer, backbone.config):
            yield _tensor(f"blk.{index}.{name}.weight", weight)


def _layer_weights(layer: Any, config: Any) -> Iterator[tuple[str, Float32]]:
    attention, mlp = layer.self_attn, layer.mlp
    yield "attn_norm", 1 + array(layer.input_layernorm.weight)
    yield "attn_q", array(attention.q_proj.weight)
    yield "attn_k", array(attention.k_proj.weight)
    yield "attn_v", array(attention.v_proj.weight)
    yield "attn_output", array(attention.o_proj.weight)
    # llama.cpp divides scores by the root of head_dim, whatever query_pre_attn_scalar says
    scale = np.float32(math.sqrt(config.head_dim / config.query_pre_attn_scalar))
    yield "attn_q_norm", (1 + array(attention.q_norm.weight)) * scale
    yield "attn_k_norm", 1 + array(attention.k_norm.weight)
    yield "post_attention_norm", 1 + array(layer.post_attention_layernorm.weight)
    yield "ffn_norm", 1 + array(layer.pre_feedforward_layernorm.weight)
    yield "ffn_gate", array(mlp.gate_proj.weight)
    yield "ffn_up", array(mlp.up_proj.weight)
    yield "ffn_down", array(mlp.down_proj.weight)
    yield "post_ffw_norm", 1 + array(layer.post_feedforward_layernorm.weight)


def _tensor(name: str, value: Float32) -> NewTensor:
    return NewTensor(name, value.shape, F32, lambda: [value])


def _form(source: Source) -> Form:
    meaning = "token ids, special tokens included; llama.cpp's own tokenizer gives the same for text"
    return Form(
        runtime=RUNTIME,
        max_tokens=source.max_tokens,
        inputs=[TensorSpec("tokens", "int32", ["sequence"], meaning)],
        output_shape=[""],
        tools=(),
        session=SESSION_OPTIONS,
    )
