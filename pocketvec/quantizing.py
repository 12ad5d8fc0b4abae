"""The quantize command: known precisions, exceptions from one, a recipe file, or a search for a recipe."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.progress import Display
from pocketvec import BUNDLED_DATA

if TYPE_CHECKING:
    from common.retrieval import RetrievalSet
    from quantize.judge import Goal
    from quantize.quantize import QuantizeJob
    from quantize.recipe_file import RecipeFile, SearchRecord

PRECISIONS = ("q8_0", "q4_0")
BUDGET, SPLIT, METRIC, MAX_EVALUATIONS = 0.02, "dev", "ndcg_at_10", 40
SEARCH_OPTIONS = ("budget", "data", "split", "metric", "prompt", "point_estimate", "max_evaluations")
MB = 1_000_000


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options besides the artifacts, --precision and --out."""
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PATTERN=PRECISION",
        help="exception from the one --precision, the first that matches counts; PATTERN is table, "
        "attention, feed_forward, head, a glob over names (layers.0.*), or both (attention:layers.0.*)",
    )
    parser.add_argument("--recipe", type=Path, default=None, help="recipe.json in place of --precision")
    parser.add_argument("--name", default=None, help="what to call the result (default: custom, auto)")
    parser.add_argument(
        "--scale-search",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="search the scales of 4-bit blocks; same format, other numbers (docs/quantize.md)",
    )
    search = parser.add_argument_group("search (all measured on --data)")
    search.add_argument("--auto", action="store_true", help="the smallest recipe that holds --budget")
    search.add_argument(
        "--budget",
        type=float,
        default=None,
        help=f"share of the fp32 metric that may be lost (default: {BUDGET})",
    )
    search.add_argument("--data", type=Path, default=None, help="BEIR folder (default: the bundled saltern)")
    search.add_argument("--split", default=None, help=f"qrels to score (default: {SPLIT})")
    search.add_argument(
        "--metric", default=None, help=f"ndcg_at_10, recall_at_10, mrr_at_10 (default: {METRIC})"
    )
    search.add_argument("--prompt", default=None, help="the model's prompt for queries, by name")
    search.add_argument(
        "--point-estimate",
        action="store_true",
        default=None,
        help="hold the budget by the measured drop, not by the end of its 90 %% interval",
    )
    search.add_argument(
        "--max-evaluations",
        type=int,
        default=None,
        help=f"recipes to measure at most (default: {MAX_EVALUATIONS})",
    )


def quantize(given: argparse.Namespace) -> int:
    """Each artifact by each recipe; all of them or, when one fails, none."""
    _refuse_contradictions(given)
    from quantize.quantize import plan_quantization, quantize_all

    jobs = plan_quantization(given.artifacts, _recipes(given), given.out)
    try:
        with Display() as display:
            if given.auto:
                jobs = _search(given, jobs, display)
            with display.stage("quantize", len(jobs)) as step:
                done = quantize_all(jobs, step)
    except BaseException:
        for job in jobs:  # they did not exist before: plan_quantization has seen to it
            shutil.rmtree(job.out, ignore_errors=True)
        raise
    for job in jobs:
        if job.recipe.search:
            sys.stdout.write(search_table(job.recipe.search))
    sys.stdout.write("".join(f"{folder}\n" for folder in done))
    return 0


def _refuse_contradictions(given: argparse.Namespace) -> None:
    sources = {"--auto": given.auto, "--recipe": given.recipe, "--precision": given.precision}
    named = [option for option, value in sources.items() if value]
    if len(named) > 1:
        raise UserError(f"{named[0]} and {named[1]}: each says which precision the weights get; give one")
    if given.keep and (given.auto or given.recipe):
        raise UserError(f"--keep and {named[0]}: the recipe says what is kept; give one")
    if given.keep and len(given.precision) != 1:
        raise UserError("--keep: makes exceptions from one precision; name it with --precision")
    asked = [name for name in SEARCH_OPTIONS if getattr(given, name) is not None]
    if asked and not given.auto:
        raise UserError(f"--{asked[0].replace('_', '-')}: is only for --auto")
    if given.name and not (given.auto or given.recipe or given.keep or given.scale_search):
        raise UserError(f"--name {given.name}: a known precision has its own name")


def _recipes(given: argparse.Namespace) -> list[RecipeFile]:
    """What the command line asks for; for a search the precision that it starts from."""
    from quantize.recipe_file import (
        AUTO,
        CUSTOM,
        RECIPE_SCHEMA,
        RecipeFile,
        check_label,
        parse_keep,
        plain,
        read_recipe,
    )

    searched = bool(given.scale_search)
    if given.recipe:
        recipe = read_recipe(given.recipe)
        label = check_label(given.name) if given.name else recipe.label
        if given.scale_search is not None and given.scale_search != recipe.scale_search:
            raise UserError(f"{given.recipe}: it says itself whether scales are searched")
        return [dataclasses.replace(recipe, label=label)]
    if given.auto or given.keep or given.name:
        bases = ("q4_0",) if given.auto else given.precision or PRECISIONS
        label = check_label(given.name or (AUTO if given.auto else CUSTOM))
        keep = parse_keep(given.keep)
        return [RecipeFile(RECIPE_SCHEMA, base, keep, searched, label) for base in bases]
    return [plain(name, searched) for name in given.precision or PRECISIONS]


def _search(given: argparse.Namespace, jobs: list[QuantizeJob], display: Display) -> list[QuantizeJob]:
    """The same jobs with the recipes that were found for them."""
    from common.retrieval import read_retrieval_set
    from quantize.judge import Goal

    goal = Goal(
        budget=BUDGET if given.budget is None else given.budget,
        metric=given.metric or METRIC,
        point_estimate=bool(given.point_estimate),
        prompt_name=given.prompt,
    )
    data = read_retrieval_set(given.data or BUNDLED_DATA, given.split or SPLIT)
    limit = MAX_EVALUATIONS if given.max_evaluations is None else given.max_evaluations
    return [dataclasses.replace(job, recipe=_find(job, data, goal, limit, display)) for job in jobs]


def _find(job: QuantizeJob, data: RetrievalSet, goal: Goal, limit: int, display: Display) -> RecipeFile:
    from quantize.auto import check_limit, find_recipe
    from quantize.judge import Judge
    from quantize.quantize import open_fp32

    check_limit(limit)
    with display.stage("search", limit) as step:
        judge = Judge(open_fp32(job.parent), data, goal)
        return find_recipe(judge, job.recipe.label, job.recipe.scale_search, limit, step)


def search_table(search: SearchRecord) -> str:
    """Every recipe that was measured, in order, for a terminal."""
    held = min((trial for trial in search.trials if trial.within), key=lambda trial: trial.bytes)
    what = "drop" if search.point_estimate else f"drop at {search.confidence:.0%} confidence"
    lines = [
        f"{search.metric} of fp32 {search.fp32_score:.4f} on {search.queries} queries of "
        f"{search.data}/{search.split}; budget {search.budget:g} for the {what}",
        f"{'':2}{'MB':>9} {search.metric:>12} {'drop':>8} {'at most':>8}  above q4_0",
    ]
    for trial in search.trials:
        mark = "*" if trial is held else "+" if trial.within else ""
        kept = ", ".join(f"{pattern}={precision}" for pattern, precision in trial.keep.items())
        lines.append(
            f"{mark:2}{trial.bytes / MB:9.2f} {trial.score:12.4f} {trial.drop:8.4f} "
            f"{trial.drop_upper:8.4f}  {kept or '-'}"
        )
    return "\n".join(lines) + "\n+ holds the budget, * the smallest that does\n"
