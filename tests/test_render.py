"""The three views of a report: nothing lost, nothing unescaped, nothing loaded from elsewhere."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from report_samples import HOSTILE, Page, assert_well_formed, markdown_tables, profile, report

from bench.markdown import render_markdown
from bench.pareto import pareto_front
from bench.render import render_html, render_text, write_views
from bench.report import Memory, Reference, Report


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("file_mb", "198.4"),
        ("ndcg_drop_same_dim", "0.0312"),
        ("ndcg_drop_full_dim", "0.0411"),
        ("ndcg_drop_asymmetric", "0.0201"),
        ("ram_mb.peak_above_baseline", "214.0"),
        ("ram_mb.anonymous", "104.7"),
        ("latency_ms.256.p90", "180.1"),
        ("latency_ms.512.p90", "—"),
        ("latency_ratio.256", "0.90"),
        ("golden.cosine_mean", "0.9911"),
        ("golden.cosine_min", "0.8732"),
        ("golden.ids_equal", "yes"),
        ("golden.finite", "fail"),
        ("faults.prompt_missing", "fail"),
        ("no_such_metric", "fail"),
    ],
)
def test_the_cell_of_a_broken_limit_is_marked_with_its_reason(metric: str, shown: str) -> None:
    text = f"{metric} 1 is above 0 (of_this)"
    one = report(failing(broken(metric, text)), verdict="fail")
    ((attributes, found),) = table_cells(render_html(one), "bad")
    assert text in (attributes["title"] or "").splitlines()
    assert found.endswith(shown)
    assert "✗" in found
    assert "more" not in (attributes["class"] or "").split(), "a marked column is never left out"
    assert f"✗ **{shown}" in render_markdown(one)
    assert f"- ✗ q4_0-256d: {text}" in render_markdown(one)


def test_what_is_inconclusive_is_marked_apart_from_what_fails_and_blocks_or_warns() -> None:
    blocked = failing(undecided("ndcg_drop_same_dim"), name="blocked")
    warned = profile("warned", checks=[undecided("ndcg_drop_full_dim", blocks=False)])
    one = report(blocked, warned, failing(broken("file_mb"), name="broken"), verdict="fail")
    html, markdown, text = render_html(one), render_markdown(one), render_text(one)
    assert [shown.split()[-1] for _, shown in table_cells(html, "unsure")] == ["0.0312", "0.0411"]
    assert [shown.split()[-1] for _, shown in table_cells(html, "bad")] == ["198.4"]
    assert [shown for _, shown in Page(html).found("span", "badge")] == [
        "✗ fail", "? inconclusive", "✓ pass", "✗ fail"
    ]  # fmt: skip
    assert "1 of 3 profiles may ship. 1 fails, 1 is inconclusive." in Page(html).found("h1")[0][1]
    assert "- ? inconclusive: **NDCG lost at the same dimension**: blocked\n" in markdown
    assert "- ? warned: ndcg" in markdown.split("## Warnings")[1]
    assert "0.0312±0.0010?" in text
    assert "0.0411?" in text
    assert "fail?" in text
    assert text.index("blocked: ndcg") < text.index("Warnings") < text.index("warned: ndcg")


def test_a_note_tells_the_interval_the_limit_and_the_check() -> None:
    check = Check("ram_mb.anonymous", PASS, False, 104.7, None, 200, "ram_mb.anonymous 104.7 is within 200")
    page = Page(render_html(report(profile(checks=[check]))))
    notes = {attributes["title"] for attributes, _ in page.found("td") if "title" in attributes}
    assert "ram_mb.anonymous 104.7 is within 200" in notes
    assert "95 % interval [0.03020, 0.03220]" in notes


def test_two_reasons_for_one_metric_share_its_cell() -> None:
    checks = [broken("ram_mb.anonymous", "over 100"), broken("ram_mb.anonymous", "over 90")]
    ((attributes, _),) = table_cells(render_html(report(failing(*checks))), "bad")
    assert attributes["title"] == "over 100\nover 90"
    assert Page(render_html(report())).found("td", "bad") == []


def test_findings_name_each_kind_of_metric_once_the_commonest_first() -> None:
    ratios = [broken("latency_ratio.16"), broken("latency_ratio.256")]
    one = report(
        failing(broken("file_mb"), name="a"), failing(*ratios, name="b"), failing(*ratios, name="c")
    )
    found = [(each.title, each.lengths, each.profiles) for each in findings(one)]
    assert found == [("latency over fp32", ("16", "256"), (1, 2)), ("file size", (), (0,))]
    assert "- ✗ **latency over fp32 (16, 256 tokens)**: b, c\n" in render_markdown(one)


def test_foreign_texts_are_escaped_everywhere() -> None:
    bad = failing(
        broken(HOSTILE, HOSTILE),
        name=HOSTILE,
        precision=HOSTILE,
        golden=golden(worst=[GoldenResult(HOSTILE, 0.1, 1.0, False)]),
        faults=[Fault(HOSTILE, HOSTILE)],
    )
    context = dataclasses.replace(
        report().context, query_prompt=HOSTILE, cache=HOSTILE, reproduce=HOSTILE, data={"name": HOSTILE}
    )
    gates = {"name": HOSTILE, "sha256": HOSTILE}
    reference = Reference(HOSTILE, {"256": 0.5}, {"256": [0.5] * QUERIES})
    hostile = report(bad, context=context, reference=reference, gates=gates)
    html = render_html(hostile)
    assert "<script>alert" not in html
    assert len(Page(html).found("script")) == 1
    assert any(text == f"“{HOSTILE}”" for _, text in Page(html).found("dd"))
    assert HOSTILE in [text for _, text in Page(html).found("td", "text")]
    assert "<script>" not in render_markdown(hostile).split("## Reproduce")[0]
    assert_well_formed(render_markdown(hostile))


def test_the_only_script_that_may_run_is_the_pages_own() -> None:
    page = Page(render_html(report()))
    policy = next(one["content"] for one, _ in page.found("meta") if "http-equiv" in one) or ""
    source = render_html(report()).split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    assert_well_formed(render_markdown(report(profile("a"), profile("b", latency_ms={}))))


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = render_html(report())
    assert not re.search(r"https?:|@import|url\((?!#)", page)
    for tag, attributes, _ in Page(page).elements:
        assert tag not in {"link", "img", "iframe"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_ids_are_unique_and_references_resolve() -> None:
    page = render_html(report(profile("a"), profile("b", file_bytes=10)))
    ids = [attributes["id"] for _, attributes, _ in Page(page).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', page)) <= set(ids)


def test_every_heading_sorts_and_numbers_are_keyed_unrounded() -> None:
    page = Page(render_html(report(profile(ndcg_at_10=0.51239999))))
    sortable = [attributes for attributes, _ in page.found("th") if "aria-sort" in attributes]
    cells = [attributes for attributes, _ in page.found("td") if "data-key" in attributes]
    assert [text for _, text in page.found("caption")], "every table says what it is"
    assert len(sortable) == len(page.found("button")) == len(cells) + 1
    assert {attributes["aria-sort"] for attributes in sortable} == {"none"}
    assert "0.51239999" in {attributes["data-key"] for attributes in cells}


def test_ram_over_baseline_is_the_higher_peak_less_the_baseline() -> None:
    running = profile(ram_mb=memory(60.0, 100.0, 160.5, 1.0))
    heads, _, row = markdown_tables(render_markdown(report(running)))[1]
    assert row[heads.index(" Memory MB: RAM over baseline ")] == " 100.5 "


UNMEASURED = ("ndcg_drop_same_dim", "ndcg_drop_full_dim", "rounding_cosine_mean", "rounding_cosine_min")


def test_what_was_not_measured_is_a_dash() -> None:
    nothing: dict[str, Any] = dict.fromkeys(UNMEASURED)
    bare = report(profile(**nothing), reference=None)
    dashes = [attributes for attributes, text in Page(render_html(bare)).found("td") if text == "—"]
    assert [attributes["data-key"] for attributes in dashes] == [""] * len(UNMEASURED)
    assert render_markdown(bare).count(" — ") == len(UNMEASURED)
    for text in (render_html(bare), render_markdown(bare), render_text(bare)):
        assert "None" not in text


def test_the_reference_table_shows_the_gain_or_a_dash() -> None:
    after_only = report(reference=Reference("fp32", {"64": 0.4, "512": 0.5}, {"512": 0.45}))
    table = markdown_tables(render_markdown(after_only))[2]
    assert table[2:] == [[" 512 ", " 0.4500 ", " 0.5000 ", " +0.0500 "], [" 64 ", " — ", " 0.4000 ", " — "]]


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ({"big": (900, 0.60), "mid": (400, 0.58), "worse": (500, 0.57), "small": (200, 0.50)},
         ["small", "mid", "big"]),
        ({"same size": (200, 0.50), "better": (200, 0.55)}, ["better"]),
        ({"same score": (300, 0.50), "smaller": (200, 0.50)}, ["smaller"]),
        ({"twin": (200, 0.50), "other twin": (200, 0.50)}, ["twin", "other twin"]),
        ({}, []),
    ],
)  # fmt: skip
def test_the_pareto_front_keeps_what_nothing_beats(
    points: dict[str, tuple[int, float]], front: list[str]
) -> None:
    profiles = [profile(name, file_bytes=size, ndcg_at_10=score) for name, (size, score) in points.items()]
    assert pareto_front(profiles) == front


def test_only_the_front_is_labelled_in_the_plot_and_marked_in_the_lists() -> None:
    best, beaten = profile("best"), profile("beaten", file_bytes=300_000_000, ndcg_at_10=0.4)
    plot = render_html(report(best, beaten)).split("<svg")[1]
    assert ">best<" in plot
    assert ">beaten<" not in plot
    markdown = render_markdown(report(best, beaten))
    assert "- best: 198.4 MB, NDCG@10 0.5121 ◆\n- beaten: 300.0 MB, NDCG@10 0.4000\n" in markdown


def test_the_latency_plot_has_a_row_per_profile_and_a_colour_per_length() -> None:
    plot = render_html(report(profile("slow"), profile("unmeasured", latency_ms={}))).split("<svg")[2]
    for label in ("slow", "unmeasured", "16 tokens", "256 tokens"):
        assert f">{label}<" in plot


def test_a_failing_profile_is_not_among_those_that_may_ship() -> None:
    markdown = render_markdown(report(profile("good"), failing(broken("file_mb"), name="bad")))
    section = markdown.split("## May ship")[1].split("##")[0]
    assert "- good" in section
    assert "bad" not in section


@pytest.mark.parametrize("verdict", ["pass", "fail", "ungated"])
def test_every_view_states_the_verdict(verdict: str) -> None:
    shown = report(profile(verdict=verdict), verdict=verdict)
    assert verdict in Page(render_html(shown)).found("h1")[0][1]
    assert verdict in render_markdown(shown).splitlines()[0]
    assert render_text(shown).startswith(verdict.upper())


def test_the_context_is_whole_in_both_files() -> None:
    markdown, html = render_markdown(report()), render_html(report())
    for fact in (
        "Example CPU",
        "8 cores",
        "1.29.0",
        "ab" * 32,
        "page cache warm",
        "1,000,000 bytes",
        "61.5 MB",
    ):
        assert fact in markdown
        assert fact in html


def test_the_terminal_table_fits_and_marks_what_fails_and_cannot_steer_the_terminal() -> None:
    reason = "golden_cosine_min 0.8732 is below 0.9 (q4_0); worst text " + "long " * 40
    failing = profile("embeddinggemma-with-a-long-name-q4_0-256d", verdict="fail", reasons=[reason])
    text = render_text(report(profile(), failing))
    assert max(map(len, text.splitlines())) <= 110
    assert "0.8732!" in text
    assert "0.8732 " in text
    assert "\x1b" not in render_text(report(profile("red\x1b[31m")))


@pytest.mark.parametrize("empty", [report(profiles=[]), report(profile(latency_ms={}))])
def test_a_report_without_profiles_or_latencies_still_renders(empty: Report) -> None:
    assert Page(render_html(empty)).found("h1")
    assert render_markdown(empty)
    assert render_text(empty)


def test_two_renderings_are_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_views(report(), folder)
    for name in ("report.md", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
