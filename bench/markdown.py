"""A report as Markdown: what may ship, tables, reasons, reference and context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.cells import (
    CACHE_NOTE,
    CACHE_TITLE,
    COMPARED,
    FAIL_MARK,
    FRONT_MARK,
    NO_REFERENCE,
    PASS_MARK,
    QUALITY,
    Cell,
    Column,
    cache_columns,
    cached_profiles,
    comparison_cells,
    comparison_note,
    context_facts,
    cost_columns,
    headline,
    profile_cells,
    reference_rows,
)
from bench.pareto import pareto_front
from bench.report import Report

FRONT_SUFFIX = f" {FRONT_MARK}"
FRONT_NOTE = f"{FRONT_MARK} on the Pareto front of size against NDCG@10 over all measured profiles."
MARKS = {"fail": FAIL_MARK, "pass": PASS_MARK}
PLAIN_GROUPS = ("Artifact", "Retrieval", "Ranking", "")
ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "} | {c: f"\\{c}" for c in "\\`*|[]"}
)


def render_markdown(report: Report) -> str:
    """The facts of a report as Markdown, its tables as wide as they need to be."""
    front = pareto_front(report.profiles)
    blocks = [
        f"# Benchmark report: {_marked(report.verdict)}",
        headline(report),
        "## May ship",
        _shippable(report, front),
        FRONT_NOTE,
        "## Quality",
        _profile_table(report, QUALITY, front),
        "## Cost",
        _profile_table(report, (*QUALITY[:1], *cost_columns(report)), front),
        *_runtimes(report),
        "## Reasons",
        "\n".join(_reason_list(report)) or "No limit is broken.",
        "## Reference",
        _reference(report),
        "## Context",
        "\n".join(f"- **{name}**: {_escape(value)}" for name, value in context_facts(report)),
    ]
    return "\n\n".join(blocks) + "\n"


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
        texts = _texts(profile_cells(profile, columns))
        texts[0] = _cell(profile.verdict, profile.verdict == "fail")
        rows.append([_escape(profile.name) + FRONT_SUFFIX * (profile.name in front), *texts])
    return _table(["Profile", *map(_title, columns)], rows)


def _runtimes(report: Report) -> Iterator[str]:
    """The comparison of the runtimes and the weight caches, each where there is something to say."""
    if report.comparisons:
        head = ["Profile", *map(_title, COMPARED)]
        rows = [[_escape(one.litert), *_texts(comparison_cells(report, one))] for one in report.comparisons]
        yield from ("## Runtimes compared", comparison_note(report), _table(head, rows, left=2))
    if cached := cached_profiles(report):
        columns = cache_columns(report)
        rows = [[_escape(one.name), *_texts(profile_cells(one, columns))] for one in cached]
        yield from (f"## {CACHE_TITLE}", CACHE_NOTE)
        yield _table(["Profile", *map(_title, columns)], rows)


def _texts(cells: Sequence[Cell]) -> list[str]:
    return [_cell(cell.text, bool(cell.reason)) for cell in cells]


def _cell(text: str, fails: bool) -> str:
    return f"{FAIL_MARK} **{_escape(text)}**" if fails else _escape(text)


def _title(column: Column) -> str:
    return column.title if column.group in PLAIN_GROUPS else f"{column.group}: {column.title}"


def _shippable(report: Report, front: list[str]) -> str:
    passing = [profile for profile in report.profiles if profile.verdict == "pass"]
    if not passing:
        return "None: no profile has passed a gate."
    return "\n".join(
        f"- {_escape(one.name)}: {one.file_mb:.1f} MB, NDCG@10 {one.ndcg_at_10:.4f}"
        + FRONT_SUFFIX * (one.name in front)
        for one in passing
    )


def _reason_list(report: Report) -> Iterator[str]:
    for profile in report.profiles:
        for reason in profile.reasons:
            yield f"- {FAIL_MARK} {_escape(profile.name)}: {_escape(reason)}"


def _reference(report: Report) -> str:
    if report.reference is None:
        return NO_REFERENCE
    head = ("Dimension", "Before tuning", "After tuning", "Gain")
    return f"NDCG@10 of {_escape(report.reference.source)}\n\n{_table(head, reference_rows(report))}"
