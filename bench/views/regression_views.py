"""A comparison of two reports for people: a table for the terminal, and Markdown for a job summary."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from bench.regression import BOTH, NEW, Regression
from bench.regression import ProfileChange as Changed
from bench.regression_checks import ANONYMOUS, GOLDEN, NDCG, RAM, RATIO, SIZE

TERMINAL_WIDTH = 100
TERMINAL_NAME = 26
ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "} | {c: f"\\{c}" for c in "\\`*|[]"}
)
NOTHING = "-"
HEAD = ("profile", "verdict", "NDCG@10", "lost", "cos min", "MB", "RAM", "anon", "time")
NOTE = (
    "Lost: NDCG@10 below the earlier report, by query, with its interval. MB, RAM (peak over the baseline), "
    "anonymous RAM and time (the ratio to fp32 at the longest length): change against the earlier report. "
    "A star marks a change that is more than rounding, noise or the interval explains."
)


def render_changes_text(found: Regression) -> str:
    """Plain table of at most 110 columns, with what is to say below it."""
    rows = [list(HEAD), *(_row(one) for one in found.profiles)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{found.verdict.upper()}: {headline(found)}", ""]
    for name, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"{name.ljust(widths[0])} {' '.join(padded)}".rstrip())
    lines += ["", *textwrap.wrap(NOTE, TERMINAL_WIDTH), ""]
    for line in _said(found):
        lines += textwrap.wrap(line, TERMINAL_WIDTH, subsequent_indent="    ")
    return "\n".join(map(_printable, lines)).rstrip() + "\n"


def render_changes_markdown(found: Regression) -> str:
    """The same as Markdown."""
    head = [f"| {' | '.join(HEAD)} |", "| :-- | " + " | ".join(["--:"] * (len(HEAD) - 1)) + " |"]
    cells = ([cell.translate(ESCAPES) for cell in _row(one, len(one.name))] for one in found.profiles)
    rows = [f"| {' | '.join(row)} |" for row in cells]
    said = [f"- {line.translate(ESCAPES)}" for line in _said(found)]
    title = f"# Comparison with an earlier report: {found.verdict}"
    return "\n\n".join([title, headline(found), "\n".join([*head, *rows]), NOTE, "\n".join(said)]) + "\n"


def headline(found: Regression) -> str:
    """How many profiles hold, in a sentence."""
    both = [one for one in found.profiles if one.presence == BOTH]
    held = sum(one.verdict == "pass" for one in both)
    added = sum(one.presence == NEW for one in found.profiles)
    parts = [f"{held} of {len(both)} profiles hold what they held before"]
    parts += [f"{added} new"] if added else []
    vanished = len(found.profiles) - len(both) - added
    parts += [f"{vanished} vanished"] if vanished else []
    return f"{', '.join(parts)}."


def _row(one: Changed, width: int = TERMINAL_NAME) -> list[str]:
    name = one.name if len(one.name) <= width else f"{one.name[: width - 1]}…"
    if one.presence != BOTH or one.lost is None:
        return [name, one.presence, *[NOTHING] * (len(HEAD) - 2)]
    low, high = ("?" if end is None else f"{end:.4f}" for end in one.lost.interval)
    lost, golden = f"{one.lost.value:.4f} [{low}, {high}]", one.changes[GOLDEN]
    cosine = f"{(golden.new or 0) - (golden.old or 0):+.4f}" if golden.changed else "same"
    longest = [metric for metric in one.changes if metric.startswith(RATIO)][-1:]
    return [
        name,
        one.verdict,
        f"{one.changes[NDCG].new:.4f}",
        lost + _star(one, NDCG),
        cosine + _star(one, GOLDEN),
        *(_percent(one, metric) for metric in (SIZE, RAM, ANONYMOUS, *(longest or [RATIO]))),
    ]


def _percent(one: Changed, metric: str) -> str:
    change = one.changes.get(metric)
    if change is None or change.ratio is None:
        return NOTHING
    return f"{change.ratio - 1:+.1%}{_star(one, metric)}"


def _star(one: Changed, metric: str) -> str:
    return "*" if one.changes[metric].changed else " "


def _said(found: Regression) -> Iterator[str]:
    """Everything beside the table, a line each."""
    for one in found.profiles:
        yield from (f"{one.name}: {reason}" for reason in one.reasons)
        yield from (f"{one.name}: undecided: {warning}" for warning in one.warnings)
        yield from (f"{one.name}: new fault {name}" for name in one.faults_new if one.presence != BOTH)
        yield from (f"{one.name}: the fault {name} is gone" for name in one.faults_gone)
        if one.gate:
            yield f"{one.name}: its gates said {one.gate[0]} then and say {one.gate[1]} now"
    for name, (then, now) in found.context.items():
        yield f"context: {name} was {then} and is {now}"
    yield found.machine
    for one in found.profiles:
        if one.p50_ms:
            times = (f"{then:.1f} to {now:.1f} at {length}" for length, (then, now) in one.p50_ms.items())
            yield f"{one.name}: p50 ms {', '.join(times)} tokens"


def _printable(line: str) -> str:
    """A line that cannot steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)
