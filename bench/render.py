"""A report for people: Markdown, one self-contained HTML page, and a compact table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.cells import (
    QUALITY,
    Column,
    context_facts,
    cost_columns,
    metric_value,
    profile_cells,
    reference_rows,
    text_lengths,
)
from bench.pareto import pareto_front
from bench.plots import latency_svg, size_svg
from bench.report import Report
from common.files import write_text

FAIL_MARK, PASS_MARK, FRONT_MARK = "✗", "✓", "◆"
FRONT_SUFFIX = f" {FRONT_MARK}"
FRONT_NOTE = f"{FRONT_MARK} on the Pareto front of size against NDCG@10 over all measured profiles."
MARKS = {"fail": FAIL_MARK, "pass": PASS_MARK}
TERMINAL_WIDTH = 100
TERMINAL_NAME = 28
TEMPLATE = "report.html.j2"
PLAIN_GROUPS = ("Artifact", "Retrieval")
NO_REFERENCE = "No reference was scored on this data, so the NDCG lost is not known."
MARKDOWN_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "} | {c: f"\\{c}" for c in "\\`*|[]"}
)


def write_views(report: Report, folder: Path) -> None:
    """Write report.md and report.html into `folder`, each whole or not at all."""
    write_text(folder / "report.md", render_markdown(report))
    write_text(folder / "report.html", render_html(report))


def render_html(report: Report) -> str:
    """One page that loads nothing from elsewhere: verdict, context, tables and plots."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, front = (*QUALITY, *cost_columns(report)), pareto_front(report.profiles)
    lengths = text_lengths(report, measured=True)
    return environment.get_template(TEMPLATE).render(
        report=report,
        headline=_headline(report),
        marks={"fail": FAIL_MARK, "pass": PASS_MARK, "front": FRONT_MARK},
        facts=context_facts(report),
        reference=reference_rows(report),
        no_reference=NO_REFERENCE,
        any_reason=any(profile.reasons for profile in report.profiles),
        groups=_groups(columns),
        heads=[(column.title, css) for column, css in zip(columns, _styles(columns), strict=True)],
        styles=_styles(columns),
        rows=[(profile, profile_cells(profile, columns)) for profile in report.profiles],
        front=front,
        size_plot=size_svg(report.profiles, front) if report.profiles else "",
        latency_plot=latency_svg(report.profiles, lengths) if lengths else "",
    )


def render_markdown(report: Report) -> str:
    """The same facts as Markdown: what may ship, two tables, reasons, reference and context."""
    front = pareto_front(report.profiles)
    blocks = [
        f"# Benchmark report: {_marked(report.verdict)}",
        _headline(report),
        "## May ship",
        _shippable(report, front),
        FRONT_NOTE,
        "## Quality",
        _profile_table(report, QUALITY, front),
        "## Cost",
        _profile_table(report, (*QUALITY[:1], *cost_columns(report)), front),
        "## Reasons",
        "\n".join(_reason_list(report)) or "No limit is broken.",
        "## Reference",
        _reference_markdown(report),
        "## Context",
        "\n".join(f"- **{name}**: {_escape(value)}" for name, value in context_facts(report)),
    ]
    return "\n\n".join(blocks) + "\n"


def render_text(report: Report) -> str:
    """A plain table of at most 110 columns and the reasons below it; `!` marks a failing value."""
    longest = "".join(text_lengths(report, measured=True)[-1:])
    columns = _terminal_columns(longest)
    rows = [["profile", "verdict", *(f"{column.title} " for column in columns[1:])]]
    for profile in report.profiles:
        name = profile.name
        name = name if len(name) <= TERMINAL_NAME else f"{name[: TERMINAL_NAME - 1]}…"
        _, *cells = profile_cells(profile, columns)
        rows.append([name, profile.verdict, *(cell.text + ("!" if cell.reason else " ") for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    note = f" Latency at {longest} tokens." if longest else ""
    lines = [f"{report.verdict.upper()}: {_headline(report)}{note}", ""]
    for name, *values in rows:
        padded = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append(" ".join([name.ljust(widths[0]), *padded]).rstrip())
    lines += [""]
    for profile in report.profiles:
        for reason in profile.reasons:
            lines += textwrap.wrap(f"{profile.name}: {reason}", TERMINAL_WIDTH, subsequent_indent="    ")
    return "\n".join(map(_printable, lines)).rstrip() + "\n"


def _terminal_columns(length: str) -> list[Column]:
    return [
        Column("", "verdict", "verdict"),
        Column("", "MB", "file_bytes", 1),
        Column("", "NDCG@10", "ndcg_at_10", 4),
        Column("", "lost", "ndcg_drop_same_dim", 4),
        Column("", "of full", "ndcg_drop_full_dim", 4),
        Column("", "cos min", "golden_cosine_min", 4),
        Column("", "p50 ms", f"latency_ms.{length}.p50", 1),
        Column("", "p90 ms", f"latency_ms.{length}.p90", 1),
        Column("", "RAM MB", "ram_mb.peak_above_baseline", 1),
    ]


def _printable(line: str) -> str:
    """A line that cannot steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)


def _groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Each run of columns under one heading, with its width."""
    return [(name, len(list(run))) for name, run in groupby(columns, key=lambda column: column.group)]


def _styles(columns: Sequence[Column]) -> list[str]:
    """CSS classes of each column: numbers to the right, a rule where a group starts."""
    groups = [column.group for column in columns]
    starts = [before != group for before, group in pairwise([None, *groups])]
    return [
        " ".join(["num"] * column.is_number + ["start"] * start)
        for column, start in zip(columns, starts, strict=True)
    ]


def _marked(verdict: str) -> str:
    return f"{MARKS.get(verdict, '')} {verdict}".strip()


def _headline(report: Report) -> str:
    """One sentence: how many profiles pass."""
    total, passing = len(report.profiles), sum(one.verdict == "pass" for one in report.profiles)
    if report.verdict == "ungated":
        return f"No limits were applied to the {total} measured profiles."
    return f"{passing} of {total} profiles may ship."


def _escape(text: str) -> str:
    return text.translate(MARKDOWN_ESCAPES)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, its first `left` columns to the left and the others to the right."""
    rule = [":--" if index < left else "--:" for index in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _profile_table(report: Report, columns: Sequence[Column], front: Sequence[str]) -> str:
    """One row per profile; `columns` begin with the verdict."""
    head = ["Profile", *(_markdown_title(column) for column in columns)]
    rows = []
    for profile in report.profiles:
        cells = profile_cells(profile, columns)
        texts = [_markdown_cell(cell.text, bool(cell.reason)) for cell in cells]
        texts[0] = _markdown_cell(profile.verdict, profile.verdict == "fail")
        rows.append([_escape(profile.name) + FRONT_SUFFIX * (profile.name in front), *texts])
    return _table(head, rows)


def _markdown_cell(text: str, fails: bool) -> str:
    return f"{FAIL_MARK} **{_escape(text)}**" if fails else _escape(text)


def _markdown_title(column: Column) -> str:
    return column.title if column.group in PLAIN_GROUPS else f"{column.group}: {column.title}"


def _shippable(report: Report, front: list[str]) -> str:
    passing = [profile for profile in report.profiles if profile.verdict == "pass"]
    if not passing:
        return "None: no profile has passed a gate."
    return "\n".join(
        f"- {_escape(one.name)}: {metric_value(one, 'file_bytes'):.1f} MB, NDCG@10 {one.ndcg_at_10:.4f}"
        + FRONT_SUFFIX * (one.name in front)
        for one in passing
    )


def _reason_list(report: Report) -> Iterator[str]:
    for profile in report.profiles:
        for reason in profile.reasons:
            yield f"- {FAIL_MARK} {_escape(profile.name)}: {_escape(reason)}"


def _reference_markdown(report: Report) -> str:
    if report.reference is None:
        return NO_REFERENCE
    head = ("Dimension", "Before tuning", "After tuning", "Gain")
    return f"NDCG@10 of {_escape(report.reference.source)}\n\n{_table(head, reference_rows(report))}"
