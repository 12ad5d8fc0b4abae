"""A report as Markdown that fits a CI job's summary: the verdict, what fails, and every table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.measurements import Drop
from bench.pareto import pareto_front
from bench.report import FAIL, INCONCLUSIVE, PASS, Report
from bench.views.cells import Cell, comparison_cells, plus_minus, profile_cells
from bench.views.columns import (
    CACHE_NOTE,
    CACHE_TITLE,
    COMPARED,
    QUALITY,
    VERDICT,
    Column,
    cache_columns,
    cached_profiles,
    comparison_note,
    cost_columns,
)
from bench.views.facts import NO_REFERENCE, context_facts, reference_rows, reproduce_lines
from bench.views.outcomes import FRONT_MARK, MARKS, Finding, findings, headline, standing

FRONT_SUFFIX = f" {FRONT_MARK}"
FRONT_NOTE = f"{FRONT_MARK} on the Pareto front of size against NDCG@10 over all measured profiles."
LOST_NOTE = "NDCG lost is the mean over the queries ± half of its 95 % interval."
PLAIN_GROUPS = ("Artifact", "Retrieval", "Ranking", "")
NAMED = 6
"""Profiles that a finding names before it counts the others."""
ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "} | {c: f"\\{c}" for c in "\\`*|[]"}
)


def render_markdown(report: Report) -> str:
    """The facts of a report as Markdown, its tables as wide as they need to be."""
    front = pareto_front(report.profiles)
    blocks = [
        f"# Benchmark report: {_marked(report.verdict)}",
        headline(report),
        *_summary(report),
        "## May ship",
        _shippable(report, front),
        FRONT_NOTE,
        "## Quality",
        LOST_NOTE,
        _profile_table(report, QUALITY, front),
        "## Cost",
        _profile_table(report, (VERDICT, *cost_columns(report)), front),
        *_runtimes(report),
        "## Reasons",
        "\n".join(_reason_list(report)) or "No limit is broken.",
        *_warnings(report),
        "## Reference",
        _reference(report),
        "## Context",
        "\n".join(f"- **{name}**: {_escape(value)}" for name, value in context_facts(report)),
        *_reproduce(report),
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(report: Report) -> Iterator[str]:
    """A line for every metric that keeps profiles back or was let through undecided."""
    if lines := [_finding(report, one) for one in findings(report) if one.outcome != PASS]:
        yield "\n".join(lines)


def _finding(report: Report, finding: Finding) -> str:
    names = [_escape(report.profiles[index].name) for index in finding.profiles]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    word = f"{finding.outcome}: " if finding.outcome != FAIL else ""
    lengths = f" ({', '.join(finding.lengths)} tokens)" if finding.lengths else ""
    title = _escape(finding.title + lengths)
    return f"- {MARKS[finding.outcome]} {word}**{title}**: {', '.join(names[:NAMED])}{more}"


def _marked(verdict: str) -> str:
    return f"{MARKS.get(verdict, '')} {verdict}".strip()


def _escape(text: str) -> str:
    return text.translate(ESCAPES)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, its first `left` columns to the left and the others to the right."""
    rule = [":--" if index < left else "--:" for index in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _profile_table(report: Report, columns: Sequence[Column], front: Sequence[str]) -> str:
    """One row per profile; `columns` begin with the verdict."""
    rows = []
    for profile in report.profiles:
        cells = zip(columns, profile_cells(profile, columns), strict=True)
        texts = [_cell(cell, _drop(profile, column)) for column, cell in cells]
        found = standing(profile)
        texts[0] = _bold(found, found if found in (FAIL, INCONCLUSIVE) else "")
        rows.append([_escape(profile.name) + FRONT_SUFFIX * (profile.name in front), *texts])
    return _table(["Profile", *map(_title, columns)], rows)


def _drop(profile: object, column: Column) -> str:
    """A drop with its uncertainty; empty for other columns."""
    drop = getattr(profile, column.metric.removesuffix(".value"), None)
    return plus_minus(drop.value, drop.interval) if isinstance(drop, Drop) else ""


def _runtimes(report: Report) -> Iterator[str]:
    """The comparison of the runtimes and the weight caches, each where there is something to say."""
    if report.comparisons:
        head = ["Profile", *map(_title, COMPARED)]
        rows = [
            [_escape(one.litert), *map(_cell, comparison_cells(report, one))] for one in report.comparisons
        ]
        yield from ("## Runtimes compared", comparison_note(report), _table(head, rows, left=2))
    if cached := cached_profiles(report):
        columns = cache_columns(report)
        rows = [[_escape(one.name), *map(_cell, profile_cells(one, columns))] for one in cached]
        yield from (f"## {CACHE_TITLE}", CACHE_NOTE)
        yield _table(["Profile", *map(_title, columns)], rows)


def _cell(cell: Cell, text: str = "") -> str:
    return _bold(text or cell.text, cell.mark)


def _bold(text: str, mark: str) -> str:
    return f"{MARKS[mark]} **{_escape(text)}**" if mark else _escape(text)


def _title(column: Column) -> str:
    return column.title if column.group in PLAIN_GROUPS else f"{column.group}: {column.title}"


def _shippable(report: Report, front: list[str]) -> str:
    passing = [profile for profile in report.profiles if profile.verdict == PASS]
    if not passing:
        return "None: no profile has passed a gate."
    return "\n".join(
        f"- {_escape(one.name)}: {one.file_mb:.1f} MB, NDCG@10 {one.ndcg_at_10:.4f}"
        + FRONT_SUFFIX * (one.name in front)
        for one in passing
    )


def _reason_list(report: Report) -> Iterator[str]:
    for profile in report.profiles:
        for check in (one for one in profile.checks if one.blocks):
            mark = MARKS[INCONCLUSIVE if check.outcome == INCONCLUSIVE else FAIL]
            yield f"- {mark} {_escape(profile.name)}: {_escape(check.text)}"


def _warnings(report: Report) -> Iterator[str]:
    lines = [
        f"- {MARKS[INCONCLUSIVE]} {_escape(one.name)}: {_escape(text)}"
        for one in report.profiles
        for text in one.warnings
    ]
    if lines:
        yield from ("## Warnings", "Inconclusive, and let through by the gates.", "\n".join(lines))


def _reference(report: Report) -> str:
    if report.reference is None:
        return NO_REFERENCE
    head = ("Dimension", "Before tuning", "After tuning", "Gain")
    return f"NDCG@10 of {_escape(report.reference.source)}\n\n{_table(head, reference_rows(report))}"


def _reproduce(report: Report) -> Iterator[str]:
    """As indented code, which no text can end."""
    if lines := reproduce_lines(report):
        yield "## Reproduce"
        yield "\n".join(f"    {' '.join(line.split())}" for line in lines)
