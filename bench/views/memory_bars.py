"""The peak of RAM as stacked bars above the baseline, at first use and from the second use on."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measurements import BUILD_CACHE, Memory
from bench.report import Check, Profile, Report
from bench.views.cells import mark_of
from bench.views.tracks import Scale, Segment, scale_of, stack

PEAK, ANONYMOUS = "ram_mb.peak_above_baseline", "ram_mb.anonymous"
KINDS = {
    "anonymous": "anonymous: what the low-memory killer counts",
    "file": "file-backed: mapped pages that can be dropped and read again",
    "shared": "shared",
    "unsampled": "unsampled: the kernel's highest mark above the highest sample",
}


@dataclass(frozen=True)
class Bar:
    """One process: when, the parts of its peak, the peak and its anonymous memory in MB, and their marks."""

    use: str
    segments: list[Segment]
    peak: float
    anonymous: float
    peak_mark: str
    anonymous_mark: str
    note: str


@dataclass(frozen=True)
class MemoryChart:
    """Every profile's bars on one scale, with the limit that the checks hold (None: there is none)."""

    scale: Scale
    limit: float | None
    limit_at: float | None
    rows: list[tuple[Profile, list[Bar]]]


def memory_chart(report: Report) -> MemoryChart:
    """The bars of all profiles; those with a weight cache have one for the first use as well."""
    limits = [check.limit for _, check in report.checks() if check.metric == PEAK and check.limit is not None]
    peaks = [memory.peak_above_baseline for profile in report.profiles for _, memory in _uses(profile)]
    limit = max(limits, default=None)
    scale = scale_of([*peaks, limit], from_zero=True)
    rows = [(one, [_bar(one, *use, scale) for use in _uses(one)]) for one in report.profiles]
    return MemoryChart(scale, limit, None if limit is None else scale.at(limit), rows)


def parts_above_baseline(memory: Memory) -> list[tuple[str, float]]:
    """The peak above the baseline by kind in MB; they add up to it.

    What a process has less of at its peak than at its start is taken from the kinds that grew.
    """
    start, highest = memory.start, memory.highest
    parts = {
        "anonymous": highest.anonymous - start.anonymous,
        "file": highest.file_backed - start.file_backed,
        "shared": highest.shared - start.shared,
        "unsampled": memory.peak - highest.rss,
    }
    owed = -sum(amount for amount in parts.values() if amount < 0)
    grown = {kind: max(amount, 0.0) for kind, amount in parts.items()}
    for kind in sorted(grown, key=grown.__getitem__, reverse=True):
        paid = min(owed, grown[kind])
        grown[kind], owed = grown[kind] - paid, owed - paid
    return list(grown.items())


def _uses(profile: Profile) -> list[tuple[str, Memory]]:
    first = profile.cache_states.get(BUILD_CACHE)
    if first is None:
        return [("every", profile.ram_mb)]
    return [("first", first.ram_mb), ("second", profile.ram_mb)]


def _bar(profile: Profile, use: str, memory: Memory, scale: Scale) -> Bar:
    """The checks are about the profile's own figures, which are those of the second use."""
    checks = [check for check in profile.checks if use != "first"]
    parts = parts_above_baseline(memory)
    told = ", ".join(f"{kind} {amount:.1f}" for kind, amount in parts)
    lines = [f"{told} MB above {memory.baseline:.1f} MB"]
    lines += [check.text for check in checks if check.metric in (PEAK, ANONYMOUS)]
    return Bar(
        use,
        stack(scale, parts),
        memory.peak_above_baseline,
        memory.anonymous,
        _mark(checks, PEAK),
        _mark(checks, ANONYMOUS),
        "\n".join(lines),
    )


def _mark(checks: list[Check], metric: str) -> str:
    return mark_of(check for check in checks if check.metric == metric)
