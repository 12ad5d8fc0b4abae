"""A report as one self-contained HTML page, and the files that stand beside report.json."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.pareto import pareto_front
from bench.report import UNGATED, Report
from bench.views.cells import comparison_cells, profile_cells
from bench.views.columns import (
    CACHE_NOTE,
    CACHE_TITLE,
    COMPARED,
    QUALITY,
    cache_columns,
    cached_profiles,
    comparison_note,
    cost_columns,
    text_lengths,
)
from bench.views.facts import NO_REFERENCE, baseline_span, context_facts, reference_rows, reproduce_lines
from bench.views.headings import table_headings
from bench.views.markdown import render_markdown
from bench.views.memory_bars import KINDS, memory_chart
from bench.views.outcomes import FRONT_MARK, MARKS, count_standings, findings, headline, reason_lists
from bench.views.plots import latency_cost, pareto_svg, size_cost
from bench.views.whiskers import TrackColumn, drop_columns, latency_columns
from common.files import write_text

HERE = Path(__file__).parent
FRONT_CHARACTERS = 3
TEMPLATE = "report.html.j2"


def write_views(report: Report, folder: Path) -> None:
    """Write report.md and report.html into `folder`, each whole or not at all."""
    write_text(folder / "report.md", render_markdown(report))
    write_text(folder / "report.html", render_html(report))


def render_html(report: Report) -> str:
    """One page that loads nothing from elsewhere: verdict, tables, plots, context.

    Its content policy lets no script run but its own.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["marks"] = MARKS | {"front": FRONT_MARK}
    parts = _verdict(report) | _profiles(report) | _charts(report) | _below(report)
    script = (HERE / "page" / "page.js").read_text(encoding="utf-8")
    return environment.get_template(TEMPLATE).render(
        script=Markup(script),  # noqa: S704  # a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((HERE / "page" / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        report=report,
        sections=list(_sections(parts)),
        **parts,
    )


def _sections(parts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(anchor, title) of the sections that the page has."""
    yield "profiles-section", "Profiles"
    yield from ((anchor, title.split(":")[0]) for anchor, title, _ in parts["reasons"])
    optional = {
        "plots": ("pareto", "Cost against quality"),
        "rows": ("memory", "Memory"),
        "latency": ("latency", "Latency"),
        "drops": ("drops", "NDCG lost"),
    }
    yield from (section for name, section in optional.items() if parts[name])
    if parts["rows"]:
        yield from (("faults", "Structural faults"), ("golden", "Golden texts"))
    yield from ((table["id"], table["title"].split(":")[0]) for table in parts["runtime_tables"])
    yield from (("reference", "Reference"), ("context", "Context"), ("reproduce", "Reproduce"))


def _verdict(report: Report) -> dict[str, Any]:
    """What the head of the page shows."""
    target, data = report.context.target, report.context.data
    where = f"{target.kind}, {target.cpu}, {target.threads} threads"
    facts = ("Benchmark report", data.get("name", ""), report.context.created[:10], where)
    return {
        "kicker": " · ".join(filter(None, facts)),
        "headline": headline(report),
        "counts": [] if report.verdict == UNGATED else list(count_standings(report).items()),
        "findings": findings(report),
    }


def _profiles(report: Report) -> dict[str, Any]:
    """The table of all profiles, and why those fail that do."""
    columns = (*QUALITY, *cost_columns(report))
    rows = [(profile, profile_cells(profile, columns)) for profile in report.profiles]
    marked = {index for _, cells in rows for index, cell in enumerate(cells) if cell.mark}
    return {
        "table": table_headings(columns, marked),
        "rows": rows,
        "front": pareto_front(report.profiles),
        "reasons": reason_lists(report),
        "name_width": max((len(profile.name) for profile in report.profiles), default=0) + FRONT_CHARACTERS,
    }


def _charts(report: Report) -> dict[str, Any]:
    latency, drops = latency_columns(report), drop_columns(report)
    return {
        "plots": list(_plots(report)),
        "memory": memory_chart(report),
        "kinds": KINDS,
        "cached": bool(cached_profiles(report)),
        "baseline": baseline_span(report),
        "latency": latency,
        "ratio_limited": _limited(latency),
        "drops": drops,
        "drop_limited": _limited(drops),
    }


def _limited(columns: list[TrackColumn]) -> bool:
    return any(cell.track and cell.track.limit is not None for column in columns for cell in column.cells)


def _plots(report: Report) -> Iterator[dict[str, str]]:
    """Size against quality and, at the longest text that all profiles were timed at, latency."""
    if not report.profiles:
        return
    costs = [(size_cost(), "Size")]
    timed = [
        length
        for length in text_lengths(report, measured=True)
        if all(length in profile.latency_ms for profile in report.profiles)
    ]
    costs += [(latency_cost(length), f"Latency, {length} tokens") for length in timed[-1:]]
    for cost, title in costs:
        yield {"prefix": cost.prefix, "title": title, "svg": pareto_svg(report.profiles, cost)}


def _below(report: Report) -> dict[str, Any]:
    """Faults, golden texts, runtimes, reference, context."""
    return {
        "faults": [(profile.name, fault) for profile in report.profiles for fault in profile.faults],
        "more_golden": any(len(profile.golden.worst) > 1 for profile in report.profiles),
        "runtime_tables": list(_runtime_tables(report)),
        "reference": reference_rows(report),
        "no_reference": NO_REFERENCE,
        "facts": context_facts(report),
        "reproduce": reproduce_lines(report),
    }


def _runtime_tables(report: Report) -> Iterator[dict[str, Any]]:
    """Title, note, headings and (name, cells) rows of the tables besides that of all profiles."""
    if report.comparisons:
        rows = [(one.litert, comparison_cells(report, one)) for one in report.comparisons]
        head = {"id": "runtimes", "title": "Runtimes compared", "note": comparison_note(report)}
        yield head | {"rows": rows} | table_headings(COMPARED)
    if cached := cached_profiles(report):
        columns = cache_columns(report)
        head = {"id": "caches", "title": CACHE_TITLE, "note": CACHE_NOTE}
        yield (
            head
            | {"rows": [(one.name, profile_cells(one, columns)) for one in cached]}
            | table_headings(columns)
        )
