"""A GGUF artifact read back for the lint: what the metadata tell llama.cpp, and the weights.

llama.cpp builds the graph, so there is none to look at: scaling of the embeddings, pooling and normalisation
are its own, steered by metadata.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from export.artifact import Artifact
from export.fault import Fault
from export.gguf_file import (
    ARRAY,
    BLOCK_FORMS,
    BOOL,
    F32,
    FLOAT32,
    Q4_0,
    STRING,
    UINT32,
    Metadata,
    StoredTensor,
    read_gguf,
)
from export.golden import read_golden
from export.lint.found import CLS, LAST, MEAN, FoundEncoder, FoundGraph, Reading, query_factor
from export.lint.graph_view import Array
from export.lint.sketch_file import GGUF_HEAD, NORM
from export.lint.stored_weight import StoredWeight, blocks, exact
from export.lint.texts import prompts_of, special_faults
from export.to_gguf import ARCHITECTURE, HEAD, OUTPUT_NORM, TABLE

POOLINGS = {1: MEAN, 2: CLS, 3: LAST}
"""llama.cpp's numbers."""
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")
UNPACKED = {UINT32: "<I", FLOAT32: "<f", BOOL: "<?"}


def read_gguf_artifact(artifact: Artifact) -> Reading:
    """All that the lint wants to know of a GGUF artifact. Raises UserError for what is no GGUF."""
    metadata, tensors = read_gguf(artifact.model_path)
    faults = list(_tensor_faults(tensors))
    faults += [*_prompt_faults(metadata, artifact), *_special_faults(metadata, artifact)]
    sound = {one.name: one for one in tensors if not list(_tensor_faults([one]))}
    graph = FoundGraph(
        name=artifact.model_name,
        length=None,
        encoder=_encoder(metadata),
        pooling=POOLINGS.get(_own(metadata, "pooling_type", 0), "none"),
        normalised=True,
        width=_own(metadata, "embedding_length_out", _own(metadata, "embedding_length", None)),
    )
    unchecked = ["scaling of embeddings and normalisation: llama.cpp's own"]
    factor = query_factor(artifact.manifest.encoder, "gguf")
    return Reading(faults, [graph], list(_weights(sound)), factor, unchecked)


def value(metadata: Metadata, key: str, default: Any = None) -> Any:
    """A metadata value: number, flag or text; the default where it is absent or a list."""
    raw = metadata.get(key, b"")
    kind = struct.unpack_from("<I", raw)[0] if raw else ARRAY
    if kind == STRING:
        return raw[12:].decode()
    return struct.unpack_from(UNPACKED[kind], raw, 4)[0] if kind in UNPACKED else default


def _own(metadata: Metadata, key: str, default: Any) -> Any:
    return value(metadata, f"{ARCHITECTURE}.{key}", default)


def _encoder(metadata: Metadata) -> FoundEncoder:
    """What llama.cpp makes of the metadata: every n-th layer full, keys up to half the window away."""
    found = FoundEncoder()
    period = _own(metadata, "attention.sliding_window_pattern", 0)
    window = _own(metadata, "attention.sliding_window", None)
    for layer in range(_own(metadata, "block_count", 0)):
        is_full = period > 0 and layer % period == period - 1
        found.windows[layer] = {None if is_full or window is None else window // 2}
        base = _own(metadata, "rope.freq_base" if is_full else "rope.freq_base_swa", math.nan)
        found.rope_bases[layer] = {base}
    found.embedding_scale = math.sqrt(_own(metadata, "embedding_length", 0))
    found.epsilons = {_own(metadata, "attention.layer_norm_rms_epsilon", math.nan)}
    return found


def _prompt_faults(metadata: Metadata, artifact: Artifact) -> Iterator[Fault]:
    held = prompts_of(value(metadata, "pocketvec.prompts", "{}"))
    wanted = artifact.manifest.prompts
    if held != wanted:
        name = "prompt-wrong" if held else "prompt-missing"
        yield Fault(name, f"{artifact.model_name}: pocketvec.prompts is {held}, the manifest says {wanted}")


def _special_faults(metadata: Metadata, artifact: Artifact) -> Iterator[Fault]:
    empty = next((one.ids for one in read_golden(artifact.path) if not one.prompt and not one.text), None)
    ends = [
        value(metadata, f"tokenizer.ggml.{name}_token_id")
        for name in ("bos", "eos")
        if value(metadata, f"tokenizer.ggml.add_{name}_token", False)
    ]
    for name, evidence in special_faults(ends, empty) if empty is not None else ():
        yield Fault(name, f"{artifact.model_name}: {evidence}")


def _tensor_faults(tensors: list[StoredTensor]) -> Iterator[Fault]:
    for one in tensors:
        size = one.path.stat().st_size
        if one.kind not in BLOCK_FORMS:
            yield Fault(
                "dtype-wrong", f"'{one.name}' is of ggml's type {one.kind}, which pocketvec never writes"
            )
        elif one.position + one.nbytes > size:
            evidence = f"'{one.name}': {one.nbytes} bytes from {one.position} on, but the file ends at {size}"
            yield Fault("data-beyond-file", evidence)


def _weights(tensors: dict[str, StoredTensor]) -> Iterator[StoredWeight]:
    norm = tensors.get(OUTPUT_NORM)
    for name, tensor in tensors.items():
        layer = LAYER.fullmatch(name)
        if layer and layer[2] in NAMES:
            yield _stored(tensor, f"layers.{layer[1]}.{NAMES[layer[2]]}.weight", None)
        elif name == TABLE:
            yield _stored(tensor, "embed_tokens.weight", None)
        elif name == HEAD and norm is not None:
            yield _stored(tensor, GGUF_HEAD, norm.read())
        elif name == OUTPUT_NORM and HEAD not in tensors:
            yield _stored(tensor, NORM, None)


def _stored(tensor: StoredTensor, name: str, factors: Array | None) -> StoredWeight:
    if tensor.kind == F32:
        held = np.memmap(tensor.path, "<f4", "r", tensor.position, tensor.shape).view(np.ndarray)
        return exact(name, held if factors is None else held * factors)
    rows = tensor.shape[0]
    raw = np.memmap(tensor.path, np.uint8, "r", tensor.position, (tensor.nbytes,)).view(np.ndarray)
    packed = raw.reshape(rows, -1, BLOCK_FORMS[tensor.kind][1])
    scales = np.ascontiguousarray(packed[:, :, :2]).view("<f2")[:, :, 0]

    def codes_of(part: Array) -> Array:
        codes = part[:, :, 2:]
        if tensor.kind == Q4_0:  # the first sixteen codes in the low halves, the others in the high ones
            codes = np.concatenate([codes & 0x0F, codes >> 4], axis=2).view(np.int8) - np.int8(8)
        return np.ascontiguousarray(codes).view(np.int8).reshape(len(codes), -1)

    return blocks(name, packed, codes_of, scales, factors)
