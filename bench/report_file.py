"""report.json in and out: written whole, read strictly, so that what a gate sees is what was measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import CACHE_STATES, OUTCOMES, REPORT_SCHEMA, TARGET_KINDS, Report
from common.errors import UserError
from common.files import read_json, write_json
from common.records import from_dict


def read_report(path: Path) -> Report:
    """Parse report.json strictly.

    Raises UserError for a foreign schema, a field missing or unknown, a number that is none, and for parts
    that contradict each other.
    """
    return parse_report(read_json(path), str(path))


def write_report(path: Path, report: Report) -> None:
    """Write report.json whole or not at all."""
    write_json(path, dataclasses.asdict(report))


def parse_report(raw: Any, place: str) -> Report:
    """A Report from parsed JSON; `place` names it in errors."""
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != REPORT_SCHEMA:
        raise UserError(
            f"{place}: schema '{found}' is not '{REPORT_SCHEMA}'; measure again with this version"
        )
    for where, number in _numbers(raw, ""):
        if not math.isfinite(number):
            raise UserError(f"{place}: {where} is {number}, which is no measurement")
    report = from_dict(Report, raw, place)
    if not report.profiles:
        raise UserError(f"{place}: it holds no profiles")
    _check_keys(report, place)
    _check_names(report, place)
    _check_queries(report, place)
    return report


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    """Every float of parsed JSON with its path."""
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{where}[{index}]")


def _check_keys(report: Report, place: str) -> None:
    """Keys that mean a dimension or a length are whole numbers."""
    costs = [(one.latency_ms, one.ram_mb) for one in report.profiles]
    costs += [(s.latency_ms, s.ram_mb) for one in report.profiles for s in one.cache_states.values()]
    keys = {key for timed, ram in costs for key in (*timed, *ram.run_peak, *ram.run_high_water)}
    keys |= {length for one in report.profiles for length in one.latency_ratio}
    keys |= {one.p50_length for one in report.comparisons if one.p50_length is not None}
    if report.reference:
        keys |= {*report.reference.after, *report.reference.by_query, *(report.reference.before or {})}
    for key in sorted(keys):
        if not (key.isascii() and key.isdigit()):
            raise UserError(f"{place}: '{key}' is neither a dimension nor a length in tokens")


def _check_names(report: Report, place: str) -> None:
    """Words from a fixed list are known, and comparisons are of profiles that the report holds."""
    words: list[tuple[str, str, tuple[str, ...]]]
    words = [("cache state", state, CACHE_STATES) for one in report.profiles for state in one.cache_states]
    words += [("outcome", check.outcome, OUTCOMES) for _, check in report.checks()]
    words.append(("target kind", report.context.target.kind, TARGET_KINDS))
    for what, word, known in words:
        if word not in known:
            raise UserError(f"{place}: {what} '{word}' is none of {', '.join(known)}")
    names = [one.name for one in report.profiles]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{place}: it holds the profile '{repeated[0]}' twice")
    for name in (name for one in report.comparisons for name in (one.onnx, one.litert)):
        if name not in names:
            raise UserError(f"{place}: '{name}' is compared, but the report holds no such profile")


def _check_queries(report: Report, place: str) -> None:
    """As many values as queries, wherever there is one for each."""
    lists = {f"profile {one.name}": one.ndcg_by_query for one in report.profiles}
    for dim, values in (report.reference.by_query if report.reference else {}).items():
        lists[f"the reference at {dim} dimensions"] = values
    for what, values in lists.items():
        if len(values) != len(report.queries):
            raise UserError(
                f"{place}: {what} has scores of {len(values)} queries, the report has {len(report.queries)}"
            )
