import dataclasses
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceTrainer
from tiny_litert import SEQ, write_tiny

from common.errors import UserError
from export.artifact import Artifact
from export.contract import ContractCheck
from export.embedder import Embedder, Opening
from export.golden import read_golden
from export.task_bundle import (
    DOCUMENT_PROMPT,
    QUERY_PROMPT,
    check_task,
    client_notes,
    data_offset,
    write_rag_sdk,
    write_task,
)

MEDIAPIPE = """
import json, sys
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.text import text_embedder as mp

def embed(given, **context):
    with mp.TextEmbedder.create_from_model_path(sys.argv[1]) as embedder:
        contexts = [mp.TextFormatContext(**context)] if context else []
        vectors = [embedder.embed(text, *contexts).embeddings[0].embedding for text in given]
        return [[float(x) for x in vector] for vector in vectors]

texts = json.load(open(sys.argv[2]))
kinds = mp.EmbeddingType
found = {
    "raw": embed(texts["raw"]),
    "query": embed(texts["short"], task_type=kinds.RETRIEVAL_QUERY),
    "document": embed(texts["short"], task_type=kinds.RETRIEVAL_DOCUMENT, role=mp.TextRole.DOCUMENT),
}
embedder = mp.TextEmbedder.create_from_model_path(sys.argv[1])
for name in ("too_long", "after"):
    try:
        embedder.embed(texts[name])
    except RuntimeError as error:
        found[name] = str(error)
json.dump(found, open(sys.argv[3], "w"))
sys.stdout.flush()
import os; os._exit(0)  # closing an embedder that has failed raises once more
"""


def copy(artifact: Artifact, folder: Path) -> Artifact:
    shutil.copytree(artifact.path, folder)
    return Artifact(folder, artifact.manifest)


def repack(
    task: Path, out: Path, compress: str = "", without: str = "", more: dict[str, bytes] | None = None
) -> Path:
    """The bundle again, entries in any place, one of them compressed or left out, others added."""
    with zipfile.ZipFile(task) as old, zipfile.ZipFile(out, "w") as new:
        for name, content in {**{n: old.read(n) for n in old.namelist()}, **(more or {})}.items():
            kind = zipfile.ZIP_DEFLATED if name == compress else zipfile.ZIP_STORED
            if name != without:
                new.writestr(name, content, kind)
    return out


def sentencepiece(**settings: Any) -> bytes:
    """A SentencePiece model of 24 pieces."""
    model = io.BytesIO()
    words = iter(["salt and brine", "the reeve decides", "a board and a book"] * 9)
    settings |= {"vocab_size": 24, "minloglevel": 2}
    SentencePieceTrainer.train(sentence_iterator=words, model_writer=model, **settings)
    return model.getvalue()


def test_a_task_holds_the_artifacts_files_stored_and_aligned(rag_sdk: Artifact, task: Path) -> None:
    with zipfile.ZipFile(task) as bundle:
        entries = bundle.infolist()
        assert [one.filename for one in entries] == ["gemma.tflite", "sentencepiece.model", "manifest.pb"]
        assert {one.compress_type for one in entries} == {zipfile.ZIP_STORED}
        assert {one.date_time for one in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert [data_offset(task, one) % 4096 for one in entries] == [0, 0, 0]
        assert bundle.read("gemma.tflite") == rag_sdk.model_path.read_bytes()
        assert bundle.read("sentencepiece.model") == (rag_sdk.path / "tokenizer.model").read_bytes()
        assert bundle.read("manifest.pb") == b"\x12\x10litert-fp32-128d"
        at = data_offset(task, entries[0])
    assert task.read_bytes()[at + 4 : at + 8] == b"TFL3"


def test_a_task_keeps_the_contract(rag_sdk: Artifact, task: Path) -> None:
    assert check_task(task) == ContractCheck((), (), rag_sdk.manifest.tokenizer.vocab_size)


def test_the_same_artifact_gives_the_same_task(rag_sdk: Artifact, task: Path, tmp_path: Path) -> None:
    write_task(copy(rag_sdk, tmp_path / "later"), tmp_path / "again.task")
    assert (tmp_path / "again.task").read_bytes() == task.read_bytes()


def test_a_bundle_that_is_packed_otherwise_is_faulted_for_all_of_it(task: Path, tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "m.tflite", masked=False).read_bytes()
    more = {"gemma.tflite": tiny, "second.tflite": tiny, "sentencepiece.model": b"not one"}
    faults = check_task(repack(task, tmp_path / "x.task", "manifest.pb", more=more)).faults
    wanted = (
        "manifest.pb: compressed or encrypted",
        "it holds 2 .tflite files (gemma.tflite, second.tflite)",
        "gemma.tflite: begins at byte 42, not at a multiple of 4",
        "gemma.tflite: padding (id 0) is not masked",
        "second.tflite: padding (id 0) is not masked",
        "sentencepiece.model: not a SentencePiece model",
    )
    assert [one for one in wanted if not any(fault.startswith(one) for fault in faults)] == []


def test_a_compressed_model_is_a_fault(task: Path, tmp_path: Path) -> None:
    tiny = {"gemma.tflite": write_tiny(tmp_path / "m.tflite").read_bytes()}
    (fault,) = check_task(repack(task, tmp_path / "x.task", "gemma.tflite", more=tiny)).faults
    assert fault.startswith("gemma.tflite: compressed or encrypted")


def test_an_encrypted_tokenizer_is_a_fault(task: Path, tmp_path: Path) -> None:
    content = bytearray(task.read_bytes())
    name = content.rindex(b"sentencepiece.model")  # its entry in the directory, flags 38 bytes before
    content[name - 38] |= 1
    (tmp_path / "x.task").write_bytes(content)
    assert check_task(tmp_path / "x.task").faults == (
        "sentencepiece.model: compressed or encrypted, but MediaPipe reads stored entries only",
    )


def test_a_bundle_without_its_parts_is_a_fault(task: Path, tmp_path: Path) -> None:
    (first, second) = check_task(
        repack(
            repack(task, tmp_path / "x", without="gemma.tflite"),
            tmp_path / "y",
            without="sentencepiece.model",
        )
    ).faults
    assert first.startswith("it holds 0 .tflite files")
    assert second.startswith("it has no sentencepiece.model")


@pytest.mark.parametrize(
    ("settings", "faults"),
    [
        (
            {"pad_id": 3},
            ["pads with id 3, but the model takes 0", "has 24 pieces, but the embedding table 16"],
        ),
        ({"pad_id": 0, "unk_id": 3, "bos_id": -1}, ["has no begin token", "has 24 pieces"]),
        ({"pad_id": 0, "unk_id": 3, "eos_id": -1}, ["has no end token", "has 24 pieces"]),
    ],
)
def test_a_tokenizer_that_does_not_suit_the_model_is_a_fault(
    settings: dict[str, int], faults: list[str], tmp_path: Path
) -> None:
    tiny = write_tiny(tmp_path / "m.tflite").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.task", "w") as bundle:
        bundle.writestr("ab.tflite", tiny)
        bundle.writestr("sentencepiece.model", sentencepiece(**settings))
    found = [one for one in check_task(tmp_path / "x.task").faults if one.startswith("sentencepiece")]
    assert len(found) == len(faults)
    for one, fault in zip(found, faults, strict=True):
        assert one.startswith(f"sentencepiece.model: {fault}")


def test_a_truncated_or_damaged_task_is_refused(task: Path, tmp_path: Path) -> None:
    content = task.read_bytes()
    broken = tmp_path / "x.task"
    for damaged in (content[:-100], content[:9000] + b"\xff" + content[9001:], b"no zip"):
        broken.write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.task: not a whole \.task file"):
            check_task(broken)


def test_a_task_with_a_broken_model_is_refused(task: Path, tmp_path: Path) -> None:
    broken = repack(task, tmp_path / "x.task", more={"gemma.tflite": b"nothing"})
    with pytest.raises(UserError, match=r"x\.task: gemma\.tflite: not a whole \.tflite file"):
        check_task(broken)


# --- writing ---------------------------------------------------------------------------------------------


def test_the_rag_sdk_folder_holds_what_its_app_needs(rag_sdk: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "new" / "app"
    write_rag_sdk(rag_sdk, out)
    assert (out / "litert-fp32-128d.tflite").read_bytes() == rag_sdk.model_path.read_bytes()
    assert (out / "sentencepiece.model").read_bytes() == (rag_sdk.path / "tokenizer.model").read_bytes()
    notes = json.loads((out / "model.json").read_text())
    assert notes["dim"] == 128
    assert notes["max_tokens"] == SEQ
    assert notes["prompts"] == rag_sdk.manifest.prompts
    assert len(list(out.iterdir())) == 3


@pytest.mark.parametrize("write", [write_task, write_rag_sdk])
def test_what_no_client_could_use_is_not_written(
    write: Callable[[Artifact, Path], None], rag_sdk: Artifact, tmp_path: Path
) -> None:
    manifest = rag_sdk.manifest
    ordinary = dataclasses.replace(manifest, contract=None)
    other_pad = dataclasses.replace(manifest, tokenizer=dataclasses.replace(manifest.tokenizer, pad_id=1))
    bare = copy(rag_sdk, tmp_path / "bare")
    (bare.path / "tokenizer.model").unlink()
    other_ids = copy(rag_sdk, tmp_path / "ids")
    golden = json.loads((other_ids.path / "golden.json").read_text())
    golden["texts"][3]["ids"][1] += 1
    (other_ids.path / "golden.json").write_text(json.dumps(golden))
    other_pieces = copy(rag_sdk, tmp_path / "pieces")
    (other_pieces.path / "tokenizer.model").write_bytes(sentencepiece(pad_id=3))
    refused = [
        (Artifact(rag_sdk.path, ordinary), "export it with contract rag-sdk"),
        (Artifact(rag_sdk.path, other_pad), "padding by id 1"),
        (bare, "has no tokenizer.model"),
        (other_ids, "other token ids than the checkpoint's tokenizer"),
        (other_pieces, "pads with id 3"),
    ]
    for artifact, reason in refused:
        with pytest.raises(UserError, match=reason):
            write(artifact, tmp_path / "out" / "new")
        assert not (tmp_path / "out").exists()


def test_an_existing_output_is_refused(rag_sdk: Artifact, task: Path) -> None:
    before = task.stat().st_mtime_ns
    with pytest.raises(UserError, match="already exists"):
        write_task(rag_sdk, task)
    with pytest.raises(UserError, match="already exists"):
        write_rag_sdk(rag_sdk, task.parent)
    assert task.stat().st_mtime_ns == before


def test_a_write_that_fails_leaves_nothing(rag_sdk: Artifact, tmp_path: Path) -> None:
    torn = copy(rag_sdk, tmp_path / "torn")
    torn.model_path.unlink()
    with pytest.raises(FileNotFoundError):
        write_task(torn, tmp_path / "out" / "x.task")
    assert not (tmp_path / "out").exists()


def test_the_notes_say_whose_prompts_are_added(rag_sdk: Artifact) -> None:
    assert "never both" in client_notes(rag_sdk)[1]
    other = dataclasses.replace(rag_sdk.manifest, prompts={"query": "find: "})
    assert "differ" in client_notes(Artifact(rag_sdk.path, other))[1]


# --- the real client -------------------------------------------------------------------------------------


def run_mediapipe(task: Path, texts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What MediaPipe's TextEmbedder makes of the texts, without a network: it would report its use."""
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("mediapipe is not installed")
    offline = [shutil.which("unshare") or "false", "-rn"]
    if subprocess.run([*offline, "true"], check=False).returncode:
        pytest.skip("no namespace without a network here, and mediapipe reports its use to Google")
    (folder / "texts.json").write_text(json.dumps(texts))
    arguments = [str(task), str(folder / "texts.json"), str(folder / "found.json")]
    command = [*offline, sys.executable, "-c", MEDIAPIPE, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "unaligned" not in run.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def test_mediapipe_gives_the_embedders_vectors(rag_sdk: Artifact, task: Path, tmp_path: Path) -> None:
    golden = [text for text in read_golden(rag_sdk.path) if len(text.ids) < SEQ]
    short = ["How strong must the brine be?", "ein Deich, 堤防"]
    texts: dict[str, Any] = {
        "raw": [one.prompt + one.text for one in golden],
        "short": short,
        "too_long": "word " * SEQ,
        "after": "word",
    }
    found = run_mediapipe(task, texts, tmp_path)
    embedder = Embedder(rag_sdk, Opening(weight_cache=tmp_path))
    np.testing.assert_allclose(found["raw"], embedder.embed(texts["raw"]), atol=1e-6)
    np.testing.assert_allclose(found["query"], embedder.embed(short, prompt=QUERY_PROMPT), atol=1e-6)
    np.testing.assert_allclose(found["document"], embedder.embed(short, prompt=DOCUMENT_PROMPT), atol=1e-6)
    assert "Input text is too long" in str(found["too_long"])
    assert "Input text is too long" in str(found["after"]), "one text too long ends a TextEmbedder"
