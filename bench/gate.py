"""The gate: limits from gates.toml against a report's measurements. It reads reports, never models.

Every limit becomes a check with an outcome. What has an interval passes when all of it is within the limit
and fails when all of it is beyond; in between it is inconclusive, which blocks unless the gates say `warn`.
A metric that has a limit but was not measured fails, and so does a profile that a table of limits leaves out:
a gate that cannot see must not wave through.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bench.agreement import agreement_checks
from bench.checks import above, below, flag, not_applied, not_measured, uncovered, undecided_blocks, within
from bench.drops import DROPS, drops_of
from bench.limits import Budget, CosineLimits, Gates, RamLimits, check_names, for_profile, nearest
from bench.measurements import Drop
from bench.report import DEVICE, EMULATED, FAIL, INCONCLUSIVE, PASS, Check, Profile, Report
from bench.statistics import CONFIDENCE, decide, paired_ratio, queries_to_decide
from common.errors import UserError

NO_RATIO = "bench the fp32 profile of this runtime beside it"
NO_PHONE = "emulated: times and memory are the emulator's, they count on a device"


def apply_gates(report: Report, gates: Gates, identity: dict[str, str] | None = None) -> Report:
    """The same report with checks and verdicts. It passes when every profile does.

    `identity` names the gates in the report. Raises UserError for a report without profiles and for gates
    that name a profile it does not hold.
    """
    if not report.profiles:
        raise UserError("the report holds no profiles; there is nothing to gate")
    check_names(gates, report)
    judged = []
    for profile in report.profiles:
        checks = [*profile_checks(profile, report, gates), *agreement_checks(profile, report, gates)]
        verdict = FAIL if any(check.blocks for check in checks) else PASS
        judged.append(dataclasses.replace(profile, verdict=verdict, checks=checks))
    verdict = PASS if all(profile.verdict == PASS for profile in judged) else FAIL
    return dataclasses.replace(report, verdict=verdict, profiles=judged, gates=identity or {})


def profile_checks(profile: Profile, report: Report, gates: Gates) -> Iterator[Check]:
    """One check per limit that concerns a profile by itself."""
    yield from _structure(profile)
    yield from _golden(profile, gates)
    found = drops_of(profile, report.reference, gates.confidence)
    for name in DROPS:
        yield from _drop(name, found[name], profile, gates)
    if gates.file_mb:
        yield from _size(profile, gates)
    kind = report.context.target.kind
    if gates.ram_mb:
        yield from _ram(profile, gates.ram_mb, kind)
    yield from _latency_ratio(profile, gates, kind)
    for length, limit in gates.latency_p90_ms.items():
        yield _latency(profile, length, limit, kind)


def _structure(profile: Profile) -> Iterator[Check]:
    """Faults that no limit excuses."""
    for fault in profile.faults:
        yield flag(f"faults.{fault.name}", False, fault.evidence)
    if not profile.faults:
        yield flag("faults", True, "none was found")


def _golden(profile: Profile, gates: Gates) -> Iterator[Check]:
    golden = profile.golden
    same = "token ids differ from the checkpoint's tokenizer" if not golden.ids_equal else "token ids agree"
    yield flag("golden.ids_equal", golden.ids_equal, same)
    yield flag("golden.finite", golden.finite, "every vector is finite" if golden.finite else "not all are")
    if gates.golden_norm_error is not None:
        yield above("golden.norm_error", golden.norm_error, gates.golden_norm_error, "of a unit norm")
    if not gates.golden_cosine:
        return
    limits: CosineLimits | None = for_profile(gates.golden_cosine, profile)
    if limits is None:
        yield uncovered("golden.cosine_min", "golden_cosine", profile.precision)
        return
    farthest = min(golden.worst, key=lambda one: one.cosine, default=None)
    worst = f"; worst text {farthest.text!r}" if farthest else ""
    yield below("golden.cosine_mean", golden.cosine_mean, limits.mean, profile.precision)
    yield below("golden.cosine_min", golden.cosine_min, limits.min, profile.precision, worst)


def _drop(name: str, drop: Drop | None, profile: Profile, gates: Gates) -> Iterator[Check]:
    table: dict[str, dict[str, Budget]] = getattr(gates, name)
    what = f"{profile.precision}, {profile.dim}d"
    budget = nearest(table, profile, str(profile.dim))
    if budget is None:
        if table:
            yield uncovered(name, name, what)
    elif drop is None:
        yield not_measured(name, budget.limit(1.0), what)
    elif drop.reference <= 0:
        yield not_measured(name, budget.limit(1.0), f"{what}: the reference itself scores 0")
    else:
        limit = budget.limit(drop.reference)
        share = "" if budget.relative is None else f", {budget.relative:.2g} of {drop.reference:.4f}"
        blocks = undecided_blocks(budget.inconclusive, gates)
        undecided = decide(drop.interval, limit) == INCONCLUSIVE
        more = _more_queries(drop, limit, gates.confidence) if undecided else ""
        yield within(name, drop.value, drop.interval, limit, blocks, f"{what}{share}", more)


def _more_queries(drop: Drop, limit: float, confidence: float) -> str:
    more = queries_to_decide(drop, limit, confidence)
    return (
        "no number of queries would decide" if more is None else f"about {more:,} more queries would decide"
    )


def _size(profile: Profile, gates: Gates) -> Iterator[Check]:
    limit = nearest(gates.file_mb, profile, str(profile.dim))
    if limit is None:
        yield uncovered("file_mb", "file_mb", f"{profile.precision}, {profile.dim}d")
    else:
        yield above("file_mb", profile.file_mb, limit, "MB")


def _ram(profile: Profile, limits: RamLimits, kind: str) -> Iterator[Check]:
    """The process's peak and its anonymous memory, unless an emulator's own are in them."""
    ram = profile.ram_mb
    peak = ram.peak_above_baseline if ram.run_high_water else None
    for name, found, limit in (
        ("peak_above_baseline", peak, limits.peak_above_baseline),
        ("anonymous", ram.anonymous, limits.anonymous),
    ):
        metric = f"ram_mb.{name}"
        if kind == EMULATED:
            yield not_applied(metric, found, limit, f"MB; {NO_PHONE}")
        else:
            yield above(metric, found, limit, "MB")


def _latency_ratio(profile: Profile, gates: Gates, kind: str) -> Iterator[Check]:
    """An fp32 profile is what others are measured against. On a device absolute limits may do instead."""
    entries = for_profile(gates.latency_ratio, profile)
    timed_in_ms = kind == DEVICE and gates.latency_p90_ms and not profile.latency_ratio
    if not gates.latency_ratio or profile.precision == "fp32" or timed_in_ms:
        return
    if not entries:
        yield uncovered("latency_ratio", "latency_ratio", profile.precision)
        return
    lengths = sorted({*entries, *profile.latency_ratio} - {"default"}, key=int)
    if kind == EMULATED:
        yield not_applied("latency_ratio", None, max(entries.values()), NO_PHONE)
        return
    if not lengths:
        yield not_measured("latency_ratio", entries["default"], NO_RATIO)
    for length in lengths:
        metric, limit = f"latency_ratio.{length}", entries.get(length, entries.get("default"))
        if limit is None:
            continue
        found = profile.latency_ratio.get(length)
        if found is None:
            yield not_measured(metric, limit, NO_RATIO)
            continue
        ratio, interval = found.ratio, found.interval
        if gates.confidence != CONFIDENCE:
            ratio, interval = paired_ratio(found.ms, found.reference_ms, gates.confidence)
        blocks = undecided_blocks(None, gates)
        yield within(metric, ratio, interval, limit, blocks, f"{found.reference} is 1", "time more runs")


def _latency(profile: Profile, length: str, limit: float, kind: str) -> Check:
    metric, timed = f"latency_ms.{length}.p90", profile.latency_ms.get(length)
    if kind == DEVICE:
        return above(metric, timed.p90 if timed else None, limit, "ms")
    why = NO_PHONE if kind == EMULATED else "absolute times count on a device"
    return not_applied(metric, timed.p90 if timed else None, limit, f"ms; {why}")
