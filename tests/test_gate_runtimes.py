"""The gate on reports of both runtimes: do they agree, and is what they say read strictly?"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gate_samples import (
    COMPARISON,
    LITERT,
    PROFILE,
    QUERIES,
    both_runtimes,
    drop,
    golden,
    latency,
    report_with,
)

from bench.gate import apply_gates
from bench.limits import GATES_SCHEMA, AgreementLimits, Gates, read_gates
from bench.report import Reference
from bench.report_file import parse_report, read_report, write_report
from benchmarks.gate_trials import resample
from common.errors import UserError
from pocketvec import DEFAULT_GATES


@pytest.mark.parametrize("precision", ["auto", "custom"])
def test_the_default_limits_judge_labels_that_they_do_not_name(precision: str) -> None:
    gates = read_gates(DEFAULT_GATES)
    own = dataclasses.replace(PROFILE, name="onnx-own-128d", precision=precision)
    report = dataclasses.replace(report_with(), profiles=[own], comparisons=[])
    assert apply_gates(report, gates).verdict == "pass"
    bad = {
        "golden": golden(cosine_min=0.5),
        "ndcg_drop_same_dim": drop(0.9),
        "ndcg_drop_full_dim": drop(0.9),
        "ndcg_drop_asymmetric": drop(0.9),
    }
    failing = dataclasses.replace(report, profiles=[dataclasses.replace(own, **bad)])  # type: ignore[arg-type]
    reasons = apply_gates(failing, gates).profiles[0].reasons
    assert [reason.split()[0] for reason in reasons] == ["golden.cosine_min", *[*bad][1:]]


def test_litert_int8_is_held_against_onnx_int8_and_not_q8_0_where_both_are_there() -> None:
    onnx = [dataclasses.replace(PROFILE, name=f"onnx-{one}-128d", precision=one) for one in ("q8_0", "int8")]
    litert = dataclasses.replace(LITERT, precision="int8")
    comparison = dataclasses.replace(COMPARISON, onnx="onnx-int8-128d", top10_overlap=0.5)
    gates = Gates(GATES_SCHEMA, runtime_agreement={"int8": AgreementLimits(0.9, 0.1)})
    for profiles, reason in (
        ([*onnx, litert], "runtime_agreement.top10_overlap 0.5 is below 0.9 (int8 against onnx-int8-128d)"),
        (
            [onnx[0], litert],
            "runtime_agreement.top10_overlap not measured, but its limit is 0.9 (int8 against",
        ),
    ):
        both = dataclasses.replace(report_with(), profiles=profiles, comparisons=[comparison])
        first, *_ = apply_gates(both, gates).profiles[-1].reasons
        assert first.startswith(reason)


def test_runtimes_that_agree_pass_the_default_limits() -> None:
    assert apply_gates(both_runtimes(COMPARISON), read_gates(DEFAULT_GATES)).verdict == "pass"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"top10_overlap": 0.7},
            "runtime_agreement.top10_overlap 0.7 is below 0.8 (q4_0 against onnx-q4_0-128d)",
        ),
        ({"top10_overlap": float("nan")}, "runtime_agreement.top10_overlap nan is below 0.8"),
        ({"ndcg_relative": 0.3}, "runtime_agreement.ndcg_relative 0.3 is above"),
        ({"ndcg_relative": float("nan")}, "runtime_agreement.ndcg_relative nan is above"),
    ],
)
def test_runtimes_that_disagree_fail_the_litert_profile_and_the_report(
    changes: dict[str, float], reason: str
) -> None:
    comparison = dataclasses.replace(COMPARISON, **changes)  # type: ignore[arg-type]
    report = apply_gates(both_runtimes(comparison), read_gates(DEFAULT_GATES))
    onnx, litert = report.profiles
    assert (report.verdict, onnx.verdict, litert.verdict) == ("fail", "pass", "fail")
    (found,) = litert.reasons
    assert found.startswith(reason)


@pytest.mark.parametrize(("apart", "verdict"), [(0.0199, "pass"), (0.0201, "fail")])
def test_a_distance_fails_only_beyond_what_its_standard_errors_explain(apart: float, verdict: str) -> None:
    """The default limit is 0.005 and three standard errors, here 0.015."""
    comparison = dataclasses.replace(COMPARISON, ndcg_relative=apart, ndcg_error=0.005)
    assert apply_gates(both_runtimes(comparison), read_gates(DEFAULT_GATES)).verdict == verdict


def test_a_trial_draws_the_questions_of_the_comparisons_anew_too() -> None:
    """Otherwise the runtimes' agreement would never be seen to cry wolf."""
    both = both_runtimes(COMPARISON)
    onnx, litert = both.profiles
    onnx = dataclasses.replace(onnx, ndcg_by_query=[0.5] * 8 + [0.1] * (QUERIES - 8))
    litert = dataclasses.replace(litert, ndcg_by_query=[0.4] * 8 + [0.1] * (QUERIES - 8))
    reference = Reference("fp32", {"128": 0.4}, {"128": [0.4] * QUERIES})
    report = dataclasses.replace(both, profiles=[onnx, litert], reference=reference)
    first, second = (resample(report, np.full(QUERIES, index)).comparisons[0] for index in (0, QUERIES - 1))
    found = (first.ndcg_relative, first.onnx_ndcg_at_10, first.litert_ndcg_at_10)
    assert np.allclose(found, (0.2, 0.5, 0.4))
    assert (second.ndcg_relative, second.ndcg_error) == (0.0, 0.0)
    assert first.top10_overlap == second.top10_overlap == COMPARISON.top10_overlap


def test_counterparts_that_were_not_compared_fail() -> None:
    report = apply_gates(both_runtimes(), read_gates(DEFAULT_GATES))
    reasons = report.profiles[1].reasons
    assert [reason.partition(",")[0] for reason in reasons] == [
        "runtime_agreement.top10_overlap not measured",
        "runtime_agreement.ndcg_relative not measured",
    ]


def test_a_pair_that_the_agreement_table_leaves_out_fails_and_default_takes_it_in() -> None:
    limits = AgreementLimits(0.5, 0.5)
    bare = Gates(GATES_SCHEMA, runtime_agreement={"fp32": limits})
    report = apply_gates(both_runtimes(COMPARISON), bare)
    assert report.profiles[1].reasons == [
        "runtime_agreement.top10_overlap: runtime_agreement has limits, but none for q4_0 and no default",
    ]
    gates = Gates(GATES_SCHEMA, runtime_agreement={"default": limits})
    assert apply_gates(both_runtimes(COMPARISON), gates).verdict == "pass"


def test_profiles_without_a_counterpart_need_no_comparison() -> None:
    gates = Gates(GATES_SCHEMA, runtime_agreement={"default": AgreementLimits(1.0, 0.0)})
    assert apply_gates(report_with(), gates).verdict == "pass"
    assert apply_gates(both_runtimes(precision="fp32"), gates).verdict == "pass"


@pytest.mark.parametrize("precision", ["fp32", "int8", "q4_0", "mixed"])
def test_the_default_limits_name_every_precision_of_litert(precision: str) -> None:
    gates = read_gates(DEFAULT_GATES)
    for table in (gates.golden_cosine, gates.ndcg_drop_same_dim, gates.ndcg_drop_full_dim):
        assert precision in table
    assert precision in gates.runtime_agreement
    assert gates.runtime_agreement[precision].top10_overlap >= 0.8


def test_a_report_of_both_runtimes_survives_writing_and_reading(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", both_runtimes(COMPARISON))
    assert read_report(tmp_path / "report.json") == both_runtimes(COMPARISON)


def test_a_report_from_before_litert_still_reads() -> None:
    raw = dataclasses.asdict(report_with())
    del raw["comparisons"], raw["profiles"][0]["cache_states"], raw["profiles"][0]["first_ms"]
    assert parse_report(raw, "old") == report_with()


@pytest.mark.parametrize(
    ("where", "key", "value", "message"),
    [
        ("state", "cold", {}, "unknown field 'cold'"),
        ("state", "cache_bytes", 1.5, "cache_bytes: expected int"),
        ("state", "latency_ms", {"long": dataclasses.asdict(latency(1, 1, 1))}, "'long' is neither"),
        (
            "states",
            "cold",
            dataclasses.asdict(LITERT.cache_states["none"]),
            "cache state 'cold' is none of none",
        ),
        ("comparison", "litert", "litert-q4_0-64d", "'litert-q4_0-64d' is compared, but"),
        ("comparison", "p50_length", "long", "'long' is neither"),
        ("comparison", "winner", "onnx", "unknown field 'winner'"),
    ],
)
def test_what_a_report_says_of_litert_is_read_strictly(
    where: str, key: str, value: object, message: str
) -> None:
    raw = dataclasses.asdict(both_runtimes(COMPARISON))
    states = raw["profiles"][1]["cache_states"]
    {"state": states["none"], "states": states, "comparison": raw["comparisons"][0]}[where][key] = value
    with pytest.raises(UserError, match=message):
        parse_report(raw, "report.json")
