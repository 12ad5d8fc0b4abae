"""One phone's turn: everything it needs is brought there, its jobs are done one by one, the answers fetched.

Results stay on the phone until the report is written, under names that say what they depend on: whatever
interrupts the work, the next run finds what was finished and goes on from there.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from android_harness.driver.delivery import (
    artifact_files,
    check_room,
    content_key,
    deliver_file,
    deliver_folder,
    local_file,
)
from android_harness.driver.facts import Facts, prepare_root, read_facts, read_thermal
from android_harness.driver.jobs import DeviceConfig, Setting, make_jobs
from android_harness.driver.phone import ROOT, Phone, quoted
from android_harness.driver.results import Answer, read_answer
from android_harness.protocol import RESULT_NAME, VECTORS_NAME, Job, Thermal
from bench.device import MODERATE_THERMAL, Device
from bench.measurements import BUILD_CACHE
from common.errors import UserError
from common.files import write_json, write_text
from common.progress import Step
from export.artifact import Artifact

THERMAL_NAMES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


class Client(Protocol):
    """What does a job on a phone: the shell's payload or the app. results: where it leaves its results."""

    results: str

    @property
    def sha256(self) -> str:
        """What the answers depend on."""

    def affinity(self, facts: Facts) -> str | None:
        """The cores that threads are bound to, in words."""

    def prepare(self, phone: Phone, facts: Facts) -> int:
        """Have the client on the phone; the number of bytes that were pushed."""

    def run(self, phone: Phone, facts: Facts, job: Job, seconds: int) -> None:
        """Do one job, its files being there."""


@dataclass(frozen=True)
class Order:
    """What is asked of every phone. texts: the content of the job's text file, `count` of them."""

    artifacts: Sequence[Artifact]
    texts: str
    count: int
    config: DeviceConfig
    client: Client

    @property
    def texts_path(self) -> str:
        """Where the texts lie below the root."""
        return f"texts/{content_key(self.texts)}.jsonl"


@dataclass(frozen=True)
class Measured:
    """One phone's answers, by artifact in the order that was asked, its serial, and its report's device."""

    name: str
    kind: str
    device: Device
    answers: list[list[Answer]]


def refuse_hot(thermal: Sequence[Thermal], place: str) -> None:
    """Raise UserError for a run on a phone that was too hot: it says nothing of the model."""
    for one in thermal:
        if one.status is not None and one.status >= MODERATE_THERMAL:
            name = THERMAL_NAMES[min(one.status, len(THERMAL_NAMES) - 1)]
            raise UserError(
                f"{place}, {one.moment}: too hot to measure, thermal status {one.status} ({name}); "
                "let it cool and start again"
            )


class Session:
    """One phone's turn. `step` is told of every artifact that is done."""

    def __init__(self, phone: Phone, order: Order, step: Step) -> None:
        self.phone, self.order, self._step = phone, order, step
        self._thermal: list[Thermal] = []

    def measure(self) -> Measured:
        """Everything that is asked of the phone. Raises UserError in one line for whatever goes wrong."""
        facts = read_facts(self.phone)
        prepare_root(self.phone)
        affinity = self.order.client.affinity(facts)
        setting = Setting(facts.kind, self.order.client.sha256, affinity)
        self._step("is made ready", 0)
        self.order.client.prepare(self.phone, facts)
        self._deliver_texts()
        answers = []
        for artifact in self.order.artifacts:
            jobs = make_jobs(artifact, self.order.texts_path, self.order.config, setting)
            answers.append([self._answer(facts, artifact, job) for job in jobs])
            self._step(artifact.manifest.name)
        device = self._device(facts, affinity, answers)
        return Measured(self.phone.serial, facts.kind, device, answers)

    def _deliver_texts(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pocketvec.") as folder:
            local = Path(folder) / "texts.jsonl"
            write_text(local, self.order.texts)
            deliver_file(self.phone, local_file(local), f"{ROOT}/{self.order.texts_path}")

    def _answer(self, facts: Facts, artifact: Artifact, job: Job) -> Answer:
        """The answer to a job: the one that lies on the phone already, or that of a run."""
        finished = quoted(self.order.client.results, job.id, RESULT_NAME)
        if self.phone.ask(f"[ -f {finished} ]", "looking for results").code == 0:
            self._step(f"{artifact.manifest.name} was measured before", 0)
        else:
            self._run(facts, artifact, job)
        answer = self._fetch(artifact, job)
        if answer.result.device:
            self._refuse_hot(job, answer.result.device.thermal, artifact.manifest.name)
        return answer

    def _run(self, facts: Facts, artifact: Artifact, job: Job) -> None:
        deliver_folder(self.phone, artifact_files(artifact), f"{ROOT}/{job.artifact}", self._step)
        if BUILD_CACHE in job.states:  # which takes about as much again; without it nothing is warm
            check_room(self.phone, artifact.file_bytes)
        with tempfile.TemporaryDirectory(prefix="pocketvec.") as folder:
            local = Path(folder) / "job.json"
            write_json(local, asdict(job))
            deliver_file(self.phone, local_file(local), f"{ROOT}/jobs/{job.id}.json")
        name = artifact.manifest.name
        self._feel(job, f"before {name}")
        self._step(f"measure {name}, {' and '.join(job.states)}", 0)
        self.order.client.run(self.phone, facts, job, self.order.config.seconds)
        self._feel(job, f"after {name}")

    def _feel(self, job: Job, moment: str) -> None:
        self._thermal.append(Thermal(moment, read_thermal(self.phone)))
        self._refuse_hot(job, self._thermal[-1:], "the phone")

    def _refuse_hot(self, job: Job, thermal: Sequence[Thermal], what: str) -> None:
        """A run on a hot phone is forgotten."""
        try:
            refuse_hot(thermal, f"{self.phone.serial}: {what}")
        except UserError:
            self.forget(job)
            raise

    def _fetch(self, artifact: Artifact, job: Job) -> Answer:
        place = f"{self.phone.serial}: {artifact.manifest.name}"
        results = f"{self.order.client.results}/{job.id}"
        with tempfile.TemporaryDirectory(prefix="pocketvec.") as name:
            folder = Path(name)
            for file in (RESULT_NAME, VECTORS_NAME):
                self.phone.pull(f"{results}/{file}", folder / file)
            try:
                return read_answer(folder, job, artifact, self.order.count if job.texts else 0, place)
            except UserError as error:
                self.forget(job)
                raise UserError(f"{error}; start again to measure it anew") from None

    def forget(self, job: Job) -> None:
        """Remove a job and its results from the phone."""
        results = quoted(self.order.client.results, job.id)
        self.phone.quietly(f"rm -rf {results} {ROOT}/jobs/{job.id}.json")

    def _device(self, facts: Facts, affinity: str | None, answers: list[list[Answer]]) -> Device:
        """The phone as its client tells of it, or else adb; every reading of its temperature in one list."""
        told = [one.result.device for several in answers for one in several if one.result.device]
        thermal = [
            dataclasses.replace(one, moment=f"{answer.job.artifact.rsplit('/', 1)[-1]}: {one.moment}")
            for several in answers
            for answer in several
            for one in (answer.result.device.thermal if answer.result.device else [])
        ]
        device = told[0] if told else facts.device()
        return dataclasses.replace(
            device, affinity=affinity or device.affinity, thermal=[*self._thermal, *thermal]
        )
