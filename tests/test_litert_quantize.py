"""Quantised LiteRT artifacts: what the file holds, what it costs, what it is called."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from common.errors import UserError
from export.artifact import Artifact, open_artifact
from export.embedder import Embedder, Opening
from export.golden import golden_parity
from export.tflite_file import read_tflite, write_tflite
from export.tflite_graph import GraphBuilder, ModelBuilder
from quantize.litert_rewrite import write_quantized
from quantize.quantize import quantize_artifact
from quantize.recipes import RECIPES, choose_precision

PRECISIONS = ("int8", "q4_0", "mixed")
LIMITS = {"int8": 0.998, "q4_0": 0.85, "mixed": 0.85}
DTYPES = {schema.TensorType.INT8: "int8", schema.TensorType.INT4: "int4", schema.TensorType.FLOAT16: "f16"}


def weight_types(path: Path) -> dict[str, str]:
    """Element type of every named matrix of a file."""
    model, _ = read_tflite(path)
    return {
        tensor.name.decode(): DTYPES.get(tensor.type, "float32")
        for tensor in model.subgraphs[0].tensors
        if tensor.name and tensor.name.decode().endswith("weight") and len(tensor.shape) == 2
    }


def decoded(path: Path) -> dict[str, np.ndarray]:
    """Every quantised matrix of a file as float32, read from codes and scales alone."""
    model, weights = read_tflite(path)
    graph = model.subgraphs[0]
    values = {}
    for tensor in graph.tensors:
        name = tensor.name.decode() if tensor.name else ""
        details: Any = getattr(tensor.quantization, "details", None)
        if not name.endswith("weight") or tensor.type not in (schema.TensorType.INT4, schema.TensorType.INT8):
            continue
        rows, columns = (int(size) for size in tensor.shape)
        raw = weights[tensor.buffer]
        if tensor.type == schema.TensorType.INT4:
            nibbles = np.stack([raw & 15, raw >> 4], axis=-1).reshape(rows, columns).astype(np.int8)
            codes = np.where(nibbles > 7, nibbles - 16, nibbles)
            scales = weights[graph.tensors[details.scales].buffer].view(np.float16).reshape(rows, -1)
        else:
            codes = raw.view(np.int8).reshape(rows, columns)
            named = next((t for t in graph.tensors if t.name == f"{name}.scales".encode()), None)
            per_row = np.array(tensor.quantization.scale)[:, None]
            scales = per_row if named is None else weights[named.buffer].view(np.float16).reshape(rows, -1)
        scales = scales.astype(np.float32)
        values[name] = codes * np.repeat(scales, columns // scales.shape[1], axis=1)
    return values


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_large_matrix_has_the_type_that_its_recipe_says(litert_artifacts: Path, precision: str) -> None:
    types = weight_types(litert_artifacts / f"litert-{precision}-768d" / "model.tflite")
    large = {name: kind for name, kind in types.items() if not re.search("norm", name)}
    attention = {"int8": "int8", "q4_0": "int4", "mixed": "int8"}[precision]
    rest = "int8" if precision == "int8" else "int4"
    assert large.pop("embed_tokens.weight") == rest
    assert large.pop("head.0.weight") == ("f16" if precision == "int8" else "int4")
    assert {kind for name, kind in large.items() if "self_attn" in name} == {attention}
    assert {kind for name, kind in large.items() if "mlp" in name} == {rest}


@pytest.mark.parametrize("precision", ["q4_0", "mixed"])
def test_onnx_and_litert_hold_the_same_4_bit_numbers(
    artifacts: Path, litert_artifacts: Path, precision: str
) -> None:
    """The fp32 graph's weights through the recipe of either runtime, and as read back from the file."""
    stored = decoded(litert_artifacts / f"litert-{precision}-128d" / "model.tflite")
    model, weights = read_tflite(litert_artifacts / "litert-fp32-128d" / "model.tflite")
    buffers = {t.name.decode(): t for t in model.subgraphs[0].tensors if t.name}
    checked = 0
    for name, values in stored.items():
        is_table = name.startswith("embed")
        codec = RECIPES["onnx"][precision].codec(name, is_table)
        if codec.bits != 4:
            continue
        matrix = weights[buffers[name].buffer].view(np.float32).reshape(values.shape)
        if name == "head.0.weight":
            matrix = matrix / np.abs(matrix).max(axis=0)
        expected = codec.encode(matrix.reshape(-1, 32)).dequantize().reshape(values.shape)
        np.testing.assert_array_equal(values, expected)
        checked += 1
    assert checked == (6 * 5 + 2 if precision == "q4_0" else 6 * 3 + 2)


def test_the_8_bit_table_is_exactly_q8_0(litert_artifacts: Path) -> None:
    gguf = pytest.importorskip("gguf")
    stored = decoded(litert_artifacts / "litert-int8-128d" / "model.tflite")["embed_tokens.weight"]
    model, weights = read_tflite(litert_artifacts / "litert-fp32-128d" / "model.tflite")
    tensor = next(t for t in model.subgraphs[0].tensors if t.name == b"embed_tokens.weight")
    matrix = weights[tensor.buffer].view(np.float32).reshape(stored.shape)
    kind = gguf.GGMLQuantizationType.Q8_0
    np.testing.assert_array_equal(stored, gguf.quants.dequantize(gguf.quants.quantize(matrix, kind), kind))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dim", [768, 128])
def test_golden_cosine_stays_within_the_precisions_limit(
    litert_artifacts: Path, precision: str, dim: int
) -> None:
    parity = golden_parity(Embedder.open(litert_artifacts / f"litert-{precision}-{dim}d"))
    assert parity.cosine_min >= LIMITS[precision], parity.worst_text


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_kernels_add_next_to_nothing_to_the_cost_of_rounding(
    litert_artifacts: Path, precision: str
) -> None:
    embedder = Embedder.open(litert_artifacts / f"litert-{precision}-768d")
    rounding = embedder.manifest.rounding
    assert rounding is not None
    assert abs(golden_parity(embedder).cosine_min - rounding.golden_cosine_min) < 0.02


def test_a_scale_that_is_not_bfloat16_would_be_cut_by_the_kernel(tmp_path: Path) -> None:
    """Why products have a rounding of their own: what ggml stores, XNNPACK does not multiply by."""
    exact = float(np.float16(1.0048828125))
    results = {}
    for scale in (1.0, exact):
        builder = ModelBuilder("test")
        graph = GraphBuilder(builder, "g")
        scales = graph.weight("s", np.full((16, 1), scale, np.float16))
        details = schema.BlockwiseQuantizationT(scales=scales, zeroPoints=-1, blockSize=32)
        quant = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization, details=details
        )
        buffer = builder.buffer("w", np.full(16 * 16, 0x77, np.uint8))
        value = graph.input("x", [4, 32], "float32")
        product = graph.linear(value, graph.tensor([16, 32], "int4", "w", buffer, quant))
        graph.graph.outputs = [product]
        builder.signature("f", graph, {"y": product})
        write_tflite(tmp_path / "m.tflite", builder.model, builder.weights)
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("f")
        results[scale] = float(runner(x=np.ones((4, 32), np.float32))["y"][0, 0]) / (7 * 32)
    assert results[1.0] == pytest.approx(1.0, abs=1e-5)
    assert abs(results[exact] - exact) > 1e-3


@pytest.mark.parametrize(
    ("runtime", "asked", "given"),
    [
        ("litert", "q8_0", "int8"),
        ("litert", "int8", "int8"),
        ("gguf", "int8", "q8_0"),
        ("onnx", "q4_0", "q4_0"),
    ],
)
def test_an_8_bit_profile_has_the_name_of_what_its_runtime_holds(
    runtime: str, asked: str, given: str
) -> None:
    assert choose_precision(runtime, asked) == given


def test_q8_0_asked_of_litert_is_written_as_int8(litert_artifacts: Path, tmp_path: Path) -> None:
    quantize_artifact(litert_artifacts / "litert-fp32-128d", "q8_0", tmp_path / "out")
    assert open_artifact(tmp_path / "out").manifest.name == "litert-int8-128d"


def test_a_weight_that_is_not_finite_is_named_and_nothing_is_written(
    litert_artifacts: Path, tmp_path: Path
) -> None:
    model, weights = read_tflite(litert_artifacts / "litert-fp32-128d" / "model.tflite")
    tensor = next(t for t in model.subgraphs[0].tensors if t.name == b"layers.2.mlp.up_proj.weight")
    broken = weights[tensor.buffer].view(np.float32).copy()
    broken[7] = np.nan
    source = tmp_path / "broken.tflite"
    write_tflite(source, model, {**weights, tensor.buffer: broken})
    with pytest.raises(UserError, match=r"layers\.2\.mlp\.up_proj\.weight.*nan at \[0, 7\]"):
        write_quantized(source, tmp_path / "out.tflite", RECIPES["litert"]["q4_0"])
    assert not (tmp_path / "out.tflite").exists()


def test_files_shrink_as_their_bits_say(litert_artifacts: Path) -> None:
    sizes = {
        p: open_artifact(litert_artifacts / f"litert-{p}-128d").file_bytes for p in ("fp32", *PRECISIONS)
    }
    assert sizes["int8"] < 0.28 * sizes["fp32"]
    assert sizes["q4_0"] < sizes["mixed"] < 0.18 * sizes["fp32"]


def test_a_flipped_nibble_shows(litert_artifacts: Path, tmp_path: Path) -> None:
    """The golden check sees a packing fault; it is not blind to what this module could get wrong."""
    artifact = open_artifact(litert_artifacts / "litert-q4_0-128d")
    model, weights = read_tflite(artifact.model_path)
    tensor = next(t for t in model.subgraphs[0].tensors if t.name == b"embed_tokens.weight")
    codes = weights[tensor.buffer]
    swapped = (codes << 4) | (codes >> 4)
    for name in artifact.manifest.files:
        (tmp_path / name).write_bytes((artifact.path / name).read_bytes())
    write_tflite(tmp_path / "model.tflite", model, {**weights, tensor.buffer: swapped})
    embedder = Embedder(Artifact(tmp_path, artifact.manifest), Opening(use_weight_cache=False))
    assert golden_parity(embedder).cosine_min < 0.5
