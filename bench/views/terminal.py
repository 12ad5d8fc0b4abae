"""A report for the terminal: plain tables of at most 110 columns, and the reasons below them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import pairwise

from bench.measurements import Drop
from bench.report import FAIL, INCONCLUSIVE, Profile, Report
from bench.views.cells import Cell, comparison_cells, metric_value, plus_minus, profile_cells
from bench.views.columns import COMPARED, VERDICT, Column, cache_columns, cached_profiles, text_lengths
from bench.views.outcomes import headline

TERMINAL_WIDTH = 100
TERMINAL_NAME = 24
MARKS = {FAIL: "!", INCONCLUSIVE: "?", "": " "}
LEGEND = "! breaks a limit, ? inconclusive: the interval holds the limit."
LOST = "ndcg_drop_same_dim.value"


def render_text(report: Report) -> str:
    """Plain tables of at most 110 columns, then reasons and warnings; `!` fails and `?` is inconclusive."""
    longest = "".join(text_lengths(report, measured=True)[-1:])
    note = f" Latency at {longest} tokens." if longest else ""
    lines = [f"{report.verdict.upper()}: {headline(report)}{note}"]
    if any(profile.reasons or profile.warnings for profile in report.profiles):
        lines.append(LEGEND)
    lines += ["", *_profile_lines(report, longest), ""]
    if report.comparisons:
        lines += ["LiteRT beside ONNX: the top 10 they share, NDCG@10 apart, LiteRT over ONNX", ""]
        lines += [*_compared_lines(report), ""]
    if cached_profiles(report):
        lines += ["Without a weight cache (none), at first use (build) and with it there (warm)", ""]
        lines += [*_cache_lines(report, longest), ""]
    lines += _wrapped((one.name, text) for one in report.profiles for text in one.reasons)
    warnings = _wrapped((one.name, text) for one in report.profiles for text in one.warnings)
    lines += ["", "Warnings: inconclusive, and let through", *warnings] if warnings else []
    return "\n".join(map(_printable, lines)).rstrip() + "\n"


def _wrapped(texts: Iterator[tuple[str, str]]) -> list[str]:
    return [
        line
        for name, text in texts
        for line in textwrap.wrap(f"{name}: {text}", TERMINAL_WIDTH, subsequent_indent="    ")
    ]


def _profile_lines(report: Report, longest: str) -> Iterator[str]:
    columns = _terminal_columns(longest)
    rows = [["profile", "verdict ", *(f"{column.title} " for column in columns[1:])]]
    for profile in report.profiles:
        verdict, *cells = profile_cells(profile, columns)
        texts = [_lost(profile, cell, column) for cell, column in zip(cells, columns[1:], strict=True)]
        undecided = verdict.text == INCONCLUSIVE or (verdict.mark == INCONCLUSIVE and profile.verdict != FAIL)
        rows.append([cut(profile.name), profile.verdict + ("?" if undecided else " "), *texts])
    return _aligned(rows)


def _lost(profile: Profile, cell: Cell, column: Column) -> str:
    """The cell as text; the drop at the same dimension with its uncertainty."""
    drop = metric_value(profile, column.metric.removesuffix(".value"))
    if column.metric != LOST or not isinstance(drop, Drop):
        return _marked(cell)
    return plus_minus(drop.value, drop.interval).replace(" ", "") + MARKS[cell.mark]


def _terminal_columns(length: str) -> list[Column]:
    return [
        VERDICT,
        Column("", "MB", "file_mb", 1),
        Column("", "NDCG@10", "ndcg_at_10", 4),
        Column("", "lost", LOST, 4),
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
        rows.append([cut(one.litert), cut(one.onnx), *texts])
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
        rows.append([cut(profile.name), *(cell.text for cell in profile_cells(profile, columns))])
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
    return cell.text + MARKS[cell.mark]


def cut(name: str, most: int = TERMINAL_NAME) -> str:
    """A name that fits: its ends, where names differ, are kept."""
    half = most // 2
    return name if len(name) <= most else f"{name[: most - half - 1]}…{name[-half:]}"


def _printable(line: str) -> str:
    """A line that cannot steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)
