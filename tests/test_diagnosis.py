"""bench/diagnosis.py: faults injected into real artifacts are called by their names, right ones have none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graph_faults as f
import mutations as m
import numpy as np
import pytest
from tiny_bert import build_bert

from bench.diagnosis import diagnose
from export.embedder import Embedder, Opening
from export.golden import golden_results, read_golden
from export.manifest import FAULTS_NAME
from export.source import open_source
from export.to_onnx import export_onnx

Change = Callable[[Path], Any]
FP32, Q8_0, Q4_0, INT8 = "onnx-fp32-128d", "onnx-q8_0-128d", "onnx-q4_0-128d", "onnx-int8-128d"
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
DOUBLED = {name: prompt * 2 for name, prompt in PROMPTS.items()}
SWAPPED = {"query": PROMPTS["document"], "document": PROMPTS["query"]}

GRAPHS: list[tuple[str, m.Edit, str]] = [
    ("embedding-scale-missing", f.embedding_scale, f"{FP32} {Q8_0} {INT8} {Q4_0}"),
    ("rope-base-wrong", f.rope(sliding=1, full=0), f"{FP32} {INT8} {Q8_0}"),
    ("rope-base-wrong", f.rope(sliding=0, full=0), f"{FP32} {Q8_0}"),
    ("rope-base-wrong", f.rope(sliding=1, full=1), FP32),
    ("rope-missing", f.rope_missing, f"{FP32} {Q8_0} {Q4_0}"),
    ("rope-interleaved", f.rope_interleaved, f"{FP32} {Q8_0} {Q4_0}"),
    ("window-off-by-one", f.window(lambda right: right + 1), FP32),
    ("window-off-by-one", f.window(lambda right: right - 1), FP32),
    ("window-halved", f.window(lambda right: right // 2 + 1), f"{FP32} {Q8_0} {INT8}"),
    ("window-doubled", f.window(lambda right: 2 * (right - 1)), f"{FP32} {INT8}"),
    ("window-ignored", f.window(lambda right: 1e6), f"{FP32} {Q8_0}"),
    ("causal-attention", f.causal, f"{FP32} {Q8_0} {INT8} {Q4_0}"),
    ("query-scale-missing", f.query_scale, f"{FP32} {Q8_0} {Q4_0}"),
    ("final-norm-missing", f.final_norm, f"{FP32} {Q8_0} {Q4_0}"),
    ("norm-weight-without-one", f.norm_weights, f"{FP32} {Q4_0}"),
    ("layer-missing", f.last_layer, f"{FP32} {Q8_0} {Q4_0}"),
    ("layer-missing", f.first_layer, FP32),
    ("gate-up-swapped", f.gate_up, f"{FP32} {Q8_0} {INT8} {Q4_0}"),
    ("activation-wrong", f.gelu, FP32),
    ("cls-pooling", f.pooling("cls"), f"{FP32} {Q8_0} {Q4_0}"),
    ("ids-shifted", f.ids_shifted, f"{FP32} {Q4_0}"),
    ("dense-missing", f.dense_missing, f"{FP32} {Q8_0} {Q4_0}"),
]
SANITY: list[tuple[list[str], m.Edit, str]] = [
    (["padding-changes-vector"], f.padding_pooled, f"{FP32} {Q4_0}"),
    (["padding-changes-vector"], f.padding_attended, f"{FP32} {Q8_0}"),
    (["batch-changes-vector", "padding-changes-vector"], f.neighbours, f"{FP32} {Q4_0}"),
    (["not-normalised"], f.not_normalised, f"{FP32} {Q8_0}"),
    (["not-finite"], f.not_finite, f"{FP32} {Q4_0}"),
    (["unexplained"], f.scales_quadrupled, FP32),
    (["padding-changes-vector", "last-token-pooling"], f.pooling("last"), f"{FP32} {Q4_0}"),
    (["max-pooling"], f.pooling("max"), f"{FP32} {Q4_0}"),
]
CLIENTS: list[tuple[str, Change]] = [
    ("prompt-missing", m.manifest_edit(prompts={})),
    ("prompt-doubled", m.manifest_edit(prompts=DOUBLED)),
    ("prompts-swapped", m.manifest_edit(prompts=SWAPPED)),
    ("bos-missing", m.template("text", "eos")),
    ("eos-missing", m.template("bos", "text")),
    ("bos-doubled", m.template("bos", "bos", "text", "eos")),
    ("bos-eos-swapped", m.template("eos", "text", "bos")),
    ("special-tokens-missing", m.template("text")),
    ("lower-cased", m.tokenizer_spec(lower_case=True)),
    ("ids-differ", m.manifest_edit(max_tokens=64)),
    ("out-of-range-ids-accepted", m.tokenizer_spec(vocab_size=16385)),
]


def spread(table: list[tuple[Any, m.Edit, str]]) -> list[Any]:
    """One case for each artifact that a row names."""
    rows = [(names, edit, artifact) for names, edit, chosen in table for artifact in chosen.split()]
    return [pytest.param(*row, id=f"{row[0]}-{row[2]}-{place}") for place, row in enumerate(rows)]


def opened(path: Path) -> Embedder:
    return Embedder.open(path, Opening(use_weight_cache=False), verify=False)


def names(embedder: Embedder) -> list[str]:
    return [fault.name for fault in diagnose(embedder)]


def without_signature(folder: Path, name: str) -> None:
    """Take a fault out of the dictionary."""
    path = folder / FAULTS_NAME
    content = json.loads(path.read_text())
    content["wrong"] = {
        key: value for key, value in content["wrong"].items() if key.partition("/")[0] != name
    }
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(("name", "edit", "artifact"), spread(GRAPHS))
def test_a_wrong_graph_is_named_by_its_signature(
    artifacts: Path, tmp_path: Path, name: str, edit: m.Edit, artifact: str
) -> None:
    folder = m.mutated(artifacts / artifact, tmp_path / "wrong", m.graph_edit(edit))
    embedder = opened(folder)
    assert names(embedder) == [name]
    without_signature(folder, name)
    assert name not in names(embedder)


@pytest.mark.parametrize(("expected", "edit", "artifact"), spread(SANITY))
def test_what_no_embedding_model_may_do_is_named(
    artifacts: Path, tmp_path: Path, expected: list[str], edit: m.Edit, artifact: str
) -> None:
    folder = m.mutated(artifacts / artifact, tmp_path / "wrong", m.graph_edit(edit))
    assert names(opened(folder)) == expected


@pytest.mark.parametrize(("name", "change"), CLIENTS, ids=[name for name, _ in CLIENTS])
@pytest.mark.parametrize("artifact", [FP32, Q4_0])
def test_what_goes_wrong_before_the_graph_is_named(
    artifacts: Path, tmp_path: Path, name: str, change: Change, artifact: str
) -> None:
    folder = m.mutated(artifacts / artifact, tmp_path / "wrong", change)
    assert names(opened(folder)) == [name]


def wide(artifacts: Path) -> Path:
    return artifacts / "onnx-fp32-768d"


def last_columns(artifacts: Path) -> Change:
    """The last 128 of the 768 columns of the full head."""
    weights = np.fromfile(wide(artifacts) / "model.onnx.head", dtype="<f4").reshape(m.HIDDEN, 768)
    return m.head_weights(lambda _: weights[:, -128:])


HEADS: list[tuple[list[str], Callable[[Path], Change]]] = [
    (["head-transposed"], lambda _: m.head_weights(lambda one: one.reshape(128, 256).T)),
    (["slice-wrong"], last_columns),
    (["slice-missing"], lambda artifacts: m.other_head(wide(artifacts))),
    (["slice-not-renormalised"], lambda artifacts: m.other_head(wide(artifacts), f.cut_last)),
    (["unexplained"], lambda _: m.rows_shuffled),
]


@pytest.mark.parametrize(("expected", "make"), HEADS, ids=[one[0][0] for one in HEADS])
def test_wrong_weights_are_named(
    artifacts: Path, tmp_path: Path, expected: list[str], make: Callable[[Path], Change]
) -> None:
    folder = m.mutated(artifacts / FP32, tmp_path / "wrong", make(artifacts))
    assert names(opened(folder)) == expected


def all_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def test_right_artifacts_of_either_runtime_have_no_fault(artifacts: Path, litert_artifacts: Path) -> None:
    found = {path.name: names(opened(path)) for path in [*all_of(artifacts), *all_of(litert_artifacts)]}
    assert len(found) == 18
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("artifact", [FP32, INT8, Q4_0])
def test_a_right_artifact_has_no_fault_beside_its_golden_results(artifacts: Path, artifact: str) -> None:
    embedder = opened(artifacts / artifact)
    assert diagnose(embedder, golden_results(embedder, 64)) == []


def test_right_gguf_artifacts_have_no_fault(gguf_artifacts: Path) -> None:
    assert {path.name: diagnose(Embedder.open(path)) for path in all_of(gguf_artifacts)} == {
        "gguf-fp32-128d": [],
        "gguf-fp32-768d": [],
        "gguf-mixed-128d": [],
        "gguf-q4_0-128d": [],
        "gguf-q8_0-128d": [],
    }


def older(folder: Path) -> None:
    (folder / FAULTS_NAME).unlink()


def test_an_older_artifact_is_diagnosed_by_golden_texts_alone(artifacts: Path, tmp_path: Path) -> None:
    right = m.mutated(artifacts / FP32, tmp_path / "right", older)
    assert names(opened(right)) == []

    def wrong(folder: Path) -> None:
        older(folder)
        m.graph_edit(f.embedding_scale)(folder)

    assert names(opened(m.mutated(artifacts / FP32, tmp_path / "wrong", wrong))) == ["unexplained"]
    spoilt = m.mutated(right, tmp_path / "spoilt", m.template("text", "eos"))
    assert names(opened(spoilt)) == ["ids-differ"]


def test_with_golden_results_a_fault_on_other_texts_is_seen(artifacts: Path, tmp_path: Path) -> None:
    """8 bits on three probes cannot be sure of a loss that forty texts show."""
    folder = m.mutated(artifacts / Q8_0, tmp_path / "wrong", m.graph_edit(f.scales_quadrupled))
    embedder = opened(folder)
    assert names(embedder) == []
    assert [fault.name for fault in diagnose(embedder, golden_results(embedder, 64))] == ["unexplained"]


def test_a_model_that_is_never_the_same_twice_is_named(artifacts: Path, monkeypatch: Any) -> None:
    embedder = opened(artifacts / Q8_0)
    monkeypatch.setattr(embedder, "_session", m.Trembling(embedder.session))
    assert names(embedder) == ["nondeterministic"]


def test_an_embedder_without_its_guard_is_named(artifacts: Path, monkeypatch: Any) -> None:
    """As fp32 ONNX does by itself for -1; past the table that runtime refuses."""
    embedder = opened(artifacts / FP32)
    monkeypatch.setattr(embedder, "run", embedder.session.run_batch)
    (fault,) = diagnose(embedder)
    assert fault.name == "out-of-range-ids-accepted"
    assert "id -1 gives a vector" in fault.evidence


def two_axes_wrong(graph: m.Graph) -> None:
    node = graph.maker("head.0.product")
    graph.change_input(node, 0, "Concat", "pooled", axis=1)


def test_a_graph_that_opens_but_cannot_run_is_named(artifacts: Path, tmp_path: Path) -> None:
    folder = m.mutated(artifacts / FP32, tmp_path / "wrong", m.graph_edit(two_axes_wrong))
    assert names(opened(folder)) == ["does-not-run"]


def test_a_bert_that_pools_its_prompt_is_named(tmp_path: Path) -> None:
    source = open_source(str(build_bert(tmp_path / "bert", "mean", include_prompt=False)))
    (right,) = export_onnx(source, [128], tmp_path / "out")
    assert names(opened(right)) == []
    wrong = m.mutated(right, tmp_path / "wrong", m.manifest_edit(include_prompt=True))
    assert names(opened(wrong)) == ["prompt-pooled"]


def test_evidence_has_the_form_and_the_numbers(artifacts: Path, tmp_path: Path) -> None:
    edit = m.graph_edit(f.window(lambda right: right + 1))
    (fault,) = diagnose(opened(m.mutated(artifacts / FP32, tmp_path / "wrong", edit)))
    assert re.match(r"too wide: explains (0\.99|1\.00)", fault.evidence)
    bos = m.mutated(artifacts / FP32, tmp_path / "bos", m.template("text", "eos"))
    (fault,) = diagnose(opened(bos))
    assert "gives 25 ids, the right ones are 26" in fault.evidence


def test_golden_results_tell_text_by_text(artifacts: Path, tmp_path: Path) -> None:
    embedder = opened(artifacts / FP32)
    results = golden_results(embedder, 64)
    assert all(one.ids_equal and one.finite for one in results)
    assert all(one.cosine > 0.999999 and abs(one.norm - 1) < 1e-5 for one in results)
    assert {one.tokens for one in results} == {
        len(one.ids) for one in read_golden(embedder.artifact.path, 64)
    }
    edits = {"long": f.not_normalised, "infinite": f.not_finite}
    wrong = {
        name: golden_results(opened(m.mutated(artifacts / FP32, tmp_path / name, m.graph_edit(edit))), 8)
        for name, edit in edits.items()
    }
    assert all(abs(one.norm - 1) > 0.01 and one.cosine > 0.999999 for one in wrong["long"])
    assert not any(one.finite for one in wrong["infinite"])
    assert {one.cosine for one in wrong["infinite"]} == {-1.0}
