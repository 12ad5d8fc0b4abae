"""A device farm's run, there and back: the folder that it takes, and the results that it gives.

Jobs have the names that they have at one's desk, so that results are found by them wherever a farm puts them.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from android_harness.driver.defaults import FIREBASE
from android_harness.driver.emulators import is_emulator
from android_harness.driver.farms import FarmPlan, aws, firebase, job_path
from android_harness.driver.jobs import Setting, make_jobs
from android_harness.driver.results import Answer, read_answer
from android_harness.driver.session import Measured, Order, refuse_hot
from android_harness.protocol import RESULT_NAME, Job
from bench.report import DEVICE, EMULATED
from common.errors import UserError
from common.files import write_json, write_text
from export.artifact import Artifact
from export.manifest import MANIFEST_NAME

DATA, APP = Path("data"), Path("app.apk")
SCRIPT = "run.sh"


def write_farm(farm: str, order: Order, apk: Path, folder: Path) -> None:
    """Write everything that a run on `farm` takes into `folder`: app, data, jobs, and the script to start.

    A clean phone has no weight cache, so on Firebase every job opens its artifact without one.
    """
    shutil.copyfile(apk, folder / APP)
    jobs = [job for several in _jobs(order, farm != FIREBASE) for job in several]
    for artifact in order.artifacts:
        target = folder / DATA / "artifacts" / artifact.manifest.name
        target.mkdir(parents=True)
        for name in (*artifact.manifest.files, MANIFEST_NAME):
            shutil.copyfile(artifact.path / name, target / name)
    for one in (DATA / order.texts_path, *(DATA / job_path(job) for job in jobs)):
        (folder / one).parent.mkdir(exist_ok=True)
    write_text(folder / DATA / order.texts_path, order.texts)
    for job in jobs:
        write_json(folder / DATA / job_path(job), asdict(job))
    found = sorted(path for path in (folder / DATA).rglob("*") if path.is_file())
    files = {str(path.relative_to(folder / DATA)): path.relative_to(folder) for path in found}
    plan = FarmPlan(APP, jobs, files, seconds=order.config.seconds)
    for name, text in ({SCRIPT: firebase(plan)} if farm == FIREBASE else aws(plan)).items():
        write_text(folder / name, text)
    (folder / SCRIPT).chmod(0o755)


def read_farm(folder: Path, order: Order) -> list[Measured]:
    """The phones whose results lie anywhere below `folder`, each with an answer to every job.

    Raises UserError where there are none of these artifacts with these options, or some are missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of results")
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob(RESULT_NAME)):
        paths.setdefault(path.parent.name, []).append(path.parent)
    for cached in (True, False):
        jobs = _jobs(order, cached)
        if all(job.id in paths for several in jobs for job in several):
            break
    else:
        raise UserError(
            f"{folder}: no whole set of results of these artifacts with these options and this app; "
            f"it holds {len(paths)} results of other jobs or not all"
        )
    phones: dict[str, dict[str, Answer]] = {}
    for artifact, several in zip(order.artifacts, jobs, strict=True):
        for job in several:
            for place in paths[job.id]:
                _add(phones, _read(place, job, artifact, order), place)
    return [_measured(name, answers, jobs, order.artifacts, folder) for name, answers in phones.items()]


def _jobs(order: Order, cached: bool) -> list[list[Job]]:
    setting = Setting(DEVICE, order.client.sha256, None)
    return [make_jobs(one, order.texts_path, order.config, setting, cached) for one in order.artifacts]


def _read(place: Path, job: Job, artifact: Artifact, order: Order) -> Answer:
    answer = read_answer(place, job, artifact, order.count if job.texts else 0, str(place))
    if answer.result.device is None:
        raise UserError(f"{place}: {RESULT_NAME} does not say which phone it is from")
    refuse_hot(answer.result.device.thermal, str(place))
    return answer


def _add(phones: dict[str, dict[str, Answer]], answer: Answer, place: Path) -> None:
    device = answer.result.device
    name = f"{device.brand} {device.model}, API {device.sdk}" if device else ""
    answers = phones.setdefault(name, {})
    if answer.job.id in answers:
        raise UserError(f"{place}: a second result of {answer.job.artifact} from {name}; keep one of them")
    answers[answer.job.id] = answer


def _measured(
    name: str,
    answers: dict[str, Answer],
    jobs: list[list[Job]],
    artifacts: Sequence[Artifact],
    folder: Path,
) -> Measured:
    for artifact, several in zip(artifacts, jobs, strict=True):
        if any(job.id not in answers for job in several):
            raise UserError(f"{folder}: no result of {artifact.manifest.name} from {name}")
    ordered = [[answers[job.id] for job in several] for several in jobs]
    device = ordered[0][0].result.device
    if device is None:
        raise RuntimeError("it was read with its phone")
    thermal = [
        one for several in ordered for a in several if a.result.device for one in a.result.device.thermal
    ]
    virtual = is_emulator(device.abi, "", device.fingerprint)
    kind = EMULATED if virtual else DEVICE
    return Measured(name, kind, dataclasses.replace(device, thermal=thermal), ordered)
