"""fp32 artifact to quantised artifact: same tokenizer, same golden vectors, smaller model."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.errors import UserError, missing_extra
from common.files import refuse_existing
from export.artifact import Artifact, open_artifact, write_manifest, writing_artifact
from export.embedder import Embedder, Opening
from export.golden import golden_parity
from export.manifest import RoundingCost, profile_name
from quantize.listing import LISTERS, WeightShape, check_recipe, list_weights
from quantize.recipe_file import RECIPE_NAME, RecipeFile, plain, write_recipe
from quantize.recipes import Recipe, known_precisions
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
        source = open_fp32(parent)
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


def open_fp32(path: Path) -> Artifact:
    """Open an artifact that may be quantised. Raises UserError when it is quantised already."""
    artifact = open_artifact(path)
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


def quantize_artifact(parent: Path, asked: str | RecipeFile, out: Path) -> Path:
    """Quantise the fp32 artifact `parent` by a precision or recipe into folder `out`, which must not exist.

    The manifest records the parent, the recipe and what the rounding alone costs on the golden texts; a
    recipe that is more than a precision lies in the folder as recipe.json too. Raises UserError for a parent
    that is not fp32, a precision unknown, or weights that cannot be quantised.
    """
    source = open_fp32(parent)
    runtime = source.manifest.runtime
    chosen = _as_recipe(asked)
    recipe, weights = _resolve(chosen, source)
    precision = chosen.precision(runtime)
    rewrite = _rewriter(runtime)
    with writing_artifact(out) as folder:
        _copy_rest(source, folder)
        rewrite.write_quantized(source.model_path, folder / source.model_name, recipe)
        manifest = dataclasses.replace(
            source.manifest,
            name=profile_name(runtime, precision, source.manifest.dim),
            precision=precision,
            parent=source.manifest.name,
            rounding=rounding_cost(source, recipe, out.parent),
            recipe=chosen.record(runtime, recipe, weights),
            tools={**source.manifest.tools, **{tool: version(tool) for tool in REWRITERS[runtime][1]}},
        )
        if not chosen.is_plain:
            write_recipe(folder / RECIPE_NAME, chosen, manifest)
        write_manifest(folder, manifest)
    return out


def write_model(source: Artifact, recipe: Recipe, folder: Path) -> Artifact:
    """Quantise into `folder` what it takes to embed texts, without a manifest: for a look at a recipe."""
    _copy_rest(source, folder)
    rewrite = _rewriter(source.manifest.runtime)
    rewrite.write_quantized(source.model_path, folder / source.model_name, recipe)
    return Artifact(folder, source.manifest)


REWRITERS = {
    "onnx": ("quantize.onnx_rewrite", ("onnx",)),
    "litert": ("quantize.litert_rewrite", ("ai-edge-litert",)),
    "gguf": ("quantize.gguf_rewrite", ()),
}
"""Module that rewrites the graphs of a runtime, and the packages that it writes with."""
LONGEST_ROUNDED = {"gguf": 256}
"""Tokens of the longest golden text of which the cost of rounding is taken, where a runtime has a limit.

llama.cpp reserves a row of logits for every token, 2 GB for 2048 tokens and 262,144 rows, on top of the fp32
weights.
"""


def _rewriter(runtime: str) -> Any:
    try:
        return importlib.import_module(REWRITERS[runtime][0])
    except ImportError as error:
        raise missing_extra("quantize", error.name or "onnx") from None


def _copy_rest(source: Artifact, folder: Path) -> None:
    """Everything but the graph and its weights."""
    for name in source.manifest.files:
        if not name.startswith(source.model_name):
            shutil.copyfile(source.path / name, folder / name)


def rounding_cost(source: Artifact, recipe: Recipe, scratch_parent: Path) -> RoundingCost:
    """Golden cosine of the fp32 graph with rounded weights: the part that no kernel can win back.

    The graph lies for a moment in a temporary folder under `scratch_parent`; it is as large as the fp32 one.
    """
    with tempfile.TemporaryDirectory(prefix=".rounded.", dir=scratch_parent) as scratch:
        folder = Path(scratch)
        _copy_rest(source, folder)
        rewrite = _rewriter(source.manifest.runtime)
        rewrite.write_rounded(source.model_path, folder / source.model_name, recipe)
        embedder = Embedder(Artifact(folder, source.manifest), Opening(use_weight_cache=False))
        parity = golden_parity(embedder, LONGEST_ROUNDED.get(source.manifest.runtime))
    return RoundingCost(parity.cosine_mean, parity.cosine_min)
