"""export/artifact.py: an artifact is whole exactly when its manifest and every listed file agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from export.artifact import open_artifact, write_manifest, writing_artifact
from export.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    Manifest,
    ModelIdentity,
    ReferenceScores,
    RoundingCost,
    TensorSpec,
    TokenizerSpec,
)

FILES = {
    "model.onnx": b"graph",
    "model.onnx.data": b"weights" * 9,
    "tokenizer.json": b"{}",
    "golden.json": b"[]",
}
MANIFEST = Manifest(
    schema=MANIFEST_SCHEMA,
    name="tiny-fp32-d4",
    runtime="onnx",
    precision="fp32",
    dim=4,
    full_dim=8,
    max_tokens=16,
    model=ModelIdentity("tiny", "bert", "tiny", None, "0" * 64, {"name": "set", "sha256": "1" * 64}),
    prompts={"query": "q: "},
    pooling="mean",
    include_prompt=True,
    inputs=[TensorSpec("input_ids", "int64", ["batch", "tokens"], "token ids")],
    outputs=[TensorSpec("embedding", "float32", ["batch", "4"], "unit vectors")],
    tokenizer=TokenizerSpec("2" * 64, 0, "right", 100, False),
    files={},
    tools={"python": "3.11"},
    reference=ReferenceScores("set", "test", "3" * 64, "q: ", {"4": 0.5}, {"4": 0.25}),
    rounding=RoundingCost(0.999, 0.99),
)


def fill(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    write_manifest(folder, MANIFEST)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    with writing_artifact(tmp_path / "tiny") as folder:
        fill(folder)
    return tmp_path / "tiny"


def edit_manifest(artifact: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads((artifact / MANIFEST_NAME).read_text())
    change(raw)
    (artifact / MANIFEST_NAME).write_text(json.dumps(raw))


def refusal_of(artifact: Path) -> str:
    with pytest.raises(UserError) as refusal:
        open_artifact(artifact)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_manifest_comes_back_as_written_with_every_file_listed(artifact: Path) -> None:
    manifest = open_artifact(artifact).manifest
    assert {name: entry.bytes for name, entry in manifest.files.items()} == {
        name: len(content) for name, content in FILES.items()
    }
    assert manifest == Manifest(**{**vars(MANIFEST), "files": manifest.files})


def test_an_artifact_weighs_its_graph_and_weights_only(artifact: Path) -> None:
    opened = open_artifact(artifact)
    assert opened.file_bytes == len(FILES["model.onnx"]) + len(FILES["model.onnx.data"])
    assert opened.model_path == artifact / "model.onnx"


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named_with_both_sizes(artifact: Path, name: str) -> None:
    (artifact / name).write_bytes(FILES[name][:-1])
    size = len(FILES[name])
    assert refusal_of(artifact) == f"{artifact / name}: {size - 1} bytes, but the manifest says {size}"


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_of_the_same_size_is_named(artifact: Path, name: str) -> None:
    (artifact / name).write_bytes(bytes([FILES[name][0] ^ 1]) + FILES[name][1:])
    assert refusal_of(artifact).startswith(f"{artifact / name}: its SHA-256 differs")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(artifact: Path, name: str) -> None:
    (artifact / name).unlink()
    assert refusal_of(artifact) == f"{artifact / name}: missing, though the manifest lists it"


def test_files_are_left_unread_when_verification_is_declined(artifact: Path) -> None:
    (artifact / "model.onnx.data").write_bytes(b"")
    assert open_artifact(artifact, verify=False).manifest.name == "tiny-fp32-d4"


def test_a_folder_without_a_manifest_is_not_whole(artifact: Path) -> None:
    (artifact / MANIFEST_NAME).unlink()
    assert refusal_of(artifact) == f"{artifact}: not a whole artifact, it has no manifest.json"


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "absent") == f"{tmp_path / 'absent'}: no such artifact folder"


@pytest.mark.parametrize("schema", ["pocketvec.manifest/2", "other", None, 1])
def test_an_unknown_schema_is_named_before_its_fields_are_read(artifact: Path, schema: object) -> None:
    edit_manifest(artifact, lambda raw: raw.update(schema=schema, new_field=1))
    assert refusal_of(artifact).endswith(f"{MANIFEST_NAME}: schema '{schema}' is not '{MANIFEST_SCHEMA}'")


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_manifest_that_is_not_one_is_named(artifact: Path, content: str) -> None:
    (artifact / MANIFEST_NAME).write_text(content)
    assert refusal_of(artifact).startswith(f"{artifact / MANIFEST_NAME}: ")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda raw: raw.pop("dim"), "the field 'dim' is missing"),
        (lambda raw: raw.update(colour="red"), "unknown field 'colour'"),
        (lambda raw: raw.update(dim="4"), "dim: expected int, found '4'"),
        (lambda raw: raw["tokenizer"].pop("pad_id"), "tokenizer: the field 'pad_id' is missing"),
        (lambda raw: raw["files"].update(x=3), "files.x: expected a table of fields, found int"),
    ],
)
def test_a_manifest_with_a_wrong_field_is_named(
    artifact: Path, change: Callable[[dict[str, Any]], object], rule: str
) -> None:
    edit_manifest(artifact, change)
    assert f"{artifact / MANIFEST_NAME}: {rule}" in refusal_of(artifact)


def write_without_manifest(final: Path) -> None:
    with writing_artifact(final) as folder:
        (folder / "model.onnx").write_bytes(b"graph")


def test_an_artifact_that_ends_without_its_manifest_never_appears(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="an artifact ends with its manifest"):
        write_without_manifest(tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_artifact_is_refused(artifact: Path) -> None:
    with pytest.raises(UserError, match="already exists"):
        write_without_manifest(artifact)
    assert open_artifact(artifact).manifest.dim == 4
