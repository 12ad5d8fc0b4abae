"""report.json: measurements with their context, in one schema for laptop and phone.

Memory and sizes in MB are 10**6 bytes. NDCG drops are reference minus profile, so that a positive drop is a
loss. Intervals are 95 % ones and written [low, high]; an end that the data cannot bound is null.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from export.fault import Fault

REPORT_SCHEMA = "pocketvec.report/2"
BYTES_PER_MB = 1_000_000
NO_CACHE, BUILD_CACHE, WARM_CACHE = CACHE_STATES = ("none", "build", "warm")
"""Opened without a weight cache file, at first use while it is built, and with the file there."""
HOST, EMULATED, DEVICE = TARGET_KINDS = ("host", "emulated", "device")
PASS, FAIL, INCONCLUSIVE, NOT_APPLIED = OUTCOMES = ("pass", "fail", "inconclusive", "not applied")
UNGATED = "ungated"
VERDICTS = (PASS, FAIL, UNGATED)

Interval = list[float | None]


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one inference of one text, after `warm_up` runs.

    ms: every timed run in its order. p50, p90, p99 with the interval of each (order statistics; the 99th
    percentile of fewer than some 370 runs has no upper end).
    """

    p50: float
    p90: float
    p99: float
    p50_interval: Interval
    p90_interval: Interval
    p99_interval: Interval
    warm_up: int
    ms: list[float]

    @property
    def runs(self) -> int:
        """How many runs were timed."""
        return len(self.ms)


@dataclass(frozen=True)
class LatencyRatio:
    """A profile's time for one text over that of its fp32 counterpart, one run of each in turn, one session.

    reference: name of the counterpart. ratio: median of the ratios of neighbouring runs, with its interval.
    ms, reference_ms: every run of both, in their order: processor time on one thread.
    """

    reference: str
    ratio: float
    interval: Interval
    ms: list[float]
    reference_ms: list[float]


@dataclass(frozen=True)
class MemoryPoint:
    """Resident MB of a process at one moment, by who can take it back.

    anonymous: heap and stacks, which the low-memory killer counts. file_backed: clean pages of mapped files,
    which can be dropped and read again. shared: shared memory. They add up to `rss`.
    """

    anonymous: float
    file_backed: float
    shared: float

    @property
    def rss(self) -> float:
        """All resident MB."""
        return self.anonymous + self.file_backed + self.shared


@dataclass(frozen=True)
class Memory:
    """MB of one fresh process that opens the artifact by path and embeds, tokenizer included.

    start: the interpreter with numpy, before the runtime is imported: the baseline. load_peak, run_peak: the
    sample with the highest total while loading and while running each length (by tokens); samples are about
    a millisecond apart. load_high_water, run_high_water: the kernel's own peak (VmHWM) over the same time,
    which misses nothing. anonymous_peak: the highest sample of anonymous memory by itself. rest: after the
    last run.
    """

    start: MemoryPoint
    after_load: MemoryPoint
    load_peak: MemoryPoint
    load_high_water: float
    after_first: MemoryPoint
    run_peak: dict[str, MemoryPoint]
    run_high_water: dict[str, float]
    anonymous_peak: float
    rest: MemoryPoint

    @property
    def baseline(self) -> float:
        """Resident MB of the interpreter with numpy."""
        return self.start.rss

    @property
    def peak(self) -> float:
        """The kernel's highest mark: the whole process."""
        return max([self.load_high_water, *self.run_high_water.values()])

    @property
    def peak_above_baseline(self) -> float:
        """The kernel's highest mark, less the baseline."""
        return self.peak - self.baseline

    @property
    def anonymous(self) -> float:
        """The highest anonymous memory, baseline included."""
        return self.anonymous_peak

    @property
    def highest(self) -> MemoryPoint:
        """The sample with the highest total."""
        return max([self.load_peak, *self.run_peak.values()], key=lambda point: point.rss)


@dataclass(frozen=True)
class CacheState:
    """What one fresh process costs in one state of the runtime's weight cache; fields as in Profile.

    latency_ms: of every length when warm, otherwise perhaps of the longest alone. cache_bytes: size of the
    cache when the process has ended.
    """

    load_ms: float
    first_ms: float
    latency_ms: dict[str, Latency]
    ram_mb: Memory
    cache_bytes: int

    @property
    def cache_mb(self) -> float:
        """Size of the cache file in MB."""
        return self.cache_bytes / BYTES_PER_MB


@dataclass(frozen=True)
class Drop:
    """NDCG@10 lost to a reference, query by query: the mean of the differences and its interval.

    value, interval: absolute. reference: the reference's own NDCG@10, so that a share is value / reference.
    error: standard error of the mean. queries: how many differences.
    """

    value: float
    interval: Interval
    reference: float
    error: float
    queries: int

    @property
    def relative(self) -> float | None:
        """The share of the reference's score that was lost; None when that is 0."""
        return self.value / self.reference if self.reference > 0 else None


@dataclass(frozen=True)
class WorstText:
    """One golden text: cosine to the stored vector (-1 if not finite), norm, and if its ids are right."""

    text: str
    cosine: float
    norm: float
    ids_equal: bool


@dataclass(frozen=True)
class Golden:
    """Parity with the golden vectors: over all texts, and the worst few of them, the worst one first."""

    texts: int
    cosine_mean: float
    cosine_min: float
    norm_error: float
    ids_equal: bool
    finite: bool
    worst: list[WorstText]


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
    then those of the warm cache.
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

    reproduce: the command that measured, with its options.
    """

    created: str
    target: Target
    versions: dict[str, str]
    data: dict[str, str]
    query_prompt: str
    cache: str
    reproduce: str = ""


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
