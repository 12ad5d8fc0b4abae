"""The page's charts: memory by kind, intervals on their tracks, cost against quality, golden texts."""

from __future__ import annotations

import dataclasses
import re

import pytest
from gate_samples import drop, golden, latency, memory, ratio
from report_samples import Page, broken, cached, failing, profile, report

from bench.measurements import Memory, MemoryPoint, WorstText
from bench.report import Check
from bench.views.memory_bars import memory_chart, parts_above_baseline
from bench.views.plots import latency_cost, ndcg_interval, pareto_svg, size_cost
from bench.views.render import render_html
from bench.views.tracks import Scale, scale_of, whisker
from bench.views.whiskers import drop_columns, latency_columns
from export.fault import Fault


def memory_of(start: tuple[float, float, float], peak: tuple[float, float, float], mark: float) -> Memory:
    plain = memory(1.0, 1.0, 1.0, 1.0)
    point = MemoryPoint(*peak)
    return dataclasses.replace(
        plain, start=MemoryPoint(*start), load_peak=point, run_peak={"16": point}, load_high_water=mark
    )


@pytest.mark.parametrize(
    ("start", "peak", "mark", "expected"),
    [
        ((10, 20, 0), (30, 60, 2), 95, [20, 40, 2, 3]),
        ((10, 20, 3), (30, 60, 0), 95, [20, 37, 0, 5]),
        ((10, 20, 0), (30, 60, 2), 90, [20, 38, 2, 0]),
    ],
)
def test_the_parts_of_the_peak_add_up_to_it_though_a_kind_shrank(
    start: tuple[float, float, float],
    peak: tuple[float, float, float],
    mark: float,
    expected: list[float],
) -> None:
    found = memory_of(start, peak, mark)
    parts = parts_above_baseline(found)
    assert [amount for _, amount in parts] == pytest.approx(expected)
    assert sum(amount for _, amount in parts) == pytest.approx(found.peak_above_baseline)


def test_first_and_second_use_have_a_bar_each_on_one_scale_with_the_limit() -> None:
    limit = Check("ram_mb.peak_above_baseline", "pass", False, 216.0, None, 400.0, "within")
    chart = memory_chart(report(profile(), cached(checks=[limit])))
    assert [[bar.use for bar in bars] for _, bars in chart.rows] == [["every"], ["first", "second"]]
    assert chart.limit == 400
    assert chart.scale.high > 400
    for _, bars in chart.rows:
        for bar in bars:
            end = bar.segments[-1].start + bar.segments[-1].width
            assert end == pytest.approx(chart.scale.at(bar.peak), abs=0.05)


def test_a_broken_memory_limit_marks_the_second_use_alone() -> None:
    chart = memory_chart(report(cached(checks=[broken("ram_mb.anonymous")])))
    assert [bar.anonymous_mark for bar in chart.rows[0][1]] == ["", "fail"]


def test_an_open_interval_reaches_to_the_end_of_its_track() -> None:
    found = whisker(Scale(0.0, 10.0), 5.0, [2.5, None], 7.5)
    assert (found.low, found.at, found.limit, found.high) == (25.0, 50.0, 75.0, 100.0)


def test_alike_values_still_have_a_scale() -> None:
    for values in ([0.0], [0.3, 0.3], [], [None]):
        scale = scale_of(values)
        assert scale.low < scale.high
        assert scale.ticks


def test_drops_show_their_interval_and_limit_and_what_was_not_scored_is_left_out() -> None:
    check = broken("ndcg_drop_same_dim", limit=0.02)
    one = report(failing(check, ndcg_drop_asymmetric=None), profile("b", ndcg_drop_asymmetric=None))
    same, full = drop_columns(one)
    assert (same.title, full.title) == ("Same dimension", "Full dimension")
    first, second = same.cells
    assert (first.text, first.interval, first.mark) == ("0.0312", "[0.0302, 0.0322]", "fail")
    assert first.track is not None
    assert first.track.limit is not None
    assert first.track.limit < first.track.low < first.track.at < first.track.high
    assert second.track is not None
    assert second.track.limit is None


def test_latency_has_a_column_per_length_and_beside_it_the_ratio_to_fp32() -> None:
    reference = profile("fp32", latency_ratio={}, latency_ms={"16": latency(9.0, 9.5, 9.9)})
    columns = latency_columns(report(profile(latency_ratio={"256": ratio(0.9)}), reference))
    assert [column.title for column in columns] == [
        "16 tokens, ms", "256 tokens, ms", "256 tokens, over fp32"
    ]  # fmt: skip
    assert [[cell.text for cell in column.cells] for column in columns] == [
        ["14.1", "9.00"], ["171.2", "—"], ["0.90", "—"]
    ]  # fmt: skip
    assert "p99 190.3 ms of 30 runs" in columns[1].cells[0].note


def test_the_plot_has_an_error_bar_and_a_note_per_profile() -> None:
    one = profile("only", ndcg_drop_full_dim=drop(0.0411, half_width=0.01, reference=0.5532))
    assert ndcg_interval(one) == pytest.approx([0.5021, 0.5221])
    for cost in (size_cost(), latency_cost("256")):
        (note,) = re.findall(r"<title>([^<]*)</title>", pareto_svg([one], cost))
        assert note.startswith("only: ")
        assert "NDCG@10 0.5121 [0.5021, 0.5221], pass" in note


def test_a_hollow_marker_fails_and_every_plot_has_its_own_front() -> None:
    slow = profile("small", file_bytes=10, latency_ms={"256": latency(900.0, 950.0, 990.0)})
    html = render_html(report(slow, failing(broken("file_mb"), name="fast")))
    size, timed = (part.split("</svg>")[0] for part in html.split("<svg")[1:])
    assert ">small<" in size
    assert ">fast<" not in size
    assert ">fast<" in timed
    assert ">small<" not in timed
    assert "fill: var(--paper)" in size


def test_golden_texts_are_listed_the_worst_first_and_faults_by_name() -> None:
    worst = [WorstText("worst", 0.5, 0.98, False), WorstText("second", 0.7, 1.0, True)]
    one = profile(golden=golden(worst=worst), faults=[Fault("prompt-missing", "2 of 42 texts")])
    page = Page(render_html(report(one)))
    rows = [text for _, text in page.found("td", "text")]
    assert rows == ["2 of 42 texts", "worst", "second"]
    assert "✗ prompt-missing" in [text for _, text in page.found("td", "bad")]
    assert "✗ differ" in [text for _, text in page.found("td", "bad")]
    assert [text for _, text in page.found("tr", "more")] == ["q4_0-256d0.7000001.000000samesecond"]
