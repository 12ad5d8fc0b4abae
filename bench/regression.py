"""A report against an earlier one: what changed in each profile, and whether that is a regression.

Scores are paired by query and ratios of latency carry the intervals of both, so that what the queries or the
timings cannot tell from no change is not called one. An absolute latency is compared only where both reports
come from the same processor with as many threads, and is never gated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from bench.checks import flag
from bench.limits import Gates
from bench.measurements import Drop
from bench.regression_checks import Change, compare_profiles
from bench.report import EMULATED, FAIL, INCONCLUSIVE, PASS, Check, Profile, Report
from common.errors import UserError

CLIENT = "client"
"""Under this name a phone's report keeps its client among the versions."""
BOTH, NEW, VANISHED = "both", "new", "vanished"


@dataclass(frozen=True)
class ProfileChange:
    """What changed in one profile. lost: NDCG@10, query by query; None unless it is in both reports.

    p50_ms: by length, then and now, where both were timed on the same machine. gate: what its gates said
    then and say now, where that differs.
    """

    name: str
    presence: str
    verdict: str
    lost: Drop | None
    changes: dict[str, Change]
    checks: list[Check]
    faults_new: list[str]
    faults_gone: list[str]
    p50_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    gate: tuple[str, str] | None = None

    @property
    def reasons(self) -> list[str]:
        """Why it is a regression, a line each."""
        return [check.text for check in self.checks if check.blocks]

    @property
    def warnings(self) -> list[str]:
        """What could not be decided and was let through."""
        return [one.text for one in self.checks if one.outcome == INCONCLUSIVE and not one.blocks]


@dataclass(frozen=True)
class Regression:
    """A report against an earlier one.

    old, new: when they were made. context: what else differs in it, by name, then and now. machine: why
    absolute latencies are shown, or are not.
    """

    verdict: str
    old: str
    new: str
    profiles: list[ProfileChange]
    context: dict[str, tuple[str, str]]
    machine: str


@dataclass(frozen=True)
class Targets:
    """Whether two reports are of one machine; `apart`: why memory and ratios cannot be compared, or empty."""

    same_machine: bool
    apart: str


def compare_reports(old: Report, new: Report, gates: Gates) -> Regression:
    """What changed from `old` to `new`, held against the regression limits of `gates`.

    Raises UserError when the two were not scored on the same queries of the same data.
    """
    _check_same_data(old, new)
    same_machine, machine = _machine(old, new)
    before = {profile.name: profile for profile in old.profiles}
    after = {profile.name: profile for profile in new.profiles}
    targets = Targets(same_machine, _apart(old, new))
    profiles = [
        _both(before[name], after[name], gates, targets) if name in before else _new(after[name])
        for name in after
    ]
    profiles += [_vanished(name) for name in before if name not in after]
    verdict = FAIL if any(one.verdict == FAIL for one in profiles) else PASS
    created = (old.context.created, new.context.created)
    return Regression(verdict, *created, profiles, _context(old, new), machine)


def _check_same_data(old: Report, new: Report) -> None:
    for key in ("sha256", "split"):
        then, now = old.context.data.get(key), new.context.data.get(key)
        if then != now or then is None:
            raise UserError(
                f"context.data.{key} is '{then}' in the old report and '{now}' in the new one; "
                "only scores on the same data can be compared"
            )
    if old.queries != new.queries:
        pairs = zip(old.queries, new.queries, strict=False)
        shown = next((f"'{then}' and '{now}'" for then, now in pairs if then != now), None)
        shown = shown or f"{len(old.queries)} and {len(new.queries)} of them"
        raise UserError(f"queries differ between the old report and the new one: {shown}")


def _apart(old: Report, new: Report) -> str:
    """Why neither memory nor ratios of times can be held against each other; empty where they can."""
    kinds = {one.context.target.kind for one in (old, new)}
    if len(kinds) > 1:
        return "the targets are of two kinds"
    if EMULATED in kinds:
        return "emulated: times and memory are the emulator's"
    if _client(old) != _client(new):
        return f"measured by two clients, {_client(old)} then, {_client(new)} now"
    if _phone(old) != _phone(new):
        return f"measured on two phones, {_phone(old)} then, {_phone(new)} now"
    return ""


def _client(report: Report) -> str:
    """What measured on a phone, shell or app; a host has but one."""
    return report.context.versions.get(CLIENT, "another")


def _phone(report: Report) -> str:
    device = report.context.device
    return f"{device.brand} {device.model}" if device else "none"


def _cores(report: Report) -> str:
    device = report.context.device
    return (device.affinity if device else None) or "no cores"


def _machine(old: Report, new: Report) -> tuple[bool, str]:
    then, now = old.context.target, new.context.target
    for what, a, b in (
        ("kind of target", then.kind, now.kind),
        ("processor", then.cpu, now.cpu),
        ("phone", _phone(old), _phone(new)),
        ("client", _client(old), _client(new)),
        ("threads on", _cores(old), _cores(new)),
        ("threads", then.threads, now.threads),
    ):
        if a != b:
            return False, f"absolute latencies are not compared: {what} {a} then, {b} now"
    if then.kind == EMULATED:
        return False, "absolute latencies are not compared: they are an emulator's"
    return True, f"absolute latencies are of the same processor ({now.cpu}, {now.threads} threads)"


def _context(old: Report, new: Report) -> dict[str, tuple[str, str]]:
    """Everything that differs besides the time, by its path."""
    then, now = (_flat(dataclasses.asdict(one.context)) for one in (old, new))
    names = dict.fromkeys([*then, *now])
    pairs = {name: (then.get(name, "-"), now.get(name, "-")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name != "created"}


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat


def _both(then: Profile, now: Profile, gates: Gates, targets: Targets) -> ProfileChange:
    lost, changes, checks = compare_profiles(then, now, gates, targets.apart)
    known = {fault.name for fault in then.faults}
    appeared = [fault for fault in now.faults if fault.name not in known]
    checks = [*(flag(f"regression.faults.{one.name}", False, one.evidence) for one in appeared), *checks]
    timed = [length for length in now.latency_ms if targets.same_machine and length in then.latency_ms]
    return ProfileChange(
        name=now.name,
        presence=BOTH,
        verdict=FAIL if any(check.blocks for check in checks) else PASS,
        lost=lost,
        changes=changes,
        checks=checks,
        faults_new=[one.name for one in appeared],
        faults_gone=sorted(known - {fault.name for fault in now.faults}),
        p50_ms={one: (then.latency_ms[one].p50, now.latency_ms[one].p50) for one in sorted(timed, key=int)},
        gate=(then.verdict, now.verdict) if then.verdict != now.verdict else None,
    )


def _new(profile: Profile) -> ProfileChange:
    return ProfileChange(profile.name, NEW, PASS, None, {}, [], [one.name for one in profile.faults], [])


def _vanished(name: str) -> ProfileChange:
    gone = flag("regression.profile", False, "the new report does not hold it")
    return ProfileChange(name, VANISHED, FAIL, None, {}, [gone], [], [])
