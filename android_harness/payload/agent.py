"""What runs on the phone in shell mode: ``python -m android_harness.payload.agent ROOT JOB RESULTS``.

A job's cache states are measured with bench's own code, each in a fresh process; then the golden texts and
the job's own are embedded here, one by one as an app does it. What a phone does not let a program read is
left out, and what that changes is said in the result's notes. result.json is written last.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from android_harness.payload.costs import measure_states
from android_harness.payload.device import cpu_name, read_device, read_thermal
from android_harness.protocol import RESULT_NAME, RESULT_SCHEMA, SHELL, VECTORS_NAME, Job, Result
from bench.cost import weight_cache
from bench.diagnosis import diagnose
from bench.report import Target
from common.errors import UserError
from common.files import read_json, sha256_file, write_json
from common.records import from_dict
from export.artifact import Artifact, open_artifact
from export.embedder import Embedder, Opening
from export.fault import Fault
from export.golden import GoldenResult, GoldenText, compare_vector, read_golden
from export.manifest import MANIFEST_NAME
from export.session import usable_cores

Float32 = npt.NDArray[np.float32]
Say = Callable[[str], None]

PACKAGES = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}
BAD_INPUT = 2


def run_job(root: Path, job_path: Path, results: Path, say: Say) -> Path:
    """Do a job and write its results; returns the path of result.json.

    Raises UserError for a job or an artifact that is none, or where the model does not run.
    """
    job = from_dict(Job, read_json(job_path), str(job_path))
    folder = results / job.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT_NAME).unlink(missing_ok=True)
    thermal = [read_thermal("start")]
    artifact = open_artifact(root / job.artifact)
    texts = read_texts(root / job.texts) if job.texts else []
    with weight_cache() as cache:
        measured = measure_states(artifact, job, cache, say)
        thermal.append(read_thermal("measured"))
        embedder = Embedder(artifact, Opening(job.threads, cache))
        vectors, ids_equal, faults = _embed_and_diagnose(embedder, texts, say)
    thermal.append(read_thermal("end"))
    _write_vectors(folder / VECTORS_NAME, vectors)
    result = Result(
        schema=RESULT_SCHEMA,
        job=job.id,
        manifest_sha256=sha256_file(artifact.path / MANIFEST_NAME),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        client=SHELL,
        target=Target(job.kind, cpu_name(), usable_cores(), job.threads, platform.platform()),
        device=read_device(thermal),
        versions=_versions(artifact),
        costs=measured.costs,
        golden_ids_equal=ids_equal,
        rows=len(vectors),
        dim=vectors.shape[1],
        faults=faults,
        notes=measured.notes,
    )
    write_json(folder / RESULT_NAME, asdict(result))
    return folder / RESULT_NAME


def _embed_and_diagnose(
    embedder: Embedder, texts: list[tuple[str, str]], say: Say
) -> tuple[Float32, list[bool], list[Fault]]:
    golden = read_golden(embedder.artifact.path)
    pairs = [*((one.prompt, one.text) for one in golden), *texts]
    vectors, ids_equal = embed(embedder, golden, pairs, say)
    return vectors, ids_equal, diagnose(embedder, _golden_results(golden, vectors, ids_equal))


def read_texts(path: Path) -> list[tuple[str, str]]:
    """The job's texts, (prompt, text) pairs. Raises UserError naming the line that is none."""
    pairs = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            pair = json.loads(line)
        except ValueError:
            pair = None
        if not (isinstance(pair, list) and [type(one) for one in pair] == [str, str]):
            raise UserError(f"{path}:{number}: not a JSON array [prompt, text]")
        pairs.append((pair[0], pair[1]))
    return pairs


def embed(
    embedder: Embedder, golden: list[GoldenText], pairs: list[tuple[str, str]], say: Say
) -> tuple[Float32, list[bool]]:
    """Vectors [n, dim] of (prompt, text) pairs, each alone, and whether each golden text's ids are right.

    The golden texts come first in `pairs`.
    """
    tokenizer = embedder.tokenizer
    rows = [tokenizer.ids(text, prompt) for prompt, text in pairs]
    vectors = []
    for number, ((prompt, _), ids) in enumerate(zip(pairs, rows, strict=True)):
        if number % 50 == 0:
            say(f"text {number} of {len(pairs)}")
        vectors.append(embedder.run(tokenizer.batch([ids], tokenizer.prompt_tokens(prompt)))[0])
    ids_equal = [ids == one.ids for ids, one in zip(rows[: len(golden)], golden, strict=True)]
    return np.stack(vectors), ids_equal


def _golden_results(golden: list[GoldenText], vectors: Float32, ids_equal: list[bool]) -> list[GoldenResult]:
    """The golden texts' results as the diagnosis takes them; none for vectors of another width."""
    if vectors.shape[1] != len(golden[0].vector):
        return []
    made = vectors[: len(golden)]
    return [compare_vector(*one) for one in zip(golden, made, ids_equal, strict=True)]


def _write_vectors(path: Path, vectors: Float32) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(vectors.astype("<f4").tobytes())
    temporary.replace(path)


def _versions(artifact: Artifact) -> dict[str, str]:
    tools = (PACKAGES.get(artifact.manifest.runtime, "numpy"), "numpy", "tokenizers")
    return {"python": platform.python_version(), **{tool: version(tool) for tool in tools}}


def main(arguments: list[str]) -> int:
    """Do one job. Exit code 2, and one line, for what is wrong with the job or the artifact."""
    if len(arguments) != 3:
        sys.stderr.write("agent: error: expected ROOT JOB RESULTS\n")
        return BAD_INPUT
    root = Path(arguments[0])
    try:
        run_job(root, root / arguments[1], root / arguments[2], _say)
    except UserError as error:
        sys.stderr.write(f"agent: error: {error}\n")
        return BAD_INPUT
    except OSError as error:
        sys.stderr.write(
            f"agent: error: {error.filename or root}: {(error.strerror or str(error)).lower()}\n"
        )
        return BAD_INPUT
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
