import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tiny_litert import ROWS, write_tiny

from common.errors import UserError
from export.artifact import Artifact
from export.contract import ContractCheck, check_rag_sdk
from export.source import Source
from export.tflite_file import write_tflite
from export.tflite_graph import GraphBuilder
from export.to_litert import _begin_gemma, build_model


def copy(artifact: Artifact, folder: Path) -> Artifact:
    shutil.copytree(artifact.path, folder)
    return Artifact(folder, artifact.manifest)


def int64_input(graph: GraphBuilder) -> None:
    graph.graph.tensors[graph.graph.inputs[0]].type = schema.TensorType.INT64


def second_input(graph: GraphBuilder) -> None:
    graph.input("attention_mask", [1, 8], "int32")


def second_output(graph: GraphBuilder) -> None:
    graph.graph.outputs.append(graph.graph.outputs[0])


def dynamic_length(graph: GraphBuilder) -> None:
    graph.graph.tensors[graph.graph.inputs[0]].shapeSignature = np.array([1, -1], np.int32)


def flat_output(graph: GraphBuilder) -> None:
    graph.graph.outputs = [graph.reshape(graph.graph.outputs[0], [4])]


def no_signature_and_two_subgraphs(graph: GraphBuilder) -> None:
    graph.builder.model.signatureDefs = []
    GraphBuilder(graph.builder, "other")


def test_the_rag_sdk_export_keeps_the_contract(rag_sdk: Artifact) -> None:
    rows = rag_sdk.manifest.tokenizer.vocab_size
    assert check_rag_sdk(rag_sdk.model_path) == ContractCheck(faults=(), unchecked=(), table_rows=rows)


def test_the_ordinary_form_fails_for_its_signatures(starter: Source, tmp_path: Path) -> None:
    model = build_model(starter, _begin_gemma(starter, [8, 16]), (128,), contract=None)
    write_tflite(tmp_path / "m.tflite", model.model, model.weights)
    (fault,) = check_rag_sdk(tmp_path / "m.tflite").faults
    assert fault == "it has 2 signatures (seq8, seq16); the client runs the first subgraph only"


def test_a_file_of_another_maker_keeps_the_contract(tmp_path: Path) -> None:
    assert check_rag_sdk(write_tiny(tmp_path / "m.tflite")) == ContractCheck((), (), ROWS)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (int64_input, "input 'args_0' is int64 [1, 8]; the client takes int32 [1, seq] of fixed size"),
        (dynamic_length, "input 'args_0' is int32 [1, -1]; the client takes int32 [1, seq] of fixed size"),
        (second_input, "it has 2 inputs (args_0, attention_mask); the client knows exactly one"),
        (second_output, "it has 2 outputs (output_0, output_0); the client knows exactly one"),
        (flat_output, "output '' is float32 [4]; the client takes float32 [1, dim] of fixed size"),
        (
            no_signature_and_two_subgraphs,
            "it has 2 subgraphs and no signature; the client runs the first only",
        ),
    ],
)
def test_a_wrong_form_is_named(change: Callable[[GraphBuilder], None], fault: str, tmp_path: Path) -> None:
    assert check_rag_sdk(write_tiny(tmp_path / "m.tflite", change)).faults == (fault,)


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    def change(graph: GraphBuilder) -> None:
        second_input(graph)
        int64_input(graph)
        flat_output(graph)

    check = check_rag_sdk(write_tiny(tmp_path / "m.tflite", change))
    assert len(check.faults) == 3
    assert check.unchecked == ("its vectors, for it cannot be run as the client does",)


@pytest.mark.parametrize("lookup", ["EMBEDDING_LOOKUP", "GATHER"])
def test_padding_that_counts_is_found(lookup: str, tmp_path: Path) -> None:
    assert check_rag_sdk(write_tiny(tmp_path / "good.tflite", lookup=lookup)) == ContractCheck((), (), ROWS)
    (fault,) = check_rag_sdk(write_tiny(tmp_path / "m.tflite", masked=False, lookup=lookup)).faults
    assert fault == "padding (id 0) is not masked: its row of the table moves the vector"


def test_a_vector_that_is_not_of_unit_norm_is_found(tmp_path: Path) -> None:
    faults = check_rag_sdk(write_tiny(tmp_path / "m.tflite", unit=False)).faults
    assert len(faults) == 3
    assert all(" has norm " in fault for fault in faults)


def test_a_vector_that_is_not_finite_is_found(tmp_path: Path) -> None:
    table = np.full((ROWS, 4), np.inf)
    faults = check_rag_sdk(write_tiny(tmp_path / "m.tflite", table=table)).faults
    assert "the vector of a short text is not finite" in faults


def test_what_the_runs_cannot_show_is_called_unchecked(tmp_path: Path) -> None:
    check = check_rag_sdk(write_tiny(tmp_path / "m.tflite", masked=False, table=np.ones((ROWS, 4))))
    assert check.faults == ("a short text and one of full length have the same vector",)
    assert check.unchecked[0].startswith("whether padding is masked")


def test_a_file_that_is_cut_by_one_byte_is_refused(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "m.tflite")
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"m\.tflite: not a whole \.tflite file"):
        check_rag_sdk(model)


def test_what_is_no_tflite_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("a text that is long enough for a header")
    for path in (text, tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"not a whole \.tflite file|no such file"):
            check_rag_sdk(path)
