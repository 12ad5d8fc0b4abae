"""The gate on hand-made reports: each limit can fail, and what was not measured does."""

import dataclasses
import json
from pathlib import Path

import pytest

from bench.gate import AgreementLimits, CosineLimits, Gates, RamLimits, apply_gates, read_gates
from bench.report import (
    CacheState,
    Comparison,
    Context,
    Latency,
    Memory,
    Profile,
    Report,
    Target,
    parse_report,
    read_report,
    write_report,
)
from common.errors import UserError
from pocketvec import DEFAULT_GATES
from pocketvec.cli import main

PROFILE = Profile(
    name="onnx-q4_0-128d",
    runtime="onnx",
    precision="q4_0",
    dim=128,
    file_bytes=5_000_000,
    ndcg_at_10=0.34,
    recall_at_10=0.5,
    mrr_at_10=0.3,
    ndcg_drop_same_dim=0.01,
    ndcg_drop_full_dim=0.05,
    golden_cosine_mean=0.97,
    golden_cosine_min=0.9,
    golden_worst_text="worst of all",
    golden_ids_equal=True,
    rounding_cosine_mean=0.97,
    rounding_cosine_min=0.9,
    load_ms=50.0,
    latency_ms={length: Latency(1.0, 2.0, 3.0, 50, 10) for length in ("16", "64", "256")},
    ram_mb=Memory(30.0, 80.0, 90.0, 40.0, 30.0),
)
TARGET = Target("host", "a processor", 2, 2, "Linux")
CONTEXT = Context("2026-01-01T00:00:00+00:00", TARGET, {}, {"name": "d"}, "query: ", "warm")


LITERT = dataclasses.replace(
    PROFILE,
    name="litert-q4_0-128d",
    runtime="litert",
    first_ms=3.0,
    cache_states={
        state: CacheState(50.0, 3.0, PROFILE.latency_ms, PROFILE.ram_mb, 2_000_000)
        for state in ("none", "build", "warm")
    },
)
COMPARISON = Comparison(
    PROFILE.name, LITERT.name, 128, 0.9, 0.34, 0.34, 0.0, 0.004, 0.95, "256", p50_ratio=0.5, ram_ratio=0.85
)


def both_runtimes(*comparisons: Comparison, precision: str = "q4_0") -> Report:
    litert = dataclasses.replace(LITERT, precision=precision)
    return dataclasses.replace(
        report_with(), profiles=[report_with().profiles[0], litert], comparisons=list(comparisons)
    )


def report_with(**changes: object) -> Report:
    profile = dataclasses.replace(PROFILE, **changes)  # type: ignore[arg-type]
    return Report("pocketvec.report/1", CONTEXT, "ungated", None, [profile])


def test_a_profile_within_every_default_limit_passes() -> None:
    report = apply_gates(report_with(), read_gates(DEFAULT_GATES))
    assert (report.verdict, report.profiles[0].verdict, report.profiles[0].reasons) == ("pass", "pass", [])


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        ({"ndcg_drop_same_dim": 0.2}, "ndcg_drop_same_dim 0.2 is above"),
        ({"ndcg_drop_full_dim": 0.3}, "ndcg_drop_full_dim 0.3 is above"),
        ({"ndcg_drop_same_dim": None}, "ndcg_drop_same_dim not measured"),
        ({"golden_cosine_mean": 0.9}, "golden_cosine_mean 0.900000 is below"),
        ({"golden_cosine_min": 0.5}, "golden_cosine_min 0.500000 is below 0.85 (q4_0); worst text 'worst"),
        ({"golden_cosine_min": float("nan")}, "golden_cosine_min nan is below"),
        ({"golden_ids_equal": False}, "golden_ids_equal false"),
        ({"ram_mb": Memory(30.0, 231.0, 90.0, 40.0, 30.0)}, "ram_mb.peak_above_baseline 201 is above 200"),
        ({"ram_mb": Memory(30.0, 80.0, 231.0, 40.0, 30.0)}, "ram_mb.peak_above_baseline 201 is above 200"),
        ({"ram_mb": Memory(30.0, 80.0, 90.0, 201.0, 30.0)}, "ram_mb.anonymous 201 is above 200"),
        ({"latency_ms": {}}, "latency_ms.16.p90 not measured"),
        (
            {"latency_ms": {n: Latency(1.0, 999.0, 999.0, 50, 10) for n in ("16", "64", "256")}},
            "latency_ms.16.p90 999 is above",
        ),
    ],
)
def test_each_broken_limit_fails_with_its_metric_first(changes: dict[str, object], metric: str) -> None:
    report = apply_gates(report_with(**changes), read_gates(DEFAULT_GATES))
    assert report.verdict == report.profiles[0].verdict == "fail"
    assert report.profiles[0].reasons[0].startswith(metric)


def test_one_failing_profile_fails_the_report() -> None:
    good = report_with().profiles[0]
    bad = dataclasses.replace(good, name="bad", golden_ids_equal=False)
    report = apply_gates(dataclasses.replace(report_with(), profiles=[good, bad]), read_gates(DEFAULT_GATES))
    assert [p.verdict for p in report.profiles] == ["pass", "fail"]
    assert report.verdict == "fail"


def test_a_dimension_of_its_own_overrides_the_default_limit() -> None:
    gates = Gates("pocketvec.gates/1", ndcg_drop_same_dim={"default": {"default": 0.001, "128": 0.5}})
    assert apply_gates(report_with(), gates).verdict == "pass"
    assert apply_gates(report_with(dim=256), gates).verdict == "fail"


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"q4_0": {"128": 0.1, "default": 0.2}, "default": {"128": 0.3}}, "0.1"),
        ({"q4_0": {"64": 0.1, "default": 0.2}, "default": {"128": 0.3}}, "0.2"),
        ({"q4_0": {"64": 0.1}, "default": {"128": 0.3, "default": 0.4}}, "0.3"),
        ({"int8": {"128": 0.1}, "default": {"64": 0.3, "default": 0.4}}, "0.4"),
    ],
)
def test_a_limit_is_looked_up_by_precision_before_any_and_by_dimension_before_any(
    limits: dict[str, dict[str, float]], limit: str
) -> None:
    gates = Gates("pocketvec.gates/1", ndcg_drop_same_dim=limits)
    (reason,) = apply_gates(report_with(ndcg_drop_same_dim=0.9), gates).profiles[0].reasons
    assert reason == f"ndcg_drop_same_dim 0.9 is above {limit} (q4_0, 128d)"


@pytest.mark.parametrize("precision", ["auto", "custom"])
def test_the_default_limits_judge_labels_that_they_do_not_name(precision: str) -> None:
    gates = read_gates(DEFAULT_GATES)
    onnx = dataclasses.replace(PROFILE, name="onnx-own-128d", precision=precision)
    litert = dataclasses.replace(LITERT, precision=precision)
    comparison = dataclasses.replace(COMPARISON, onnx=onnx.name)
    both = dataclasses.replace(report_with(), profiles=[onnx, litert], comparisons=[comparison])
    assert apply_gates(both, gates).verdict == "pass"
    bad = {"golden_cosine_min": 0.5, "ndcg_drop_same_dim": 0.9, "ndcg_drop_full_dim": 0.9}
    profiles = [onnx, dataclasses.replace(litert, **bad)]  # type: ignore[arg-type]
    comparison = dataclasses.replace(comparison, top10_overlap=0.1)
    failing = dataclasses.replace(both, profiles=profiles, comparisons=[comparison])
    reasons = apply_gates(failing, gates).profiles[1].reasons
    assert [reason.split()[0] for reason in reasons] == [*bad, "runtime_agreement.top10_overlap"]
    assert not [reason for reason in reasons if "no default" in reason]


def test_litert_int8_is_held_against_onnx_int8_and_not_q8_0_where_both_are_there() -> None:
    onnx = [
        dataclasses.replace(PROFILE, name=f"onnx-{one}-128d", precision=one, golden_cosine_mean=1.0)
        for one in ("q8_0", "int8")
    ]
    litert = dataclasses.replace(LITERT, precision="int8")
    comparison = dataclasses.replace(COMPARISON, onnx="onnx-int8-128d", top10_overlap=0.5)
    gates = Gates("pocketvec.gates/1", runtime_agreement={"int8": AgreementLimits(0.9, 0.1)})
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


@pytest.mark.parametrize(
    ("gates", "metric"),
    [
        (
            Gates("pocketvec.gates/1", golden_cosine={"q4": CosineLimits(0.1, 0.1)}),
            "golden_cosine_min has limits",
        ),
        (
            Gates("pocketvec.gates/1", ndcg_drop_same_dim={"q4": {"default": 1.0}}),
            "ndcg_drop_same_dim has limits",
        ),
        (
            Gates("pocketvec.gates/1", ndcg_drop_full_dim={"q4_0": {"64": 1.0}}),
            "ndcg_drop_full_dim has limits",
        ),
    ],
)
def test_a_profile_that_a_table_of_limits_leaves_out_fails(gates: Gates, metric: str) -> None:
    report = apply_gates(report_with(), gates)
    assert report.verdict == "fail"
    assert report.profiles[0].reasons[0].startswith(metric)


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


@pytest.mark.parametrize(("apart", "verdict"), [(0.0149, "pass"), (0.0151, "fail")])
def test_a_distance_fails_only_beyond_what_its_standard_errors_explain(apart: float, verdict: str) -> None:
    """The default limit is 0.005 and two standard errors, here 0.01."""
    comparison = dataclasses.replace(COMPARISON, ndcg_relative=apart, ndcg_error=0.005)
    assert apply_gates(both_runtimes(comparison), read_gates(DEFAULT_GATES)).verdict == verdict


def test_counterparts_that_were_not_compared_fail() -> None:
    report = apply_gates(both_runtimes(), read_gates(DEFAULT_GATES))
    reasons = report.profiles[1].reasons
    assert [reason.partition(",")[0] for reason in reasons] == [
        "runtime_agreement.top10_overlap not measured",
        "runtime_agreement.ndcg_relative not measured",
    ]


def test_a_pair_that_the_agreement_table_leaves_out_fails_and_default_takes_it_in() -> None:
    limits = AgreementLimits(0.5, 0.5)
    bare = Gates("pocketvec.gates/1", runtime_agreement={"fp32": limits})
    report = apply_gates(both_runtimes(COMPARISON), bare)
    assert report.profiles[1].reasons == [
        "runtime_agreement has limits, but none for q4_0 and no default",
    ]
    gates = Gates("pocketvec.gates/1", runtime_agreement={"default": limits})
    assert apply_gates(both_runtimes(COMPARISON), gates).verdict == "pass"


def test_profiles_without_a_counterpart_need_no_comparison() -> None:
    gates = Gates("pocketvec.gates/1", runtime_agreement={"default": AgreementLimits(1.0, 0.0)})
    assert apply_gates(report_with(), gates).verdict == "pass"
    assert apply_gates(both_runtimes(precision="fp32"), gates).verdict == "pass"


@pytest.mark.parametrize("precision", ["fp32", "int8", "q4_0", "mixed"])
def test_the_default_limits_name_every_precision_of_litert(precision: str) -> None:
    gates = read_gates(DEFAULT_GATES)
    for table in (gates.golden_cosine, gates.ndcg_drop_same_dim, gates.ndcg_drop_full_dim):
        assert precision in table
    assert precision in gates.runtime_agreement
    assert gates.runtime_agreement[precision].top10_overlap >= 0.8


def test_an_empty_report_is_refused() -> None:
    empty = dataclasses.replace(report_with(), profiles=[])
    with pytest.raises(UserError, match="holds no profiles"):
        apply_gates(empty, Gates("pocketvec.gates/1", ram_mb=RamLimits(1, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('schema = "pocketvec.gates/1"\n', "sets no limit"),
        ('schema = "other"\n', "schema 'other'"),
        ("not toml", "not valid TOML"),
        ('schema = "pocketvec.gates/1"\n[ram]\npeak = 1\n', "unknown field 'ram'"),
        ('schema = "pocketvec.gates/1"\n[latency_p90_ms]\n64 = "fast"\n', "latency_p90_ms.64: expected"),
    ],
)
def test_a_bad_gates_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_gates(path)


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"golden_ids_equal": False}, 1)])
def test_the_exit_code_is_the_verdict(
    tmp_path: Path, changes: dict[str, object], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(tmp_path / "report.json", report_with(**changes))
    assert main(["gate", str(tmp_path / "report.json")]) == code
    assert PROFILE.name in capsys.readouterr().out


@pytest.mark.parametrize("broken", ['{"schema": "pocketvec.report/1"', '{"schema": "x"}', "[]"])
def test_a_report_that_is_not_one_exits_with_two(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(broken)
    assert main(["gate", str(tmp_path / "report.json")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_report_survives_writing_and_reading(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", report_with())
    assert read_report(tmp_path / "report.json") == report_with()
    required = {"name", "runtime", "precision", "dim", "file_bytes", "ndcg_at_10", "ndcg_drop_same_dim"}
    required |= {"ndcg_drop_full_dim", "golden_cosine_min", "latency_ms", "ram_mb", "verdict", "reasons"}
    assert required <= set(json.loads((tmp_path / "report.json").read_text())["profiles"][0])


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
        ("state", "latency_ms", {"long": dataclasses.asdict(Latency(1, 1, 1, 1, 1))}, "'long' is neither"),
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
