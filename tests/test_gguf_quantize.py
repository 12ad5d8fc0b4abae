"""Quantised GGUF files: ggml's own bytes, the numbers of the other containers, what it costs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, quants
from test_litert_quantize import decoded

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.gguf_file import F32, NewTensor, read_gguf, string, write_gguf
from export.golden import golden_parity, read_golden
from export.to_gguf import HEAD
from quantize.blocks import Q4_0_PORTABLE, encode_rows
from quantize.gguf_rewrite import ggml_bytes, write_quantized, write_rounded
from quantize.recipes import RECIPES

LIMITS = {"q8_0": 0.998, "q4_0": 0.85, "mixed": 0.85}
KINDS = {"q8_0": GGMLQuantizationType.Q8_0, "q4_0": GGMLQuantizationType.Q4_0}
LITERT_NAMES = {
    "token_embd": "embed_tokens.weight",
    "dense_2": "head.0.weight",
    "attn_output": "layers.{}.self_attn.o_proj.weight",
    "ffn_gate": "layers.{}.mlp.gate_proj.weight",
    "ffn_up": "layers.{}.mlp.up_proj.weight",
    "ffn_down": "layers.{}.mlp.down_proj.weight",
}


def tensors(folder: Path, precision: str) -> dict[str, tuple[GGMLQuantizationType, np.ndarray]]:
    """Type and stored data by name, as the package gguf reads the file."""
    reader = GGUFReader(folder / f"gguf-{precision}-128d" / "model.gguf")
    return {one.name: (one.tensor_type, np.asarray(one.data)) for one in reader.tensors}


def values(folder: Path, precision: str) -> dict[str, np.ndarray]:
    """What the file's matrices dequantise to, by the package gguf."""
    stored = tensors(folder, precision).items()
    return {name: quants.dequantize(data, kind) for name, (kind, data) in stored}


@pytest.mark.parametrize(
    ("precision", "table", "attention", "rest"),
    [("q8_0", "q8_0", "q8_0", "q8_0"), ("q4_0", "q4_0", "q4_0", "q4_0"), ("mixed", "q4_0", "q8_0", "q4_0")],
)
def test_every_matrix_has_the_type_that_its_recipe_says_and_norms_stay_f32(
    gguf_artifacts: Path, precision: str, table: str, attention: str, rest: str
) -> None:
    kinds = {name: kind for name, (kind, _) in tensors(gguf_artifacts, precision).items()}
    norms = {kind for name, kind in kinds.items() if "norm" in name}
    assert norms == {GGMLQuantizationType.F32}
    matrices = {name: kind for name, kind in kinds.items() if "norm" not in name}
    assert matrices.pop("token_embd.weight") == KINDS[table]
    assert {kind for name, kind in matrices.items() if "attn" in name} == {KINDS[attention]}
    assert {kind for name, kind in matrices.items() if "attn" not in name} == {KINDS[rest]}
    assert len(matrices) == 6 * 7 + 1


def test_q8_0_is_byte_for_byte_what_ggml_writes(gguf_artifacts: Path) -> None:
    exact = tensors(gguf_artifacts, "fp32")
    for name, (kind, data) in tensors(gguf_artifacts, "q8_0").items():
        if kind == KINDS["q8_0"] and name != HEAD:
            np.testing.assert_array_equal(data, quants.quantize(exact[name][1], kind), name)


def test_the_4_bit_table_is_byte_for_byte_what_ggml_writes(gguf_artifacts: Path) -> None:
    table = tensors(gguf_artifacts, "fp32")["token_embd.weight"][1]
    stored = tensors(gguf_artifacts, "q4_0")["token_embd.weight"][1]
    np.testing.assert_array_equal(stored, quants.quantize(table, KINDS["q4_0"]))


@pytest.mark.parametrize("precision", ["q4_0", "mixed"])
def test_gguf_and_litert_hold_the_same_4_bit_numbers(
    gguf_artifacts: Path, litert_artifacts: Path, precision: str
) -> None:
    ours = values(gguf_artifacts, precision)
    theirs = decoded(litert_artifacts / f"litert-{precision}-128d" / "model.tflite")
    checked = 0
    for name, value in ours.items():
        kind = name.split(".")[-2]
        if kind not in LITERT_NAMES or (kind.startswith("attn") and precision == "mixed"):
            continue
        np.testing.assert_array_equal(value, theirs[LITERT_NAMES[kind].format(name.split(".")[1])], name)
        checked += 1
    assert checked == 2 + 6 * (4 if precision == "q4_0" else 3)


def test_the_portable_blocks_are_read_back_as_they_were_meant() -> None:
    matrix = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32)
    blocks = encode_rows(matrix, Q4_0_PORTABLE, "t")
    raw = ggml_bytes(blocks, 4).reshape(16, -1)
    np.testing.assert_array_equal(
        quants.dequantize(raw, KINDS["q4_0"]), blocks.dequantize().reshape(matrix.shape)
    )


def test_the_norm_before_the_pooling_takes_what_the_heads_columns_lost(gguf_artifacts: Path) -> None:
    exact, stored = values(gguf_artifacts, "fp32"), values(gguf_artifacts, "q8_0")
    columns = np.abs(exact[HEAD]).max(axis=0)
    np.testing.assert_array_equal(stored["output_norm.weight"], exact["output_norm.weight"] * columns)
    np.testing.assert_allclose(np.abs(stored[HEAD]).max(axis=0), 1, atol=0.01)


@pytest.mark.parametrize("precision", LIMITS)
def test_golden_cosine_stays_within_the_precisions_limit(gguf_artifacts: Path, precision: str) -> None:
    """And the kernels add next to nothing to what the rounding costs."""
    embedder = Embedder.open(gguf_artifacts / f"gguf-{precision}-128d", Opening(threads=1))
    parity = golden_parity(embedder, 256)
    rounding = embedder.manifest.rounding
    assert rounding is not None
    assert parity.ids_equal
    assert parity.cosine_min >= LIMITS[precision], parity.worst_text
    assert abs(parity.cosine_min - rounding.golden_cosine_min) < 0.02


def test_all_golden_texts_but_those_at_the_limit_count_for_the_rounding(gguf_artifacts: Path) -> None:
    lengths = sorted(len(one.ids) for one in read_golden(gguf_artifacts / "gguf-fp32-128d"))
    assert [length for length in lengths if length > 256] == [2048, 2048]


def test_a_rounded_file_holds_the_numbers_of_the_quantised_one(gguf_artifacts: Path, tmp_path: Path) -> None:
    parent = open_artifact(gguf_artifacts / "gguf-fp32-128d").model_path
    write_rounded(parent, tmp_path / "model.gguf", RECIPES["gguf"]["mixed"])
    rounded = {one.name: one.read() for one in read_gguf(tmp_path / "model.gguf")[1]}
    exact, stored = values(gguf_artifacts, "fp32"), values(gguf_artifacts, "mixed")
    columns = np.abs(exact[HEAD]).max(axis=0)
    for name, value in stored.items():
        if name == HEAD:
            np.testing.assert_allclose(rounded[name], value * columns, rtol=1e-6)
        elif name != "output_norm.weight":
            np.testing.assert_array_equal(rounded[name], value, name)
    np.testing.assert_array_equal(rounded["output_norm.weight"], exact["output_norm.weight"])


def test_the_metadata_is_kept_but_for_what_names_the_precision(gguf_artifacts: Path) -> None:
    before, _ = read_gguf(gguf_artifacts / "gguf-fp32-128d" / "model.gguf")
    after, _ = read_gguf(gguf_artifacts / "gguf-q4_0-128d" / "model.gguf")
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {"general.file_type", "general.quantization_version"}
    assert set(before) < set(after)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000000, 2000000))
from pocketvec.cli import main
sys.exit(main(["quantize", sys.argv[1], "--precision", "q4_0", "--out", sys.argv[2]]))
"""


def test_a_disk_that_fills_up_ends_in_one_line_and_leaves_nothing(
    gguf_artifacts: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LIMITED, str(gguf_artifacts / "gguf-fp32-128d"), str(tmp_path / "new")]
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("gguf-q4_0-128d: file too large")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "width", "message"),
    [(np.nan, 64, r"tensor 'w\.weight': nan at \[3, 5\]"), (1.0, 72, "width 72 is not a multiple of 32")],
)
def test_a_weight_that_cannot_be_quantised_is_named(
    tmp_path: Path, value: float, width: int, message: str
) -> None:
    weight = np.ones((128, width), np.float32)
    weight[3, 5] = value
    new = NewTensor("w.weight", weight.shape, F32, lambda: [weight])
    write_gguf(tmp_path / "in.gguf", {"general.architecture": string("x")}, [new])
    with pytest.raises(UserError, match=message):
        write_quantized(tmp_path / "in.gguf", tmp_path / "out.gguf", RECIPES["gguf"]["q4_0"])
