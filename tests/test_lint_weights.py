"""Damaged weights of real artifacts, in every precision, are named with what was done to them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from artifact_editing import Edit, damaged, in_onnx
from safetensors.numpy import save_file

from export.artifact import open_artifact
from export.lint.examine import lint
from export.lint.sketch import Sketcher, measured, sketch_of
from export.lint.sketch_file import SKETCH_NAME
from export.onnx_file import OnnxModel
from export.source import Source, open_source
from export.to_onnx import export_onnx
from pocketvec import STARTER_MODEL

TABLE = "embed_tokens.weight"
DOWN, O_PROJ = "layers.{}.mlp.down_proj.weight_t", "layers.{}.self_attn.o_proj.weight_t"
NORM, QUERY_NORM = "layers.3.input_layernorm.weight", "layers.2.self_attn.q_norm.weight"
HEAD = "head.0.weight_t"
PRECISIONS = ("fp32", "q8_0", "int8", "q4_0")
SQUARE_LAYERS = np.random.default_rng(6).normal(0, 0.06, (2, 256, 256)).astype(np.float32)


def rng() -> np.random.Generator:
    """Anew each time, so that no test depends on which ones ran before it."""
    return np.random.default_rng(5)


def parts(model: OnnxModel, name: str) -> list[str]:
    """The constants of a weight: itself, or codes and scales."""
    return [one for one in model.weights if one == name or one.startswith(f"{name}.")]


def outputs(name: str, value: np.ndarray) -> np.ndarray:
    """A constant with the rows of the matrix first, whatever the container has."""
    is_turned = value.ndim == 2 and ("int8" in name or name.endswith("weight_t"))
    return value.T if is_turned and not name.endswith("scales") else value


def shuffled(name: str) -> Edit:
    def edit(model: OnnxModel) -> None:
        order = None
        for part in parts(model, name):
            rows = outputs(part, model.weights[part])
            order = rng().permutation(len(rows)) if order is None else order
            rows[:] = rows[order]

    return edit


def neighbours(name: str) -> Edit:
    def edit(model: OnnxModel) -> None:
        for part in parts(model, name):
            rows = outputs(part, model.weights[part])
            rows[[40, 41]] = rows[[41, 40]]

    return edit


def zeroed(name: str) -> Edit:
    """One block of 32 in row 5."""

    def edit(model: OnnxModel) -> None:
        (part,) = [one for one in parts(model, name) if not one.endswith("scales")]
        rows = outputs(part, model.weights[part])
        if rows.ndim == 3 or (name == TABLE and part != name):
            width = 16 if "q4_0" in part else 32
            zero = {"q4_0": 0x88, "q8_0": 0 if rows.dtype == np.int8 else 0x80}[part[-4:]]
            rows.reshape(len(rows), -1)[5, width : 2 * width] = zero
        else:
            rows[5, 32:64] = 0

    return edit


def times(name: str, factor: float, rows: slice = slice(None)) -> Edit:
    def edit(model: OnnxModel) -> None:
        part = parts(model, name)[-1]
        outputs(part, model.weights[part])[rows] *= np.float16(factor)

    return edit


def exchanged(first: str, second: str) -> Edit:
    def edit(model: OnnxModel) -> None:
        for one, other in zip(parts(model, first), parts(model, second), strict=True):
            model.weights[one], model.weights[other] = model.weights[other], model.weights[one]

    return edit


CASES = [
    ("rows-shuffled", "the same rows in another order", shuffled(TABLE), PRECISIONS),
    ("rows-shuffled", "'layers.2.mlp.down_proj.weight' all rows", shuffled(DOWN.format(2)), PRECISIONS[:3]),
    ("rows-shuffled", "'layers.2.mlp.down_proj.weight' rows 0 to 255", shuffled(DOWN.format(2)), ("q4_0",)),
    ("rows-shuffled", "rows 40 to 43, 1 of 64 groups", neighbours(DOWN.format(0)), ("fp32", "q8_0", "int8")),
    ("weight-altered", "rows 40 to 43, 1 of 64 groups", neighbours(DOWN.format(0)), ("q4_0",)),
    ("block-zeroed", "in row 5, from column 32 on", zeroed(TABLE), PRECISIONS),
    ("block-zeroed", "in row 5, from column 32 on", zeroed(DOWN.format(4)), PRECISIONS),
    (
        "scale-off",
        "'layers.1.self_attn.o_proj.weight' all rows: 2 times",
        times(O_PROJ.format(1), 2),
        PRECISIONS,
    ),
    ("scale-off", "all rows: -1 times", times(O_PROJ.format(1), -1), PRECISIONS[:3]),
    ("scale-off", "all rows: -0.99 times", times(O_PROJ.format(1), -1), ("q4_0",)),
    (
        "scale-off",
        "rows 64 to 127, ",
        times(DOWN.format(1), 0.5, slice(64, 128)),
        PRECISIONS[:3],
    ),
    (
        "scale-off",
        "rows 64 to 119, 12 of 64 groups: 0.49 times",
        times(DOWN.format(1), 0.5, slice(64, 128)),
        ("q4_0",),
    ),
    ("scale-off", "'embed_tokens.weight' all rows: 2 times", times(TABLE, 2), ("fp32", "q4_0")),
    ("scale-off", "'head.0.weight' all rows: 2 times", times(HEAD, 2), PRECISIONS[:3]),
    ("weights-exchanged", "holds 'layers.2.mlp", exchanged(DOWN.format(1), DOWN.format(2)), PRECISIONS),
    ("query-scale-wrong", "all rows: 8 times what it was", times(QUERY_NORM, 8), ("fp32", "q4_0")),
]


@pytest.mark.parametrize(
    ("name", "evidence", "edit", "precision"),
    [(*case[:3], precision) for case in CASES for precision in case[3]],
)
def test_a_damaged_weight_is_named(
    artifacts: Path, tmp_path: Path, name: str, evidence: str, edit: Edit, precision: str
) -> None:
    found = damaged(artifacts / f"onnx-{precision}-128d", tmp_path / "a", in_onnx(edit))
    assert list(found) == [name]
    assert evidence in found[name]


def offset(model: OnnxModel) -> None:
    model.weights[NORM] -= 1


def turned(name: str) -> Edit:
    def edit(model: OnnxModel) -> None:
        held = model.weights[name]
        model.weights[name] = held.T.reshape(held.shape).copy()

    return edit


def random(model: OnnxModel) -> None:
    held = model.weights[O_PROJ.format(3)]
    held[:, 8:12] = rng().normal(0, held.std(), (len(held), 4))


def not_finite(model: OnnxModel) -> None:
    model.weights[parts(model, DOWN.format(0))[-1]].reshape(-1)[7] = np.nan


def halves_turned(model: OnnxModel) -> None:
    codes = model.weights[f"{DOWN.format(2)}.q4_0"]
    codes[:] = codes >> 4 | codes << 4


def renamed(model: OnnxModel) -> None:
    old, new = O_PROJ.format(0), "unknown.weight_t"
    model.weights = {new if name == old else name: value for name, value in model.weights.items()}
    for one in model.proto.graph.node:
        one.input[:] = [new if name == old else name for name in one.input]


@pytest.mark.parametrize(
    ("name", "evidence", "edit", "precision"),
    [
        ("norm-offset-missing", "'layers.3.input_layernorm.weight'", offset, "fp32"),
        ("transposed", "'layers.1.self_attn.o_proj.weight' all rows", turned(O_PROJ.format(1)), "fp32"),
        ("transposed", "'head.0.weight' all rows", turned(HEAD), "fp32"),
        ("weight-altered", "rows 8 to 11, 1 of 64 groups: other values", random, "fp32"),
        ("columns-shuffled", "'layers.2.mlp.down_proj.weight'", halves_turned, "q4_0"),
        ("not-finite", "'layers.0.mlp.down_proj.weight'", not_finite, "fp32"),
        ("not-finite", "'layers.0.mlp.down_proj.weight'", not_finite, "q4_0"),
        ("weight-missing", "'layers.0.self_attn.o_proj.weight' [256, 256]", renamed, "fp32"),
    ],
)
def test_damage_that_one_precision_knows_is_named(
    artifacts: Path, tmp_path: Path, name: str, evidence: str, edit: Edit, precision: str
) -> None:
    found = damaged(artifacts / f"onnx-{precision}-128d", tmp_path / "a", in_onnx(edit))
    assert list(found) == [name]
    assert evidence in found[name]


def square_starter(folder: Path) -> Source:
    """The starter with two Dense layers of equal width, which could stand in either order."""
    shutil.copytree(STARTER_MODEL, folder)
    for name, layer in zip(("2_Dense", "3_Dense"), SQUARE_LAYERS, strict=True):
        spec = json.loads((folder / name / "config.json").read_text())
        sizes = {"in_features": len(layer), "out_features": len(layer)}
        (folder / name / "config.json").write_text(json.dumps(spec | sizes))
        save_file({"linear.weight": layer}, folder / name / "model.safetensors")
    return open_source(str(folder))


def dense_swapped(model: OnnxModel) -> None:
    """The product of the square starter's layers the other way round."""
    first, second = SQUARE_LAYERS
    model.weights[HEAD] = (first @ second)[: model.weights[HEAD].shape[1]].T


def test_dense_layers_in_the_wrong_order_are_named(tmp_path: Path) -> None:
    (folder,) = export_onnx(square_starter(tmp_path / "square"), [64], tmp_path / "out")
    assert lint(open_artifact(folder)) == []
    assert list(damaged(folder, tmp_path / "a", in_onnx(dense_swapped))) == ["dense-order-swapped"]


# ---- the sketches themselves


def test_the_sketches_of_the_starter_take_little_space(artifacts: Path) -> None:
    for folder in artifacts.iterdir():
        assert (folder / SKETCH_NAME).stat().st_size < 60_000


def test_a_sketch_does_not_depend_on_how_a_weight_is_cut_into_chunks() -> None:
    matrix = rng().normal(size=(300, 96)).astype(np.float32)
    whole, pieces = measured(matrix), Sketcher(300, 96)
    for first in range(0, 300, 77):
        pieces.add(first, matrix[first : first + 77])
    np.testing.assert_allclose(pieces.sums, whole.sums, atol=1e-3)
    assert pieces.sketch().zero_blocks == 0


def test_blocks_of_zeros_that_were_exported_are_no_damage() -> None:
    matrix = rng().normal(size=(64, 64)).astype(np.float32)
    matrix[3, 32:] = 0
    matrix[4, :32] = 1e-6
    sketch = sketch_of(matrix)
    assert (sketch.zero_blocks, sketch.tiny_blocks, sketch.faint_blocks) == (1, 2, 2)
