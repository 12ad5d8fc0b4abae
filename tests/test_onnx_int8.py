"""8 bits for any encoder in ONNX: rounded rows of activations, every form of product, a BERT whole."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_bert import TEXTS
from test_onnx_file import chain, finished, random, run, write
from tiny_bert import build_bert

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.golden import row_cosines
from export.onnx_build import OPSET, SCALE_FREE, OnnxBuilder
from export.onnx_file import read_onnx, trunk_file
from export.source import open_source
from export.to_onnx import export_onnx
from quantize.onnx_rewrite import write_quantized
from quantize.quantize import quantize_artifact
from quantize.recipes import RECIPES

INT8 = RECIPES["onnx"]["int8"]


def test_rounding_an_activation_costs_what_8_bits_cost(tmp_path: Path) -> None:
    source = write(tmp_path / "m.onnx", chain([random(96, 64)]))
    write_quantized(source, tmp_path / "q.onnx", INT8)
    x = random(50, 64, seed=1) * np.geomspace(1e-4, 1e4, 50, dtype=np.float32)[:, None]
    assert row_cosines(run(source, x), run(tmp_path / "q.onnx", x)).min() > 0.9998
    lengths = [np.linalg.norm(run(path, x), axis=1) for path in (source, tmp_path / "q.onnx")]
    np.testing.assert_allclose(lengths[1], lengths[0], rtol=0.02)


@pytest.mark.parametrize("scale_free", [True, False])
def test_rows_of_zeros_stay_zero(tmp_path: Path, scale_free: bool) -> None:
    source = write(tmp_path / "m.onnx", chain([random(96, 64)], scale_free))
    write_quantized(source, tmp_path / "q.onnx", INT8)
    x = random(4, 64)
    x[1], x[2] = 0, 1e-40
    y = run(tmp_path / "q.onnx", x)
    assert np.isfinite(y).all()
    assert not y[1:3].any()
    assert y[[0, 3]].any(axis=1).all()


def test_a_scale_free_product_is_the_other_one_up_to_a_positive_factor_for_each_row(tmp_path: Path) -> None:
    x = random(5, 64)
    results = []
    for name, free in (("free", True), ("kept", False)):
        source = write(tmp_path / f"{name}.onnx", chain([random(96, 64)], free))
        write_quantized(source, tmp_path / f"{name}-q.onnx", INT8)
        results.append(run(tmp_path / f"{name}-q.onnx", x))
    factors = results[0] / results[1]
    assert (factors > 0).all()
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-5)
    assert np.ptp(factors[:, 0]) > 1


def test_leaving_out_the_rows_factor_changes_no_vector(artifacts: Path, tmp_path: Path) -> None:
    """The same artifact with every factor in place: only the norms' epsilon can tell them apart."""
    kept = tmp_path / "onnx-int8-768d"
    shutil.copytree(artifacts / "onnx-int8-768d", kept)
    source = tmp_path / "fp32.onnx"
    model = read_onnx(artifacts / "onnx-fp32-768d" / "model.onnx")
    marked = 0
    for node in model.proto.graph.node:
        marks = [item for item in node.metadata_props if item.key != SCALE_FREE]
        marked += len(node.metadata_props) - len(marks)
        del node.metadata_props[:]
        node.metadata_props.extend(marks)
    assert marked == 6 * 5
    write_quantized(write(source, model), kept / "model.onnx", INT8)
    plain = Opening(use_weight_cache=False)
    texts = ["brine", "the salt of the pan and the gate", "tide? tide! " * 20, "x", "0"]
    vectors = [
        Embedder.open(artifacts / "onnx-int8-768d", plain).embed(texts),
        Embedder.open(kept, plain, verify=False).embed(texts),
    ]
    assert row_cosines(*vectors).min() > 1 - 1e-4
    assert count(kept, "Mul") - count(artifacts / "onnx-int8-768d", "Mul") == marked


def count(artifact: Path, operator: str) -> int:
    return sum(node.op_type == operator for node in read_onnx(artifact / "model.onnx").proto.graph.node)


def quantised(path: Path, graph: OnnxBuilder, result: str, taken: list[Any], given: list[Any]) -> Path:
    """A generic graph written and quantised to int8."""
    write(path, finished(graph, result, taken, given))
    write_quantized(path, path.with_suffix(".int8.onnx"), INT8)
    return path.with_suffix(".int8.onnx")


def close(source: Path, target: Path, x: np.ndarray) -> None:
    expected, found = run(source, x), run(target, x)
    assert found.shape == expected.shape
    flat = [value.reshape(-1, value.shape[-1]) for value in (found, expected)]
    assert row_cosines(*flat).min() > 0.9995


@pytest.mark.parametrize("shape", [(7, 64), (2, 7, 64), (2, 3, 7, 64)])
def test_a_product_of_any_number_of_axes_keeps_its_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    graph = OnnxBuilder()
    axes: list[Any] = [f"axis{index}" for index in range(len(shape) - 1)]
    graph.op("MatMul", ["x", graph.weight("w", random(64, 96))], "y")
    target = quantised(tmp_path / "m.onnx", graph, "y", [*axes, 64], [*axes, 96])
    close(tmp_path / "m.onnx", target, random(*shape, seed=1))


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_a_gemm_keeps_its_bias_and_its_layout(tmp_path: Path, turned: int, bias: bool) -> None:
    graph = OnnxBuilder()
    inputs = ["x", graph.weight("w", random(96, 64) if turned else random(64, 96))]
    if bias:
        inputs.append(graph.weight("b", 50 * random(96)))
    graph.op("Gemm", inputs, "y", transB=turned)
    target = quantised(tmp_path / "m.onnx", graph, "y", ["n", 64], ["n", 96])
    close(tmp_path / "m.onnx", target, random(5, 64, seed=1))


@pytest.mark.parametrize("settings", [{"transA": 1}, {"alpha": 2.0}, {"beta": 0.5}])
def test_a_gemm_that_does_more_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    graph = OnnxBuilder()
    graph.op("Gemm", ["x", graph.weight("w", random(64, 96))], "y", **settings)
    with pytest.raises(UserError, match="tensor 'w': a Gemm with transA, alpha or beta"):
        quantised(tmp_path / "m.onnx", graph, "y", ["n", 64], ["n", 96])


@pytest.mark.parametrize("precision", ["q8_0", "int8", "q4_0"])
def test_a_weight_that_two_products_share_is_stored_once(tmp_path: Path, precision: str) -> None:
    """As in ALBERT, whose layers are one layer."""
    graph = OnnxBuilder()
    weight = graph.weight("w", random(64, 64))
    graph.op("MatMul", [graph.op("Tanh", [graph.op("MatMul", ["x", weight])]), weight], "y")
    source = write(tmp_path / "m.onnx", finished(graph, "y", ["b", "s", 64], ["b", "s", 64]))
    write_quantized(source, tmp_path / "q.onnx", RECIPES["onnx"][precision])
    x = random(2, 5, 64, seed=1)
    expected, found = run(source, x), run(tmp_path / "q.onnx", x)
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > (0.97 if precision == "q4_0" else 0.999)
    assert trunk_file(tmp_path / "q.onnx").stat().st_size < 0.3 * trunk_file(source).stat().st_size


def test_an_onnx_file_has_the_operator_sets_that_it_uses(artifacts: Path) -> None:
    sets = {
        precision: {
            one.domain: one.version
            for one in read_onnx(artifacts / f"onnx-{precision}-128d" / "model.onnx").proto.opset_import
        }
        for precision in ("fp32", "int8")
    }
    assert sets == {"fp32": {"": OPSET}, "int8": {"": OPSET, "com.microsoft": 1}}


@pytest.fixture(scope="module")
def berts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a Dense head of two layers, and no Gemma-like marks, in every ONNX precision."""
    folder = tmp_path_factory.mktemp("berts")
    source = open_source(str(build_bert(folder / "bert", "mean", dense=True)))
    (parent,) = export_onnx(source, [128], folder)
    for precision in ("q8_0", "int8", "q4_0", "mixed"):
        quantize_artifact(parent, precision, folder / f"onnx-{precision}-128d")
    return folder


LEAST = {"q8_0": 0.999, "int8": 0.999, "q4_0": 0.97, "mixed": 0.97}


@pytest.mark.parametrize("precision", LEAST)
def test_bert_embeds_alike_in_every_precision(berts: Path, precision: str) -> None:
    expected = Embedder.open(berts / "onnx-fp32-128d").embed(TEXTS)
    found = Embedder.open(berts / f"onnx-{precision}-128d").embed(TEXTS)
    assert row_cosines(found, expected).min() > LEAST[precision]


@pytest.mark.parametrize("precision", LEAST)
def test_neighbours_in_a_batch_change_a_bert_vector_by_no_more_than_float32_does(
    berts: Path, precision: str
) -> None:
    """Every row of activations is rounded by itself, padding apart."""
    embedder = Embedder.open(berts / f"onnx-{precision}-128d")
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert row_cosines(alone[:1], alone[1:2])[0] < 0.999
    rows = [embedder.tokenizer.ids(text) for text in TEXTS]
    assert len({len(row) for row in rows}) == len(rows)
    assert row_cosines(embedder.run(embedder.tokenizer.batch(rows)), alone).min() > 1 - 1e-5


@pytest.mark.parametrize("precision", LEAST)
def test_no_matrix_of_a_bert_stays_fp32_its_position_table_neither(berts: Path, precision: str) -> None:
    artifact = open_artifact(berts / f"onnx-{precision}-128d")
    model = read_onnx(artifact.model_path)
    lookups = [node for node in model.proto.graph.node if node.op_type == "GatherBlockQuantized"]
    assert len(lookups) == 2  # words and positions; the two rows of token types are too few
    large = {n: v.shape for n, v in model.weights.items() if v.dtype == np.float32 and v.size >= 4096}
    assert all(name.endswith("_scales") for name in large)
    fp32 = open_artifact(berts / "onnx-fp32-128d")
    assert artifact.file_bytes < 0.35 * fp32.file_bytes
