"""Models that are not Gemma go through the same commands: BERT with random weights, made here."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_bert import WORDS, build_bert

from export.embedder import Embedder
from export.golden import row_cosines
from export.manifest import TOKENIZER_BIN
from export.source import open_source
from pocketvec.cli import main

TEXTS = ["brine", "the salt of the pan and the gate", "tide? tide! gate-pan 42", "salt " * 90]


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{i}", "text": f"{word} and the {word} of {i}"} for i, word in enumerate(WORDS)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = [{"_id": f"q{i}", "text": f"the {word}?"} for i, word in enumerate(WORDS)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judgements = "".join(f"q{i}\td{i}\t1\n" for i in range(len(WORDS)))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements)
    return folder


@pytest.mark.parametrize(
    ("pooling", "include_prompt", "dense"),
    [
        ("mean", True, False),
        ("cls", True, False),
        ("lasttoken", True, False),
        ("mean", False, False),
        ("cls", False, False),
        ("mean", True, True),
    ],
)
def test_every_shape_of_model_exports_to_the_vectors_of_encode(
    tmp_path: Path, pooling: str, include_prompt: bool, dense: bool
) -> None:
    folder = build_bert(tmp_path / "bert", pooling, include_prompt=include_prompt, dense=dense)
    assert main(["export", str(folder), "--out", str(tmp_path / "out"), "--dims", "192,64"]) == 0
    model = open_source(str(folder)).model
    for dim in (192, 64):
        embedder = Embedder.open(tmp_path / "out" / f"onnx-fp32-{dim}d")
        assert TOKENIZER_BIN not in embedder.manifest.files  # WordPiece: tokenizer.json is what clients read
        for prompt in ("", "query: "):
            expected = model.encode(TEXTS, prompt=prompt, truncate_dim=dim, normalize_embeddings=True)
            assert row_cosines(embedder.embed(TEXTS, prompt=prompt), np.asarray(expected)).min() > 0.999999


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_bert_goes_through_export_quantize_bench_and_gate(
    tmp_path: Path, tiny_data: Path, pooling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build_bert(tmp_path / "bert", pooling)
    out = tmp_path / "out"
    assert main(["export", str(folder), "--out", str(out), "--dims", "384,128"]) == 0
    assert main(["quantize", str(out / "onnx-fp32-384d"), "--precision", "q8_0,q4_0"]) == 0
    gates = tmp_path / "gates.toml"
    gates.write_text('schema = "pocketvec.gates/2"\n[golden_cosine.default]\nmean = 0.9\nmin = 0.8\n')
    profiles = [str(out / f"onnx-{precision}-384d") for precision in ("fp32", "q8_0", "q4_0")]
    command = ["bench", *profiles, "--data", str(tiny_data), "--out", str(tmp_path / "report")]
    command += ["--reference", str(folder), "--lengths", "16,64", "--gates", str(gates)]
    assert main(command) == 0
    verdict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert verdict["verdict"] == "pass"
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [p["precision"] for p in report["profiles"]] == ["fp32", "q8_0", "q4_0"]
    assert abs(report["profiles"][0]["ndcg_drop_same_dim"]["value"]) < 1e-3
    assert main(["gate", str(tmp_path / "report" / "report.json"), "--gates", str(gates)]) == 0


def test_dimensions_default_to_the_width_and_the_standard_ones_below(tmp_path: Path) -> None:
    folder = build_bert(tmp_path / "bert", "mean")
    assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "onnx-fp32-128d",
        "onnx-fp32-256d",
        "onnx-fp32-384d",
    ]
