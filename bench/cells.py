"""What every view shows of a report, as text: columns, cells and why they fail, context, reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import BYTES_PER_MB, Profile, Report

DASH = "—"
TEXT_METRICS = ("verdict", "runtime", "precision", "golden_ids_equal")


@dataclass(frozen=True)
class Column:
    """One column: its group, its title, the metric's path (as reasons name it), decimals of a number."""

    group: str
    title: str
    metric: str
    digits: int = 0

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, which line up on the right."""
        return self.metric not in TEXT_METRICS


@dataclass(frozen=True)
class Cell:
    """A shown value, its sorting key (empty for what was not measured) and why it fails, if it does."""

    text: str
    key: str
    reason: str


QUALITY = (
    Column("Artifact", "Verdict", "verdict"),
    Column("Artifact", "Runtime", "runtime"),
    Column("Artifact", "Precision", "precision"),
    Column("Artifact", "Dim", "dim"),
    Column("Artifact", "Size MB", "file_bytes", 1),
    Column("Retrieval", "NDCG@10", "ndcg_at_10", 4),
    Column("Retrieval", "Recall@10", "recall_at_10", 4),
    Column("Retrieval", "MRR@10", "mrr_at_10", 4),
    Column("NDCG lost against fp32", "Same dim", "ndcg_drop_same_dim", 4),
    Column("NDCG lost against fp32", "Full dim", "ndcg_drop_full_dim", 4),
    Column("Golden cosine", "Mean", "golden_cosine_mean", 4),
    Column("Golden cosine", "Min", "golden_cosine_min", 4),
    Column("Golden cosine", "Same ids", "golden_ids_equal"),
    Column("Rounding cosine", "Mean", "rounding_cosine_mean", 4),
    Column("Rounding cosine", "Min", "rounding_cosine_min", 4),
)
MEMORY = (
    Column("Memory MB", "RAM over baseline", "ram_mb.peak_above_baseline", 1),
    Column("Memory MB", "Anonymous", "ram_mb.anonymous", 1),
    Column("Memory MB", "File-backed", "ram_mb.file_backed", 1),
)
LOAD = Column("Load", "ms", "load_ms", 1)


def text_lengths(report: Report, *, measured: bool = False) -> list[str]:
    """Token lengths, shortest first; those that a reason names count too unless `measured`."""
    found = {length for profile in report.profiles for length in profile.latency_ms}
    if not measured:
        reasons = " ".join(reason for profile in report.profiles for reason in profile.reasons)
        found |= set(re.findall(r"\blatency_ms\.(\d+)\.", reasons))
    return sorted(found, key=int)


def cost_columns(report: Report) -> tuple[Column, ...]:
    """Load time, latency percentiles by length, memory."""
    latency = [
        Column(f"Latency ms, {length} tokens", name, f"latency_ms.{length}.{name}", 1)
        for length in text_lengths(report)
        for name in ("p50", "p90", "p99")
    ]
    return LOAD, *latency, *MEMORY


def metric_value(profile: Profile, metric: str) -> Any:
    """What the report holds under a metric's path, sizes in MB; None where nothing was measured."""
    if metric == "file_bytes":
        return profile.file_bytes / BYTES_PER_MB
    if metric == "ram_mb.peak_above_baseline":
        return profile.ram_mb.peak_above_baseline
    found: Any = profile
    for part in metric.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found


def profile_cells(profile: Profile, columns: Sequence[Column]) -> list[Cell]:
    """The row of one profile. A reason whose metric has no column marks the verdict."""
    shown = {column.metric for column in columns}
    reasons: dict[str, list[str]] = {}
    for reason in profile.reasons:
        metric = reason.partition(" ")[0]
        reasons.setdefault(metric if metric in shown else "verdict", []).append(reason)
    return [
        _cell(metric_value(profile, one.metric), one, "; ".join(reasons.get(one.metric, [])))
        for one in columns
    ]


def _cell(value: Any, column: Column, reason: str) -> Cell:
    if value is None:
        return Cell(DASH, "", reason)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", str(int(value)), reason)
    if isinstance(value, str):
        return Cell(value, value, reason)
    return Cell(f"{value:z.{column.digits}f}", repr(value), reason)


def context_facts(report: Report) -> list[tuple[str, str]]:
    """The context as (name, text) pairs, with what the units mean."""
    context, target = report.context, report.context.target
    timed = [one for profile in report.profiles for one in profile.latency_ms.values()]
    return [
        ("Measured", context.created),
        ("Device", f"{target.kind}, {target.os}"),
        ("Processor", f"{target.cpu}, {target.cores} cores"),
        ("Threads", str(target.threads)),
        ("Versions", ", ".join(f"{name} {number}" for name, number in context.versions.items())),
        ("Data", ", ".join(f"{name} {value}" for name, value in context.data.items())),
        ("Query prompt", f"“{context.query_prompt}”" if context.query_prompt else "none"),
        ("Cache", context.cache),
        (
            "Latency",
            f"batch 1, {_span(one.runs for one in timed)} timed runs per length after "
            f"{_span(one.warm_up for one in timed)} to warm up",
        ),
        (
            "Memory",
            "MB is 1,000,000 bytes. RAM over baseline is the higher of the load and run peaks "
            f"less the baseline, {_span(one.ram_mb.baseline_rss for one in report.profiles)} MB: "
            "the interpreter with numpy, before the runtime is imported.",
        ),
    ]


def _span(values: Iterable[float]) -> str:
    """The values' range, as one number where they agree."""
    ordered = sorted(set(values))
    if not ordered:
        return DASH
    return f"{ordered[0]:g}" if len(ordered) == 1 else f"{ordered[0]:g} to {ordered[-1]:g}"


def reference_rows(report: Report) -> list[tuple[str, ...]]:
    """(dimension, before, after, gain) as shown, largest dimension first; empty without a reference."""
    if report.reference is None:
        return []
    after, before = report.reference.after, report.reference.before or {}
    rows = []
    for dim in sorted({*after, *before}, key=int, reverse=True):
        old, new = before.get(dim), after.get(dim)
        gain = DASH if old is None or new is None else f"{new - old:+.4f}"
        rows.append((dim, *(DASH if score is None else f"{score:.4f}" for score in (old, new)), gain))
    return rows
