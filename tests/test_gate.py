"""The gate on hand-made reports: each limit can fail, and what was not measured does."""

import dataclasses
import json
from pathlib import Path

import pytest
from gate_samples import PROFILE, report_with

from bench.gate import CosineLimits, Gates, RamLimits, apply_gates, read_gates
from bench.report import Latency, Memory, read_report, write_report
from common.errors import UserError
from pocketvec import DEFAULT_GATES
from pocketvec.cli import main


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
