"""The smallest recipe whose retrieval loss stays inside a budget: 4 bits where they cost least.

First the ends: 8 bits everywhere must hold the budget, or nothing does; if 4 bits everywhere hold it, that
is the answer. Then each group alone is put at 4 bits, which gives its cost per byte saved; from 4 bits
everywhere the dearest groups go up until the budget holds. From the smallest recipe that held, every group
still up is tried lower, then its thirds, then its single layers. What is left when the evaluations run out is
the smallest recipe that was measured to hold: nothing is extrapolated.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from common.errors import UserError
from common.progress import Step, silent
from quantize.judge import CONFIDENCE, Drop, Judge
from quantize.listing import WeightShape, known_groups, list_weights
from quantize.recipe_file import AUTO, RECIPE_SCHEMA, RecipeFile, SearchRecord, TrialRecord
from quantize.recipes import RECIPES, codecs

SMALL, LARGE = "q4_0", ("q8_0", "int8")
"""The precisions that a search lies between; of the larger ones, the first that a runtime has."""
LEAST_EVALUATIONS = 8
"""Both ends, four groups alone, and two steps: with fewer there is nothing to choose from."""
THIRDS = 3


@dataclass(frozen=True)
class Unit:
    """Weights that share a precision: a whole group (no `layers`) or its weights in some layers.

    levels: the precisions it can have, smallest first; `saved` counts the bytes between the ends.
    """

    group: str
    layers: tuple[str, ...]
    levels: tuple[str, ...]
    saved: int

    @property
    def patterns(self) -> list[str]:
        """The patterns that name its weights."""
        return [f"{self.group}:{layer}" for layer in self.layers] or [self.group]


Assignment = dict[Unit, int]
"""The index of its level for every unit."""


class Measure(Protocol):
    """Measures one recipe's exceptions from the smallest precision."""

    def __call__(self, keep: dict[str, str]) -> Drop:
        """The cost of the recipe."""


@dataclass
class Search:
    """The state of a search: what was measured, and how much may still be."""

    measure: Measure
    weights: list[WeightShape]
    runtime: str
    limit: int
    cost: Callable[[Drop], float]
    trials: list[tuple[Assignment, Drop]] = field(default_factory=list)

    def run(self) -> Assignment | None:
        """The smallest assignment that was measured to hold, or None when not even the largest does."""
        units = [self._unit(group, ()) for group in known_groups(self.weights)]
        largest = {unit: len(unit.levels) - 1 for unit in units}
        smallest = dict.fromkeys(units, 0)
        if not self._try(largest).within:
            return None
        if not self._try(smallest).within:
            self._upgrade(largest, smallest)
            self._refine()
        return self._best()

    def _upgrade(self, largest: Assignment, smallest: Assignment) -> None:
        """Raise units from the smallest recipe, the dearest per byte first, until the budget holds."""
        floor = self.cost(self._try(largest))
        dearness = {
            unit: (self.cost(self._try({**largest, unit: 0})) - floor) / unit.saved for unit in largest
        }
        current = dict(smallest)
        for unit in sorted(dearness, key=dearness.__getitem__, reverse=True):
            current[unit] = largest[unit]
            if self._spent() or self._try(current).within:
                return

    def _refine(self) -> None:
        """Lower what is up in the best recipe: whole groups, then thirds of them, then single layers."""
        for parts in (1, THIRDS, None):
            current = self._split(self._best(), parts)
            raised = sorted((unit for unit in current if current[unit]), key=lambda u: -u.saved)
            for unit in raised:
                self._lower(current, unit)

    def _lower(self, current: Assignment, unit: Unit) -> None:
        """Put a unit of `current` to the lowest level that holds, in place."""
        for level in range(current[unit]):
            if self._spent():
                return
            if self._try({**current, unit: level}).within:
                current[unit] = level
                return

    def _split(self, assignment: Assignment, parts: int | None) -> Assignment:
        """The same recipe with its raised units divided into `parts` (None: into single layers)."""
        split: Assignment = {}
        for unit, level in assignment.items():
            layers = list(unit.layers or self._layers(unit.group))
            pieces = min(len(layers), parts or len(layers))
            if level == 0 or parts == 1 or pieces < 2:
                split[unit] = level
                continue
            edges = [len(layers) * piece // pieces for piece in range(pieces + 1)]
            for start, stop in itertools.pairwise(edges):
                split[self._unit(unit.group, tuple(layers[start:stop]))] = level
        return split

    def _layers(self, group: str) -> list[str]:
        """Globs of a group's layers in order; none when a weight of it lies in no layer."""
        layers = [weight.layer for weight in self.weights if weight.group == group]
        return [] if None in layers else list(dict.fromkeys(layer for layer in layers if layer))

    def _unit(self, group: str, layers: tuple[str, ...]) -> Unit:
        weights = [w for w in self.weights if w.group == group and (not layers or w.layer in layers)]
        known = codecs(self.runtime, group == "table")
        levels = _levels(self.runtime, group)
        ends = [sum(weight.stored_bytes(known[name]) for weight in weights) for name in levels]
        return Unit(group, layers, levels, ends[-1] - ends[0])

    def _try(self, assignment: Assignment) -> Drop:
        """Measure an assignment, or recall it."""
        keep = keep_of(assignment)
        found = next((drop for tried, drop in self.trials if keep_of(tried) == keep), None)
        if found is None:
            found = self.measure(keep)
            self.trials.append((dict(assignment), found))
        return found

    def _spent(self) -> bool:
        return len(self.trials) >= self.limit

    def _best(self) -> Assignment:
        return min(((a, drop) for a, drop in self.trials if drop.within), key=lambda one: one[1].bytes)[0]


def keep_of(assignment: Assignment) -> dict[str, str]:
    """An assignment as exceptions from the smallest precision."""
    return {
        pattern: unit.levels[level]
        for unit, level in assignment.items()
        if level
        for pattern in unit.patterns
    }


def large_precision(runtime: str) -> str:
    """The 8-bit precision of a runtime. Raises UserError for one without."""
    found = next((name for name in LARGE if name in RECIPES[runtime]), None)
    if found is None or SMALL not in RECIPES[runtime]:
        raise UserError(f"runtime '{runtime}': has not both 4 and 8 bits to choose from")
    return found


def _levels(runtime: str, group: str) -> tuple[str, ...]:
    """Precisions of a group from q4_0 to what 8 bits everywhere give it, one for each number of bits."""
    known = codecs(runtime, group == "table")
    small, top = (
        known[RECIPES[runtime][name].of_group(group).name] for name in (SMALL, large_precision(runtime))
    )
    between = {codec.bits: codec for codec in known.values() if small.bits < codec.bits < top.bits}
    return (small.name, *(between[bits].name for bits in sorted(between)), top.name)


def find_recipe(
    judge: Judge, label: str = AUTO, scale_search: bool = False, limit: int = 40, step: Step = silent
) -> RecipeFile:
    """Search the smallest recipe for the judge's artifact; the result says how it was found.

    `limit` bounds the evaluations, each of which quantises the model and embeds the retrieval set once.
    Raises UserError when no recipe between 4 and 8 bits holds the budget.
    """
    check_limit(limit)
    runtime, goal = judge.source.manifest.runtime, judge.goal
    small = RecipeFile(RECIPE_SCHEMA, SMALL, {}, scale_search, label)

    def measure(keep: dict[str, str]) -> Drop:
        recipe = dataclasses.replace(small, keep=keep).for_artifact(judge.source.manifest)
        found = judge.measure(recipe)
        step(f"{found.bytes / 1e6:.2f} MB, drop {found.drop:.4f}, at most {found.drop_upper:.4f}")
        return found

    weights = list_weights(runtime, judge.source.model_path)
    search = Search(
        measure, weights, runtime, limit, lambda d: d.drop if goal.point_estimate else d.drop_upper
    )
    best = search.run()
    if best is None:
        raise UserError(_impossible(judge, search.trials[0][1]))
    count = len(search.trials)
    step(f"{count} recipes measured", limit - count)
    return dataclasses.replace(small, keep=keep_of(best), search=_record(judge, search.trials))


def check_limit(limit: int) -> None:
    """Raise UserError for fewer evaluations than a search begins with."""
    if limit < LEAST_EVALUATIONS:
        raise UserError(f"max-evaluations {limit}: at least {LEAST_EVALUATIONS}")


def _impossible(judge: Judge, largest: Drop) -> str:
    goal, data = judge.goal, judge.data
    cure = "" if goal.point_estimate or largest.drop > goal.budget else ", more queries or --point-estimate"
    return (
        f"budget {goal.budget:g}: even {large_precision(judge.source.manifest.runtime)} everywhere lost "
        f"{largest.drop:.4f} of the fp32 {goal.metric} on the {len(data.queries)} queries of {data.name}/"
        f"{data.split}, and up to {largest.drop_upper:.4f} at {CONFIDENCE:.0%} confidence; "
        f"it takes a larger budget{cure}"
    )


def _record(judge: Judge, trials: list[tuple[Assignment, Drop]]) -> SearchRecord:
    goal, data = judge.goal, judge.data
    return SearchRecord(
        metric=goal.metric,
        budget=goal.budget,
        point_estimate=goal.point_estimate,
        confidence=CONFIDENCE,
        data=data.name,
        split=data.split,
        data_sha256=data.sha256,
        query_prompt=judge.query_prompt,
        queries=len(data.queries),
        fp32_score=judge.fp32_score,
        trials=[TrialRecord(keep=keep_of(tried), **dataclasses.asdict(drop)) for tried, drop in trials],
    )
