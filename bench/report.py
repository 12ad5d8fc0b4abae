"""report.json: measurements with their context, in one schema for laptop and phone.

NDCG drops are reference minus profile, so that a positive drop is a loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.device import Device
from bench.measurements import (
    BYTES_PER_MB,
    CacheState,
    Drop,
    Golden,
    Interval,
    Latency,
    LatencyRatio,
    Memory,
    Pss,
)
from export.fault import Fault

REPORT_SCHEMA = "pocketvec.report/2"
HOST, EMULATED, DEVICE = TARGET_KINDS = ("host", "emulated", "device")
PASS, FAIL, INCONCLUSIVE, NOT_APPLIED = OUTCOMES = ("pass", "fail", "inconclusive", "not applied")
UNGATED = "ungated"
VERDICTS = (PASS, FAIL, UNGATED)


@dataclass(frozen=True)
class Check:
    """One limit held against one measurement.

    metric: its path in a profile. outcome: one of OUTCOMES. blocks: whether the outcome keeps the profile
    from shipping. value, interval, limit: in the metric's unit; None where there is none. text: one line that
    says it all.
    """

    metric: str
    outcome: str
    blocks: bool
    value: float | None
    interval: Interval | None
    limit: float | None
    text: str


@dataclass(frozen=True)
class Profile:
    """One artifact's measurements and verdict. Drops are None when there is no reference.

    ndcg_by_query: NDCG@10 of each query, in the order of the report's `queries`. asymmetric_by_query: the
    same with the documents embedded by the fp32 model at this dimension, as on a server, and the queries by
    this profile (empty where no fp32 vectors were at hand); ndcg_drop_asymmetric is its drop. load_ms:
    tokenizer and model opened by a process that has imported the runtime already. first_ms: the first
    inference after that. latency_ratio: by length, empty for an fp32 profile. cache_states: for a profile
    that has a weight cache, the cost in each of CACHE_STATES; load_ms, first_ms, latency_ms and ram_mb are
    then those of the warm cache. pss_mb: Android's account of the same process, by moment, from a phone.
    """

    name: str
    runtime: str
    precision: str
    dim: int
    file_bytes: int
    ndcg_at_10: float
    recall_at_10: float
    mrr_at_10: float
    ndcg_by_query: list[float]
    asymmetric_by_query: list[float]
    ndcg_drop_same_dim: Drop | None
    ndcg_drop_full_dim: Drop | None
    ndcg_drop_asymmetric: Drop | None
    golden: Golden
    rounding_cosine_mean: float | None
    rounding_cosine_min: float | None
    load_ms: float
    latency_ms: dict[str, Latency]
    latency_ratio: dict[str, LatencyRatio]
    ram_mb: Memory
    faults: list[Fault] = field(default_factory=list)
    verdict: str = UNGATED
    checks: list[Check] = field(default_factory=list)
    first_ms: float | None = None
    cache_states: dict[str, CacheState] = field(default_factory=dict)
    pss_mb: dict[str, Pss] = field(default_factory=dict)

    @property
    def file_mb(self) -> float:
        """Size of graph and weights in MB."""
        return self.file_bytes / BYTES_PER_MB

    @property
    def reasons(self) -> list[str]:
        """Why it may not ship, a line each, beginning with the metric."""
        return [check.text for check in self.checks if check.blocks]

    @property
    def warnings(self) -> list[str]:
        """What its gates could not decide and let through."""
        return [one.text for one in self.checks if one.outcome == INCONCLUSIVE and not one.blocks]


@dataclass(frozen=True)
class Comparison:
    """One model in both runtimes, at one dimension and counterpart precisions, by profile name.

    top10_overlap: share of the ten best documents that both find, mean over the queries. ndcg_relative: their
    distance in NDCG@10 as a share of the higher one; ndcg_error: its standard error, from the differences by
    query (None for a single query). Ratios are LiteRT's figure over ONNX's: file bytes, p50 at `p50_length`
    tokens (the longest that both were timed at), RAM over baseline.
    """

    onnx: str
    litert: str
    dim: int
    top10_overlap: float
    onnx_ndcg_at_10: float
    litert_ndcg_at_10: float
    ndcg_relative: float
    ndcg_error: float | None
    size_ratio: float
    p50_length: str | None
    p50_ratio: float | None
    ram_ratio: float | None


@dataclass(frozen=True)
class Reference:
    """NDCG@10 of the fp32 reference by dimension, after tuning and (when known) before it.

    by_query: after tuning, each query's, in the order of the report's `queries`.
    """

    source: str
    after: dict[str, float]
    by_query: dict[str, list[float]]
    before: dict[str, float] | None = None


@dataclass(frozen=True)
class Target:
    """What ran: `kind` is host, emulated or device; its processor, system and thread count."""

    kind: str
    cpu: str
    cores: int
    threads: int
    os: str


@dataclass(frozen=True)
class Context:
    """Everything the numbers depend on besides the artifact.

    reproduce: the command that measured, with its options. device: the phone, None on a host.
    """

    created: str
    target: Target
    versions: dict[str, str]
    data: dict[str, str]
    query_prompt: str
    cache: str
    reproduce: str = ""
    device: Device | None = None


@dataclass(frozen=True)
class Report:
    """Context, reference and profiles, with the overall verdict: pass, fail or ungated.

    queries: the identifiers of the split's queries. comparisons: one for every pair of counterpart profiles,
    where both runtimes were measured. gates: name and SHA-256 of the limits that were applied.
    """

    schema: str
    context: Context
    verdict: str
    queries: list[str]
    reference: Reference | None
    profiles: list[Profile]
    comparisons: list[Comparison] = field(default_factory=list)
    gates: dict[str, str] = field(default_factory=dict)

    def made_by(self, command: str) -> Report:
        """The same report, its context naming the command that made it."""
        return dataclasses.replace(self, context=dataclasses.replace(self.context, reproduce=command))

    def checks(self) -> Iterator[tuple[Profile, Check]]:
        """Every check with its profile."""
        for profile in self.profiles:
            for check in profile.checks:
                yield profile, check
