"""Runs jobs with the Kotlin client on a JVM, as the app runs them on a phone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from android_harness.protocol import JOB_SCHEMA, RESULT_NAME, VECTORS_NAME, Job, Result
from android_harness.toolchain import modules, onnxruntime_java
from android_harness.toolchain.java import command
from common.records import from_dict

MAIN = "dev.pocketvec.bench.MainKt"


@dataclass(frozen=True)
class Answer:
    """What a job left: its result, read strictly, and its vectors float32 [rows, dim]."""

    result: Result
    vectors: npt.NDArray[np.float32]


def job(artifact: str, **changed: object) -> dict[str, object]:
    """A brief job for an artifact's folder, as the driver would write it."""
    plain = Job(JOB_SCHEMA, f"job-{artifact}", "host", artifact, ["none"], [16, 64], 3, 1, 10)
    return {**asdict(plain), **changed}


def run_job(root: Path, asked: dict[str, object], telemetry_off: bool = True) -> tuple[int, str]:
    """Write a job below `root`, run it, and give exit code and stderr."""
    (root / "job.json").write_text(json.dumps(asked), encoding="utf-8")
    environment = onnxruntime_java.environment()
    if not telemetry_off:
        del environment["ORT_DISABLE_TELEMETRY"]
    client = command(modules.classpath("core", "runtime-ort"), MAIN, modules.flags())
    arguments = [str(root), "job.json", str(root / "results")]
    done = subprocess.run([*client, *arguments], capture_output=True, text=True, env=environment)
    return done.returncode, done.stderr


def answer(root: Path, asked: dict[str, object]) -> Answer:
    """Run a job that must succeed, and read what it left."""
    code, said = run_job(root, asked)
    assert (code, said) == (0, "")
    folder = root / "results" / str(asked["id"])
    assert sorted(path.name for path in folder.iterdir()) == sorted([RESULT_NAME, VECTORS_NAME])
    result = from_dict(Result, json.loads((folder / RESULT_NAME).read_text("utf-8")), RESULT_NAME)
    vectors = np.fromfile(folder / VECTORS_NAME, dtype="<f4").reshape(result.rows, result.dim)
    return Answer(result, vectors)


def write_texts(path: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """(prompt, text) pairs in the driver's form."""
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
