"""The main job: train, export, quantise, bench, gate, in one run folder.

Every stage ends by renaming something whole into place, so the next start sees exactly which stages are
done: checkpoint/ exists, an artifact folder exists, measurements.json exists. A run folder belongs to one
training (run.json); another is refused there. Measurements are used again only for the very artifacts and
measuring options that they name; gates only judge and may change freely.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gate import apply_gates
from bench.limits import Gates
from bench.measure import BenchConfig, carried_reference, measure_all
from bench.report import Report
from bench.report_file import parse_report
from bench.report_folder import write_report_folder
from common.errors import UserError, missing_extra
from common.files import read_json, remove_empty, sha256_file, write_json
from common.progress import Display
from common.retrieval import read_retrieval_set
from export.artifact import Artifact, open_artifact
from export.formats import ExportPlan, export_formats
from export.manifest import MANIFEST_NAME, profile_name
from quantize.quantize import QuantizeJob, quantize_all
from quantize.recipe_file import plain
from quantize.recipes import choose_precision
from train.checkpoint import read_checkpoint_info, resolve_model
from train.config import TrainConfig
from train.job import TrainJob, changed_settings, run_training, training_claim
from train.pairs import TrainingData, read_training_data

RUN_NAME = "run.json"
MEASURED_NAME = "measurements.json"


@dataclass(frozen=True)
class Plan:
    """Everything one run depends on."""

    folder: Path
    model: str
    data: Path
    train: TrainConfig
    runtimes: tuple[str, ...]
    precisions: tuple[str, ...]
    signatures: tuple[int, ...]
    bench: BenchConfig
    gates: Gates
    gates_identity: dict[str, str]
    command_line: str
    allow_worse: bool = False

    @property
    def checkpoint(self) -> Path:
        """The tuned and merged model folder."""
        return self.folder / "checkpoint"

    @property
    def artifacts(self) -> Path:
        """Parent of the artifact folders."""
        return self.folder / "artifacts"

    def artifact(self, runtime: str, precision: str, dim: int) -> Path:
        """Folder of one profile."""
        return self.artifacts / profile_name(runtime, precision, dim)

    def quantised(self, dims: list[int]) -> list[tuple[str, str, int]]:
        """(runtime, precision, dim) of every profile besides fp32, in the words of its runtime."""
        return [
            (runtime, precision, dim)
            for runtime in self.runtimes
            for precision in dict.fromkeys(choose_precision(runtime, name) for name in self.precisions)
            for dim in dims
        ]


def run_pipeline(plan: Plan, display: Display) -> Report:
    """Run what is not yet done and return the gated report, also written with its views.

    Raises UserError for bad input (nothing is left behind when the first stage never began) and for a run
    folder that holds another training's work.
    """
    if not (plan.data / "qrels" / "test.tsv").is_file():
        raise UserError(f"{plan.data}: the main job needs a BEIR folder with qrels/test.tsv to score on")
    if "onnx" in plan.runtimes and importlib.util.find_spec("onnxscript") is None:
        raise missing_extra("export", "onnxscript")
    data = read_training_data(plan.data, plan.train.seed)
    claim = training_claim(resolve_model(plan.model)[0], data, plan.train)
    with _claimed(plan.folder, claim):
        dims = _train(plan, data, display)
        _export(plan, dims, display)
        _quantize(plan, dims, display)
        report = apply_gates(_bench(plan, dims, display), plan.gates, plan.gates_identity)
        write_report_folder(report, plan.folder)
    return report


@contextmanager
def _claimed(folder: Path, claim: dict[str, Any]) -> Iterator[None]:
    """Hold the run folder for one training; remove it when nothing worth keeping came of it."""
    path = folder / RUN_NAME
    new_folders = [folder, *(parent for parent in folder.parents if not parent.exists())]
    if path.is_file() and (found := read_json(path)) != claim:
        raise UserError(
            f"{folder}: already holds another run (different {changed_settings(found, claim)}); "
            "choose another --name or remove it"
        )
    if not path.is_file() and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: already exists and is not a run; choose another --name")
    try:
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, claim)
        yield
    finally:
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {RUN_NAME}:
            path.unlink(missing_ok=True)
            remove_empty(new_folders)


def _check_model(plan: Plan) -> None:
    """Raise UserError for a model that could be tuned but not exported or measured as planned."""
    from export.source import open_source

    limit = open_source(plan.model).max_tokens
    longest = limit
    if "litert" in plan.runtimes:
        from export.to_litert import LiteRTOptions

        longest = LiteRTOptions(plan.signatures).choose_lengths(limit)[-1]
    if max(plan.bench.lengths) > longest:
        raise UserError(f"length {max(plan.bench.lengths)}: {plan.model} takes at most {longest} tokens here")


def _train(plan: Plan, data: TrainingData, display: Display) -> list[int]:
    """Make checkpoint/ and return its dimensions."""
    if plan.checkpoint.is_dir():
        display.done("train", "done before")
    else:
        _check_model(plan)
        job = TrainJob(plan.model, plan.data, plan.checkpoint, plan.train, plan.allow_worse)
        with display.stage("train", plan.train.steps(len(data.pairs))) as step:
            run_training(job, step)
    info = read_checkpoint_info(plan.checkpoint)
    if info is None:
        raise UserError(f"{plan.checkpoint}: it lost its checkpoint.json; remove the folder to tune again")
    return info.dims


def _export(plan: Plan, dims: list[int], display: Display) -> None:
    _check_signatures(plan, dims)
    missing = {
        runtime: [dim for dim in dims if not plan.artifact(runtime, "fp32", dim).is_dir()]
        for runtime in plan.runtimes
    }
    jobs = [(_export_plan(plan, runtime), missing[runtime]) for runtime in plan.runtimes if missing[runtime]]
    if not jobs:
        display.done("export", "done before")
        return
    from export.source import open_source

    with display.stage("export", sum(job.steps(len(todo)) for job, todo in jobs)) as step:
        source = open_source(str(plan.checkpoint))
        for job, todo in jobs:
            export_formats(source, todo, plan.artifacts, job, step)


def _check_signatures(plan: Plan, dims: list[int]) -> None:
    """Raise UserError when the run's LiteRT files were exported with other lengths than those asked for."""
    wanted = sorted(set(plan.signatures))
    for path in (plan.artifact("litert", "fp32", dim) for dim in dims):
        if (
            wanted
            and path.is_dir()
            and (found := open_artifact(path, verify=False).manifest.lengths) != wanted
        ):
            raise UserError(
                f"{path}: its signatures take {found} tokens, not {wanted}; choose another --name"
            )


def _export_plan(plan: Plan, runtime: str) -> ExportPlan:
    return ExportPlan((runtime,), plan.signatures if runtime == "litert" else ())


def _quantize(plan: Plan, dims: list[int], display: Display) -> None:
    jobs = [job for job in plan.quantised(dims) if not plan.artifact(*job).is_dir()]
    if not jobs:
        display.done("quantize", "done before")
        return
    with display.stage("quantize", len(jobs)) as step:
        quantize_all(
            [
                QuantizeJob(plan.artifact(runtime, "fp32", dim), plain(precision), plan.artifact(*job))
                for job in jobs
                for runtime, precision, dim in [job]
            ],
            step,
        )


def _bench(plan: Plan, dims: list[int], display: Display) -> Report:
    """Measure every artifact, or take the measurements of these very files under these very options."""
    plain = [(runtime, "fp32", dim) for runtime in plan.runtimes for dim in dims]
    artifacts = [open_artifact(plan.artifact(*one)) for one in plain + plan.quantised(dims)]
    subject = _subject(plan, artifacts)
    path = plan.folder / MEASURED_NAME
    kept = read_json(path) if path.is_file() else None
    if isinstance(kept, dict) and kept.get("subject") == subject:
        display.done("bench", "done before")
        return parse_report(kept.get("report"), str(path))
    data = read_retrieval_set(plan.data, "test")
    with display.stage("bench", len(artifacts)) as step:
        reference = carried_reference(artifacts[0], data, plan.bench.prompt_name)
        measured = measure_all(artifacts, data, reference, plan.bench, step)
        report = measured.made_by(plan.command_line)
    write_json(path, {"subject": subject, "report": dataclasses.asdict(report)})
    return report


def _subject(plan: Plan, artifacts: list[Artifact]) -> dict[str, Any]:
    """What measurements are of: the manifests, which hash every file, and the measuring options."""
    manifests = {a.manifest.name: sha256_file(a.path / MANIFEST_NAME) for a in artifacts}
    return {"artifacts": manifests, "options": repr(plan.bench)}
