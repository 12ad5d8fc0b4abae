"""How far a recipe takes retrieval below fp32, measured on the real quantised graph, with its uncertainty."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.prompts import choose_query_prompt
from common.ranking import METRICS, rank, score_queries
from common.retrieval import RetrievalSet
from export.artifact import Artifact
from export.embedder import Embedder, Opening
from quantize.quantize import write_model
from quantize.recipes import Recipe

CONFIDENCE = 0.9
"""Of the one-sided interval: in nine of ten draws of queries the true drop lies below its end."""
LEAST_QUERIES = 8


@dataclass(frozen=True)
class Goal:
    """What a recipe must hold: `metric` may drop by the share `budget` of its fp32 value.

    The end of the drop's one-sided interval counts or, with `point_estimate`, the drop itself.
    """

    budget: float
    metric: str = "ndcg_at_10"
    point_estimate: bool = False
    prompt_name: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise UserError(f"budget {self.budget:g}: a share of the fp32 score above 0 and below 1")
        if self.metric not in METRICS:
            raise UserError(f"metric '{self.metric}': unknown; choose from {', '.join(METRICS)}")


@dataclass(frozen=True)
class Drop:
    """What one recipe costs: bytes of the model, the metric's mean, and the shares of fp32 that it lost."""

    bytes: int
    score: float
    drop: float
    drop_upper: float
    within: bool


class Judge:
    """Measures recipes for one fp32 artifact against it, on one retrieval split."""

    def __init__(self, source: Artifact, data: RetrievalSet, goal: Goal) -> None:
        """Score the fp32 artifact. Raises UserError when it finds nothing, or for too few queries."""
        self.source, self.data, self.goal = source, data, goal
        self.query_prompt = choose_query_prompt(source.manifest.prompts, goal.prompt_name)
        if len(data.queries) < LEAST_QUERIES and not goal.point_estimate:
            raise UserError(
                f"{len(data.queries)} queries in {data.name}/{data.split}: an interval needs "
                f"{LEAST_QUERIES}; --point-estimate goes without"
            )
        self._fp32 = self._scores(source)
        self.fp32_score = statistics.fmean(self._fp32)
        if self.fp32_score <= 0:
            raise UserError(f"{source.path}: its {goal.metric} on {data.name}/{data.split} is 0")

    def measure(self, recipe: Recipe) -> Drop:
        """Quantise by a recipe in a temporary folder and score the result."""
        with tempfile.TemporaryDirectory(prefix="pocketvec-auto-") as scratch:
            artifact = write_model(self.source, recipe, Path(scratch))
            model = artifact.model_name
            size = sum(p.stat().st_size for p in Path(scratch).iterdir() if p.name.startswith(model))
            scores = self._scores(artifact)
        lost = [full - less for full, less in zip(self._fp32, scores, strict=True)]
        drop, upper = (value / self.fp32_score for value in mean_and_upper(lost))
        within = (drop if self.goal.point_estimate else upper) <= self.goal.budget
        return Drop(size, statistics.fmean(scores), drop, upper, within)

    def _scores(self, artifact: Artifact) -> tuple[float, ...]:
        embedder = Embedder(artifact, Opening(use_weight_cache=False))
        queries = embedder.embed_queries(list(self.data.queries.values()), self.goal.prompt_name)
        documents = embedder.embed_documents(list(self.data.documents))
        return score_queries(self.data, rank(self.data, queries, documents))[self.goal.metric]


def mean_and_upper(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The mean of paired differences and the end of its one-sided interval by Student's t.

    A single value has no interval: its end is the value.
    """
    count = len(values)
    mean = statistics.fmean(values)
    if count < 2:
        return mean, mean
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean, mean + student_t(confidence, count - 1) * error


def student_t(probability: float, freedom: int) -> float:
    """Quantile of Student's t from the normal one, by the series in 1/freedom (Abramowitz and Stegun 26.7.5).

    Within 0.002 of the exact value at 0.9 from 4 degrees of freedom on.
    """
    z = statistics.NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
