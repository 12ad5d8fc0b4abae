"""Real artifacts of the bundled starter, made once a run; no hub, no telemetry; a thread for each worker."""

import json
import os
import shutil
import signal
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # the other cores are the other workers'
os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that spin crawl on a machine with other work
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["POCKETVEC_CACHE"] = tempfile.mkdtemp(prefix="pocketvec-weight-cache-")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sharing import shared, too_little_room

from export.artifact import Artifact, open_artifact
from export.session import OnnxSession
from export.source import Source, open_source
from export.task_bundle import write_task
from export.to_gguf import export_gguf
from export.to_litert import LiteRTOptions, export_litert
from export.to_onnx import export_onnx
from pocketvec import BUNDLED_DATA, STARTER_MODEL
from quantize.quantize import quantize_artifact

DIMS = (768, 128)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job starts without


def pytest_configure(config: pytest.Config) -> None:
    """Before a run in several processes, which is one of all tests: a disk that fills up fails anything."""
    if getattr(config.option, "numprocesses", None) and (lacking := too_little_room(tempfile.gettempdir())):
        pytest.exit(lacking, returncode=2)


def pytest_sessionfinish() -> None:
    """Leave no weight caches behind."""
    shutil.rmtree(os.environ["POCKETVEC_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def one_thread_unless_told_otherwise() -> Iterator[None]:
    """What a test opens without a number of threads: threads that wait for each other spin."""
    options = OnnxSession._options

    def bounded(session: OnnxSession) -> Any:
        made = options(session)
        made.intra_op_num_threads = session._threads or 1
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxSession, "_options", bounded)
        for module in ("litert_session", "gguf_session", "litert_convert", "contract"):
            patch.setattr(f"export.{module}.usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="session")
def starter() -> Source:
    return open_source(str(STARTER_MODEL))


@pytest.fixture(scope="session")
def artifacts(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the starter's fp32, q8_0, int8, q4_0 and mixed artifacts at 768 and 128 dimensions."""

    def make(folder: Path) -> None:
        for parent in export_onnx(starter, list(DIMS), folder):
            for precision in ("q8_0", "int8", "q4_0", "mixed"):
                quantize_artifact(parent, precision, folder / parent.name.replace("fp32", precision))

    return shared(tmp_path_factory, "artifacts", make)


@pytest.fixture(scope="session")
def litert_artifacts(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the starter's fp32, int8, q4_0 and mixed LiteRT artifacts at 768 and 128 dimensions."""

    def make(folder: Path) -> None:
        for parent in export_litert(starter, list(DIMS), folder, LiteRTOptions()):
            for precision in ("int8", "q4_0", "mixed"):
                quantize_artifact(parent, precision, folder / parent.name.replace("fp32", precision))

    return shared(tmp_path_factory, "litert-artifacts", make)


@pytest.fixture(scope="session")
def gguf_artifacts(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the starter's fp32 GGUF artifacts at 768 and 128 dimensions, the latter quantised too."""

    def make(folder: Path) -> None:
        *_, small = export_gguf(starter, list(DIMS), folder)
        for precision in ("q8_0", "q4_0", "mixed"):
            quantize_artifact(small, precision, folder / small.name.replace("fp32", precision))

    return shared(tmp_path_factory, "gguf-artifacts", make)


@pytest.fixture(scope="session")
def rag_sdk(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    options = LiteRTOptions(lengths=(64,), contract="rag-sdk")
    made = shared(tmp_path_factory, "rag", lambda out: export_litert(starter, [128], out, options))
    return open_artifact(next(made.iterdir()))


@pytest.fixture(scope="session")
def task(rag_sdk: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = "starter.task"
    return shared(tmp_path_factory, "task", lambda folder: write_task(rag_sdk, folder / name)) / name


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
