"""What the gate was not shown, it must not wave through."""

import dataclasses

import pytest
from gate_samples import drop, golden, memory, on, report_with

from bench.gate import apply_gates
from bench.limits import GATES_SCHEMA, Budget, CosineLimits, Gates, RamLimits
from bench.measurements import WorstText


@pytest.mark.parametrize("table", [{"q4_0": {"default": 1.5}}, {"default": {"default": 1.5}}])
def test_a_limit_of_whatever_length_fails_where_no_length_was_measured(
    table: dict[str, dict[str, float]],
) -> None:
    gates = Gates(GATES_SCHEMA, latency_ratio=table)
    (reason,) = apply_gates(on("host", latency_ratio={}), gates).profiles[0].reasons
    assert reason.startswith("latency_ratio not measured, but its limit is 1.5 (bench the fp32 profile")


def test_a_device_is_let_off_the_ratios_only_where_it_has_limits_in_milliseconds() -> None:
    ratios = {"q4_0": {"default": 1.5, "256": 1.2}}
    absolute = Gates(GATES_SCHEMA, latency_ratio=ratios, latency_p90_ms={"16": 50})
    phone = on("device", latency_ratio={})
    assert apply_gates(phone, absolute).verdict == "pass"
    (reason,) = apply_gates(phone, Gates(GATES_SCHEMA, latency_ratio=ratios)).profiles[0].reasons
    assert reason.startswith("latency_ratio.256 not measured")


def test_a_table_of_latency_ratios_without_a_limit_covers_nothing() -> None:
    found = apply_gates(report_with(), Gates(GATES_SCHEMA, latency_ratio={"q4_0": {}})).profiles[0].reasons
    assert found == ["latency_ratio: latency_ratio has limits, but none for q4_0 and no default"]


def test_a_reference_that_finds_nothing_lets_no_profile_pass() -> None:
    nothing = drop(0.0, 0.0, reference=0.0)
    for budget in (Budget(relative=0.02), Budget(absolute=0.02)):
        gates = Gates(GATES_SCHEMA, ndcg_drop_same_dim={"default": {"default": budget}})
        (reason,) = apply_gates(report_with(ndcg_drop_same_dim=nothing), gates).profiles[0].reasons
        assert reason.startswith("ndcg_drop_same_dim not measured")
        assert "the reference itself scores 0" in reason


def test_the_worst_cosine_is_told_with_its_own_text() -> None:
    """Texts whose ids differ come first among the worst, whatever their cosine."""
    worst = [WorstText("other ids", 0.99, 1.0, False), WorstText("far off", 0.5, 1.0, True)]
    gates = Gates(GATES_SCHEMA, golden_cosine={"default": CosineLimits(0.9, 0.85)})
    found = apply_gates(report_with(golden=golden(cosine_min=0.5, worst=worst)), gates).profiles[0].reasons
    assert found == ["golden.cosine_min 0.500000 is below 0.85 (q4_0); worst text 'far off'"]


def test_memory_while_running_that_was_not_measured_fails() -> None:
    idle = dataclasses.replace(memory(30.0, 80.0, 90.0, 40.0), run_high_water={})
    gates = Gates(GATES_SCHEMA, ram_mb=RamLimits(200, 200))
    (reason,) = apply_gates(report_with(ram_mb=idle), gates).profiles[0].reasons
    assert reason.startswith("ram_mb.peak_above_baseline not measured, but its limit is 200")
