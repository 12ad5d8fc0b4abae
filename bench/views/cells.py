"""The cells that every view shows: a value as text, its sorting key, and what its limits say about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measurements import Interval
from bench.report import FAIL, INCONCLUSIVE, Check, Comparison, Profile, Report
from bench.views.columns import COMPARED, VERDICT, Column
from bench.views.outcomes import standing

DASH = "—"
AGREEMENT = "runtime_agreement."


@dataclass(frozen=True)
class Cell:
    """A shown value.

    key: what it sorts by, empty for what was not measured. mark: FAIL, INCONCLUSIVE or empty. note: its
    interval and what its limits say, a line each.
    """

    text: str
    key: str
    mark: str = ""
    note: str = ""


def metric_value(found: Any, metric: str) -> Any:
    """What a profile or comparison holds under a metric's path; None if nothing was measured."""
    for part in metric.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found


def profile_cells(profile: Profile, columns: Sequence[Column]) -> list[Cell]:
    """The row of one profile. A broken or undecided limit whose metric has no column marks the verdict."""
    shown = {column.metric for column in columns}
    held: dict[str, list[Check]] = {}
    for check in profile.checks:
        names = (check.metric, f"{check.metric}.value", f"{check.metric}.ratio")
        held.setdefault(next((one for one in names if one in shown), VERDICT.metric), []).append(check)
    cells = [_cell(metric_value(profile, one.metric), one, profile, held) for one in columns]
    return [
        _verdict(profile, cell) if column is VERDICT else cell
        for cell, column in zip(cells, columns, strict=True)
    ]


def comparison_cells(report: Report, comparison: Comparison) -> list[Cell]:
    """The row of one comparison; it fails where its LiteRT profile does for disagreeing."""
    held: dict[str, list[Check]] = {}
    for profile in (one for one in report.profiles if one.name == comparison.litert):
        for check in (one for one in profile.checks if one.metric.startswith(AGREEMENT)):
            held.setdefault(check.metric.removeprefix(AGREEMENT), []).append(check)
    return [_cell(metric_value(comparison, one.metric), one, comparison, held) for one in COMPARED]


def plus_minus(value: float, interval: Interval, digits: int = 4) -> str:
    """A value and half the width of its interval, `?` where an end is open."""
    low, high = interval
    half = "?" if low is None or high is None else f"{(high - low) / 2:.{digits}f}"
    return f"{value:z.{digits}f} ±{half}"


def interval_text(interval: Interval, digits: int = 4) -> str:
    """An interval in brackets, `?` for an open end."""
    return f"[{', '.join('?' if end is None else f'{end:z.{digits}f}' for end in interval)}]"


def metric_interval(found: Any, metric: str) -> Interval | None:
    """The interval of what a metric's path names, where it has one."""
    owner, _, name = metric.rpartition(".")
    owner = metric_value(found, owner) if owner else found
    interval: Interval | None = getattr(owner, f"{name}_interval", None)
    return getattr(owner, "interval", None) if interval is None and name in ("value", "ratio") else interval


def mark_of(checks: Iterable[Check]) -> str:
    """The worst of the outcomes that a reader must see."""
    outcomes = {check.outcome for check in checks}
    return next((one for one in (FAIL, INCONCLUSIVE) if one in outcomes), "")


def _verdict(profile: Profile, cell: Cell) -> Cell:
    return Cell(standing(profile), cell.key, cell.mark, "\n".join([*profile.reasons, *profile.warnings]))


def _cell(value: Any, column: Column, found: Any, held: Mapping[str, Sequence[Check]]) -> Cell:
    checks = held.get(column.metric, [])
    note = "\n".join(_note(found, column, checks))
    if value is None:
        return Cell(DASH, "", mark_of(checks), note)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", str(int(value)), mark_of(checks), note)
    if isinstance(value, str):
        return Cell(value, value, mark_of(checks), note)
    return Cell(f"{value:z.{column.digits}f}", repr(value), mark_of(checks), note)


def _note(found: Any, column: Column, checks: Sequence[Check]) -> Iterable[str]:
    """The interval where no check tells it, then what the checks say."""
    interval = metric_interval(found, column.metric)
    if interval is not None and not any(check.interval for check in checks):
        yield f"95 % interval {interval_text(interval, column.digits + 1)}"
    yield from (check.text for check in checks)
