"""The real agent's answers to the driver's jobs, and a payload that hands them out instead of measuring."""

import io
import json
import tarfile
from dataclasses import asdict
from pathlib import Path

from android_harness.driver.jobs import DeviceConfig, Setting, make_jobs, retrieval_texts, texts_content
from android_harness.payload.agent import run_job
from android_harness.protocol import Job
from common.files import write_json
from common.retrieval import read_retrieval_set
from export.artifact import open_artifact

ROOT = "/data/local/tmp/pocketvec"
CONFIG = DeviceConfig(lengths=(16,), runs=30, threads=1)
WORDS = ("--lengths", "16", "--bench-runs", "30", "--threads", "1")
"""The same on the command line."""
NAMES = ("onnx-fp32-128d", "onnx-q4_0-128d")
ONE = NAMES[1:]
RUN = """#!/system/bin/sh
# Hands out what the real agent answered elsewhere, after doing what the file `fault` says.
here=${0%/*}
cd "$1" || exit 2
id=${2##*/}
id=${id%.json}
name=$(sed -n 's|.*"artifact": "artifacts/\\(.*\\)".*|\\1|p' "$2")
canned=$here/canned/$name
if [ -f fault ]; then . ./fault; fi
mkdir -p "$3/$id"
cp "$canned/vectors.f32" "$3/$id/vectors.f32"
sed "s/@JOB@/$id/" "$canned/result.json" > "$3/$id/result.json"
if [ -f after ]; then . ./after; fi
"""


def answer(artifact: Path, data: Path, root: Path) -> tuple[Job, Path]:
    """The real agent's answer to the driver's job for one artifact, measured on this machine."""
    opened = open_artifact(artifact)
    texts = retrieval_texts(read_retrieval_set(data, "test"), opened.manifest, None)
    for folder in ("artifacts", "jobs", "results"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "texts.jsonl").write_text(texts_content(texts), encoding="utf-8")
    (root / "artifacts" / artifact.name).symlink_to(artifact)
    (job,) = make_jobs(opened, "texts.jsonl", CONFIG, Setting("emulated", "", None))
    write_json(root / "jobs" / f"{job.id}.json", asdict(job))
    return job, run_job(root, root / "jobs" / f"{job.id}.json", root / "results", lambda _: None).parent


def write_payload(path: Path, files: dict[str, bytes]) -> None:
    """An archive of these files by name, of an owner that no phone knows; `run` is a program."""
    with tarfile.open(path, "w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name == "run" else 0o644
            entry.uid = entry.gid = 12345
            archive.addfile(entry, io.BytesIO(content))


def elf(machine: int) -> bytes:
    """The first bytes of a program for a machine, by its number in ELF headers."""
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + machine.to_bytes(2, "little")


def write_stand_in(path: Path, answers: dict[str, tuple[Job, Path]]) -> None:
    """A payload that hands out `answers`, job and results folder by profile."""
    files = {"run": RUN.encode()}
    for name, (job, folder) in answers.items():
        text = (folder / "result.json").read_text(encoding="utf-8").replace(job.id, "@JOB@")
        files[f"canned/{name}/result.json"] = text.encode()
        files[f"canned/{name}/vectors.f32"] = (folder / "vectors.f32").read_bytes()
    write_payload(path, files)


def last_json(text: str) -> dict[str, object]:
    """The last line of stdout."""
    found: dict[str, object] = json.loads(text.strip().splitlines()[-1])
    return found
