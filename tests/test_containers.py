"""One codec, several containers: the same weights dequantise to the same numbers wherever they are stored."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, quants
from test_litert_quantize import decoded as litert_values
from test_quantize import unpack

from export.onnx_file import read_onnx
from quantize.onnx_rewrite import find_weights
from quantize.recipes import RECIPES

GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
QKV = ("q_proj", "k_proj", "v_proj")


def onnx_values(artifacts: Path, precision: str) -> dict[str, np.ndarray]:
    """float32 [rows, columns] by the model's own name; the head's as stored, its columns equalised."""
    tensors = read_onnx(artifacts / f"onnx-{precision}-128d" / "model.onnx").weights
    values = {}
    for weight in find_weights(read_onnx(artifacts / "onnx-fp32-128d" / "model.onnx")):
        codec = RECIPES["onnx"][precision].codec(weight.name, weight.is_table)
        stored, scales = (tensors[f"{weight.name}.{codec.name}{end}"] for end in ("", "_scales"))
        rows, columns = weight.matrix.shape
        codes = stored.T if codec.block is None else unpack(stored.reshape(rows, -1), codec.bits)
        each = scales.astype(np.float32).reshape(rows, -1, 1)
        decoded = (codes.reshape(rows, each.shape[1], -1) * each).reshape(rows, -1)[:, :columns]
        values[weight.name.removesuffix("_t")] = decoded.astype(np.float32)
    return values


def gguf_name(name: str) -> str:
    if name == "embed_tokens.weight":
        return "token_embd.weight"
    if name == "head.0.weight":
        return "dense_2.weight"
    _, layer, module = name.removesuffix(".weight").split(".", 2)
    return f"blk.{layer}.{GGUF_NAMES[module]}.weight"


@pytest.mark.parametrize("precision", ["q8_0", "q4_0"])
def test_onnx_and_gguf_hold_the_same_numbers_in_every_matrix(
    artifacts: Path, gguf_artifacts: Path, precision: str
) -> None:
    """GGUF read by the package gguf, ONNX by its own layout."""
    reader = GGUFReader(gguf_artifacts / f"gguf-{precision}-128d" / "model.gguf")
    theirs = {one.name: quants.dequantize(np.asarray(one.data), one.tensor_type) for one in reader.tensors}
    ours = onnx_values(artifacts, precision)
    assert len(ours) == 6 * 7 + 2
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[gguf_name(name)], name)


@pytest.mark.parametrize("precision", ["int8", "q4_0", "mixed"])
def test_onnx_and_litert_hold_the_same_numbers_in_every_matrix_but_an_8_bit_head(
    artifacts: Path, litert_artifacts: Path, precision: str
) -> None:
    theirs = litert_values(litert_artifacts / f"litert-{precision}-128d" / "model.tflite")
    ours = onnx_values(artifacts, precision)
    for layer in range(6):
        parts = [ours.pop(f"layers.{layer}.self_attn.{one}.weight") for one in QKV]
        ours[f"layers.{layer}.self_attn.qkv_proj.weight"] = np.concatenate(parts)
    if precision == "int8":
        ours.pop("head.0.weight")
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], name)
