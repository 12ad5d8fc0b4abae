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
    def peak_above_baseline(self) -> float:
        """The higher of the two peaks, less the baseline."""
        return max(self.load_peak_rss, self.run_peak_rss) - self.baseline_rss


@dataclass(frozen=True)
class Profile:
    """One artifact's measurements and verdict. `ndcg_drop_*` is None when there is no reference.

    load_ms: tokenizer and model opened by a process that has imported the runtime already.
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
    """Context, reference and profiles, with the overall verdict `pass` or `fail`."""

    schema: str
    context: Context
    verdict: str
    reference: Reference | None
    profiles: list[Profile]


def read_report(path: Path) -> Report:
    """Parse report.json strictly. Raises UserError for a foreign schema, or a field missing or unknown."""
    return parse_report(read_json(path), str(path))


def parse_report(raw: Any, place: str) -> Report:
    """A Report from parsed JSON; `place` names it in errors."""
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != REPORT_SCHEMA:
        raise UserError(f"{place}: schema '{found}' is not '{REPORT_SCHEMA}'")
    report = from_dict(Report, raw, place)
    keys = {length for profile in report.profiles for length in profile.latency_ms}
    if report.reference:
        keys |= {*report.reference.after, *(report.reference.before or {})}
    for key in sorted(keys):
        if not (key.isascii() and key.isdigit()):
            raise UserError(f"{place}: '{key}' is neither a dimension nor a length in tokens")
    return report


def write_report(path: Path, report: Report) -> None:
    """Write report.json whole or not at all."""
    write_json(path, dataclasses.asdict(report))
