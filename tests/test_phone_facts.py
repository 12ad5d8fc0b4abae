"""What a report shows of the phone, in every view, and nothing of it in a host's."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from report_samples import profile, report

from bench.device import Device, Thermal
from bench.measurements import Pss
from bench.report import Report
from bench.report_file import read_report, write_report
from bench.views.markdown import render_markdown
from bench.views.phone_facts import drift, phone_facts
from bench.views.render import render_html

PHONE = Device(
    brand="Example",
    model="Phone 9",
    device="nine",
    fingerprint="example/nine:15/A/1:user/release-keys",
    release="15",
    sdk=35,
    abi="arm64-v8a",
    soc="Example SoC 1",
    cpu_max_freq_khz=[1_800_000, 3_000_000],
    page_size_bytes=16384,
    mem_total_bytes=8_000_000_000,
    battery_percent=80,
    charging=False,
    affinity="cores 6, 7",
    thermal=[Thermal("before", 0), Thermal("after", 1), Thermal("unknown")],
)


def on_phone(kind: str = "device", **changes: Any) -> Report:
    one = report(profile(**changes))
    target = dataclasses.replace(one.context.target, kind=kind)
    return dataclasses.replace(one, context=dataclasses.replace(one.context, target=target, device=PHONE))


def test_the_phone_is_named_with_what_its_numbers_depend_on() -> None:
    facts = dict(phone_facts(on_phone()))
    assert facts["Phone"] == (
        "Example Phone 9 (nine), Android 15, API 35, Example SoC 1, arm64-v8a, 8000 MB of RAM, "
        "pages of 16384 bytes"
    )
    assert facts["Cores"] == "threads on cores 6, 7; highest GHz by core 1.80, 3.00"
    assert facts["Battery and heat"] == "battery 80 %, not charging; highest thermal status 1 of 2 readings"


@pytest.mark.parametrize(("kind", "words"), [("device", "absolute latency"), ("emulated", "not applied")])
def test_every_view_says_which_limits_count(kind: str, words: str) -> None:
    one = on_phone(kind)
    assert words in dict(phone_facts(one))["Limits"]
    for text in (render_html(one), render_markdown(one)):
        assert words in text
        assert "Phone 9" in text


def test_a_hosts_report_shows_nothing_of_a_phone() -> None:
    assert list(phone_facts(report())) == []


def test_timings_that_drift_by_more_than_a_tenth_are_named() -> None:
    timed = profile().latency_ms["256"]
    cool = dataclasses.replace(timed, ms=[10.0] * 10 + [12.0] * 10 + [10.9] * 10)
    hot = dataclasses.replace(timed, ms=[10.0] * 10 + [10.0] * 10 + [11.2] * 10)
    assert (round(drift(cool), 3), round(drift(hot), 3)) == (0.09, 0.12)
    facts = dict(phone_facts(on_phone(latency_ms={"16": cool, "256": hot})))
    assert facts["Drift"].endswith("medians: q4_0-256d at 256 tokens +12%")
    assert "Drift" not in dict(phone_facts(on_phone(latency_ms={"16": cool})))


def test_the_phone_and_its_memory_come_back_from_report_json(tmp_path: Path) -> None:
    one = on_phone(pss_mb={"rest": Pss(120.0, 40.0, 60.0)})
    write_report(tmp_path / "report.json", one)
    back = read_report(tmp_path / "report.json")
    assert (back.context.device, back.profiles[0].pss_mb) == (PHONE, {"rest": Pss(120.0, 40.0, 60.0)})
    assert dict(phone_facts(back))["PSS at rest, MB"] == "q4_0-256d 120.0"
