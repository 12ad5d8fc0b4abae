"""A report for people: one self-contained HTML page, a compact table for the terminal, and Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
    text_lengths,
)
from bench.markdown import render_markdown
from bench.pareto import pareto_front
from bench.plots import latency_svg, size_svg
from bench.report import Report
from common.files import write_text

TERMINAL_WIDTH = 100
TERMINAL_NAME = 28
TEMPLATE = "report.html.j2"


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
        headline=headline(report),
        marks={"fail": FAIL_MARK, "pass": PASS_MARK, "front": FRONT_MARK},
        facts=context_facts(report),
        reference=reference_rows(report),
        no_reference=NO_REFERENCE,
        any_reason=any(profile.reasons for profile in report.profiles),
        table=_heads(columns),
        rows=[(profile, profile_cells(profile, columns)) for profile in report.profiles],
        runtime_tables=list(_runtime_tables(report)),
        front=front,
        size_plot=size_svg(report.profiles, front) if report.profiles else "",
        latency_plot=latency_svg(report.profiles, lengths) if lengths else "",
    )


def _runtime_tables(report: Report) -> Iterator[dict[str, Any]]:
    """Title, note, headings and (name, cells) rows of the tables besides that of all profiles."""
    if report.comparisons:
        rows = [(one.litert, comparison_cells(report, one)) for one in report.comparisons]
        yield {
            "title": "Runtimes compared",
            "note": comparison_note(report),
            "rows": rows,
            **_heads(COMPARED),
        }
    if cached := cached_profiles(report):
        columns = cache_columns(report)
        yield {
            "title": CACHE_TITLE,
            "note": CACHE_NOTE,
            "rows": [(one.name, profile_cells(one, columns)) for one in cached],
            **_heads(columns),
        }


def _heads(columns: Sequence[Column]) -> dict[str, Any]:
    """A table's headings: (group, width), (title, style) and the styles by themselves."""
    styles = _styles(columns)
    heads = [(column.title, css) for column, css in zip(columns, styles, strict=True)]
    return {"groups": _groups(columns), "heads": heads, "styles": styles}


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


def render_text(report: Report) -> str:
    """Plain tables of at most 110 columns and the reasons below them; `!` marks a failing value."""
    longest = "".join(text_lengths(report, measured=True)[-1:])
    note = f" Latency at {longest} tokens." if longest else ""
    lines = [f"{report.verdict.upper()}: {headline(report)}{note}", "", *_profile_lines(report, longest), ""]
    if report.comparisons:
        lines += ["LiteRT beside ONNX: the top 10 they share, NDCG@10 apart, LiteRT over ONNX", ""]
        lines += [*_compared_lines(report), ""]
    if cached_profiles(report):
        lines += ["Without a weight cache (none), at first use (build) and with it there (warm)", ""]
        lines += [*_cache_lines(report, longest), ""]
    for profile in report.profiles:
        for reason in profile.reasons:
            lines += textwrap.wrap(f"{profile.name}: {reason}", TERMINAL_WIDTH, subsequent_indent="    ")
    return "\n".join(map(_printable, lines)).rstrip() + "\n"


def _profile_lines(report: Report, longest: str) -> Iterator[str]:
    columns = _terminal_columns(longest)
    rows = [["profile", "verdict", *(f"{column.title} " for column in columns[1:])]]
    for profile in report.profiles:
        _, *cells = profile_cells(profile, columns)
        rows.append([_cut(profile.name), profile.verdict, *map(_marked, cells)])
    return _aligned(rows)


def _terminal_columns(length: str) -> list[Column]:
    return [
        Column("", "verdict", "verdict"),
        Column("", "MB", "file_mb", 1),
        Column("", "NDCG@10", "ndcg_at_10", 4),
        Column("", "lost", "ndcg_drop_same_dim.value", 4),
        Column("", "of full", "ndcg_drop_full_dim.value", 4),
        Column("", "cos min", "golden.cosine_min", 4),
        Column("", "p50 ms", f"latency_ms.{length}.p50", 1),
        Column("", "p90 ms", f"latency_ms.{length}.p90", 1),
        Column("", "RAM MB", "ram_mb.peak_above_baseline", 1),
    ]


def _compared_lines(report: Report) -> Iterator[str]:
    rows = [["LiteRT", "ONNX", "top 10 ", "apart ", "error ", "size ", "p50 ", "RAM "]]
    shown = ("top10_overlap", "ndcg_relative", "ndcg_error", "size_ratio", "p50_ratio", "ram_ratio")
    for one in report.comparisons:
        cells = zip(COMPARED, comparison_cells(report, one), strict=True)
        texts = [_marked(cell) for column, cell in cells if column.metric in shown]
        rows.append([_cut(one.litert), _cut(one.onnx), *texts])
    return _aligned(rows, left=2)


def _cache_lines(report: Report, longest: str) -> Iterator[str]:
    names = {
        "load_ms": "load ms",
        "first_ms": "first ms",
        f"latency_ms.{longest}.p50": "p50 ms",
        "ram_mb.peak_above_baseline": "RAM MB",
    }
    columns = [column for column in cache_columns(report) if column.metric.endswith(tuple(names))]
    groups = [names[column.metric.split(".", 2)[2]] for column in columns]
    rows = [
        ["", *(name if before != name else "" for before, name in pairwise(["", *groups]))],
        ["profile", *(column.title.lower() for column in columns)],
    ]
    for profile in cached_profiles(report):
        rows.append([_cut(profile.name), *(cell.text for cell in profile_cells(profile, columns))])
    return _aligned(rows)


def _aligned(rows: list[list[str]], left: int = 1) -> Iterator[str]:
    """Rows as lines, their first `left` columns to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [
            text.ljust(width) if index < left else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield " ".join(padded).rstrip()


def _marked(cell: Cell) -> str:
    return cell.text + ("!" if cell.reason else " ")


def _cut(name: str) -> str:
    return name if len(name) <= TERMINAL_NAME else f"{name[: TERMINAL_NAME - 1]}…"


def _printable(line: str) -> str:
    """A line that cannot steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)
