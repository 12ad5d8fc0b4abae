"""The Kotlin tokenizers on this machine's JVM: many files of texts, one process."""

import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from android_harness.toolchain import java, modules
from android_harness.toolchain.fetch import tools
from android_harness.toolchain.kotlin import compile_kotlin, fingerprint

SOURCE = modules.HARNESS / "core/src/test/kotlin/dev/pocketvec/tokenizer/TokenizerJobs.kt"
MAIN = "dev.pocketvec.tokenizer.TokenizerJobsKt"

Texts = Sequence[tuple[str, str]]
"""Prompt and text of each."""
Answer = list[int] | str
"""Token ids, or the message of a refusal."""


@dataclass(frozen=True)
class Job:
    """Texts for one tokenizer; kind: bpe, wordpiece, artifact (its folder), normalise or lower."""

    kind: str
    tokenizer: Path
    texts: Texts
    max_tokens: int = 2048
    lower_case: bool = False


def run(jobs: dict[str, Job], folder: Path) -> dict[str, list[Answer]]:
    """The answers of each job by its name; prints what the process says about time and heap."""
    words: list[str] = []
    for name, job in jobs.items():
        (folder / name).write_bytes(struct.pack(">i", len(job.texts)) + b"".join(map(_packed, job.texts)))
        lower = str(job.lower_case).lower()
        words += [job.kind, str(job.tokenizer), lower, str(job.max_tokens), str(folder / name)]
    done = subprocess.run(
        [*java.command(_classpath(), MAIN), *words], capture_output=True, text=True, check=False
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr
    return {name: _answers((folder / f"{name}.ids").read_bytes()) for name in jobs}


def _classpath() -> list[Path]:
    linked = modules.classpath("core")
    options = (f"-Xfriend-paths={modules.build('core')}",)
    out = tools() / "classes" / f"tokenizer-jobs-{fingerprint([SOURCE], linked, options)[:16]}"
    compile_kotlin([SOURCE], linked, out, options)
    return [out, *linked]


def _packed(pair: tuple[str, str]) -> bytes:
    units = [text.encode("utf-16-be", "surrogatepass") for text in pair]
    return b"".join(struct.pack(">i", len(content) // 2) + content for content in units)


def _answers(content: bytes) -> list[Answer]:
    answers: list[Answer] = []
    offset = 0
    while offset < len(content):
        (count,) = struct.unpack_from(">i", content, offset)
        offset += 4
        if count < 0:
            (length,) = struct.unpack_from(">H", content, offset)
            answers.append(content[offset + 2 : offset + 2 + length].decode())
            offset += 2 + length
        else:
            answers.append(list(struct.unpack_from(f">{count}i", content, offset)))
            offset += 4 * count
    return answers
