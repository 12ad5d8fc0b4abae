"""bench/diagnosis.py: faults injected into real artifacts are called by their names, right ones have none."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.diagnosis import diagnose
from export.embedder import Embedder, Opening
from export.manifest import FAULTS_NAME
from tests import mutations as m

Change = Callable[[Path], Any]
FP32, Q8_0, Q4_0, INT8 = "onnx-fp32-128d", "onnx-q8_0-128d", "onnx-q4_0-128d", "onnx-int8-128d"
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
DOUBLED = {name: prompt * 2 for name, prompt in PROMPTS.items()}
SWAPPED = {"query": PROMPTS["document"], "document": PROMPTS["query"]}

GRAPHS: list[tuple[str, m.Edit, str]] = [
    ("embedding-scale-missing", m.embedding_scale, f"{FP32} {Q8_0} {INT8} {Q4_0}"),
    ("rope-base-wrong", m.rope(sliding=1, full=0), FP32),
    ("rope-base-wrong", m.rope(sliding=0, full=0), FP32),
    ("rope-base-wrong", m.rope(sliding=1, full=1), FP32),
    ("rope-missing", m.rope_missing, f"{FP32} {Q8_0}"),
    ("rope-interleaved", m.rope_interleaved, f"{FP32} {Q8_0}"),
    ("window-off-by-one", m.window(lambda right: right + 1), FP32),
    ("window-off-by-one", m.window(lambda right: right - 1), FP32),
    ("window-halved", m.window(lambda right: right // 2 + 1), FP32),
    ("window-doubled", m.window(lambda right: 2 * (right - 1)), FP32),
    ("window-ignored", m.window(lambda right: 1e6), FP32),
    ("causal-attention", m.causal, f"{FP32} {Q8_0}"),
    ("query-scale-missing", m.query_scale, f"{FP32} {Q8_0}"),
    ("final-norm-missing", m.final_norm, f"{FP32} {Q8_0} {Q4_0}"),
    ("norm-weight-without-one", m.norm_weights, FP32),
    ("layer-missing", m.last_layer, f"{FP32} {Q8_0} {Q4_0}"),
    ("layer-missing", m.first_layer, FP32),
    ("gate-up-swapped", m.gate_up, f"{FP32} {Q8_0} {Q4_0}"),
    ("activation-wrong", m.gelu, FP32),
    ("cls-pooling", m.pooling("cls"), f"{FP32} {Q8_0} {Q4_0}"),
    ("ids-shifted", m.ids_shifted, f"{FP32} {Q4_0}"),
    ("dense-missing", m.dense_missing, f"{FP32} {Q8_0} {Q4_0}"),
]
SANITY: list[tuple[list[str], m.Edit, str]] = [
    (["padding-changes-vector"], m.padding_pooled, f"{FP32} {Q4_0}"),
    (["padding-changes-vector"], m.padding_attended, f"{FP32} {Q8_0}"),
    (["batch-changes-vector", "padding-changes-vector"], m.neighbours, f"{FP32} {Q4_0}"),
    (["nondeterministic", "batch-changes-vector", "padding-changes-vector"], m.noise, FP32),
    (["not-normalised"], m.not_normalised, f"{FP32} {Q8_0}"),
    (["not-finite"], m.not_finite, f"{FP32} {Q4_0}"),
    (["unexplained"], m.scale_doubled, f"{FP32} {Q8_0} {Q4_0}"),
    (["padding-changes-vector", "last-token-pooling"], m.pooling("last"), f"{FP32} {Q4_0}"),
    (["max-pooling"], m.pooling("max"), f"{FP32} {Q4_0}"),
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
    return Embedder.open(path, Opening(threads=2, use_weight_cache=False))


def names(embedder: Embedder) -> list[str]:
    return [fault.name for fault in diagnose(embedder)]


def without_signature(folder: Path, name: str) -> None:
    """Take a fault out of the dictionary."""
    path = folder / FAULTS_NAME
    content = json.loads(path.read_text())
    content["wrong"] = {key: value for key, value in content["wrong"].items() if key.partition("/")[0] != name}
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
    (["slice-not-renormalised"], lambda artifacts: m.other_head(wide(artifacts), m.cut_last)),
    (["unexplained"], lambda _: m.rows_shuffled),
]


@pytest.mark.parametrize(("expected", "make"), HEADS, ids=[one[0][0] for one in HEADS])
def test_wrong_weights_are_named(
    artifacts: Path, tmp_path: Path, expected: list[str], make: Callable[[Path], Change]
) -> None:
    folder = m.mutated(artifacts / FP32, tmp_path / "wrong", make(artifacts))
    assert names(opened(folder)) == expected
