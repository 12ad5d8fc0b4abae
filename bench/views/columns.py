"""The columns of the tables that every view shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bench.measurements import CACHE_STATES, WARM_CACHE
from bench.report import Profile, Report

TEXT_METRICS = ("verdict", "runtime", "precision", "golden.ids_equal", "onnx")
CACHE_TITLE = "Weight cache: without, first use, warm"
CACHE_NOTE = (
    "None: opened without a cache file, weights packed in memory. Build: first use, the file is being made. "
    "Warm: the file is there, as in the tables of all profiles. A profile without a row has no such file."
)


@dataclass(frozen=True)
class Column:
    """One column: its group, its title, the metric's path (as checks name it), decimals of a number.

    brief: whether it is shown before all columns are asked for.
    """

    group: str
    title: str
    metric: str
    digits: int = 0
    brief: bool = True

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, which line up on the right."""
        return self.metric not in TEXT_METRICS


VERDICT = Column("Artifact", "Verdict", "verdict")
LOST = "NDCG lost against fp32"
QUALITY = (
    VERDICT,
    Column("Artifact", "Runtime", "runtime", brief=False),
    Column("Artifact", "Precision", "precision", brief=False),
    Column("Artifact", "Dim", "dim", brief=False),
    Column("Artifact", "Size MB", "file_mb", 1),
    Column("Retrieval", "NDCG@10", "ndcg_at_10", 4),
    Column("Retrieval", "Recall@10", "recall_at_10", 4, brief=False),
    Column("Retrieval", "MRR@10", "mrr_at_10", 4, brief=False),
    Column(LOST, "Same dim", "ndcg_drop_same_dim.value", 4),
    Column(LOST, "Full dim", "ndcg_drop_full_dim.value", 4),
    Column(LOST, "Asymmetric", "ndcg_drop_asymmetric.value", 4),
    Column("Golden cosine", "Mean", "golden.cosine_mean", 4, brief=False),
    Column("Golden cosine", "Min", "golden.cosine_min", 4),
    Column("Golden cosine", "Same ids", "golden.ids_equal", brief=False),
    Column("Rounding cosine", "Mean", "rounding_cosine_mean", 4, brief=False),
    Column("Rounding cosine", "Min", "rounding_cosine_min", 4, brief=False),
)
MEMORY = (
    Column("Memory MB", "RAM over baseline", "ram_mb.peak_above_baseline", 1),
    Column("Memory MB", "Anonymous", "ram_mb.anonymous", 1),
    Column("Memory MB", "File-backed", "ram_mb.highest.file_backed", 1, brief=False),
)
LOAD = (
    Column("Load", "ms", "load_ms", 1, brief=False),
    Column("Load", "First text ms", "first_ms", 1, brief=False),
)
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
    """Token lengths, shortest first; those that a broken limit names count too unless `measured`."""
    found = {length for profile in report.profiles for length in profile.latency_ms}
    if not measured:
        found |= set(_lengths(report, r"latency_ms\.(\d+)\."))
    return sorted(found, key=int)


def ratio_lengths(report: Report) -> list[str]:
    """Token lengths that were timed against fp32, and those that a broken limit on that names."""
    found = {length for profile in report.profiles for length in profile.latency_ratio}
    return sorted(found | set(_lengths(report, r"latency_ratio\.(\d+)")), key=int)


def _lengths(report: Report, pattern: str) -> Iterator[str]:
    for _, check in report.checks():
        if check.blocks and (named := re.match(pattern, check.metric)):
            yield named[1]


def cost_columns(report: Report) -> tuple[Column, ...]:
    """Load time, latency percentiles and their ratio to fp32 by length, memory."""
    longest, ratios = text_lengths(report, measured=True)[-1:], ratio_lengths(report)
    latency = [
        Column(
            f"Latency ms, {length} tokens",
            name,
            f"latency_ms.{length}.{name}",
            1,
            brief=length in longest and name != "p99",
        )
        for length in text_lengths(report)
        for name in ("p50", "p90", "p99")
    ]
    ratio = [
        Column(
            "Latency over fp32, tokens",
            length,
            f"latency_ratio.{length}.ratio",
            2,
            brief=length == ratios[-1],
        )
        for length in ratios
    ]
    return *LOAD, *latency, *ratio, *MEMORY


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


def comparison_note(report: Report) -> str:
    """What the columns of the comparison mean."""
    found = sorted({one.p50_length for one in report.comparisons if one.p50_length}, key=int)
    lengths = " to ".join([found[0], found[-1]] if len(found) > 1 else found) or "no"
    return (
        "Each LiteRT profile beside its ONNX counterpart. Apart is how far the two NDCG@10 differ as a share "
        f"of the higher one, error its standard error over these queries; p50 is at {lengths} tokens."
    )
