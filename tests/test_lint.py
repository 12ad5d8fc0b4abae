"""Faults put into real ONNX artifacts are named; artifacts as they were made have none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from artifact_editing import (
    Edit,
    bypass,
    damaged,
    in_onnx,
    node,
    set_constant,
    through_half,
)
from tiny_bert import build_bert

from common.errors import UserError
from export.artifact import Artifact, open_artifact
from export.lint.examine import examine, lint
from export.manifest import POOLED
from export.onnx_file import OnnxModel
from export.source import open_source
from export.to_onnx import export_onnx
from pocketvec.cli import main
from quantize.quantize import quantize_artifact

NOTE = "ids from 16384 on (1) have no row: the client must refuse them, as ours does"


def test_no_artifact_as_it_was_made_has_a_fault(
    artifacts: Path, litert_artifacts: Path, gguf_artifacts: Path, rag_sdk: Artifact
) -> None:
    folders = [one for root in (artifacts, litert_artifacts, gguf_artifacts) for one in root.iterdir()]
    assert len(folders) == 10 + 8 + 5
    for folder in folders:
        assert lint(open_artifact(folder, verify=False)) == [], folder.name
    assert lint(rag_sdk) == []


# ---- constants of the graph


def window(value: float) -> Edit:
    def edit(model: OnnxModel) -> None:
        compare = node(model, "GreaterOrEqual")
        compare.input[1] = set_constant(model, compare.input[1], value)

    return edit


def no_window(model: OnnxModel) -> None:
    adds = {one.output[0]: one for one in model.proto.graph.node if one.op_type == "Add"}
    softmaxes = [one for one in model.proto.graph.node if one.op_type == "Softmax"]
    adds[softmaxes[0].input[0]].input[1] = adds[softmaxes[-1].input[0]].input[1]


def one_rope_base(model: OnnxModel) -> None:
    for name in [one for one in model.weights if one.startswith("rope.sliding")]:
        model.weights[name] = model.weights[name.replace("sliding", "full")]


def shifted_rope(model: OnnxModel) -> None:
    name = "rope.full_attention.coarse.sin"
    model.weights[name] = np.roll(model.weights[name], 1, axis=0)


def embedding_scale(value: float | None) -> Edit:
    def edit(model: OnnxModel) -> None:
        muls = (one for one in model.proto.graph.node if one.op_type == "Mul")
        scale = next(one for one in muls if one.input[0].startswith("Reshape"))
        if value is None:
            bypass(model, scale, scale.input[0])
        else:
            scale.input[1] = set_constant(model, scale.input[1], value)

    return edit


def epsilon(model: OnnxModel) -> None:
    next(one for one in node(model, "RMSNormalization", 7).attribute if one.name == "epsilon").f = 1e-5


def not_normalised(model: OnnxModel) -> None:
    last = model.proto.graph.node[-1]
    bypass(model, last, last.input[0])


def first_token(model: OnnxModel) -> None:
    pooled = next(one for one in model.proto.graph.node if POOLED in one.output)
    product = next(
        one for one in model.proto.graph.node if one.op_type == "MatMul" and "Unsq" in one.input[0]
    )
    zero = next(
        one.name for one in model.proto.graph.initializer if list(one.dims) == [] and one.data_type == 7
    )
    del pooled.input[:], pooled.attribute[:]
    pooled.op_type = "Gather"
    pooled.input.extend([product.input[1], zero])
    pooled.attribute.append(onnx.helper.make_attribute("axis", 1))


def exchanged_products(model: OnnxModel) -> None:
    first, second = (
        next(one for one in model.proto.graph.node if f"layers.{i}.self_attn.o_proj.weight_t" in one.input)
        for i in (1, 2)
    )
    first.input[1], second.input[1] = second.input[1], first.input[1]


def undeclared_input(model: OnnxModel) -> None:
    value = onnx.helper.make_tensor_value_info(
        "token_type_ids", onnx.TensorProto.INT64, ["batch", "sequence"]
    )
    model.proto.graph.input.append(value)


@pytest.mark.parametrize(
    ("name", "evidence", "edit"),
    [
        (
            "window-off-by-one",
            "window 63, the manifest says 64 (sliding) in layers 0, 1, 2, 3, 4",
            window(64),
        ),
        ("window-off-by-one", "window 65,", window(66)),
        ("window-halved", "window 32,", window(33)),
        ("window-wrong", "window 128,", window(129)),
        ("window-ignored", "none, the manifest says 64 (sliding) in layers 0", no_window),
        ("rope-base-wrong", "base 1e+06, the manifest says 10000 (sliding) in layers 0, 1, 2", one_rope_base),
        ("rope-base-wrong", "tables of no base, the manifest says 1e+06 (full) in layers 5", shifted_rope),
        ("embedding-scale-missing", "not multiplied by 16", embedding_scale(None)),
        ("embedding-scale-wrong", "15.9, the manifest says 16", embedding_scale(15.9)),
        ("norm-epsilon-wrong", "1e-05, the manifest says 1e-06", epsilon),
        ("not-normalised", "model.onnx: the output is not divided", not_normalised),
        ("pooling-wrong", "a Gather, the manifest says mean", first_token),
        ("weights-exchanged", "reads 'layers.2.self_attn.o_proj.weight' where 'layers.1", exchanged_products),
        ("input-undeclared", "'token_type_ids'", undeclared_input),
        (
            "fp16-activations",
            "Cast makes half precision at 'layers.0",
            lambda m: through_half(m, "Gelu", onnx.TensorProto.FLOAT16),
        ),
        (
            "fp16-activations",
            "Cast makes half precision at 'layers.0",
            lambda m: through_half(m, "Gelu", onnx.TensorProto.BFLOAT16),
        ),
    ],
)
def test_a_fault_of_the_graph_is_named(
    artifacts: Path, tmp_path: Path, name: str, evidence: str, edit: Edit
) -> None:
    found = damaged(artifacts / "onnx-fp32-128d", tmp_path / "a", in_onnx(edit))
    assert list(found) == [name]
    assert evidence in found[name]


def test_the_model_of_another_dimension_lacks_the_slice(artifacts: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        for file in (artifacts / "onnx-q4_0-768d").glob("model.onnx*"):
            (folder / file.name).write_bytes(file.read_bytes())

    found = damaged(artifacts / "onnx-q4_0-128d", tmp_path / "a", change)
    assert found["slice-missing"] == "model.onnx: 768 numbers come out, the manifest says 128"
    assert set(found) == {"slice-missing", "weight-shape-wrong"}


def zeros_beyond_table(model: OnnxModel) -> None:
    lookup = node(model, "GatherBlockQuantized")
    codes, scales = "embed_tokens.weight.q4_0", "embed_tokens.weight.q4_0_scales"
    lookup.input[:] = [codes, "input_ids", scales]
    model.weights[scales] = model.weights[scales].astype(np.float32)


def test_a_lookup_that_gives_zeros_for_unknown_ids_is_named(artifacts: Path, tmp_path: Path) -> None:
    found = damaged(artifacts / "onnx-q4_0-128d", tmp_path / "a", in_onnx(zeros_beyond_table))
    assert "zeros beyond the table" in found["out-of-range-guard"]


def test_weights_beyond_the_end_of_their_file_are_named(artifacts: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        data = folder / "model.onnx.data"
        data.write_bytes(data.read_bytes()[:-4096])

    found = damaged(artifacts / "onnx-int8-128d", tmp_path / "a", change)
    assert "but the file ends at" in found["data-beyond-file"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("opset-unknown", lambda proto: setattr(proto.opset_import[0], "version", 99)),
        ("operator-unknown", lambda proto: setattr(proto.graph.node[9], "op_type", "MagicMul")),
        ("tensor-undefined", lambda proto: proto.graph.node[40].input.__setitem__(0, "nothing")),
    ],
)
def test_a_graph_that_no_runtime_would_open_is_named(
    artifacts: Path, tmp_path: Path, name: str, change: Callable[[onnx.ModelProto], None]
) -> None:
    def edit(folder: Path) -> None:
        proto = onnx.load(str(folder / "model.onnx"), load_external_data=False)
        change(proto)
        (folder / "model.onnx").write_bytes(proto.SerializeToString())

    assert name in damaged(artifacts / "onnx-fp32-128d", tmp_path / "a", edit)


# ---- other encoders, and the command


def test_a_traced_encoder_has_no_fault_and_its_head_and_weights_are_checked(tmp_path: Path) -> None:
    model = build_bert(tmp_path / "bert", "mean", dense=True)
    (parent,) = export_onnx(open_source(str(model)), [64], tmp_path)
    assert examine(open_artifact(parent)).faults == []
    folder = quantize_artifact(parent, "int8", tmp_path / "int8")
    assert examine(open_artifact(folder)).unchecked == [
        "window, rotary bases and scales: the manifest has no encoder record"
    ]

    def edit(model: OnnxModel) -> None:
        model.weights["head.1.weight_t"] *= np.float32(1.5)
        not_normalised(model)

    assert set(damaged(parent, tmp_path / "a", in_onnx(edit))) == {"scale-off", "not-normalised"}


def test_the_command_says_what_it_found_and_exits_with_1(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(artifacts / "onnx-fp32-128d", tmp_path / "bad", in_onnx(window(33)))
    good = str(artifacts / "onnx-q4_0-128d")
    assert main(["lint", good]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["verdict"] == "pass"
    assert main(["lint", good, str(tmp_path / "bad")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{good}: not checked: {NOTE}"
    assert any(line.startswith(f"{tmp_path}/bad: window-halved: model.onnx: window 32") for line in lines)
    (fault,) = json.loads(lines[-1])["faults"][str(tmp_path / "bad")]
    assert fault["name"] == "window-halved"


def test_what_is_no_artifact_is_one_line_and_exit_code_2(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", str(tmp_path)]) == 2
    assert "not a whole artifact" in capsys.readouterr().err
    (tmp_path / "a").mkdir()

    def change(folder: Path) -> None:
        (folder / "weights.json").write_text('{"schema": "other"}')

    with pytest.raises(UserError, match=r"schema 'other' is not 'pocketvec\.weights/1'"):
        damaged(artifacts / "onnx-fp32-128d", tmp_path / "b", change)
