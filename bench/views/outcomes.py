"""What the checks of a report come to: how each profile stands, and which metrics keep which ones back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bench.report import FAIL, INCONCLUSIVE, PASS, UNGATED, Check, Profile, Report

WARNING = "warning"
FRONT_MARK = "◆"
MARKS = {FAIL: "✗", INCONCLUSIVE: "?", PASS: "✓", WARNING: "?"}
"""They tell outcomes apart where colours cannot."""
STANDINGS = (FAIL, INCONCLUSIVE, PASS, UNGATED)
METRIC_TITLES = {
    r"faults\.(.+)": "structural fault: {0}",
    r"golden\.ids_equal": "token ids of the golden texts",
    r"golden\.finite": "finite vectors",
    r"golden\.norm_error": "unit norm",
    r"golden\.cosine_mean": "golden cosine, mean",
    r"golden\.cosine_min": "golden cosine, worst text",
    r"ndcg_drop_same_dim": "NDCG lost at the same dimension",
    r"ndcg_drop_full_dim": "NDCG lost against full dimension",
    r"ndcg_drop_asymmetric": "NDCG lost with fp32 documents",
    r"file_mb": "file size",
    r"ram_mb\.peak_above_baseline": "RAM over baseline",
    r"ram_mb\.anonymous": "anonymous memory",
    r"latency_ratio\.\d+": "latency over fp32",
    r"latency_ms\.\d+\.(p\d+)": "latency {0}",
    r"runtime_agreement\.top10_overlap": "top 10 shared by both runtimes",
    r"runtime_agreement\.ndcg_relative": "NDCG apart between the runtimes",
}


@dataclass(frozen=True)
class Finding:
    """One kind of metric that fails, is inconclusive or is warned of, or that nothing does (PASS).

    lengths: in tokens, shortest first, where it goes by length. profiles: whom it concerns, as indices.
    """

    outcome: str
    title: str
    lengths: tuple[str, ...]
    profiles: tuple[int, ...]


def metric_title(metric: str) -> str:
    """A check's metric in words; itself where there are none for it."""
    for pattern, words in METRIC_TITLES.items():
        if found := re.fullmatch(pattern, metric):
            return words.format(*found.groups())
    return metric


def standing(profile: Profile) -> str:
    """The profile's verdict, but `inconclusive` where nothing worse than that keeps it from shipping."""
    if profile.verdict != FAIL:
        return profile.verdict
    blocking = [check for check in profile.checks if check.blocks]
    undecided = blocking and all(check.outcome == INCONCLUSIVE for check in blocking)
    return INCONCLUSIVE if undecided else FAIL


def count_standings(report: Report) -> dict[str, int]:
    """How many profiles stand how, the worst first; without those that none does."""
    found = [standing(profile) for profile in report.profiles]
    return {name: found.count(name) for name in STANDINGS if name in found}


def findings(report: Report) -> list[Finding]:
    """Failures, what is inconclusive and blocks, warnings, then what may ship; the commonest first."""
    held: dict[tuple[str, str], dict[int, set[str]]] = {}
    for index, profile in enumerate(report.profiles):
        for check in profile.checks:
            if kind := _kind(check):
                lengths = held.setdefault((kind, metric_title(check.metric)), {}).setdefault(index, set())
                lengths |= set(re.findall(r"^latency_\w+\.(\d+)", check.metric))
    found = [
        Finding(kind, title, tuple(sorted(set().union(*held_by.values()), key=int)), tuple(held_by))
        for (kind, title), held_by in held.items()
    ]
    if passing := [index for index, one in enumerate(report.profiles) if one.verdict == PASS]:
        found.append(Finding(PASS, "may ship", (), tuple(passing)))
    order = (FAIL, INCONCLUSIVE, WARNING, PASS)
    return sorted(found, key=lambda one: (order.index(one.outcome), -len(one.profiles)))


def _kind(check: Check) -> str:
    if check.blocks:
        return INCONCLUSIVE if check.outcome == INCONCLUSIVE else FAIL
    return WARNING if check.outcome == INCONCLUSIVE else ""


def headline(report: Report) -> str:
    """One or two sentences: how many profiles pass, and what becomes of the others."""
    total, counts = len(report.profiles), count_standings(report)
    if report.verdict == UNGATED:
        return f"No limits were applied to the {total} measured profiles."
    text = f"{counts.get(PASS, 0)} of {total} profiles may ship."
    others = list(_others(counts.get(FAIL, 0), counts.get(INCONCLUSIVE, 0)))
    return f"{text} {', '.join(others)}." if others else text


def _others(failing: int, undecided: int) -> Iterator[str]:
    if failing:
        yield f"{failing} {'fails' if failing == 1 else 'fail'}"
    if undecided:
        yield f"{undecided} {'is' if undecided == 1 else 'are'} inconclusive"


def reason_lists(report: Report) -> list[tuple[str, str, list[tuple[str, list[tuple[str, str]]]]]]:
    """(anchor, title, profiles) of what keeps profiles back and of what was let through undecided.

    Each profile is its name and its (outcome, line) pairs. What has none is left out.
    """
    titles = {
        "reasons": ("Why profiles fail", (FAIL, INCONCLUSIVE)),
        "warnings": ("Warnings: inconclusive, and let through", (WARNING,)),
    }
    found = []
    for anchor, (title, kinds) in titles.items():
        texts = [
            (profile.name, [(_kind(one), one.text) for one in profile.checks if _kind(one) in kinds])
            for profile in report.profiles
        ]
        if texts := [(name, lines) for name, lines in texts if lines]:
            found.append((anchor, title, texts))
    return found
