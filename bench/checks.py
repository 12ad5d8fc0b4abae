"""A limit held against a measurement, in one line that begins with the metric."""

from __future__ import annotations

from bench.limits import FAIL_UNDECIDED, Gates
from bench.measurements import Interval
from bench.report import FAIL, INCONCLUSIVE, NOT_APPLIED, PASS, Check
from bench.statistics import decide


def undecided_blocks(own: str | None, gates: Gates) -> bool:
    """Whether an inconclusive outcome blocks, by the budget's own word or else the file's."""
    return (own or gates.inconclusive) == FAIL_UNDECIDED


def flag(metric: str, holds: bool, evidence: str) -> Check:
    """What must simply be so."""
    return Check(metric, PASS if holds else FAIL, not holds, None, None, None, f"{metric}: {evidence}")


def above(metric: str, value: float | None, limit: float, unit: str) -> Check:
    """A measured value that must not be above a limit; one that was not measured fails."""
    if value is None:
        return not_measured(metric, limit, unit)
    holds = value <= limit
    text = f"{metric} {value:.4g} is {'within' if holds else 'above'} {limit:g} ({unit})"
    return Check(metric, PASS if holds else FAIL, not holds, value, None, limit, text)


def below(metric: str, value: float, least: float, what: str, more: str = "") -> Check:
    """A measured value that must not be below a limit; `more` is told where it is."""
    holds = value >= least
    text = f"{metric} {value:.6f} is {'at least' if holds else 'below'} {least:g} ({what})"
    return Check(
        metric, PASS if holds else FAIL, not holds, value, None, least, text + ("" if holds else more)
    )


def within(
    metric: str, value: float, interval: Interval, limit: float, blocks: bool, what: str, more: str
) -> Check:
    """An estimate with its interval against a limit; `more` says what would decide where it does not."""
    outcome = decide(interval, limit)
    words = {PASS: "is within", FAIL: "is above", INCONCLUSIVE: "may be within or above"}
    low, high = ("?" if end is None else f"{end:.4g}" for end in interval)
    text = f"{metric} {value:.4g} [{low}, {high}] {words[outcome]} {limit:.4g} ({what})"
    if outcome == INCONCLUSIVE:
        text += f": {more}"
    stops = outcome == FAIL or (outcome == INCONCLUSIVE and blocks)
    return Check(metric, outcome, stops, value, interval, limit, text)


def not_measured(metric: str, limit: float, what: str) -> Check:
    """A limit without its measurement."""
    text = f"{metric} not measured, but its limit is {limit:g} ({what})"
    return Check(metric, FAIL, True, None, None, limit, text)


def uncovered(metric: str, table: str, what: str) -> Check:
    """A table of limits that leaves a profile out."""
    text = f"{metric}: {table} has limits, but none for {what} and no default"
    return Check(metric, FAIL, True, None, None, None, text)


def not_applied(metric: str, value: float | None, limit: float, why: str) -> Check:
    """A limit that does not count here."""
    shown = "" if value is None else f" {value:.4g}"
    return Check(
        metric, NOT_APPLIED, False, value, None, limit, f"{metric}{shown}: {limit:g} not applied ({why})"
    )
