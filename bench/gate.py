"""The gate: limits from gates.toml against a report's measurements. It reads reports, never models.

A metric that has a limit but was not measured fails, and so does a profile that a table of limits leaves
out: a gate that cannot see must not wave through.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare import counterparts
from bench.report import Comparison, Profile, Report
from common.errors import UserError
from common.records import from_dict

GATES_SCHEMA = "pocketvec.gates/1"
DEFAULT_KEY = "default"
PASS, FAIL = "pass", "fail"


@dataclass(frozen=True)
class RamLimits:
    """MB: peak of the process above its baseline, and anonymous memory by itself."""

    peak_above_baseline: float
    anonymous: float


@dataclass(frozen=True)
class CosineLimits:
    """Least cosine to the golden vectors: over all texts on average, and for the worst one."""

    mean: float
    min: float


@dataclass(frozen=True)
class AgreementLimits:
    """A LiteRT profile and its ONNX counterpart: least overlap of the top 10, most relative NDCG@10 apart.

    standard_errors: how many standard errors of the difference are allowed on top, since a few hundred
    queries cannot tell two equally good roundings apart.
    """

    top10_overlap: float
    ndcg_relative: float
    standard_errors: float = 0.0


@dataclass(frozen=True)
class Gates:
    """gates.toml. Tables by precision and by dimension may hold a `default` entry.

    latency_p90_ms: limit by token length. golden_cosine: by precision. ndcg_drop_same_dim,
    ndcg_drop_full_dim: absolute NDCG@10 lost, by precision, then by dimension. runtime_agreement: by LiteRT's
    precision, for reports that hold both runtimes.
    """

    schema: str
    ram_mb: RamLimits | None = None
    latency_p90_ms: dict[str, float] = field(default_factory=dict)
    golden_cosine: dict[str, CosineLimits] = field(default_factory=dict)
    ndcg_drop_same_dim: dict[str, dict[str, float]] = field(default_factory=dict)
    ndcg_drop_full_dim: dict[str, dict[str, float]] = field(default_factory=dict)
    runtime_agreement: dict[str, AgreementLimits] = field(default_factory=dict)


def read_gates(path: Path) -> Gates:
    """Parse a gates file strictly. Raises UserError with the place of what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such gates file") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not valid TOML ({error})") from None
    if raw.get("schema") != GATES_SCHEMA:
        raise UserError(f"{path}: schema '{raw.get('schema')}' is not '{GATES_SCHEMA}'")
    gates = from_dict(Gates, raw, str(path))
    if gates == Gates(GATES_SCHEMA):
        raise UserError(f"{path}: it sets no limit, so every model would pass")
    return gates


def apply_gates(report: Report, gates: Gates) -> Report:
    """The same report with verdicts and reasons. It passes when every profile does."""
    if not report.profiles:
        raise UserError("the report holds no profiles; there is nothing to gate")
    judged = []
    for profile in report.profiles:
        reasons = [*failures(profile, gates), *disagreements(profile, report, gates)]
        judged.append(dataclasses.replace(profile, verdict=FAIL if reasons else PASS, reasons=reasons))
    verdict = PASS if all(profile.verdict == PASS for profile in judged) else FAIL
    return dataclasses.replace(report, verdict=verdict, profiles=judged)


def failures(profile: Profile, gates: Gates) -> Iterator[str]:
    """One reason per limit that a profile breaks, beginning with the metric's path."""
    if not profile.golden_ids_equal:
        yield "golden_ids_equal false: token ids differ from the checkpoint's tokenizer"
    yield from _golden(profile, gates)
    for name in ("ndcg_drop_same_dim", "ndcg_drop_full_dim"):
        table: dict[str, dict[str, float]] = getattr(gates, name)
        limit, what = _limit(table, profile), f"{profile.precision}, {profile.dim}d"
        if table and limit is None:
            yield f"{name} has limits, but none for {what} and no default"
        yield from _above(name, getattr(profile, name), limit, what)
    if gates.ram_mb:
        ram, peak = profile.ram_mb, profile.ram_mb.peak_above_baseline
        yield from _above("ram_mb.peak_above_baseline", peak, gates.ram_mb.peak_above_baseline, "MB")
        yield from _above("ram_mb.anonymous", ram.anonymous, gates.ram_mb.anonymous, "MB")
    for length, limit in gates.latency_p90_ms.items():
        timed = profile.latency_ms.get(length)
        yield from _above(f"latency_ms.{length}.p90", timed.p90 if timed else None, limit, "ms")


def disagreements(profile: Profile, report: Report, gates: Gates) -> Iterator[str]:
    """One reason per limit that a LiteRT profile breaks beside its ONNX counterpart in the same report."""
    table = gates.runtime_agreement
    for onnx in (onnx for onnx, litert in counterparts(report.profiles) if litert is profile):
        limits = table.get(profile.precision) or table.get(DEFAULT_KEY)
        if limits:
            pair = (onnx.name, profile.name)
            found = next((one for one in report.comparisons if (one.onnx, one.litert) == pair), None)
            yield from _disagreement(found, limits, f"{profile.precision} against {onnx.name}")
        elif table:
            yield f"runtime_agreement has limits, but none for {profile.precision} and no default"


def _disagreement(found: Comparison | None, limits: AgreementLimits, what: str) -> Iterator[str]:
    name, least = "runtime_agreement.top10_overlap", limits.top10_overlap
    if found is None:
        yield f"{name} not measured, but its limit is {least:g} ({what})"
    elif not found.top10_overlap >= least:
        yield f"{name} {found.top10_overlap:.4g} is below {least:g} ({what})"
    apart, allowed = (found.ndcg_relative if found else None), limits.ndcg_relative
    doubt = limits.standard_errors * (found.ndcg_error or 0) if found else 0
    name = "runtime_agreement.ndcg_relative"
    if apart is not None and doubt and not apart <= allowed + doubt:
        yield f"{name} {apart:.4g} is above {allowed:g} by more than {doubt:.2g}, its uncertainty ({what})"
    elif apart is None or not doubt:
        yield from _above(name, apart, allowed, what)


def _golden(profile: Profile, gates: Gates) -> Iterator[str]:
    limits = gates.golden_cosine.get(profile.precision) or gates.golden_cosine.get(DEFAULT_KEY)
    if limits is None:
        if gates.golden_cosine:
            yield f"golden_cosine_min has limits, but none for {profile.precision} and no default"
        return
    for name, value, least in (
        ("golden_cosine_mean", profile.golden_cosine_mean, limits.mean),
        ("golden_cosine_min", profile.golden_cosine_min, limits.min),
    ):
        if not value >= least:
            worst = f"; worst text {profile.golden_worst_text!r}" if name.endswith("min") else ""
            yield f"{name} {value:.6f} is below {least:g} ({profile.precision}){worst}"


def _limit(table: dict[str, dict[str, float]], profile: Profile) -> float | None:
    """The nearest of the limits that are set: by precision before any, by dimension before any."""
    for precision in (profile.precision, DEFAULT_KEY):
        by_dim = table.get(precision, {})
        for dim in (str(profile.dim), DEFAULT_KEY):
            if dim in by_dim:
                return by_dim[dim]
    return None


def _above(name: str, value: float | None, limit: float | None, what: str) -> Iterator[str]:
    if limit is None:
        return
    if value is None:
        yield f"{name} not measured, but its limit is {limit:g} ({what})"
    elif not value <= limit:
        yield f"{name} {value:.4g} is above {limit:g} ({what})"
