"""LiteRT on the command line: export, quantize, bench, pack, and what they refuse."""

import json
from pathlib import Path

import pytest

from export.artifact import open_artifact
from pocketvec import STARTER_MODEL
from pocketvec.cli import main


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pocketvec: error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "coreml"], "runtime 'coreml': unknown; known are onnx, litert"),
        (["--format", "litert,litert"], "runtime 'litert': given twice"),
        (["--format", "onnx", "--lengths", "64"], "are LiteRT's; add litert to the formats"),
        (["--format", "litert", "--lengths", "4096"], "length 4096: the model takes 1 to 2048 tokens"),
        (["--format", "litert", "--dims", "128", "--further-dims", "256"], "further dimension 256"),
        (["--format", "litert", "--contract", "rag-sdk", "--lengths", "64,128"], "one signature"),
    ],
)
def test_an_export_that_cannot_be_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    line = refused(["export", str(STARTER_MODEL), "--out", str(tmp_path / "out"), *options], capsys)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_what_stands_in_the_way_of_one_format_stops_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "litert-fp32-128d").mkdir()
    (tmp_path / "litert-fp32-128d" / "mine").write_text("")
    command = ["export", str(STARTER_MODEL), "--format", "onnx,litert", "--dims", "128"]
    assert "already exists" in refused([*command, "--out", str(tmp_path)], capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"litert-fp32-128d"}


def test_asked_for_q8_0_quantize_writes_int8_and_prints_its_folder(
    litert_artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = litert_artifacts / "litert-fp32-128d"
    assert main(["quantize", str(parent), "--precision", "q8_0", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "litert-int8-128d")


def test_int8_and_q8_0_of_one_litert_artifact_would_be_one_folder(
    litert_artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(litert_artifacts / "litert-fp32-128d"), "--precision", "q8_0,int8"]
    assert "two of the artifacts and precisions given" in refused([*command, "--out", str(tmp_path)], capsys)


def test_inspect_embeds_a_text_with_a_litert_artifact(
    litert_artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(litert_artifacts / "litert-q4_0-128d"), "--text", "brine"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 128


def test_pack_writes_what_check_then_finds_in_order(
    rag_sdk: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(rag_sdk.path)  # type: ignore[attr-defined]
    task = tmp_path / "model.task"
    assert main(["pack", folder, "--for", "mediapipe-task", "--out", str(task)]) == 0
    assert main(["pack", str(task), "--check", "mediapipe-task"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the contract holds"
    assert "already exists" in refused(
        ["pack", folder, "--for", "mediapipe-task", "--out", str(task)], capsys
    )


def test_pack_check_exits_with_1_and_names_the_fault(
    litert_artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = open_artifact(litert_artifacts / "litert-fp32-128d").model_path
    assert main(["pack", str(file), "--check", "rag-sdk"]) == 1
    assert "4 signatures" in capsys.readouterr().out


def test_pack_without_a_place_or_of_another_form_is_one_line(
    litert_artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(litert_artifacts / "litert-fp32-128d")
    assert "say where to with --out" in refused(["pack", folder, "--for", "rag-sdk"], capsys)
    out = ["--out", str(tmp_path / "out")]
    assert "export it with contract rag-sdk" in refused(["pack", folder, "--for", "rag-sdk", *out], capsys)
    assert not (tmp_path / "out").exists()
