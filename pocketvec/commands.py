"""What each command does with its arguments. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.files import refuse_existing
from common.progress import Display
from pocketvec import STARTER_MODEL

if TYPE_CHECKING:
    from bench.measure import BenchConfig
    from bench.report import Report
    from export.source import Source
    from export.vocabulary import TrimRequest
    from train.config import TrainConfig

PASSED, GATE_FAILED = 0, 1

OVERRIDES = (
    *("rank", "alpha", "dropout", "train_head", "learning_rate", "epochs"),
    *("batch_size", "mini_batch_size", "dtype", "seed", "report_to"),
)
"""Settings of a recipe that the command line can replace."""


def run(given: argparse.Namespace) -> int:
    """The whole pipeline; the last line of stdout is the verdict as JSON."""
    from bench.limits import gates_identity, read_gates
    from export.manifest import parse_runtimes
    from pocketvec.pipeline import Plan, run_pipeline
    from quantize.quantize import parse_precisions

    plan = Plan(
        folder=given.runs / given.name,
        model=given.model,
        data=given.data,
        train=train_config(given),
        runtimes=parse_runtimes(given.runtimes),
        precisions=parse_precisions(given.precisions),
        signatures=given.signature_lengths,
        bench=bench_config(given),
        gates=read_gates(given.gates),
        gates_identity=gates_identity(given.gates),
        command_line=given.command_line,
        allow_worse=given.allow_worse,
    )
    with Display() as display:
        report = run_pipeline(plan, display)
    return _conclude(report, plan.folder)


def train(given: argparse.Namespace) -> int:
    """Tune, merge and write a checkpoint folder."""
    from train.job import TrainJob, run_training
    from train.pairs import read_training_data

    job = TrainJob(given.model, given.data, given.out, train_config(given), given.allow_worse)
    pairs = len(read_training_data(job.data, job.config.seed).pairs)
    with Display() as display, display.stage("train", job.config.steps(pairs)) as step:
        folder = run_training(job, step)
    sys.stdout.write(f"{folder}\n")
    return PASSED


def train_config(given: argparse.Namespace) -> TrainConfig:
    """The recipe, with what the command line sets in place of its values."""
    from train.config import STARTER_RECIPE, TrainConfig, parse_targets

    is_starter = given.recipe == "starter" or (
        given.recipe == "auto" and Path(given.model).resolve() == STARTER_MODEL.resolve()
    )
    changes: dict[str, Any] = {name: v for name in OVERRIDES if (v := getattr(given, name)) is not None}
    if given.targets is not None:
        changes["targets"] = parse_targets(given.targets)
    recipe = STARTER_RECIPE if is_starter else TrainConfig()
    return dataclasses.replace(recipe, dims=given.dims, prompt_name=given.prompt, **changes)


def bench_config(given: argparse.Namespace) -> BenchConfig:
    """Measuring options from the command line."""
    from bench.measure import BenchConfig

    return BenchConfig(given.lengths, given.bench_runs, given.threads, given.prompt)


def export(given: argparse.Namespace) -> int:
    """One fp32 artifact per format and dimension; all of them or, when one fails, none."""
    from export.manifest import parse_runtimes
    from train.checkpoint import refuse_fp16

    refuse_fp16(given.precision)
    if given.precision != "fp32":
        raise UserError(f"precision '{given.precision}': export writes fp32; then run pocketvec quantize")
    from common.dims import choose_dims
    from export.formats import ExportPlan, export_formats
    from export.vocabulary import parse_trim
    from pocketvec.inspection import vocabulary_lines

    formats = parse_runtimes(given.format)
    plan = ExportPlan(formats, given.signature_lengths, given.contract, given.further_dims)
    trim = parse_trim(given.vocab, given.vocab_size, given.data)
    with Display() as display, _export_source(given, trim, display) as source:
        dims = choose_dims(given.dims, source.full_dim)
        with display.stage("export", plan.steps(len(dims))) as step:
            folders = export_formats(source, list(dims), given.out, plan, step)
    sys.stdout.write("".join(f"{folder}\n" for folder in folders))
    sys.stdout.write(vocabulary_lines(source.vocabulary))
    return PASSED


@contextmanager
def _export_source(given: argparse.Namespace, trim: TrimRequest | None, display: Display) -> Iterator[Source]:
    """The model as it is or, for the length of the block, with a trimmed vocabulary."""
    from export.source import open_source

    if trim is None:
        yield open_source(given.model)
        return
    from export.trimmed import STEPS, open_trimmed

    with ExitStack() as stack:
        with display.stage("vocabulary", STEPS) as step:
            trimmed = open_trimmed(given.model, trim, given.dims, given.out, step)
            source = stack.enter_context(trimmed)
        yield source


def quantize(given: argparse.Namespace) -> int:
    """Each artifact in each precision or by a recipe; all of them or, when one fails, none."""
    from pocketvec import quantizing

    return quantizing.quantize(given)


def bench(given: argparse.Namespace) -> int:
    """Measure, gate, write the report; exit 1 when a profile fails."""
    from bench.gate import apply_gates
    from bench.limits import gates_identity, read_gates
    from bench.measure import carried_reference, check_artifacts, measure_all
    from bench.report_folder import write_report_folder
    from common.files import whole_folder
    from common.retrieval import read_retrieval_set
    from export.artifact import open_artifact

    config, gates = bench_config(given), read_gates(given.gates)
    refuse_existing(given.out)
    data = read_retrieval_set(given.data, given.split)
    artifacts = [open_artifact(path) for path in given.artifacts]
    check_artifacts(artifacts, config)
    if given.reference is None:
        reference = carried_reference(artifacts[0], data, config.prompt_name)
    else:
        from bench.reference import score_reference

        dims = [artifact.manifest.dim for artifact in artifacts]
        reference = score_reference(given.reference, data, dims, config.prompt_name)
    with Display() as display, display.stage("bench", len(artifacts)) as step:
        measured = measure_all(artifacts, data, reference, config, step).made_by(given.command_line)
    report = apply_gates(measured, gates, gates_identity(given.gates))
    with whole_folder(given.out) as folder:
        write_report_folder(report, folder)
    return _conclude(report, given.out)


def gate(given: argparse.Namespace) -> int:
    """Judge a report anew by a gates file, and write it with its views where --out says."""
    from bench.gate import apply_gates
    from bench.limits import gates_identity, read_gates
    from bench.report_file import read_report
    from bench.report_folder import write_report_folder
    from bench.views.terminal import render_text
    from common.files import whole_folder

    report = apply_gates(read_report(given.report), read_gates(given.gates), gates_identity(given.gates))
    if given.out is not None:
        with whole_folder(given.out) as folder:
            write_report_folder(report, folder)
    sys.stdout.write(render_text(report))
    return _exit_code(report)


def device(given: argparse.Namespace) -> int:
    """Measure on phones, gate, write a report for each."""
    from pocketvec import driving

    return driving.device(given)


def compare(given: argparse.Namespace) -> int:
    """A report against an earlier one."""
    from pocketvec import comparing

    return comparing.compare(given)


def recommend(given: argparse.Namespace) -> int:
    """The profile of a report to ship."""
    from pocketvec import recommending

    return recommending.recommend(given)


def inspect(given: argparse.Namespace) -> int:
    """Show a checked artifact, or embed one text with it."""
    from export.artifact import open_artifact
    from export.embedder import Embedder
    from pocketvec.inspection import describe

    artifact = open_artifact(given.artifact)
    if given.text is None:
        sys.stdout.write(describe(artifact))
    else:
        vector = Embedder(artifact).embed_queries([given.text], given.prompt)[0]
        sys.stdout.write(json.dumps([float(f"{x:.6g}") for x in vector]) + "\n")
    return PASSED


def lint(given: argparse.Namespace) -> int:
    """Structural faults of artifacts, found without running them."""
    from pocketvec import linting

    return linting.lint(given)


def pack(given: argparse.Namespace) -> int:
    """Write what a client or an app's project loads, or say why it would not load it."""
    from pocketvec import packing

    return packing.pack(given)


def synth(given: argparse.Namespace) -> int:
    """A checkpoint of a real shape with random weights."""
    from pocketvec import synthesis

    return synthesis.synthesise(given)


def plan(given: argparse.Namespace) -> int:
    """Size, memory and index of a shape, predicted."""
    from pocketvec import plan_view

    return plan_view.plan(given)


def _conclude(report: Report, folder: Path) -> int:
    """Print the verdict as the last line of stdout, as JSON."""
    sys.stdout.write(json.dumps(verdict_of(report, folder), ensure_ascii=False) + "\n")
    return _exit_code(report)


def verdict_of(report: Report, folder: Path) -> dict[str, Any]:
    """What the last line of stdout says of a report in `folder`."""
    from bench.pareto import pareto_front

    passed = [profile.name for profile in report.profiles if profile.verdict == "pass"]
    return {
        "verdict": report.verdict,
        "passed": passed,
        "failed": {p.name: p.reasons for p in report.profiles if p.name not in passed},
        "pareto": pareto_front(report.profiles),
        "report": str(folder / "report.html"),
    }


def _exit_code(report: Report) -> int:
    return PASSED if report.verdict == "pass" else GATE_FAILED
