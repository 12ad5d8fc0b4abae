"""What is measured of an artifact: milliseconds, MB, NDCG lost, golden parity.

Memory and sizes in MB are 10**6 bytes. Intervals are 95 % ones and written [low, high]; an end that the data
cannot bound is null.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES_PER_MB = 1_000_000
NO_CACHE, BUILD_CACHE, WARM_CACHE = CACHE_STATES = ("none", "build", "warm")
"""Opened without a weight cache file, at first use while it is built, and with the file there."""

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
class Pss:
    """Android's account of a process (Debug.MemoryInfo or smaps_rollup), in MB.

    total: proportional set size; private_dirty: what only the end of the process frees; private_clean: what
    the kernel can drop and read again.
    """

    total: float
    private_dirty: float
    private_clean: float


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
