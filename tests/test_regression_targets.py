"""Reports of two targets: what may be compared between machines, phones and emulators, and what not."""

import dataclasses
from typing import Any

import pytest
from gate_samples import memory
from test_phone_facts import PHONE
from test_regression import OLD, compared, elsewhere, only, scored, timed

from bench.report import Report
from bench.views.regression_views import render_changes_text


def test_absolute_latency_is_shown_for_one_machine_only_and_the_text_says_which() -> None:
    text = render_changes_text(compared(OLD))
    assert "absolute latencies are of the same processor (Example CPU, 4 threads)" in text
    assert "p50 ms 14.1 to 14.1 at 16, 171.2 to 171.2 at 256 tokens" in text
    for change in ({"cpu": "Other CPU"}, {"threads": 1}, {"kind": "device"}):
        text = render_changes_text(compared(elsewhere(**change)))
        assert "absolute latencies are not compared" in text
        assert "p50" not in text


def test_memory_of_two_kinds_of_target_is_not_compared_and_the_file_is() -> None:
    new = elsewhere(kind="device")
    worse = dataclasses.replace(
        new, profiles=[scored(ram_mb=memory(61.5, 900.0, 900.0, 900.0), file_bytes=300_000_000)]
    )
    outcomes = {check.metric: check.outcome for check in only(compared(worse)).checks}
    assert outcomes["regression.ram_mb.peak_above_baseline"] == "not applied"
    assert outcomes["regression.ram_mb.anonymous"] == "not applied"
    assert outcomes["regression.file_mb"] == "fail"


def on_phone(
    model: str = "Phone 9", client: str = "shell", affinity: str = "cores 7", **target: Any
) -> Report:
    """A report of a phone, its memory and times as small as they get or as large."""
    one = elsewhere(**{"kind": "device"} | target)
    device = dataclasses.replace(PHONE, model=model, affinity=affinity)
    versions = one.context.versions | {"client": client}
    return dataclasses.replace(
        one, context=dataclasses.replace(one.context, device=device, versions=versions)
    )


def swollen(one: Report) -> Report:
    costs: dict[str, Any] = {"ram_mb": memory(61.5, 900.0, 900.0, 900.0), "latency_ratio": {"256": timed(3)}}
    return dataclasses.replace(one, profiles=[scored(**costs)])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (OLD, on_phone(), "the targets are of two kinds"),
        (
            on_phone(kind="emulated"),
            on_phone(kind="emulated"),
            "emulated: times and memory are the emulator's",
        ),
        (on_phone(client="app"), on_phone(), "measured by two clients, app then, shell now"),
        (
            on_phone(),
            on_phone("Phone 10"),
            "measured on two phones, Example Phone 9 then, Example Phone 10 now",
        ),
    ],
)
def test_what_two_targets_cost_is_not_held_against_each_other(old: Report, new: Report, why: str) -> None:
    found = compared(swollen(new), old=old)
    costs = [one for one in only(found).checks if "ram_mb" in one.metric or "latency" in one.metric]
    assert len(costs) >= 3
    assert all(one.outcome == "not applied" and one.text.endswith(f"({why})") for one in costs)
    assert (found.verdict, only(found).p50_ms) == ("pass", {})


def test_the_same_phone_is_held_to_what_it_was_and_its_times_only_on_the_same_cores() -> None:
    found = compared(swollen(on_phone()), old=on_phone())
    assert (found.verdict, set(only(found).p50_ms)) == ("fail", {"16", "256"})
    found = compared(on_phone(affinity="cores 4, 7"), old=on_phone())
    assert (found.verdict, only(found).p50_ms) == ("pass", {})
    assert found.machine == "absolute latencies are not compared: threads on cores 7 then, cores 4, 7 now"
