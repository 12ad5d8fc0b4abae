"""recipe.json: which precision each weight gets, as data that makes the same artifact again."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.files import read_json, write_json
from common.records import from_dict
from export.manifest import Manifest, RecipeRecord
from quantize.listing import WeightShape, tally
from quantize.recipes import RECIPES, Override, Recipe, choose_precision, codecs, known_precisions
from train.checkpoint import FP16_NAMES, refuse_fp16

RECIPE_SCHEMA = "pocketvec.recipe/1"
RECIPE_NAME = "recipe.json"
CUSTOM, AUTO = "custom", "auto"
"""Precision names of profiles with exceptions from a precision, and of those that a search found."""
LABEL = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class TrialRecord:
    """One recipe that a search measured: bytes of the model, the metric, the drop below fp32, exceptions.

    drop and drop_upper are shares of the fp32 score; drop_upper is the end of the one-sided interval.
    """

    bytes: int
    score: float
    drop: float
    drop_upper: float
    within: bool
    keep: dict[str, str]


@dataclass(frozen=True)
class SearchRecord:
    """What a search was asked, on which data, and every recipe that it measured, in order."""

    metric: str
    budget: float
    point_estimate: bool
    confidence: float
    data: str
    split: str
    data_sha256: str
    query_prompt: str
    queries: int
    fp32_score: float
    trials: list[TrialRecord]


@dataclass(frozen=True)
class RecipeFile:
    """A base precision and exceptions from it.

    keep: precision by pattern, of which the first that matches a weight decides. label: the precision's name
    in folders, reports and gates. runtime, checkpoint_sha256: what the recipe is for (None: any).
    """

    schema: str
    base: str
    keep: dict[str, str] = field(default_factory=dict)
    scale_search: bool = False
    label: str = CUSTOM
    runtime: str | None = None
    checkpoint_sha256: str | None = None
    search: SearchRecord | None = None

    def for_artifact(self, manifest: Manifest) -> Recipe:
        """The recipe for an fp32 artifact.

        Raises UserError when it was made for another runtime or model, or for a precision that the runtime
        does not have.
        """
        if self.runtime not in (None, manifest.runtime):
            raise UserError(f"recipe for {self.runtime}: {manifest.name} is for {manifest.runtime}")
        if self.checkpoint_sha256 not in (None, manifest.model.checkpoint_sha256):
            raise UserError(
                f"recipe of another model: {manifest.name} is of checkpoint "
                f"{manifest.model.checkpoint_sha256[:16]}, it is for {str(self.checkpoint_sha256)[:16]}; "
                "without the field checkpoint_sha256 it fits any"
            )
        return self.resolve(manifest.runtime)

    def resolve(self, runtime: str) -> Recipe:
        """The recipe for a runtime. Raises UserError for a precision that it does not have."""
        recipe = RECIPES[runtime][choose_precision(runtime, self.base)]
        overrides = tuple(_override(runtime, *rule) for rule in self.keep.items())
        return dataclasses.replace(recipe, overrides=overrides, scale_search=self.scale_search)

    def precision(self, runtime: str) -> str:
        """The name of the resulting profile's precision."""
        return choose_precision(runtime, self.label) if self.is_plain else self.label

    @property
    def is_plain(self) -> bool:
        """Whether this is one of the known precisions as it is."""
        return self.label == self.base and not self.keep

    def record(self, runtime: str, recipe: Recipe, weights: list[WeightShape]) -> RecipeRecord:
        """What the manifest says of it."""
        base = choose_precision(runtime, self.base)
        return RecipeRecord(base, self.keep, self.scale_search, tally(recipe, weights))


def _override(runtime: str, pattern: str, precision: str) -> Override:
    known = codecs(runtime, is_table=False) | codecs(runtime, is_table=True)
    if precision not in known:
        refuse_fp16(precision)
        raise UserError(
            f"precision '{precision}' for '{pattern}': {runtime} takes {', '.join(sorted(known))}"
        )
    return Override(pattern, precision, runtime)


def plain(precision: str, scale_search: bool = False) -> RecipeFile:
    """A known precision as it is."""
    return RecipeFile(RECIPE_SCHEMA, precision, scale_search=scale_search, label=precision)


def check_label(label: str) -> str:
    """A name for a precision of one's own. Raises UserError for one that misleads or fits no folder."""
    if label in (*known_precisions(), "fp32", "fp16", *FP16_NAMES):
        raise UserError(f"name '{label}': is a precision that the weights would not have; choose another")
    if not LABEL.fullmatch(label):
        raise UserError(f"name '{label}': small letters, digits and underscores, at most 32")
    return label


def parse_keep(rules: list[str]) -> dict[str, str]:
    """PATTERN=PRECISION rules in their order. Raises UserError for one that is not, or is given twice."""
    keep: dict[str, str] = {}
    for rule in rules:
        pattern, equals, precision = rule.rpartition("=")
        if not (equals and pattern and precision):
            raise UserError(f"--keep {rule}: must be PATTERN=PRECISION, for instance attention=q8_0")
        if pattern in keep:
            raise UserError(f"--keep {rule}: the pattern is given twice")
        keep[pattern] = precision
    return keep


def read_recipe(path: Path) -> RecipeFile:
    """Parse recipe.json strictly. Raises UserError with the field that is wrong."""
    raw = read_json(path)
    if not isinstance(raw, dict) or raw.get("schema") != RECIPE_SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else None
        raise UserError(f"{path}: schema '{found}' is not '{RECIPE_SCHEMA}'")
    recipe = from_dict(RecipeFile, raw, str(path))
    if not recipe.is_plain:
        check_label(recipe.label)
    return recipe


def write_recipe(path: Path, recipe: RecipeFile, manifest: Manifest) -> None:
    """Store a recipe for the runtime and model of `manifest`."""
    checkpoint = manifest.model.checkpoint_sha256
    bound = dataclasses.replace(recipe, runtime=manifest.runtime, checkpoint_sha256=checkpoint)
    write_json(path, dataclasses.asdict(bound))
