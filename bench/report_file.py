"""report.json in and out: written whole, read strictly, so that what a gate sees is what was measured."""

from __future__ import annotations

import dataclasses
import operator
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.drops import ASYMMETRIC, DROPS, FULL_DIM
from bench.measurements import CACHE_STATES, Drop, Interval, Memory
from bench.report import (
    FAIL,
    OUTCOMES,
    PASS,
    REPORT_SCHEMA,
    TARGET_KINDS,
    VERDICTS,
    Profile,
    Reference,
    Report,
)
from common.errors import UserError
from common.files import read_json, write_json
from common.records import from_dict

SIGNED = re.compile(r"drop|cosine|\.checks\[")
"""Paths of numbers that may be negative; a size, a time or a score may not."""
SHARES = re.compile(
    r"(ndcg|recall|mrr)_at_10$|by_query|top10_overlap$|reference\.(after|before)\.|cosine(_mean|_min)?$"
)
COUNTED = re.compile(r"\.(file_bytes|dim|cores|threads|texts)$|latency_ratio\.\w+\.(reference_)?ms\[\d+\]$")
"""What is at least more than nothing: others are divided by it."""
MOST_BYTES = 2**63
ROUNDING = 1e-6
MEAN_TOLERANCE = 1e-4


PROFILE_SUMMARY = ("reasons", "golden_cosine_min")
RAM_SUMMARY = (
    *("baseline_rss", "load_peak_rss", "run_peak_rss"),
    *("anonymous", "file_backed", "peak_above_baseline"),
)


def read_report(path: Path) -> Report:
    """Parse report.json strictly.

    Raises UserError for a foreign schema, a field missing or unknown, a number that is none, and for parts
    that contradict each other.
    """
    return parse_report(read_json(path), str(path))


def write_report(path: Path, report: Report) -> None:
    """Write report.json whole or not at all, with what follows from the rest spelt out for other readers."""
    raw = dataclasses.asdict(report)
    for written, profile in zip(raw["profiles"], report.profiles, strict=True):
        written |= {"reasons": profile.reasons, "golden_cosine_min": profile.golden.cosine_min}
        written["ram_mb"] |= _ram_summary(profile.ram_mb)
    write_json(path, raw)


def _ram_summary(ram: Memory) -> dict[str, float]:
    """What follows from the moments of a process, in MB."""
    figures = {
        "baseline_rss": ram.baseline,
        "load_peak_rss": ram.load_high_water,
        "run_peak_rss": max(ram.run_high_water.values(), default=ram.load_high_water),
        "anonymous": ram.anonymous,
        "file_backed": ram.highest.file_backed,
        "peak_above_baseline": ram.peak_above_baseline,
    }
    return {name: round(value, 3) for name, value in figures.items()}


def _without_summaries(raw: Any) -> Any:
    """Parsed JSON less what `write_report` spelt out: it is worked out anew, and never trusted."""
    if not isinstance(raw, dict) or not isinstance(raw.get("profiles"), list):
        return raw
    return {**raw, "profiles": [_plain_profile(one) for one in raw["profiles"]]}


def _plain_profile(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    plain = {name: value for name, value in raw.items() if name not in PROFILE_SUMMARY}
    if isinstance(ram := raw.get("ram_mb"), dict):
        plain["ram_mb"] = {name: value for name, value in ram.items() if name not in RAM_SUMMARY}
    return plain


def parse_report(raw: Any, place: str) -> Report:
    """A Report from parsed JSON; `place` names it in errors."""
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != REPORT_SCHEMA:
        raise UserError(
            f"{place}: schema '{found}' is not '{REPORT_SCHEMA}'; measure again with this version"
        )
    for where, value in _leaves(raw, ""):
        if fault := _fault(where, value):
            raise UserError(f"{place}: {where} is {ascii(value)[:40]}, {fault}")
    report = from_dict(Report, _without_summaries(raw), place)
    if not report.profiles:
        raise UserError(f"{place}: it holds no profiles")
    _check_keys(report, place)
    _check_names(report, place)
    _check_queries(report, place)
    _check_sums(report, place)
    _check_pairs(report, place)
    _check_verdicts(report, place)
    return report


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every number and text of parsed JSON with its path; keys count as texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where or "a key", key
            yield from _leaves(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{index}]")
    elif not isinstance(value, bool) and value is not None:
        yield where, value


def _fault(where: str, value: Any) -> str:
    """Why a value can be no part of a report; empty when it can."""
    if isinstance(value, str):
        lone = any("\ud800" <= character <= "\udfff" for character in value)
        return "which is half a character" if lone else ""
    if not abs(value) < MOST_BYTES:  # true of NaN as well
        return "which is no measurement"
    if value < 0 and not SIGNED.search(where):
        return "which cannot be negative"
    if value == 0 and COUNTED.search(where):
        return "which cannot be nothing"
    return "which cannot be above 1" if value > 1 + ROUNDING and SHARES.search(where) else ""


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
    verdicts = [report.verdict, *(one.verdict for one in report.profiles)]
    words += [("verdict", word, VERDICTS) for word in verdicts]
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
    if not report.queries:
        raise UserError(f"{place}: it names no queries")
    if len(set(report.queries)) < len(report.queries):
        repeated = Counter(report.queries).most_common(1)[0][0]
        raise UserError(f"{place}: it holds the query '{repeated}' twice")
    lists = {f"profile {one.name}": one.ndcg_by_query for one in report.profiles}
    lists |= {
        f"profile {one.name} with the server's documents": one.asymmetric_by_query
        for one in report.profiles
        if one.asymmetric_by_query
    }
    for dim, values in (report.reference.by_query if report.reference else {}).items():
        lists[f"the reference at {dim} dimensions"] = values
    for what, values in lists.items():
        if len(values) != len(report.queries):
            raise UserError(
                f"{place}: {what} has scores of {len(values)} queries, the report has {len(report.queries)}"
            )


def _check_sums(report: Report, place: str) -> None:
    """A mean is that of its values, and a drop is over the report's queries."""
    for one in report.profiles:
        mean = statistics.fmean(one.ndcg_by_query)
        if abs(mean - one.ndcg_at_10) > MEAN_TOLERANCE:
            where = f"profile {one.name}: ndcg_at_10 is {one.ndcg_at_10:g}"
            raise UserError(f"{place}: {where}, but the mean of ndcg_by_query is {mean:.6f}")
        for name, lost in _drops(one).items():
            if lost.queries != len(report.queries):
                where = f"profile {one.name}: {name}"
                raise UserError(f"{place}: {where} is of {lost.queries} queries, not {len(report.queries)}")
            _check_drop(one, name, lost, report.reference, place)


def _drops(profile: Profile) -> dict[str, Drop]:
    named = ((name, getattr(profile, name)) for name in DROPS)
    return {name: lost for name, lost in named if lost is not None}


def _check_drop(profile: Profile, name: str, lost: Drop, reference: Reference | None, place: str) -> None:
    """What was lost is what the scores by query say, where the reference has them."""
    by_query = reference.by_query if reference else {}
    dim = max(by_query, key=int, default="") if name == FULL_DIM else str(profile.dim)
    scores = profile.asymmetric_by_query if name == ASYMMETRIC else profile.ndcg_by_query
    if dim not in by_query or not scores:
        return
    whole = statistics.fmean(by_query[dim])
    for field, found, mean in (
        ("value", lost.value, whole - statistics.fmean(scores)),
        ("reference", lost.reference, whole),
    ):
        if abs(found - mean) > MEAN_TOLERANCE:
            where = f"profile {profile.name}: {name}.{field} is {found:g}"
            raise UserError(f"{place}: {where}, but its scores by query say {mean:.6f}")


def _check_pairs(report: Report, place: str) -> None:
    """Two ends to an interval, the lower one first; a neighbour to every timing that is compared."""
    for where, ends in _intervals(dataclasses.asdict(report), ""):
        bounded = [end for end in ends if end is not None]
        if len(ends) != 2 or bounded != sorted(bounded):
            raise UserError(f"{place}: {where} is {str(ends)[:60]}, not an interval [low, high]")
    for one in report.profiles:
        for name, lost in _drops(one).items():
            _check_around(lost.interval, lost.value, f"{place}: profile {one.name}: {name}")
        for length, ratio in one.latency_ratio.items():
            where = f"{place}: profile {one.name}: latency_ratio.{length}"
            runs, others = len(ratio.ms), len(ratio.reference_ms)
            if not runs or runs != others:
                raise UserError(f"{where} has {runs} timings beside {others} of {ratio.reference}")
            median = statistics.median(map(operator.truediv, ratio.ms, ratio.reference_ms))
            if abs(median - ratio.ratio) > MEAN_TOLERANCE:
                raise UserError(
                    f"{where}.ratio is {ratio.ratio:g}, but the median of its runs is {median:.4f}"
                )
            _check_around(ratio.interval, ratio.ratio, where)


def _check_around(interval: Interval, value: float, where: str) -> None:
    low, high = interval
    if (low is not None and low > value + ROUNDING) or (high is not None and high < value - ROUNDING):
        raise UserError(f"{where}.interval is {interval}, not around {value:g}")


def _check_verdicts(report: Report, place: str) -> None:
    """No pass over what blocks: others than the gate read verdicts, and take them on trust."""
    for one, check in report.checks():
        if check.outcome == FAIL and not check.blocks:
            raise UserError(f"{place}: profile {one.name}: {check.metric} fails and does not block")
        if check.blocks and one.verdict == PASS:
            where = f"profile {one.name}: its verdict is pass"
            raise UserError(f"{place}: {where}, but a check blocks: {check.text}")
    stopped = next((one.name for one in report.profiles if one.verdict == FAIL), None)
    if stopped and report.verdict == PASS:
        raise UserError(f"{place}: its verdict is pass, but that of {stopped} is fail")


def _intervals(value: Any, where: str) -> Iterator[tuple[str, list[float | None]]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{where}.{key}" if where else key
            if key.endswith("interval") and isinstance(inner, list):
                yield path, inner
            yield from _intervals(inner, path)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _intervals(inner, f"{where}[{index}]")
