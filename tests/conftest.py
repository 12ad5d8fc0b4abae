"""Real artifacts of the bundled starter, made once a session; no hub, no telemetry."""

import json
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from pathlib import Path

import pytest

from export.source import Source, open_source
from export.to_onnx import export_onnx
from pocketvec import BUNDLED_DATA, STARTER_MODEL
from quantize.quantize import quantize_artifact

DIMS = (768, 128)


@pytest.fixture(scope="session")
def starter() -> Source:
    return open_source(str(STARTER_MODEL))


@pytest.fixture(scope="session")
def artifacts(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the starter's fp32, q8_0 and q4_0 artifacts at 768 and 128 dimensions."""
    folder = tmp_path_factory.mktemp("artifacts")
    for parent in export_onnx(starter, list(DIMS), folder):
        for precision in ("q8_0", "q4_0"):
            quantize_artifact(parent, precision, folder / parent.name.replace("fp32", precision))
    return folder


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled set cut down: 24 training pairs, 24 dev and 24 test questions and their passages."""
    folder = tmp_path_factory.mktemp("data") / "small"
    (folder / "qrels").mkdir(parents=True)
    pairs = (BUNDLED_DATA / "train.jsonl").read_text().splitlines()[:96:4]
    (folder / "train.jsonl").write_text("\n".join(pairs))
    passages = set()
    for split in ("dev", "test"):
        lines = (BUNDLED_DATA / "qrels" / f"{split}.tsv").read_text().splitlines()[:25]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines))
        passages |= {line.split("\t")[1] for line in lines[1:]}
    corpus = (BUNDLED_DATA / "corpus.jsonl").read_text().splitlines()
    kept = [line for line in corpus if json.loads(line)["_id"] in passages]
    (folder / "corpus.jsonl").write_text("\n".join(kept))
    shutil.copyfile(BUNDLED_DATA / "queries.jsonl", folder / "queries.jsonl")
    return folder
