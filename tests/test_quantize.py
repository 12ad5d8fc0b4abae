"""Quantised artifacts of the starter: what the containers hold, what they cost, what they refuse."""

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder
from export.golden import Parity, golden_parity
from export.onnx_file import read_onnx
from export.tokenizer import TokenBatch
from quantize.blocks import Q4_0, decode_rows, encode_rows
from quantize.onnx_rewrite import HEAD_INPUT, find_weights, quantize_graph
from quantize.quantize import quantize_artifact
from quantize.recipes import RECIPES
from quantize.weights import encode_weight

PRECISIONS = ("q8_0", "int8", "q4_0", "mixed")
PROFILES = [(precision, dim) for precision in PRECISIONS for dim in (768, 128)]
LAYERS, PRODUCTS, ATTENTION_PRODUCTS = 6, 7, 4
EIGHT_BIT_HEAD = {"q8_0", "int8"}


@functools.cache
def parity_of(folder: Path) -> Parity:
    """Of all golden texts; two of 2048 tokens are among them."""
    return golden_parity(Embedder.open(folder))


@pytest.mark.parametrize(("precision", "dim"), PROFILES)
def test_no_matrix_stays_fp32_and_the_table_is_quantised_too(
    artifacts: Path, precision: str, dim: int
) -> None:
    model = read_onnx(artifacts / f"onnx-{precision}-{dim}d" / "model.onnx")
    floats = {name: value for name, value in model.weights.items() if value.dtype == np.float32}
    assert all(value.size < 4096 for name, value in floats.items() if not name.endswith("_scales"))
    halves = {name for name, value in model.weights.items() if value.dtype == np.float16}
    assert len(halves) == 1
    assert all(name.startswith("embed_tokens") for name in halves)
    operators = Counter(node.op_type for node in model.proto.graph.node)
    assert operators["GatherBlockQuantized"] == 1
    quantised = operators["MatMulNBits"] + operators["MatMulIntegerToFloat"]
    assert quantised == LAYERS * PRODUCTS + (precision not in EIGHT_BIT_HEAD)
    channels = {"int8": LAYERS * PRODUCTS, "mixed": LAYERS * ATTENTION_PRODUCTS}
    assert operators["MatMulIntegerToFloat"] == channels.get(precision, 0)


@pytest.mark.parametrize(
    ("precision", "mean", "worst"),
    [("q8_0", 0.999, 0.998), ("int8", 0.999, 0.997), ("q4_0", 0.93, 0.85), ("mixed", 0.93, 0.85)],
)
@pytest.mark.parametrize("dim", [768, 128])
def test_golden_cosine_stays_within_the_profiles_limit(
    artifacts: Path, precision: str, dim: int, mean: float, worst: float
) -> None:
    parity = parity_of(artifacts / f"onnx-{precision}-{dim}d")
    assert parity.cosine_mean >= mean
    assert parity.cosine_min >= worst, parity.worst_text


@pytest.mark.parametrize(("precision", "dim"), PROFILES)
def test_the_runtime_adds_next_to_nothing_to_the_cost_of_rounding(
    artifacts: Path, precision: str, dim: int
) -> None:
    folder = artifacts / f"onnx-{precision}-{dim}d"
    rounding, parity = open_artifact(folder).manifest.rounding, parity_of(folder)
    assert rounding is not None
    assert abs(parity.cosine_mean - rounding.golden_cosine_mean) < 4e-4
    assert abs(parity.cosine_min - rounding.golden_cosine_min) < 6e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_holds_the_codecs_numbers_bit_for_bit(artifacts: Path, precision: str) -> None:
    source = read_onnx(artifacts / "onnx-fp32-128d" / "model.onnx")
    tensors = read_onnx(artifacts / f"onnx-{precision}-128d" / "model.onnx").weights
    for weight in find_weights(source):
        codec = RECIPES["onnx"][precision].codec(weight.name, weight.is_table)
        stored, scales = (tensors[f"{weight.name}.{codec.name}{end}"] for end in ("", "_scales"))
        rows, columns = weight.matrix.shape
        codes = stored.T if codec.block is None else unpack(stored.reshape(rows, -1), codec.bits)
        each = scales.astype(np.float32).reshape(rows, -1, 1)
        values = (codes.reshape(rows, each.shape[1], -1) * each).reshape(rows, -1)[:, :columns]
        expected = weight.encode(codec)
        np.testing.assert_array_equal(values, decode_rows(expected.blocks, rows, columns))


def unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    if packed.dtype == np.int8:
        return packed.astype(np.float32)
    if bits == 8:
        return packed.astype(np.float32) - 128
    nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    return nibbles.astype(np.float32) - 8


def test_equalised_columns_take_three_tenths_off_the_error_of_the_smallest(artifacts: Path) -> None:
    source = read_onnx(artifacts / "onnx-fp32-768d" / "model.onnx")
    head = next(weight for weight in find_weights(source) if weight.name == HEAD_INPUT)
    codec, shape = Q4_0, head.matrix.shape
    plain = decode_rows(encode_rows(head.matrix, codec, head.name), *shape)
    encoded = encode_weight(head.matrix, codec, head.name, equalised=True)
    assert encoded.column_scales is not None
    equalised = decode_rows(encoded.blocks, *shape) * encoded.column_scales
    smallest = np.abs(head.matrix).max(axis=0).argmin()
    errors = [np.linalg.norm((m - head.matrix)[:, smallest]) for m in (plain, equalised)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("precision", ["fp32", "q8_0", "q4_0"])
def test_an_id_outside_the_table_never_gives_a_vector(artifacts: Path, precision: str) -> None:
    embedder = Embedder.open(artifacts / f"onnx-{precision}-128d")
    rows = embedder.manifest.tokenizer.vocab_size
    with pytest.raises(UserError, match="outside the embedding table"):
        embedder.run(TokenBatch(np.array([[2, rows, 1]]), np.ones((1, 3), np.int64)))


def test_a_weight_that_is_not_finite_is_named_with_its_place(artifacts: Path) -> None:
    model = read_onnx(artifacts / "onnx-fp32-128d" / "model.onnx")
    name = "layers.3.mlp.up_proj.weight_t"
    model.weights[name] = model.weights[name].copy()
    model.weights[name][5, 7] = np.inf
    make = quantize_graph(model, RECIPES["onnx"]["q4_0"])[name]
    with pytest.raises(UserError, match=r"layers\.3\.mlp\.up_proj\.weight_t.*inf at \[7, 5\]"):
        list(make())


@pytest.mark.parametrize(
    ("precision", "message"), [("fp16", "65504"), ("q5_1", "choose from q8_0, int8, q4_0, mixed")]
)
def test_an_unknown_precision_is_refused(
    artifacts: Path, tmp_path: Path, precision: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        quantize_artifact(artifacts / "onnx-fp32-128d", precision, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_fp32_artifacts_are_quantised(artifacts: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only fp32 is quantised"):
        quantize_artifact(artifacts / "onnx-q8_0-128d", "q4_0", tmp_path / "out")


def test_the_manifest_names_its_parent_and_the_smaller_file(artifacts: Path) -> None:
    sizes = {p: open_artifact(artifacts / f"onnx-{p}-128d").file_bytes for p in ("fp32", "q8_0", "q4_0")}
    assert open_artifact(artifacts / "onnx-q4_0-128d").manifest.parent == "onnx-fp32-128d"
    assert sizes["q8_0"] < 0.3 * sizes["fp32"]
    assert sizes["q4_0"] < 0.17 * sizes["fp32"]
