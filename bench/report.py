"""report.json: measurements with their context, in one schema for laptop and phone.

Memory and sizes in MB are 10**6 bytes. NDCG drops are reference minus profile, so that a positive drop is a
loss.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json, write_json
from common.records import from_dict

REPORT_SCHEMA = "pocketvec.report/1"
BYTES_PER_MB = 1_000_000
NO_CACHE, BUILD_CACHE, WARM_CACHE = CACHE_STATES = ("none", "build", "warm")
"""Opened without a weight cache file, at first use while it is built, and with the file there."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one inference of one text: percentiles over `runs` after `warm_up` runs."""

    p50: float
    p90: float
    p99: float
    runs: int
    warm_up: int


@dataclass(frozen=True)
class Memory:
    """MB of one fresh process that opens the artifact and embeds, tokenizer included.

    baseline_rss: the interpreter with numpy, before the runtime is even imported.
    load_peak_rss, run_peak_rss: the kernel's high-water mark while loading and while running.
    anonymous, file_backed: sampled peaks of the pages that count against an app and of those that can be
    dropped and read again.
    """

    baseline_rss: float
    load_peak_rss: float
    run_peak_rss: float
    anonymous: float
    file_backed: float

    @property
    def peak(self) -> float:
        """The higher of the two peaks: the whole process."""
        return max(self.load_peak_rss, self.run_peak_rss)

    @property
    def peak_above_baseline(self) -> float:
        """The higher of the two peaks, less the baseline."""
        return self.peak - self.baseline_rss


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
class Profile:
    """One artifact's measurements and verdict. `ndcg_drop_*` is None when there is no reference.

    load_ms: tokenizer and model opened by a process that has imported the runtime already. first_ms: the
    first inference after that. cache_states: for a profile that has a weight cache, the cost in each of
    CACHE_STATES; load_ms, first_ms, latency_ms and ram_mb are then those of the warm cache.
    """

    name: str
    runtime: str
    precision: str
    dim: int
    file_bytes: int
    ndcg_at_10: float
    recall_at_10: float
    mrr_at_10: float
    ndcg_drop_same_dim: float | None
    ndcg_drop_full_dim: float | None
    golden_cosine_mean: float
    golden_cosine_min: float
    golden_worst_text: str
    golden_ids_equal: bool
    rounding_cosine_mean: float | None
    rounding_cosine_min: float | None
    load_ms: float
    latency_ms: dict[str, Latency]
    ram_mb: Memory
    verdict: str = "ungated"
    reasons: list[str] = field(default_factory=list)
    first_ms: float | None = None
    cache_states: dict[str, CacheState] = field(default_factory=dict)


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
    """NDCG@10 of the fp32 reference by dimension, after tuning and (when known) before it."""

    source: str
    after: dict[str, float]
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
    """Everything the numbers depend on besides the artifact."""

    created: str
    target: Target
    versions: dict[str, str]
    data: dict[str, str]
    query_prompt: str
    cache: str


@dataclass(frozen=True)
class Report:
    """Context, reference and profiles, with the overall verdict `pass` or `fail`.

    comparisons: one for every pair of counterpart profiles, where both runtimes were measured.
    """

    schema: str
    context: Context
    verdict: str
    reference: Reference | None
    profiles: list[Profile]
    comparisons: list[Comparison] = field(default_factory=list)


def read_report(path: Path) -> Report:
    """Parse report.json strictly. Raises UserError for a foreign schema, or a field missing or unknown."""
    return parse_report(read_json(path), str(path))


def parse_report(raw: Any, place: str) -> Report:
    """A Report from parsed JSON; `place` names it in errors."""
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != REPORT_SCHEMA:
        raise UserError(f"{place}: schema '{found}' is not '{REPORT_SCHEMA}'")
    report = from_dict(Report, raw, place)
    _check_numbers(report, place)
    _check_names(report, place)
    return report


def _check_numbers(report: Report, place: str) -> None:
    """Keys that mean a dimension or a length are whole numbers."""
    timed = [one.latency_ms for one in report.profiles]
    timed += [state.latency_ms for one in report.profiles for state in one.cache_states.values()]
    keys = {length for lengths in timed for length in lengths}
    keys |= {one.p50_length for one in report.comparisons if one.p50_length is not None}
    if report.reference:
        keys |= {*report.reference.after, *(report.reference.before or {})}
    for key in sorted(keys):
        if not (key.isascii() and key.isdigit()):
            raise UserError(f"{place}: '{key}' is neither a dimension nor a length in tokens")


def _check_names(report: Report, place: str) -> None:
    """Cache states are known ones and comparisons are of profiles that the report holds."""
    for state in (state for one in report.profiles for state in one.cache_states):
        if state not in CACHE_STATES:
            raise UserError(f"{place}: cache state '{state}' is none of {', '.join(CACHE_STATES)}")
    known = {one.name for one in report.profiles}
    for name in (name for one in report.comparisons for name in (one.onnx, one.litert)):
        if name not in known:
            raise UserError(f"{place}: '{name}' is compared, but the report holds no such profile")


def write_report(path: Path, report: Report) -> None:
    """Write report.json whole or not at all."""
    write_json(path, dataclasses.asdict(report))
