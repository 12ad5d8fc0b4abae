"""The conditions of a recommendation, each held against one profile with its interval."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bench.drops import FULL_DIM
from bench.measurements import Drop, Interval
from bench.report import DEVICE, EMULATED, INCONCLUSIVE, Profile, Report
from bench.statistics import queries_to_decide
from common.errors import UserError

FITS_HERE, MISSES_HERE, INCONCLUSIVE_HERE = "fits", "misses", INCONCLUSIVE
LIMIT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(%?)(?:@(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Limit:
    """A number from the command line: `1%` is a share, `0.9@64` holds at that length in tokens."""

    value: float
    is_share: bool = False
    length: str | None = None

    @classmethod
    def parse(cls, option: str, text: str) -> Limit:
        """From text. Raises UserError naming the option."""
        found = LIMIT.fullmatch(text.strip())
        if found is None:
            raise UserError(
                f"{option} '{text}': expected a number of 0 or more, like 200, 0.01, 1% or 0.9@64"
            )
        number = float(found[1])
        return cls(number / 100 if found[2] else number, bool(found[2]), found[3])


@dataclass(frozen=True)
class Finding:
    """One condition held against one profile.

    outcome: fits, misses or inconclusive. value, limit: in the condition's unit, None where there is none.
    excess: how far the value (its upper end) is beyond, as a share of the limit. missed_by: that in words.
    """

    condition: str
    outcome: str
    value: float | None
    limit: float | None
    text: str
    excess: float | None = None
    missed_by: str = ""

    @property
    def fits(self) -> bool:
        """Whether the condition is certain to hold."""
        return self.outcome == FITS_HERE


@dataclass(frozen=True)
class Estimate:
    """A figure of a profile with its interval, and what its limit is for this profile."""

    value: float
    interval: Interval
    limit: float
    more: str = ""


@dataclass(frozen=True)
class Condition:
    """A named limit: `read` gives a profile's estimate, None when it was not measured.

    digits: after the point, in texts.
    """

    name: str
    words: str
    unit: str
    digits: int
    read: Callable[[Profile], Estimate | None]


@dataclass(frozen=True)
class Needs:
    """Conditions a profile must hold: MB, NDCG@10 lost (absolute or a share), MB of files, latency.

    drop: which of bench.drops.DROPS. latency_ratio: to fp32. p90_ms: only a device's report can say.
    """

    ram: Limit
    max_drop: Limit
    drop: str = FULL_DIM
    size: Limit | None = None
    latency_ratio: Limit | None = None
    p90_ms: Limit | None = None

    def __post_init__(self) -> None:
        sizes = {"--ram": self.ram, "--max-size": self.size}
        times = {"--max-latency-ratio": self.latency_ratio, "--max-p90": self.p90_ms}
        for option, limit in (sizes | times).items():
            if limit and limit.is_share:
                raise UserError(f"{option} {limit.value * 100:g}%: only --max-drop takes a share")
        for option, limit in (sizes | {"--max-drop": self.max_drop}).items():
            if limit and limit.length:
                raise UserError(f"{option} {limit.value:g}@{limit.length}: does not depend on the length")
        if self.p90_ms and not self.p90_ms.length:
            raise UserError(f"--max-p90 {self.p90_ms.value:g}: say at which length, like 50@64")

    def conditions(self, report: Report) -> list[Condition]:
        """In the order in which they are told. Raises UserError for what this report cannot decide."""
        if report.context.target.kind == EMULATED:
            raise UserError(
                f"--ram {self.ram.value:g}: this report's target is '{EMULATED}', memory and times are the "
                "emulator's; recommend from a device's report or a computer's"
            )
        found = [_drop(self.drop, self.max_drop), *_ram(self.ram)]
        if self.size:
            found.append(_plain("size", self.size, lambda one: one.file_mb))
        if self.latency_ratio:
            found.append(_ratio(self.latency_ratio, _longest(report, self.latency_ratio.length)))
        if self.p90_ms:
            found.append(_p90(self.p90_ms, report))
        return found


def find(profile: Profile, condition: Condition) -> Finding:
    """Hold one condition against one profile."""
    got, unit, digits = condition.read(profile), condition.unit, condition.digits
    if got is None:
        return Finding(condition.name, MISSES_HERE, None, None, f"{condition.name} was not measured")
    low, high = got.interval
    limit = f"{got.limit:.{digits}f}".rstrip("0").rstrip(".") + unit
    shown = f"{got.value:.{digits}f}{unit}"
    if low != high or low is None:
        ends = ", ".join("?" if end is None else f"{end:.{digits}f}" for end in got.interval)
        shown = f"{got.value:.{digits}f} [{ends}]{unit}"
    if high is not None and high <= got.limit:
        outcome, words, more = FITS_HERE, f"is within {limit}", ""
    elif low is not None and low > got.limit:
        outcome, words, more = MISSES_HERE, f"is beyond {limit}", ""
    else:
        outcome, words, more = INCONCLUSIVE_HERE, f"is inconclusive about {limit}", got.more
    text = f"{condition.name} {shown} {words}{f'; {more}' if more else ''}"
    if outcome == FITS_HERE:
        return Finding(condition.name, outcome, got.value, got.limit, text)
    reach = got.value if high is None else high
    excess = (reach - got.limit) / got.limit if got.limit > 0 else reach - got.limit + 1
    end = "" if low == high else "the upper end of "
    missed = (
        f"{end}{condition.name} by {max(reach - got.limit, 0):.{digits}f}{unit}: {shown}, allowed {limit}"
    )
    return Finding(condition.name, outcome, got.value, got.limit, text, excess, missed)


def _drop(name: str, limit: Limit) -> Condition:
    which = name.removeprefix("ndcg_drop_")
    kind = f"{limit.value:.2%} of the reference's score" if limit.is_share else f"{limit.value:g} NDCG points"

    def read(profile: Profile) -> Estimate | None:
        drop: Drop | None = getattr(profile, name)
        if drop is None or drop.reference <= 0:
            return None
        allowed = limit.value * drop.reference if limit.is_share else limit.value
        more = queries_to_decide(drop, allowed)
        decided = "no number of queries" if more is None else f"about {more:,} more queries"
        return Estimate(drop.value, drop.interval, allowed, f"{decided} would decide")

    return Condition(f"NDCG@10 drop ({which})", f"NDCG@10 drop ({which}) at most {kind}", "", 4, read)


def _ram(limit: Limit) -> list[Condition]:
    """The contract's two: the peak less the stated baseline, and anonymous memory by itself."""
    return [
        _plain("RAM over baseline", limit, lambda one: one.ram_mb.peak_above_baseline),
        _plain("anonymous RAM", limit, lambda one: one.ram_mb.anonymous),
    ]


def _plain(name: str, limit: Limit, read: Callable[[Profile], float]) -> Condition:
    def estimate(profile: Profile) -> Estimate:
        value = read(profile)
        return Estimate(value, [value, value], limit.value)

    return Condition(name, f"{name} at most {limit.value:g} MB", " MB", 1, estimate)


def _longest(report: Report, length: str | None) -> str:
    measured = {key for one in report.profiles for key in one.latency_ratio}
    if not measured and report.context.target.kind == DEVICE:
        raise UserError("--max-latency-ratio: a device's report holds no ratios; use --max-p90 MS@LENGTH")
    if not measured:
        raise UserError(
            "--max-latency-ratio: the report holds no ratios; bench the fp32 profile beside the others"
        )
    if length is not None and length not in measured:
        raise UserError(f"--max-latency-ratio @{length}: measured at {_listed(measured)} tokens")
    return length or max(measured, key=int)


def _ratio(limit: Limit, length: str) -> Condition:
    def read(profile: Profile) -> Estimate | None:
        if profile.precision == "fp32":
            return Estimate(1.0, [1.0, 1.0], limit.value)
        found = profile.latency_ratio.get(length)
        return Estimate(found.ratio, found.interval, limit.value, "time more runs") if found else None

    name = f"latency ratio to fp32 at {length} tokens"
    return Condition(name, f"{name} at most {limit.value:g}", "", 3, read)


def _p90(limit: Limit, report: Report) -> Condition:
    kind, length = report.context.target.kind, limit.length or ""
    if kind != DEVICE:
        raise UserError(
            f"--max-p90 {limit.value:g}@{length}: absolute times count on a device, and this report's target "
            f"is '{kind}'; use --max-latency-ratio"
        )
    measured = {key for one in report.profiles for key in one.latency_ms}
    if length not in measured:
        raise UserError(f"--max-p90 @{length}: measured at {_listed(measured)} tokens")

    def read(profile: Profile) -> Estimate | None:
        found = profile.latency_ms.get(length)
        return Estimate(found.p90, found.p90_interval, limit.value, "time more runs") if found else None

    name = f"p90 at {length} tokens"
    return Condition(name, f"{name} at most {limit.value:g} ms", " ms", 1, read)


def _listed(lengths: set[str]) -> str:
    return ", ".join(sorted(lengths, key=int)) or "no"
