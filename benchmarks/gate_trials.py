"""Does the gate cry wolf, and does it sleep? Hundreds of gate runs on one finished run folder.

Unchanged: the questions are drawn anew with replacement, latency ratios are measured anew, and the shipped
limits judge; nothing is wrong with the model, so every failure is a false one. Injected: noise on the vectors
of a profile costs a stated share of NDCG@10, questions are drawn anew, and the limits (and `compare`, against
the report as it was) must not pass it.

    python -m benchmarks.gate_trials runs/default --runs 200
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.compare import ndcg_distance
from bench.cost import MIN_RUNS, Plan, weight_cache
from bench.drops import ASYMMETRIC, FULL_DIM, SAME_DIM, score_drops
from bench.gate import apply_gates
from bench.limits import Gates, read_gates
from bench.measure import BenchConfig
from bench.measurements import LatencyRatio
from bench.quality import score
from bench.report import FAIL, INCONCLUSIVE, PASS, Comparison, Profile, Reference, Report
from bench.report_file import read_report
from bench.statistics import decide, paired_drop
from bench.timing import Contender, counterpart, measure_ratios
from common.retrieval import RetrievalSet, read_retrieval_set
from export.artifact import open_artifact
from export.embedder import Embedder
from pocketvec import BUNDLED_DATA, DEFAULT_GATES

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

LOSS = 0.02
REGRESSION = 0.01
"""The regression limit that injected losses are held against: half the loss."""
CALIBRATION_DRAWS = 32
CALIBRATION_STEPS = 9
TIMED = ("onnx-q8_0-256d", "litert-int8-256d")
"""Profiles whose latency is measured anew in every run; the others keep what the report has."""
VICTIMS = ("onnx-fp32-768d", "onnx-q8_0-768d", "onnx-int8-256d", "onnx-q4_0-768d", "onnx-q4_0-256d")


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of all questions and documents by one profile."""

    queries: Float32
    documents: Float32

    def disturbed(self, scale: float, rng: np.random.Generator) -> Vectors:
        """With Gaussian noise of `scale` times their norm, unit again."""
        return Vectors(_disturb(self.queries, scale, rng), _disturb(self.documents, scale, rng))


def _disturb(vectors: Float32, scale: float, rng: np.random.Generator) -> Float32:
    noise = rng.standard_normal(vectors.shape, dtype=np.float32) / np.sqrt(vectors.shape[1])
    moved = vectors + np.float32(scale) * noise
    unit: Float32 = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit


def resample(report: Report, chosen: Indices) -> Report:
    """The report as it would be had these questions been asked; what rests on them is calculated anew."""
    whole = reference_of(report)
    by_query = {dim: _take(values, chosen) for dim, values in whole.by_query.items()}
    reference = dataclasses.replace(whole, by_query=by_query)
    profiles = [
        rescored(one, _take(one.ndcg_by_query, chosen), _take(one.asymmetric_by_query, chosen), reference)
        for one in report.profiles
    ]
    comparisons = list(_compared(report.comparisons, {one.name: one.ndcg_by_query for one in profiles}))
    return dataclasses.replace(report, reference=reference, profiles=profiles, comparisons=comparisons)


def _compared(
    comparisons: Sequence[Comparison], by_query: Mapping[str, Sequence[float]]
) -> Iterator[Comparison]:
    """The runtimes' distance in NDCG@10 anew; a report does not keep which documents each query found."""
    for one in comparisons:
        onnx, litert = by_query[one.onnx], by_query[one.litert]
        distance, error = ndcg_distance(onnx, litert)
        yield dataclasses.replace(
            one,
            onnx_ndcg_at_10=statistics.fmean(onnx),
            litert_ndcg_at_10=statistics.fmean(litert),
            ndcg_relative=distance,
            ndcg_error=error,
        )


def reference_of(report: Report) -> Reference:
    """The fp32 reference, without which there is nothing to trial."""
    if report.reference is None:
        raise SystemExit("the report has no reference; nothing to trial")
    return report.reference


def rescored(
    profile: Profile, by_query: list[float], asymmetric: list[float], reference: Reference
) -> Profile:
    """A profile with other scores by query."""
    drops = score_drops(profile.dim, by_query, asymmetric, reference)
    return dataclasses.replace(
        profile,
        ndcg_at_10=statistics.fmean(by_query),
        ndcg_by_query=by_query,
        asymmetric_by_query=asymmetric,
        ndcg_drop_same_dim=drops[SAME_DIM],
        ndcg_drop_full_dim=drops[FULL_DIM],
        ndcg_drop_asymmetric=drops[ASYMMETRIC],
    )


def _take(values: Sequence[float], chosen: Indices) -> list[float]:
    return [values[index] for index in chosen] if values else []


def unchanged(
    report: Report, gates: Gates, runs: int, ratios: Callable[[], dict[str, dict[str, LatencyRatio]]]
) -> Iterator[Report]:
    """Gated reports of a model that nothing is wrong with."""
    rng = np.random.default_rng(0)
    for _ in range(runs):
        drawn = resample(report, rng.integers(0, len(report.queries), len(report.queries)))
        fresh = ratios()
        profiles = [
            dataclasses.replace(one, latency_ratio=fresh.get(one.name, one.latency_ratio))
            for one in drawn.profiles
        ]
        yield apply_gates(dataclasses.replace(drawn, profiles=profiles), gates)


def calibrate(loss: Callable[[float, int], float]) -> float:
    """The noise scale at which the mean `loss` (by scale and seed) over some draws is LOSS, by bisection."""
    low, high = 0.0, 2.0
    for _ in range(CALIBRATION_STEPS):
        middle = (low + high) / 2
        found = statistics.fmean(loss(middle, 1000 + seed) for seed in range(CALIBRATION_DRAWS))
        low, high = (middle, high) if found < LOSS else (low, middle)
    return (low + high) / 2


def injected(
    profile: Profile, vectors: Vectors, data: RetrievalSet, report: Report, gates: Gates, runs: int
) -> tuple[Counter[str], Counter[str]]:
    """Outcomes of the gate's same-dimension budget and of a regression limit, for LOSS in each run."""
    before = np.array(profile.ndcg_by_query)

    def scores(scale: float, seed: int) -> list[float]:
        moved = vectors.disturbed(scale, np.random.default_rng(seed))
        return list(score(data, moved.queries, moved.documents).by_query)

    scale = calibrate(lambda scale, seed: 1 - statistics.fmean(scores(scale, seed)) / float(before.mean()))
    rng = np.random.default_rng(1)
    gate, compare = Counter[str](), Counter[str]()
    for run in range(runs):
        chosen = rng.integers(0, len(before), len(before))
        drawn = resample(report, chosen)
        now = _take(scores(scale, run), chosen)
        broken = rescored(profile, now, [], reference_of(drawn))
        judged = apply_gates(dataclasses.replace(drawn, profiles=[broken], comparisons=[]), gates)
        checks = judged.profiles[0].checks
        gate[next(one.outcome for one in checks if one.metric == SAME_DIM)] += 1
        was = _take(profile.ndcg_by_query, chosen)
        compare[decide(paired_drop(was, now).interval, REGRESSION * statistics.fmean(was))] += 1
    return gate, compare


def measured_anew(
    folder: Path, names: Sequence[str], cache: Path
) -> Callable[[], dict[str, dict[str, LatencyRatio]]]:
    """A function that measures the latency ratios of some profiles in fresh processes, whatever else runs."""
    config = BenchConfig(runs=MIN_RUNS)
    plan = Plan(list(config.lengths), config.runs, config.threads)
    artifacts = [open_artifact(path.parent, verify=False) for path in sorted(folder.glob("*/manifest.json"))]
    pairs = []
    for one in (one for one in artifacts if one.manifest.name in names):
        other = counterpart(one, artifacts)
        if other is not None:
            pairs.append((Contender(one, cache), Contender(other, cache)))

    def measure() -> dict[str, dict[str, LatencyRatio]]:
        return {one.artifact.manifest.name: measure_ratios(one, other, plan) for one, other in pairs}

    return measure


def tell_unchanged(judged: Sequence[Report]) -> Iterator[str]:
    """How often nothing was wrong and the gate said so; why it did not."""
    failed = [one for one in judged if one.verdict == FAIL]
    undecided = [sum(check.outcome == INCONCLUSIVE for _, check in one.checks()) for one in judged]
    checks = sum(1 for _ in judged[0].checks())
    yield f"unchanged: {len(failed)} of {len(judged)} gate runs failed ({len(judged[0].profiles)} profiles, "
    yield f"{checks} checks each; inconclusive and only warned: {statistics.fmean(undecided):.1f} a run)"
    why = Counter(
        f"{one.name} {check.metric}" for run in failed for one, check in run.checks() if check.blocks
    )
    yield from (f"  {count} x {what}" for what, count in why.most_common())


def tell_ratios(judged: Sequence[Report], names: Sequence[str]) -> Iterator[str]:
    """The spread of what was measured anew."""
    for name in names:
        found = [next(one for one in run.profiles if one.name == name).latency_ratio for run in judged]
        for length in found[0]:
            ratios = sorted(one[length].ratio for one in found)
            middle = statistics.median(ratios)
            yield f"| {name} | {length} | {ratios[0]:.2f} | {middle:.2f} | {ratios[-1]:.2f} |"


def main() -> int:
    """`python -m benchmarks.gate_trials RUN`."""
    parser = argparse.ArgumentParser(prog="benchmarks.gate_trials", description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run folder, for instance runs/default")
    parser.add_argument("--runs", type=int, default=200, help="at least 1")
    given = parser.parse_args()
    report, gates = read_report(given.run / "report.json"), read_gates(DEFAULT_GATES)
    folder = given.run / "artifacts"
    with weight_cache() as cache:
        judged = list(unchanged(report, gates, given.runs, measured_anew(folder, TIMED, cache)))
    print(*tell_unchanged(judged), sep="\n", flush=True)
    print("\n| timed anew | tokens | lowest | median | highest |\n|---|--:|--:|--:|--:|")
    print(*tell_ratios(judged, TIMED), sep="\n", flush=True)
    data = read_retrieval_set(BUNDLED_DATA, "test")
    print(f"\n{LOSS:.0%} of NDCG@10 lost, outcomes of {given.runs} runs\n")
    print("| profile | limit | fail | inconclusive | pass |\n|---|---|--:|--:|--:|")
    for name in VICTIMS:
        profile = next(one for one in report.profiles if one.name == name)
        embedder = Embedder.open(folder / name)
        queries = embedder.embed_queries(list(data.queries.values()))
        vectors = Vectors(queries, embedder.embed_documents(list(data.documents)))
        alone = dataclasses.replace(report, profiles=[profile], comparisons=[])
        outcomes = injected(profile, vectors, data, alone, gates, given.runs)
        for what, found in zip(("gates.toml, same dimension", "compare, 1 %"), outcomes, strict=True):
            counts = " | ".join(str(found[one]) for one in (FAIL, INCONCLUSIVE, PASS))
            print(f"| {name} | {what} | {counts} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
