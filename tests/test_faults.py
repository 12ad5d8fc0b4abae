"""export/wrong/pipelines.py: wrong pipelines are really wrong, told apart, and leave the model as it was."""

import dataclasses
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bert import build_bert

from common.errors import UserError
from export.manifest import FAULTS_NAME
from export.profiles import faults_of
from export.source import Source, open_source
from export.wrong.pipelines import FaultMaker, make_faults
from export.wrong.table import FaultTable, read_faults, write_faults

FORMS_APART = 0.05
LARGEST_BYTES = 120_000


@pytest.fixture(scope="module")
def maker(starter: Source) -> FaultMaker:
    return make_faults(starter, starter.max_tokens)


@pytest.fixture(scope="module")
def table(maker: FaultMaker) -> FaultTable:
    return maker.table(128)


def encoded(source: Source, table: FaultTable) -> np.ndarray:
    return np.stack(
        [
            source.model.encode(
                one.text, prompt=one.prompt, truncate_dim=table.dim, normalize_embeddings=True
            )
            for one in table.probes
        ]
    )


def test_the_right_vectors_are_those_of_encode_before_and_after(starter: Source) -> None:
    before = None
    for _ in range(2):
        table = make_faults(starter, starter.max_tokens).table(128)
        right = np.stack([one.vector for one in table.probes])
        now = encoded(starter, table)
        assert np.abs(now - right).max() < 1e-6
        assert before is None or np.array_equal(before, now)
        before = now


def test_every_wrong_pipeline_of_the_starter_is_there(maker: FaultMaker) -> None:
    names = {name.partition("/")[0] for name in (*maker.table(128).wrong, *maker.table(768).wrong)}
    assert len(names) >= 35
    assert {"prompt-missing", "bos-missing", "cls-pooling", "window-off-by-one", "slice-wrong"} <= names
    assert {"dense-missing", "head-transposed", "causal-attention", "layer-missing"} <= names


def test_faults_of_different_names_are_told_apart(table: FaultTable) -> None:
    """Two pipelines whose differences are nearly the same could be taken for each other."""
    vectors = {name: {one.probe: one.difference for one in many} for name, many in table.wrong.items()}
    near = []
    for (first, a), (second, b) in combinations(vectors.items(), 2):
        shared = sorted(a.keys() & b.keys())
        if first.partition("/")[0] == second.partition("/")[0] or not shared:
            continue
        left, right = (np.concatenate([one[place] for place in shared]) for one in (a, b))
        apart = float(np.linalg.norm(left - right)) / max(np.linalg.norm(left), np.linalg.norm(right))
        if apart < FORMS_APART:
            near.append((first, second, round(apart, 3)))
    assert near == []


def test_only_probes_beyond_the_window_know_wrong_windows(table: FaultTable) -> None:
    for name, wrong in table.wrong.items():
        places = {one.probe for one in wrong}
        assert places == {2} if name.startswith("window-") else places <= {0, 1}
    assert len(table.probes[2].ids) > 2 * 65


def test_an_artifact_too_short_for_its_window_has_no_long_probe(starter: Source) -> None:
    assert len(make_faults(starter, 64).table(128).probes) == 2


def test_a_table_is_read_as_it_was_written(table: FaultTable, tmp_path: Path) -> None:
    write_faults(tmp_path / FAULTS_NAME, table)
    read = read_faults(tmp_path)
    assert read is not None
    assert all(np.array_equal(a.vector, b.vector) for a, b in zip(read.probes, table.probes, strict=True))
    assert read.wrong.keys() == table.wrong.keys()
    for name, many in table.wrong.items():
        for right, one in zip(many, read.wrong[name], strict=True):
            assert (right.probe, right.ids) == (one.probe, one.ids)
            error = np.linalg.norm(right.difference - one.difference) / np.linalg.norm(right.difference)
            assert error < 0.025


def test_the_file_of_full_dimension_is_small(maker: FaultMaker, tmp_path: Path) -> None:
    write_faults(tmp_path / FAULTS_NAME, maker.table(768))
    assert (tmp_path / FAULTS_NAME).stat().st_size < LARGEST_BYTES


def test_a_folder_without_the_file_has_no_table(tmp_path: Path) -> None:
    assert read_faults(tmp_path) is None


def spoilt(content: dict[str, Any], what: str) -> dict[str, Any]:
    first = content["wrong"]["bos-missing"][0]
    changes: dict[str, tuple[dict[str, Any], str, Any]] = {
        "schema": (content, "schema", "pocketvec.faults/0"),
        "unknown field": (content, "more", 1),
        "another length": (first, "codes", first["codes"][:-8]),
        "not a fault table": (first, "codes", "*"),
        "belongs to no probe": (first, "probe", 7),
    }
    owner, key, value = changes[what]
    owner[key] = value
    return content


@pytest.mark.parametrize(
    "what", ["schema", "unknown field", "another length", "not a fault table", "belongs to no probe"]
)
def test_a_file_that_is_none_is_refused_in_one_line(table: FaultTable, tmp_path: Path, what: str) -> None:
    path = tmp_path / FAULTS_NAME
    write_faults(path, table)
    path.write_text(json.dumps(spoilt(json.loads(path.read_text()), what)))
    with pytest.raises(UserError, match=what) as caught:
        read_faults(tmp_path)
    assert FAULTS_NAME in str(caught.value)
    assert "\n" not in str(caught.value)


def test_quantised_artifacts_carry_the_table_of_their_parent(artifacts: Path) -> None:
    parent = (artifacts / "onnx-fp32-128d" / FAULTS_NAME).read_bytes()
    assert (artifacts / "onnx-q4_0-128d" / FAULTS_NAME).read_bytes() == parent


def test_runtimes_share_the_faults_of_a_source_unless_a_limit_cuts_a_text(starter: Source) -> None:
    source = dataclasses.replace(starter)
    assert source.known == {}
    whole = faults_of(source, 2048)
    assert faults_of(source, whole.needed) is whole
    assert len(faults_of(source, 100).texts[2].ids) == 100
    assert len(faults_of(source, 64).texts) == 2
    again = faults_of(source, 2048)
    assert again is not whole
    assert again.texts == whole.texts


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_bert_has_faults_of_its_own(tmp_path: Path, pooling: str) -> None:
    source = open_source(str(build_bert(tmp_path / "bert", pooling, include_prompt=pooling == "cls")))
    table = make_faults(source, source.max_tokens).table(128)
    names = {name.partition("/")[0] for name in table.wrong}
    assert {"positions-off-by-one", "token-types-wrong", "layer-missing", "prompt-missing"} <= names
    assert {"bos-missing", "eos-missing", "slice-wrong", "max-pooling"} <= names
    assert ("cls-pooling" in names, "mean-pooling" in names) == (pooling == "mean", pooling == "cls")
    assert ("prompt-pooled" in names) == (pooling == "mean")
    assert not any(name.startswith(("window", "rope")) for name in names)
    assert np.abs(encoded(source, table) - [one.vector for one in table.probes]).max() < 1e-6


def test_wrong_dense_orders_are_tried_where_shapes_allow(starter: Source) -> None:
    square = [
        dataclasses.replace(starter.layers[0], weight=w)
        for w in np.random.default_rng(0).normal(size=(2, 256, 256)).astype(np.float32)
    ]
    maker = make_faults(starter, 64)
    turned = dataclasses.replace(
        maker, source=dataclasses.replace(starter, layers=square), right=maker.right[:, :256]
    )
    names = set(turned.table(128).wrong)
    assert {"dense-order-swapped", "dense-order-swapped/transposed", "dense-transposed/1"} <= names
    assert {"dense-missing/1", "dense-missing/2", "dense-missing/all"} <= names
