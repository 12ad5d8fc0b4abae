"""What every view shows of a report, as text: columns, cells and why they fail, context, reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.compare import LITERT
from bench.report import CACHE_STATES, WARM_CACHE, Comparison, Profile, Report

DASH = "—"
FAIL_MARK, PASS_MARK, FRONT_MARK = "✗", "✓", "◆"
TEXT_METRICS = ("verdict", "runtime", "precision", "golden.ids_equal", "onnx")
AGREEMENT = "runtime_agreement."
NO_REFERENCE = "No reference was scored on this data, so the NDCG lost is not known."
LITERT_LATENCY = "; LiteRT pads a text to the next length that the file has a signature for"
CACHE_TITLE = "Weight cache: without, first use, warm"
CACHE_NOTE = (
    "None: opened without a cache file, weights packed in memory. Build: first use, the file is being made. "
    "Warm: the file is there, as in the tables of all profiles. A profile without a row has no such file."
)


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
    Column("Artifact", "Size MB", "file_mb", 1),
    Column("Retrieval", "NDCG@10", "ndcg_at_10", 4),
    Column("Retrieval", "Recall@10", "recall_at_10", 4),
    Column("Retrieval", "MRR@10", "mrr_at_10", 4),
    Column("NDCG lost against fp32", "Same dim", "ndcg_drop_same_dim.value", 4),
    Column("NDCG lost against fp32", "Full dim", "ndcg_drop_full_dim.value", 4),
    Column("Golden cosine", "Mean", "golden.cosine_mean", 4),
    Column("Golden cosine", "Min", "golden.cosine_min", 4),
    Column("Golden cosine", "Same ids", "golden.ids_equal"),
    Column("Rounding cosine", "Mean", "rounding_cosine_mean", 4),
    Column("Rounding cosine", "Min", "rounding_cosine_min", 4),
)
MEMORY = (
    Column("Memory MB", "RAM over baseline", "ram_mb.peak_above_baseline", 1),
    Column("Memory MB", "Anonymous", "ram_mb.anonymous", 1),
    Column("Memory MB", "File-backed", "ram_mb.highest.file_backed", 1),
)
LOAD = (Column("Load", "ms", "load_ms", 1), Column("Load", "First text ms", "first_ms", 1))
COMPARED = (
    Column("", "Beside", "onnx"),
    Column("Ranking", "Top 10 shared", "top10_overlap", 4),
    Column("NDCG@10", "ONNX", "onnx_ndcg_at_10", 4),
    Column("NDCG@10", "LiteRT", "litert_ndcg_at_10", 4),
    Column("NDCG@10", "Apart", "ndcg_relative", 4),
    Column("NDCG@10", "Error", "ndcg_error", 4),
    Column("LiteRT over ONNX", "Size", "size_ratio", 2),
    Column("LiteRT over ONNX", "p50", "p50_ratio", 2),
    Column("LiteRT over ONNX", "RAM", "ram_ratio", 2),
)


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
    return *LOAD, *latency, *MEMORY


def cache_columns(report: Report) -> tuple[Column, ...]:
    """Each cost in every state of the weight cache, side by side, and the file's size."""
    costs = [("Load ms", "load_ms"), ("First text ms", "first_ms")]
    for longest in text_lengths(report, measured=True)[-1:]:
        costs.append((f"p50 ms, {longest} tokens", f"latency_ms.{longest}.p50"))
    costs += [
        ("RAM over baseline MB", "ram_mb.peak_above_baseline"),
        ("Anonymous MB", "ram_mb.anonymous"),
        ("Whole process MB", "ram_mb.peak"),
    ]
    columns = [
        Column(group, state.capitalize(), f"cache_states.{state}.{metric}", 1)
        for group, metric in costs
        for state in CACHE_STATES
    ]
    return *columns, Column("Cache", "MB", f"cache_states.{WARM_CACHE}.cache_mb", 1)


def cached_profiles(report: Report) -> list[Profile]:
    """Those that were measured in the states of a weight cache."""
    return [profile for profile in report.profiles if profile.cache_states]


def metric_value(found: Any, metric: str) -> Any:
    """What a profile or comparison holds under a metric's path; None if nothing was measured."""
    for part in metric.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found


def profile_cells(profile: Profile, columns: Sequence[Column]) -> list[Cell]:
    """The row of one profile. A reason whose metric has no column marks the verdict."""
    shown = {column.metric for column in columns}
    reasons: dict[str, list[str]] = {}
    for check in (check for check in profile.checks if check.blocks):
        metric = next((one for one in (check.metric, f"{check.metric}.value") if one in shown), "verdict")
        reasons.setdefault(metric, []).append(check.text)
    return _cells(profile, columns, reasons)


def comparison_note(report: Report) -> str:
    """What the columns of the comparison mean."""
    lengths = _span(int(one.p50_length) for one in report.comparisons if one.p50_length)
    return (
        "Each LiteRT profile beside its ONNX counterpart. Apart is how far the two NDCG@10 differ as a share "
        f"of the higher one, error its standard error over these queries; p50 is at {lengths} tokens."
    )


def comparison_cells(report: Report, comparison: Comparison) -> list[Cell]:
    """The row of one comparison; it fails where its LiteRT profile does for disagreeing."""
    reasons: dict[str, list[str]] = {}
    for profile in (one for one in report.profiles if one.name == comparison.litert):
        for check in (one for one in profile.checks if one.blocks and one.metric.startswith(AGREEMENT)):
            reasons.setdefault(check.metric.removeprefix(AGREEMENT), []).append(check.text)
    return _cells(comparison, COMPARED, reasons)


def _cells(found: Any, columns: Sequence[Column], reasons: dict[str, list[str]]) -> list[Cell]:
    return [
        _cell(metric_value(found, one.metric), one, "; ".join(reasons.get(one.metric, []))) for one in columns
    ]


def _cell(value: Any, column: Column, reason: str) -> Cell:
    if value is None:
        return Cell(DASH, "", reason)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", str(int(value)), reason)
    if isinstance(value, str):
        return Cell(value, value, reason)
    return Cell(f"{value:z.{column.digits}f}", repr(value), reason)


def headline(report: Report) -> str:
    """One sentence: how many profiles pass."""
    total, passing = len(report.profiles), sum(one.verdict == "pass" for one in report.profiles)
    if report.verdict == "ungated":
        return f"No limits were applied to the {total} measured profiles."
    return f"{passing} of {total} profiles may ship."


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
            f"{_span(one.warm_up for one in timed)} to warm up"
            + (LITERT_LATENCY if any(one.runtime == LITERT for one in report.profiles) else ""),
        ),
        (
            "Memory",
            "MB is 1,000,000 bytes. RAM over baseline is the higher of the load and run peaks "
            f"less the baseline, {_span(one.ram_mb.baseline for one in report.profiles)} MB: "
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
