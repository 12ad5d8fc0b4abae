"""Bad input at the command line: one clear line, exit code 2, nothing left behind."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pocketvec import STARTER_MODEL
from pocketvec.cli import main

ROW = {"query": "how salty", "positive": "three lodes"}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The single line on stderr of a command that must exit with 2."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pocketvec: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./nowhere", "no such folder"),
        ("nobody/nothing-of-that-name", "the Hugging Face hub did not give it"),
    ],
)
@pytest.mark.parametrize("command", ["train", "export", "run"])
def test_an_unknown_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, model: str, message: str
) -> None:
    target = ["--runs", str(tmp_path / "out")] if command == "run" else ["--out", str(tmp_path / "out")]
    chosen = [model] if command == "export" else ["--model", model]
    assert message in refused([command, *chosen, *target], capsys)
    assert not list(tmp_path.rglob("*.json"))


def test_pickled_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    line = refused(["export", str(model), "--out", str(tmp_path / "out")], capsys)
    assert "pytorch_model.bin: pickled weights only" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (json.dumps({"query": "q"}).encode(), "pairs.jsonl:2: the field 'positive' is missing"),
        (json.dumps({**ROW, "positive": " "}).encode(), "pairs.jsonl:2: 'positive' is empty"),
        (b'{"query": "\xff", "positive": "p"}', "pairs.jsonl:2: not UTF-8"),
    ],
)
def test_a_bad_row_is_named_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: bytes, message: str
) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_bytes(json.dumps(ROW).encode() + b"\n" + row + b"\n")
    assert message in refused(["train", "--data", str(data), "--out", str(tmp_path / "out")], capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.jsonl"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", "", "the corpus is empty"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tunknown\t1\n", "unknown document id 'unknown'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\td1\t1\n", "unknown query id 'q9'"),
    ],
)
def test_a_broken_retrieval_set_is_refused_by_run_and_bench(
    tmp_path: Path,
    artifacts: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    content: str,
    message: str,
) -> None:
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text('{"_id": "d1", "text": "salt"}\n')
    (data / "queries.jsonl").write_text('{"_id": "q1", "text": "salt?"}\n')
    (data / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    for split in ("dev", "test"):
        (data / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    (data / file).write_text(content)
    out = tmp_path / "out"
    assert message in refused(["run", "--data", str(data), "--runs", str(out)], capsys)
    artifact = str(artifacts / "onnx-q4_0-128d")
    assert message in refused(["bench", artifact, "--data", str(data), "--out", str(out)], capsys)
    assert not out.exists()


@pytest.mark.parametrize("command", ["train", "export", "run"])
def test_a_dimension_larger_than_the_models_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    target = ["--runs", str(tmp_path / "out")] if command == "run" else ["--out", str(tmp_path / "out")]
    model = [str(STARTER_MODEL)] if command == "export" else []
    line = refused([command, *model, "--dims", "1024,64", *target], capsys)
    assert "dimension 1024: the model gives 768; choose 1 to 768" in line
    assert not list(tmp_path.iterdir())


def test_fp16_is_refused_everywhere_with_the_reason(
    tmp_path: Path, artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    for command in (
        ["train", "--dtype", "fp16", *out],
        ["export", str(STARTER_MODEL), "--precision", "fp16", *out],
        ["quantize", str(artifacts / "onnx-fp32-128d"), "--precision", "fp16", *out],
        ["run", "--precisions", "fp16", "--runs", str(tmp_path / "out")],
    ):
        assert "65504" in refused(command, capsys)
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_never_overwritten(
    tmp_path: Path, artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("onnx-fp32-768d", "onnx-q4_0-128d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("kept")
    out = ["--out", str(tmp_path)]
    assert "already exists" in refused(["export", str(STARTER_MODEL), *out], capsys)
    parent = str(artifacts / "onnx-fp32-128d")
    assert "already exists" in refused(["quantize", parent, "--precision", "q4_0", *out], capsys)
    assert "already exists" in refused(["bench", parent, *out], capsys)
    assert {p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == {"kept"}


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, artifacts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.onnx.data")

    monkeypatch.setattr("export.onnx_file._append", full)
    parent = str(artifacts / "onnx-fp32-128d")
    line = refused(["quantize", parent, "--precision", "q4_0", "--out", str(tmp_path / "out")], capsys)
    assert line.endswith("model.onnx.data: no space left on device")
    assert not (tmp_path / "out").exists()


@contextmanager
def files_of_at_most(limit: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("limit", "command"),
    [
        (1_000_000, ["export", str(STARTER_MODEL), "--dims", "128"]),  # stops at tokenizer.json
        (10_000_000, ["export", str(STARTER_MODEL), "--dims", "128"]),  # at the weights
        (1_000_000, ["train", "--epochs", "1"]),  # at the first epoch's checkpoint
    ],
)
def test_files_that_cannot_grow_end_in_one_line_whoever_writes_them(
    tmp_path: Path, small_data: Path, capfd: pytest.CaptureFixture[str], limit: int, command: list[str]
) -> None:
    data = ["--data", str(small_data)] if command[0] == "train" else []
    with files_of_at_most(limit):
        assert main([*command, *data, "--out", str(tmp_path / "out" / "x")]) == 2
    errors = capfd.readouterr().err
    assert errors.splitlines()[-1].startswith("pocketvec: error: ")
    assert "Traceback" not in errors
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_quantize_checks_every_artifact_before_it_writes_one(
    tmp_path: Path, artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parents = [str(artifacts / "onnx-fp32-128d"), str(artifacts / "onnx-q8_0-768d")]
    out = ["--out", str(tmp_path / "out")]
    assert "only fp32 is quantised" in refused(["quantize", *parents, *out], capsys)
    assert "would write it" in refused(["quantize", parents[0], "--precision", "q4_0,q4_0", *out], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precisions", "q4_0,q4_0"], "precision 'q4_0': given twice"),
        (["--lengths", "4096"], "length 4096: "),
        (["--seed", "-1"], "seed -1: must be at least 0"),
        (["--targets", "query"], "target 'query': the model has no such projection"),
        (["--prompt", "nope"], "prompt 'nope': the model has no such prompt"),
    ],
)
def test_run_refuses_what_could_only_fail_later(
    tmp_path: Path, small_data: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    command = ["run", "--data", str(small_data), "--runs", str(tmp_path / "runs"), *options]
    assert message in refused(command, capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["", "run", "train", "export", "quantize", "bench", "gate", "inspect"])
def test_help_is_there_and_does_not_load_torch(command: str) -> None:
    code = "import sys; from pocketvec.cli import main\ntry: main(sys.argv[1:])\nfinally: "
    code += "print('torch' in sys.modules)"
    asked = [sys.executable, "-c", code, *command.split(), "--help"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: pocketvec")
    assert shown.splitlines()[-1] == "False"


def test_inspect_embeds_with_a_prompt_by_name(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(artifacts / "onnx-q8_0-128d")
    vectors = []
    for prompt in ("query", "STS"):
        assert main(["inspect", artifact, "--text", "how salty?", "--prompt", prompt]) == 0
        vectors.append(json.loads(capsys.readouterr().out))
    assert len(vectors[0]) == 128
    assert vectors[0] != vectors[1]
    assert "the model has no such prompt" in refused(
        ["inspect", artifact, "--text", "x", "--prompt", "nope"], capsys
    )


def test_inspect_shows_every_prompt_and_checks_the_files(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(artifacts / "onnx-q8_0-128d")]) == 0
    shown = capsys.readouterr().out
    assert "all hashes agree" in shown
    for name in ("query", "document", "Clustering", "Classification", "STS"):
        assert f"{name}: '" in shown
