"""Measure artifacts into a report: each profile in this process for quality, in a fresh one for cost."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from bench.bearings import Bearings, take_bearings
from bench.compare import LITERT, compare_runtimes
from bench.cost import MIN_RUNS, Cost, Plan, measure_cache_states, measure_cost, weight_cache
from bench.drops import ASYMMETRIC, FULL_DIM, SAME_DIM, score_drops
from bench.measurements import WARM_CACHE, CacheState, Golden
from bench.quality import Quality, measure_quality
from bench.report import REPORT_SCHEMA, UNGATED, Context, Profile, Reference, Report, Target
from bench.structure import examine_structure
from bench.timing import Contender, counterpart, measure_ratios
from common.errors import UserError
from common.progress import Step
from common.prompts import choose_query_prompt
from common.retrieval import RetrievalSet
from export.artifact import Artifact
from export.embedder import Embedder, Opening, has_weight_cache
from export.manifest import Manifest
from export.session import usable_cores

DIGITS = 6
TOOLS = ("onnxruntime", "numpy", "tokenizers", "ir-measures")
PAGE_CACHE = "page cache warm: every file was dropped from it and read back, in order, before measuring"
WEIGHT_CACHE = (
    "LiteRT profiles and quantised ONNX ones keep their packed weights in a weight cache file. Their main "
    "figures are warm: the file is there and mapped. Two more fresh processes opened each of them without it "
    f"(none: packed anew in memory) and at first use (build: packed and written), timed {MIN_RUNS} times"
)


class Lengths(Protocol):
    """Whatever names the token lengths to measure."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """In tokens."""


@dataclass(frozen=True)
class BenchConfig:
    """What to measure: token lengths, timed runs per length, threads, the query prompt by name."""

    lengths: tuple[int, ...] = (16, 64, 256)
    runs: int = 50
    threads: int = field(default_factory=usable_cores)
    prompt_name: str | None = None

    def __post_init__(self) -> None:
        if self.runs < MIN_RUNS:
            raise UserError(f"bench-runs {self.runs}: at least {MIN_RUNS}; fewer say nothing about the tail")
        if not self.lengths or min(self.lengths) < 1:
            raise UserError(f"lengths {self.lengths}: at least one, each 1 token or more")
        if not Path("/proc/self/clear_refs").exists():
            raise UserError(f"{platform.system()}: memory is measured through /proc, which only Linux has")
        if self.threads < 1:
            raise UserError(f"threads {self.threads}: at least 1")


def measure_profile(
    artifact: Artifact,
    data: RetrievalSet,
    bearings: Bearings,
    config: BenchConfig,
    fp32: Contender | None = None,
) -> tuple[Profile, Quality]:
    """All measurements of one artifact, ungated, and its quality by query.

    fp32: what its speed is compared with, None for an fp32 profile or where there is none.
    """
    plan = Plan(list(config.lengths), config.runs, config.threads)
    with weight_cache() as cache:
        states: dict[str, CacheState] = {}
        if has_weight_cache(artifact.manifest):
            states = measure_cache_states(artifact.path, plan, cache)
        cost = states[WARM_CACHE] if states else measure_cost(artifact.path, plan)
        ratios = measure_ratios(Contender(artifact, cache), fp32, plan) if fp32 else {}
        embedder = Embedder(artifact, Opening(config.threads, cache))
        golden, faults = examine_structure(embedder)
        server = bearings.server.get(artifact.manifest.dim)
        quality = measure_quality(embedder, data, config.prompt_name, server)
    measured = profile_of(artifact, quality, golden, (cost, states), bearings.reference)
    return dataclasses.replace(measured, latency_ratio=ratios, faults=faults), quality


def check_artifacts(artifacts: list[Artifact], config: Lengths) -> None:
    """Raise UserError for artifacts that do not belong in one report, or a length beyond their limit."""
    _same_model(artifacts)
    for artifact in artifacts:
        _check_lengths(artifact.manifest, config)


def _check_lengths(manifest: Manifest, config: Lengths) -> None:
    if max(config.lengths) > manifest.max_tokens:
        raise UserError(
            f"length {max(config.lengths)}: {manifest.name} takes at most {manifest.max_tokens} tokens"
        )


def profile_of(
    artifact: Artifact,
    quality: Quality,
    golden: Golden,
    costs: tuple[Cost | CacheState, dict[str, CacheState]],
    reference: Reference | None,
) -> Profile:
    """An ungated profile of what was measured, without ratios and faults.

    costs: the main figures, and those by cache state where the profile has a weight cache.
    """
    (cost, states), manifest = costs, artifact.manifest
    rounding = manifest.rounding
    by_query = [round(one, DIGITS) for one in quality.by_query]
    asymmetric = [round(one, DIGITS) for one in quality.asymmetric_by_query]
    drops = score_drops(manifest.dim, by_query, asymmetric, reference)
    return Profile(
        name=manifest.name,
        runtime=manifest.runtime,
        precision=manifest.precision,
        dim=manifest.dim,
        file_bytes=artifact.file_bytes,
        ndcg_at_10=round(quality.ndcg_at_10, DIGITS),
        recall_at_10=round(quality.recall_at_10, DIGITS),
        mrr_at_10=round(quality.mrr_at_10, DIGITS),
        ndcg_by_query=by_query,
        asymmetric_by_query=asymmetric,
        ndcg_drop_same_dim=drops[SAME_DIM],
        ndcg_drop_full_dim=drops[FULL_DIM],
        ndcg_drop_asymmetric=drops[ASYMMETRIC],
        golden=golden,
        rounding_cosine_mean=rounding.golden_cosine_mean if rounding else None,
        rounding_cosine_min=rounding.golden_cosine_min if rounding else None,
        load_ms=cost.load_ms,
        latency_ms=cost.latency_ms,
        latency_ratio={},
        ram_mb=cost.ram_mb,
        first_ms=cost.first_ms,
        cache_states=states,
    )


def measure_all(
    artifacts: list[Artifact],
    data: RetrievalSet,
    reference: Reference | None,
    config: BenchConfig,
    step: Step,
) -> Report:
    """Measure every artifact in turn, nothing beside it, into an ungated report; compare the runtimes.

    Without a `reference`, an fp32 artifact of full width among them is the reference.
    """
    check_artifacts(artifacts, config)
    bearings = take_bearings(artifacts, data, reference, config.prompt_name)
    profiles, found = [], {}
    with weight_cache() as fp32_cache:
        for artifact in artifacts:
            fp32 = counterpart(artifact, artifacts)
            other = Contender(fp32, fp32_cache) if fp32 else None
            profile, quality = measure_profile(artifact, data, bearings, config, other)
            profiles.append(profile)
            found[profile.name] = quality
            step(artifact.manifest.name)
    context = _context(artifacts, data, config)
    compared = compare_runtimes(profiles, found)
    queries = list(data.queries)
    return Report(REPORT_SCHEMA, context, UNGATED, queries, bearings.reference, profiles, compared)


def _same_model(artifacts: list[Artifact]) -> None:
    names = [artifact.manifest.name for artifact in artifacts]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"profile '{repeated[0]}' is given twice; a report holds each once")
    models = {artifact.manifest.model.checkpoint_sha256: artifact for artifact in artifacts}
    if len(models) > 1:
        first, second, *_ = models.values()
        raise UserError(f"{first.path} and {second.path}: made from different checkpoints; bench them apart")


def _context(artifacts: list[Artifact], data: RetrievalSet, config: BenchConfig) -> Context:
    has_litert = any(artifact.manifest.runtime == LITERT for artifact in artifacts)
    tools = (*TOOLS, "ai-edge-litert") if has_litert else TOOLS
    if any(artifact.manifest.runtime == "gguf" for artifact in artifacts):
        tools = (*tools, "xllamacpp")
    has_cache = any(has_weight_cache(artifact.manifest) for artifact in artifacts)
    return Context(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        target=Target("host", _cpu(), usable_cores(), config.threads, platform.platform()),
        versions={"python": platform.python_version(), **{tool: version(tool) for tool in tools}},
        data=data_facts(data),
        query_prompt=choose_query_prompt(artifacts[0].manifest.prompts, config.prompt_name),
        cache=f"{PAGE_CACHE}. {WEIGHT_CACHE}" if has_cache else PAGE_CACHE,
    )


def data_facts(data: RetrievalSet) -> dict[str, str]:
    """What a report's context says of the data."""
    return {
        "name": data.name,
        "split": data.split,
        "sha256": data.sha256,
        "documents": str(len(data.documents)),
        "queries": str(len(data.queries)),
    }


def _cpu() -> str:
    """The processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Hardware")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def carried_reference(artifact: Artifact, data: RetrievalSet, prompt_name: str | None) -> Reference | None:
    """The fp32 PyTorch scores in the manifest, if they are for this very data and query prompt."""
    carried = artifact.manifest.reference
    prompt = choose_query_prompt(artifact.manifest.prompts, prompt_name)
    if (
        carried is None
        or not carried.by_query
        or (carried.data_sha256, carried.query_prompt) != (data.sha256, prompt)
    ):
        return None
    source = "fp32 PyTorch, scored when it was tuned"
    return Reference(source, carried.ndcg_at_10, carried.by_query, carried.before_ndcg_at_10)
