"""fp32 artifact to quantised artifact: same tokenizer, same golden vectors, smaller model."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.errors import UserError, missing_extra
from common.files import refuse_existing
from export.artifact import Artifact, open_artifact, write_manifest, writing_artifact
from export.manifest import profile_name
from export.onnx_file import trunk_file
from quantize.listing import LISTERS, WeightShape, check_recipe, list_weights
from quantize.recipe_file import RECIPE_NAME, RecipeFile, plain, write_recipe
from quantize.recipes import Recipe, known_precisions
from quantize.rounding import RoundingMeter, copy_rest
from train.checkpoint import refuse_fp16


@dataclass(frozen=True)
class QuantizeJob:
    """One fp32 artifact, the recipe it gets and the folder that results."""

    parent: Path
    recipe: RecipeFile
    out: Path


def plan_quantization(
    parents: list[Path], recipes: Sequence[str | RecipeFile], out: Path | None
) -> list[QuantizeJob]:
    """Every parent in every precision or recipe, into `out` or beside it; all checked before any work.

    Raises UserError for an unknown precision, a recipe that does not fit its parent, a parent that is not
    fp32, or an output that exists or is named twice.
    """
    jobs: list[QuantizeJob] = []
    for parent in parents:
        source = open_fp32(parent, verify=False)  # hashes are checked when the work begins
        manifest = source.manifest
        for recipe in map(_as_recipe, recipes):
            _resolve(recipe, source)
            name = profile_name(manifest.runtime, recipe.precision(manifest.runtime), manifest.dim)
            jobs.append(QuantizeJob(parent, recipe, (out or parent.resolve().parent) / name))
    folders = [job.out for job in jobs]
    for folder in folders:
        refuse_existing(folder)
        if folders.count(folder) > 1:
            raise UserError(f"{folder}: two of the artifacts and precisions given would write it")
    return jobs


def open_fp32(path: Path, verify: bool = True) -> Artifact:
    """Open an artifact that may be quantised. Raises UserError when it is quantised already."""
    artifact = open_artifact(path, verify)
    if artifact.manifest.precision != "fp32":
        raise UserError(f"{path}: its precision is {artifact.manifest.precision}; only fp32 is quantised")
    return artifact


def parse_precisions(names: tuple[str, ...]) -> tuple[str, ...]:
    """Several precisions. Raises UserError for one that no runtime knows or given twice."""
    for name in names:
        refuse_fp16(name)
        if name not in known_precisions():
            raise UserError(f"precision '{name}': unknown; choose from {', '.join(known_precisions())}")
        if names.count(name) > 1:
            raise UserError(f"precision '{name}': given twice")
    return names


def _as_recipe(asked: str | RecipeFile) -> RecipeFile:
    return asked if isinstance(asked, RecipeFile) else plain(asked)


def _resolve(asked: RecipeFile, source: Artifact) -> tuple[Recipe, list[WeightShape]]:
    """The recipe for an artifact and the weights that it is for; every pattern and precision checked."""
    recipe = asked.for_artifact(source.manifest)
    runtime = source.manifest.runtime
    weights = list_weights(runtime, source.model_path) if runtime in LISTERS or recipe.overrides else []
    check_recipe(recipe, weights)
    return recipe, weights


def quantize_all(jobs: Sequence[QuantizeJob], step: Callable[[str], None]) -> list[Path]:
    """Do every job, each folder whole; the dimensions of one model share what they have in common.

    `step` is called with each folder's name. When a job fails, the folders of those before it stay.
    """
    meter = RoundingMeter()
    done: list[QuantizeJob] = []
    for parent in dict.fromkeys(job.parent for job in jobs):
        open_fp32(parent)  # hashes checked once for all precisions
    for job in jobs:
        _quantize(job, meter, _sibling(job, done))
        done.append(job)
        step(job.out.name)
    return [job.out for job in done]


def _sibling(job: QuantizeJob, done: Sequence[QuantizeJob]) -> Artifact | None:
    """The result for another dimension of the same model by the same recipe, where only the head differs."""
    for other in done:
        if other.recipe == job.recipe and _trunk(other.parent) == _trunk(job.parent) != "":
            return open_artifact(other.out, verify=False)
    return None


def _trunk(parent: Path) -> str:
    """Hash of the weights that all dimensions of an ONNX model have in common; empty for other runtimes."""
    artifact = open_artifact(parent, verify=False)
    entry = artifact.manifest.files.get(trunk_file(artifact.model_path).name)
    return entry.sha256 if entry else ""


def quantize_artifact(parent: Path, asked: str | RecipeFile, out: Path) -> Path:
    """Quantise the fp32 artifact `parent` by a precision or recipe into folder `out`, which must not exist.

    The manifest records the parent, the recipe and what the rounding alone costs on the golden texts; a
    recipe that is more than a precision lies in the folder as recipe.json too. Raises UserError for a parent
    that is not fp32, a precision unknown, or weights that cannot be quantised.
    """
    return quantize_all([QuantizeJob(parent, _as_recipe(asked), out)], lambda name: None)[0]


def _quantize(job: QuantizeJob, meter: RoundingMeter, sibling: Artifact | None) -> None:
    """One job, its parent verified before; `sibling` is the result for another dimension by this recipe."""
    source = open_fp32(job.parent, verify=False)
    runtime, chosen = source.manifest.runtime, job.recipe
    recipe, weights = _resolve(chosen, source)
    precision = chosen.precision(runtime)
    rewrite = _rewriter(runtime)
    with writing_artifact(job.out) as folder:
        copy_rest(source, folder)
        _write(rewrite, source, folder, recipe, sibling)
        manifest = dataclasses.replace(
            source.manifest,
            name=profile_name(runtime, precision, source.manifest.dim),
            precision=precision,
            parent=source.manifest.name,
            rounding=meter.cost(source, recipe, rewrite, job.out.parent),
            recipe=chosen.record(runtime, recipe, weights),
            tools={**source.manifest.tools, **{tool: version(tool) for tool in REWRITERS[runtime][1]}},
        )
        if not chosen.is_plain:
            write_recipe(folder / RECIPE_NAME, chosen, manifest)
        write_manifest(folder, manifest)


def _write(rewrite: Any, source: Artifact, folder: Path, recipe: Recipe, sibling: Artifact | None) -> None:
    """Have a runtime's rewriter write the model; `sibling` is a result that shares all but the head."""
    target = folder / source.model_name
    if sibling is None:
        rewrite.write_quantized(source.model_path, target, recipe)
    else:
        rewrite.write_quantized(source.model_path, target, recipe, sibling.model_path)


def write_model(source: Artifact, recipe: Recipe, folder: Path) -> Artifact:
    """Quantise into `folder` what it takes to embed texts, without a manifest: for a look at a recipe."""
    copy_rest(source, folder)
    rewrite = _rewriter(source.manifest.runtime)
    rewrite.write_quantized(source.model_path, folder / source.model_name, recipe)
    return Artifact(folder, source.manifest)


REWRITERS = {
    "onnx": ("quantize.onnx_rewrite", ("onnx",)),
    "litert": ("quantize.litert_rewrite", ("ai-edge-litert",)),
    "gguf": ("quantize.gguf_rewrite", ()),
}
"""Module that rewrites the graphs of a runtime, and the packages that it writes with."""


def _rewriter(runtime: str) -> Any:
    try:
        return importlib.import_module(REWRITERS[runtime][0])
    except ImportError as error:
        raise missing_extra("quantize", error.name or "onnx") from None
