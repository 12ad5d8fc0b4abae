"""Which profile of a report to ship under a team's own conditions, and by which number the others lost.

An estimate fits when the upper end of its interval does, misses when the lower end is beyond the limit, and
is inconclusive in between, which is no fit. A profile with a structural fault, or that its gates have
stopped, is never taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.conditions import INCONCLUSIVE_HERE, Condition, Finding, Needs, find
from bench.report import FAIL, Profile, Report
from bench.statistics import paired_drop
from common.errors import UserError

SIZE, NDCG, LATENCY, RAM = PREFERENCES = ("size", "ndcg", "latency", "ram")
NDCG_NAME = "NDCG@10"
CHOSEN, FITS, MISSES = "chosen", "fits", "misses"


@dataclass(frozen=True)
class Candidate:
    """A profile and one line that says why it was taken or lost.

    status: chosen, fits (but another is better), inconclusive or misses. findings: every condition.
    """

    name: str
    status: str
    text: str
    findings: list[Finding]


@dataclass(frozen=True)
class Recommendation:
    """The profile to ship (None: nothing fits, and `nearest` says what the nearest misses by).

    conditions: in words. candidates: the chosen one first, then by what is preferred; those that do not fit
    last, the nearest first.
    """

    chosen: str | None
    nearest: str | None
    prefer: str
    conditions: list[str]
    candidates: list[Candidate]


@dataclass(frozen=True)
class Wish:
    """Conditions of a recommendation, what to prefer among those that fit, and the runtime (None: any)."""

    needs: Needs
    prefer: str = SIZE
    runtime: str | None = None


def recommend(report: Report, wish: Wish) -> Recommendation:
    """Choose among a report's profiles.

    Raises UserError for a runtime that it does not hold and for a condition that it cannot decide at all.
    """
    profiles = [one for one in report.profiles if wish.runtime in (None, one.runtime)]
    if not profiles:
        held = ", ".join(sorted({one.runtime for one in report.profiles}))
        raise UserError(f"runtime '{wish.runtime}': the report holds none; it holds {held}")
    conditions = wish.needs.conditions(report)
    found = [(one, _findings(one, conditions)) for one in profiles]
    order = _order(profiles, wish.prefer)
    fitting = [one for one, findings in found if all(finding.fits for finding in findings)]
    fitting.sort(key=lambda one: [rule.key(one) for rule in order])
    missing = [pair for pair in found if pair[0] not in fitting]
    missing.sort(key=lambda pair: _distance(pair[1]))
    findings = {one.name: of for one, of in found}
    candidates = [
        *(_fitting(place, fitting, order, findings[one.name]) for place, one in enumerate(fitting)),
        *(_missing(one, of) for one, of in missing),
    ]
    nearest = None if fitting else _nearest(*missing[0])
    chosen = fitting[0].name if fitting else None
    words = [*(one.words for one in conditions), *_gate_words(report)]
    return Recommendation(chosen, nearest, wish.prefer, words, candidates)


def _gate_words(report: Report) -> list[str]:
    return [f"held by the gates {report.gates['name']}"] if "name" in report.gates else ["no gates applied"]


def _findings(profile: Profile, conditions: list[Condition]) -> list[Finding]:
    """What no condition excuses, then every condition."""
    return [*_stopped(profile), *(find(profile, condition) for condition in conditions)]


def _stopped(profile: Profile) -> Iterator[Finding]:
    """Why it may not ship under any condition. Its gates come last among these: they name the same faults."""
    reasons = [f"{fault.name}: {fault.evidence}" for fault in profile.faults]
    reasons += [] if profile.golden.ids_equal else ["its token ids differ from the checkpoint's"]
    reasons += [] if profile.golden.finite else ["not all of its golden vectors are finite"]
    if profile.verdict == FAIL:
        reasons += [f"its gates stop it: {(profile.reasons or ['no reason is kept'])[0]}"]
    yield from (Finding("faults", MISSES, None, None, reason) for reason in reasons)


@dataclass(frozen=True)
class _Rule:
    """One figure to order by, smaller first; `show` writes it with so many digits after the point."""

    name: str
    key: Callable[[Profile], float]
    show: Callable[[float, int], str]


def _order(profiles: list[Profile], prefer: str) -> list[_Rule]:
    """The preferred figure, then the others to break ties. Latency is only compared at a common length."""
    lengths = set.intersection(*({*one.latency_ms} for one in profiles))
    longest = max(lengths, key=int, default=None)
    rules = {
        SIZE: _Rule("size", lambda one: one.file_mb, lambda value, digits: f"{value:.{digits + 1}f} MB"),
        NDCG: _Rule("NDCG@10", lambda one: -one.ndcg_at_10, lambda value, digits: f"{-value:.{digits + 4}f}"),
        RAM: _Rule(
            "RAM",
            lambda one: one.ram_mb.peak_above_baseline,
            lambda value, digits: f"{value:.{digits + 1}f} MB",
        ),
    }
    if longest is not None:
        rules[LATENCY] = _Rule(
            f"latency at {longest} tokens",
            lambda one: one.latency_ms[longest].p50,
            lambda value, digits: f"p50 {value:.{digits + 1}f} ms",
        )
    if prefer not in rules:
        raise UserError(f"prefer '{prefer}': the profiles were not timed at a common length")
    return [rules[prefer], *(rule for name, rule in rules.items() if name != prefer)]


def _fitting(place: int, fitting: list[Profile], order: list[_Rule], findings: list[Finding]) -> Candidate:
    one = fitting[place]
    if place:
        best = fitting[0]
        return Candidate(one.name, FITS, f"{one.name} lost: {_why(best, one, order)}", findings)
    text = f"{one.name}: {one.file_mb:.1f} MB, NDCG@10 {one.ndcg_at_10:.4f}"
    if len(fitting) == 1:
        return Candidate(one.name, CHOSEN, f"{text}; no other profile fits", findings)
    return Candidate(one.name, CHOSEN, f"{text}; {_beats(one, fitting[1], order)}", findings)


def _beats(best: Profile, second: Profile, order: list[_Rule]) -> str:
    rule, mine, other = _deciding(best, second, order)
    if rule is None:
        return f"{second.name} is alike in everything"
    if rule.name == NDCG_NAME:
        return f"beats {second.name} ({other}) on {NDCG_NAME} by {_lead(best, second)}"
    told = "" if rule.name == SIZE else f", {mine}"
    return f"beats {second.name} ({other}) on {rule.name}{told}"


def _why(best: Profile, one: Profile, order: list[_Rule]) -> str:
    rule, better, mine = _deciding(best, one, order)
    if rule is None:
        return f"alike in everything with {best.name}, which comes first in the report"
    text = f"{rule.name} {mine} against {better} of {best.name}"
    return f"{text}, less by {_lead(best, one)}" if rule.name == NDCG_NAME else text


def _lead(best: Profile, one: Profile) -> str:
    """How much NDCG@10 lies between two profiles, query by query, and whether that is more than chance."""
    drop = paired_drop(best.ndcg_by_query, one.ndcg_by_query)
    low, high = ("?" if end is None else f"{end:.4f}" for end in drop.interval)
    apart = drop.interval[0] is not None and drop.interval[0] > 0
    return f"{drop.value:.4f} [{low}, {high}]{'' if apart else ', which these queries cannot tell from none'}"


def _deciding(best: Profile, one: Profile, order: list[_Rule]) -> tuple[_Rule | None, str, str]:
    """The first figure in which two profiles differ, with both, in as many digits as show that."""
    for rule in order:
        mine, other = rule.key(best), rule.key(one)
        if mine == other:
            continue
        digits = next((n for n in range(6) if rule.show(mine, n) != rule.show(other, n)), 6)
        return rule, rule.show(mine, digits), rule.show(other, digits)
    return None, "", ""


def _missing(one: Profile, findings: list[Finding]) -> Candidate:
    """The first condition that it misses decides; a miss counts before what is undecided."""
    undecided = [finding for finding in findings if finding.outcome == INCONCLUSIVE_HERE]
    missed = [finding for finding in findings if not finding.fits and finding not in undecided]
    status = MISSES if missed else INCONCLUSIVE_HERE
    return Candidate(one.name, status, f"{one.name} lost: {(missed or undecided)[0].text}", findings)


def _distance(findings: list[Finding]) -> tuple[int, int, float]:
    """How near a profile is: what has no number last, then by conditions missed, then by the worst share."""
    missed = [finding for finding in findings if not finding.fits]
    return (
        sum(finding.excess is None for finding in missed),
        len(missed),
        max((finding.excess or 0.0 for finding in missed), default=0.0),
    )


def _nearest(one: Profile, findings: list[Finding]) -> str:
    missed = [finding for finding in findings if not finding.fits]
    return f"nearest: {one.name} misses {len(missed)}: " + "; ".join(
        finding.missed_by or finding.text for finding in missed
    )


def as_json(found: Recommendation) -> dict[str, object]:
    """A recommendation as JSON can hold it."""
    return dataclasses.asdict(found)
