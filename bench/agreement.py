"""Whether a LiteRT profile ranks as its ONNX counterpart does, where a report holds both."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks import above, not_measured, uncovered
from bench.compare import counterparts
from bench.limits import AgreementLimits, Gates, for_profile
from bench.report import FAIL, PASS, Check, Comparison, Profile, Report

OVERLAP, APART = "runtime_agreement.top10_overlap", "runtime_agreement.ndcg_relative"


def agreement_checks(profile: Profile, report: Report, gates: Gates) -> Iterator[Check]:
    """One check per limit that concerns a LiteRT profile beside its ONNX counterpart."""
    table = gates.runtime_agreement
    for onnx in (onnx for onnx, litert in counterparts(report.profiles) if litert is profile):
        limits = for_profile(table, profile)
        if limits:
            pair = (onnx.name, profile.name)
            found = next((one for one in report.comparisons if (one.onnx, one.litert) == pair), None)
            yield from _checks(found, limits, f"{profile.precision} against {onnx.name}")
        elif table:
            yield uncovered(OVERLAP, "runtime_agreement", profile.precision)


def _checks(found: Comparison | None, limits: AgreementLimits, what: str) -> Iterator[Check]:
    if found is None:
        yield not_measured(OVERLAP, limits.top10_overlap, what)
        yield not_measured(APART, limits.ndcg_relative, what)
        return
    least, shared = limits.top10_overlap, found.top10_overlap
    holds = shared >= least
    text = f"{OVERLAP} {shared:.4g} is {'at least' if holds else 'below'} {least:g} ({what})"
    yield Check(OVERLAP, PASS if holds else FAIL, not holds, shared, None, least, text)
    doubt = limits.standard_errors * (found.ndcg_error or 0)
    apart, allowed = found.ndcg_relative, limits.ndcg_relative
    if doubt and not apart <= allowed + doubt:
        text = f"{APART} {apart:.4g} is above {allowed:g} by more than {doubt:.2g}, its uncertainty ({what})"
        yield Check(APART, FAIL, True, apart, None, allowed, text)
    else:
        yield above(APART, apart, allowed + doubt, what)
