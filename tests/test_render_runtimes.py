"""The views of a report that holds both runtimes: the comparison, the weight cache, plots that tell apart."""

from __future__ import annotations

import re

from report_samples import (
    HOSTILE,
    Page,
    assert_well_formed,
    both_runtimes,
    broken,
    cached,
    comparison,
    markdown_tables,
    profile,
    report,
)

from bench.views.markdown import render_markdown
from bench.views.render import render_html
from bench.views.terminal import render_text


def test_the_comparison_and_the_weight_cache_have_a_table_in_every_view() -> None:
    both = both_runtimes()
    markdown, html, text = render_markdown(both), render_html(both), render_text(both)
    for title in ("Runtimes compared", "Weight cache: without, first use, warm"):
        assert f"## {title}\n" in markdown
        assert title in [found for _, found in Page(html).found("h2")]
    for shown in ("0.9375", "0.0039", "0.0055", "0.52", "0.84", "100.0", "101.0", "102.0", "170.0", "216.0"):
        assert shown in markdown
        assert shown in html
        assert shown in text
    assert_well_formed(markdown)


def test_the_weight_cache_table_puts_each_cost_of_the_three_states_side_by_side() -> None:
    head, _, row = markdown_tables(render_markdown(both_runtimes()))[3]
    shown = dict(zip(map(str.strip, head), map(str.strip, row), strict=True))
    assert shown.pop("Profile") == "litert-q4_0-256d"
    expected = {
        "Load ms": ("100.0", "101.0", "102.0"),
        "First text ms": ("10.0", "11.0", "12.0"),
        "p50 ms, 256 tokens": ("170.0", "171.0", "172.0"),
        "RAM over baseline MB": ("214.0", "215.0", "216.0"),
        "Anonymous MB": ("120.0", "121.0", "122.0"),
        "Whole process MB": ("275.5", "276.5", "277.5"),
    }
    for cost, values in expected.items():
        assert tuple(shown.pop(f"{cost}: {state}") for state in ("None", "Build", "Warm")) == values
    assert shown == {"Cache: MB": "2.1"}


def test_weight_caches_of_both_runtimes_share_a_table_that_names_neither() -> None:
    onnx, bare = cached("onnx-q4_0-256d", runtime="onnx"), profile("onnx-fp32-256d", runtime="onnx")
    markdown = render_markdown(report(bare, onnx, cached()))
    rows = [row[0].strip() for row in markdown_tables(markdown)[2][2:]]
    assert rows == ["onnx-q4_0-256d", "litert-q4_0-256d"]
    assert "pads a text" in markdown
    alone = report(bare, onnx)
    for text in (render_markdown(alone), render_html(alone), render_text(alone)):
        assert "eight cache" in text
        for absent in ("LiteRT", "XNNPACK"):
            assert absent not in text


def test_a_report_without_litert_has_neither_table() -> None:
    for text in (render_markdown(report()), render_html(report()), render_text(report())):
        for absent in ("compared", "eight cache", "LiteRT"):
            assert absent not in text


def test_a_disagreement_marks_its_cell_in_the_comparison_and_the_profiles_verdict() -> None:
    reason = "runtime_agreement.ndcg_relative 0.0039 is above 0.002 (q4_0 against q4_0-256d)"
    disagrees = cached(verdict="fail", checks=[broken("runtime_agreement.ndcg_relative", reason)])
    both = report(profile(runtime="onnx"), disagrees, comparisons=[comparison()], verdict="fail")
    marked = Page(render_html(both)).found("td", "bad")
    assert [attributes["title"] for attributes, _ in marked] == [reason, reason]
    assert [text.split()[-1] for _, text in marked] == ["fail", "0.0039"]
    assert "✗ **0.0039**" in render_markdown(both)
    assert "0.0039!" in render_text(both)


def test_hostile_names_are_escaped_in_the_tables_of_both_runtimes() -> None:
    hostile = comparison(onnx=HOSTILE, litert=HOSTILE)
    both = report(profile(HOSTILE, runtime="onnx"), cached(HOSTILE), comparisons=[hostile])
    assert len(Page(render_html(both)).found("script")) == 1
    assert_well_formed(render_markdown(both))
    assert "<script>" not in render_markdown(both)


def test_plots_tell_precisions_by_colour_and_runtimes_by_marker() -> None:
    both = report(profile("a", runtime="onnx", precision="q8_0"), cached(precision="int8"))
    for plot in render_html(both).split("<svg")[1:]:
        for label in ("onnx", "litert"):
            assert f">{label}<" in plot
    size = render_html(both).split("<svg")[1]
    assert ">q8_0 / int8<" in size
    assert "--series-0" in size
    assert "--series-1" not in size
    eights = report(*both.profiles, profile("c", runtime="onnx", precision="int8"))
    size = render_html(eights).split("<svg")[1]
    for label in ("q8_0", "int8"):
        assert f">{label}<" in size
    assert "--series-1" in size
    alone = render_html(report(profile("a", runtime="onnx"), profile("b", runtime="onnx", precision="int8")))
    assert ">onnx<" not in alone.split("<svg")[1]
    assert ">int8<" in alone.split("<svg")[1]


def test_eight_precisions_in_three_runtimes_have_a_colour_each_that_the_page_defines() -> None:
    precisions = ("fp32", "q8_0", "int8", "q4_0", "mixed", "auto", "custom", "mine")
    profiles = [profile(one, precision=one, runtime="onnx") for one in precisions]
    page = render_html(report(*profiles, profile("g", runtime="gguf"), cached()))
    _, size, _ = page.split("<svg")
    for index in range(len(precisions)):
        assert f"var(--series-{index})" in size
        assert page.count(f"--series-{index}: #") == 2, "one for light and one for dark pages"


def test_the_legend_reads_by_row_precisions_first() -> None:
    precisions = ["fp32", "q8_0", "int8", "q4_0", "mixed", "auto"]
    onnx = [profile(f"a profile in {one}", precision=one) for one in precisions]
    size = render_html(report(*onnx, cached())).split("<svg")[1]
    labels = [*precisions, "onnxruntime", "litert"]
    places = {}
    for label in labels:
        found = re.search(rf'<text [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>{label}</text>', size)
        assert found, label
        places[label] = (round(float(found[2])), float(found[1]))
    assert sorted(labels, key=places.__getitem__) == labels
    assert len({row for row, _ in places.values()}) == 2


def test_twenty_four_profiles_fit_the_terminal() -> None:
    names = [f"{one}-{dim}d" for one in ("fp32", "q8_0", "q4_0") for dim in (768, 512, 256, 128)]
    onnx = [profile(f"onnx-{name}", runtime="onnx") for name in names]
    litert = [cached(f"litert-{name}") for name in names]
    pairs = [comparison(onnx=f"onnx-{name}", litert=f"litert-{name}") for name in names]
    lines = render_text(report(*onnx, *litert, comparisons=pairs)).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("litert-fp32-768d ") for line in lines) == 3


def test_what_could_not_be_compared_is_a_dash() -> None:
    bare = comparison(ndcg_error=None, p50_length=None, p50_ratio=None, ram_ratio=None)
    both = report(profile(runtime="onnx"), cached(latency_ms={}, cache_states={}), comparisons=[bare])
    for text in (render_markdown(both), render_html(both), render_text(both)):
        assert "None" not in text
    assert render_markdown(both).count(" — ") >= 3
