"""What a phone is asked: how to measure, the texts to embed, and jobs whose names are what they depend on."""

from __future__ import annotations

import json
from dataclasses import dataclass

from android_harness.driver.defaults import BIG, CORES, DEFAULT_SECONDS, DEFAULT_THREADS
from android_harness.driver.delivery import content_key
from android_harness.protocol import CLIENTS, JOB_SCHEMA, SHELL, Job
from bench.cost import BRIEF_WARM_UP, MIN_RUNS, WARM_UP_MAX_RUNS
from bench.measurements import BUILD_CACHE, NO_CACHE, WARM_CACHE
from common.errors import UserError
from common.files import sha256_file
from common.prompts import choose_query_prompt, default_document_prompt, split_document
from common.retrieval import RetrievalSet
from export.artifact import Artifact
from export.embedder import has_weight_cache
from export.manifest import DEFAULT_RUNTIMES, MANIFEST_NAME, Manifest

APP_CACHES = ("litert",)
"""Runtimes whose packed weights the app keeps: ONNX Runtime's Java API has no way to."""


@dataclass(frozen=True)
class DeviceConfig:
    """How to measure: token lengths, timed runs per length, threads, the query prompt by name.

    mode: shell or app. cores: big or all, which the shell's threads are bound to. seconds: the most that one
    job may take.
    """

    lengths: tuple[int, ...] = (16, 64, 256)
    runs: int = 50
    threads: int = DEFAULT_THREADS
    prompt_name: str | None = None
    mode: str = SHELL
    cores: str = BIG
    seconds: int = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        if self.runs < MIN_RUNS:
            raise UserError(f"bench-runs {self.runs}: at least {MIN_RUNS}; fewer say nothing about the tail")
        if not self.lengths or min(self.lengths) < 1:
            raise UserError(f"lengths {self.lengths}: at least one, each 1 token or more")
        for what, number in (("threads", self.threads), ("timeout", self.seconds)):
            if number < 1:
                raise UserError(f"{what} {number}: at least 1")
        for what, word, known in (("mode", self.mode, CLIENTS), ("cores", self.cores, CORES)):
            if word not in known:
                raise UserError(f"{what} '{word}': one of {', '.join(known)}")


@dataclass(frozen=True)
class Setting:
    """What the answers depend on besides artifact and texts.

    kind: of the target. client_sha256: of the payload or the app. affinity: the cores, in words.
    """

    kind: str
    client_sha256: str
    affinity: str | None


def check_runtime(manifest: Manifest) -> None:
    """Raise UserError for a profile that no phone's client opens."""
    if manifest.runtime not in DEFAULT_RUNTIMES:
        raise UserError(
            f"{manifest.name}: {manifest.runtime} does not run on a phone here, onnx and litert do"
        )


def retrieval_texts(data: RetrievalSet, manifest: Manifest, prompt_name: str | None) -> list[tuple[str, str]]:
    """(prompt, text) of all queries and then of all documents, as bench embeds them."""
    query, document = (
        choose_query_prompt(manifest.prompts, prompt_name),
        default_document_prompt(manifest.prompts),
    )
    texts = [(query, text) for text in data.queries.values()]
    return texts + [split_document(document, one) for one in data.documents]


def texts_content(texts: list[tuple[str, str]]) -> str:
    """Texts as a job reads them: a JSON array on each line."""
    return "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in texts)


def make_jobs(
    artifact: Artifact, texts_path: str, config: DeviceConfig, setting: Setting, cached: bool = True
) -> list[Job]:
    """The jobs that measure one artifact, the one that counts last: it alone embeds the texts.

    The shell's client starts a process for each state of the weight cache itself, the app is one process.
    Not `cached`: on phones that keep nothing from one job to the next.
    """
    in_shell = config.mode == SHELL
    keeps = has_weight_cache(artifact.manifest) and (in_shell or artifact.manifest.runtime in APP_CACHES)
    states = [BUILD_CACHE, WARM_CACHE] if cached and keeps else [NO_CACHE]
    groups = [states] if in_shell else [[state] for state in states]
    jobs = []
    manifest = sha256_file(artifact.path / MANIFEST_NAME)
    for group in groups:
        counts = group is groups[-1]
        fields = {
            "schema": JOB_SCHEMA,
            "kind": setting.kind,
            "artifact": f"artifacts/{artifact.manifest.name}",
            "states": group,
            "lengths": sorted({*config.lengths}),
            "runs": config.runs if counts else MIN_RUNS,
            "threads": config.threads,
            "max_warm_up": WARM_UP_MAX_RUNS if counts else BRIEF_WARM_UP,
            "texts": texts_path if counts else None,
        }
        key = content_key([fields, manifest, config.mode, setting.client_sha256, setting.affinity])
        jobs.append(Job(id=key, **fields))  # type: ignore[arg-type]
    return jobs
