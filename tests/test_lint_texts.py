"""Faults of manifest, prompts and tokenizer are named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from artifact_editing import damaged, in_json, in_manifest

from export.artifact import open_artifact
from export.bpe_table import build_table
from export.lint.examine import examine

NOTE = "ids from 16384 on (1) have no row: the client must refuse them, as ours does"

QUERY = "task: search result | query: "


def template(edit: Callable[[list[dict[str, object]]], object]) -> Callable[[Path], None]:
    return in_json("tokenizer.json", lambda spec: edit(spec["post_processor"]["single"]))


def compact_without_bos(folder: Path) -> None:
    spec = json.loads((folder / "tokenizer.json").read_text())
    del spec["post_processor"]["single"][0]
    (folder / "tokenizer.bin").write_bytes(build_table(spec))


def golden_prompts(change: Callable[[str], str]) -> Callable[[Path], None]:
    def edit(golden: dict[str, list[dict[str, str]]]) -> None:
        for row in golden["texts"]:
            row["prompt"] = change(row["prompt"])

    return in_json("golden.json", edit)


def doubled_query(manifest: dict[str, dict[str, str]]) -> None:
    manifest["prompts"]["query"] *= 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("prompt-missing", in_manifest(prompts={})),
        ("prompt-doubled", in_json("manifest.json", doubled_query)),
        ("prompt-doubled", golden_prompts(lambda prompt: prompt * 2 if prompt == QUERY else prompt)),
        ("prompt-wrong", golden_prompts(lambda prompt: prompt.replace("search", "Search"))),
        ("bos-missing", template(lambda parts: parts.pop(0))),
        ("eos-missing", template(lambda parts: parts.pop())),
        ("bos-eos-swapped", template(lambda parts: parts.reverse())),
        ("bos-missing", compact_without_bos),
        ("out-of-range-guard", in_json("manifest.json", lambda m: m["tokenizer"].update(vocab_size=20000))),
        ("golden-ids-out-of-range", in_json("golden.json", lambda g: g["texts"][3]["ids"].append(16384))),
        ("dtype-wrong", in_json("manifest.json", lambda m: m["inputs"][0].update(dtype="int32"))),
        ("input-missing", in_json("manifest.json", lambda m: m["inputs"][0].update(name="ids"))),
        ("pooling-wrong", in_manifest(pooling="cls")),
    ],
)
def test_a_fault_of_manifest_or_tokenizer_is_named(
    artifacts: Path, tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    found = damaged(artifacts / "onnx-q8_0-128d", tmp_path / "a", change)
    assert name in found
    assert len(found) == 1 + (name == "input-missing")


def test_golden_ids_without_their_prompt_are_named(artifacts: Path, tmp_path: Path) -> None:
    def edit(golden: dict[str, list[dict[str, object]]]) -> None:
        bare = next(row for row in golden["texts"] if row["text"] == "" and row["prompt"] == "")
        next(row for row in golden["texts"] if row["text"] == "" and row["prompt"])["ids"] = bare["ids"]

    found = damaged(artifacts / "onnx-q8_0-128d", tmp_path / "a", in_json("golden.json", edit))
    assert list(found) == ["prompt-missing"]


def test_ids_without_a_row_are_noted_but_are_no_fault(artifacts: Path) -> None:
    (note,) = examine(open_artifact(artifacts / "onnx-q4_0-128d")).unchecked
    assert note == NOTE
