"""The three views of a report: nothing lost, nothing unescaped, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from gate_samples import QUERIES, golden, memory
from report_samples import (
    HOSTILE,
    Page,
    assert_well_formed,
    broken,
    failing,
    markdown_tables,
    profile,
    report,
)

from bench.measurements import WorstText
from bench.pareto import pareto_front
from bench.report import Reference, Report
from bench.views.markdown import render_markdown
from bench.views.render import render_html, write_views
from bench.views.terminal import render_text
from export.fault import Fault


def test_foreign_texts_are_escaped_everywhere() -> None:
    bad = failing(
        broken(HOSTILE, HOSTILE),
        name=HOSTILE,
        precision=HOSTILE,
        golden=golden(worst=[WorstText(HOSTILE, 0.1, 1.0, False)]),
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


UNMEASURED = (
    "ndcg_drop_same_dim",
    "ndcg_drop_full_dim",
    "ndcg_drop_asymmetric",
    "rounding_cosine_mean",
    "rounding_cosine_min",
)


def test_what_was_not_measured_is_a_dash() -> None:
    nothing: dict[str, Any] = dict.fromkeys(UNMEASURED)
    bare = report(profile(**nothing), reference=None)
    dashes = [attributes for attributes, text in Page(render_html(bare)).found("td") if text == "—"]
    assert [attributes["data-key"] for attributes in dashes] == [""] * len(UNMEASURED)
    assert render_markdown(bare).count(" — ") == len(UNMEASURED)
    for text in (render_html(bare), render_markdown(bare), render_text(bare)):
        assert "None" not in text


def test_the_reference_table_shows_the_gain_or_a_dash() -> None:
    after = {"64": 0.4, "512": 0.5}
    after_only = report(reference=Reference("fp32", after, {}, {"512": 0.45}))
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
        "gates.toml, SHA-256 " + "cd" * 32,
        "pocketvec bench artifacts/* --data saltern --out report",
        "pocketvec gate report.json --gates gates.toml",
    ):
        assert fact in markdown
        assert fact in html


def test_the_terminal_table_fits_and_marks_what_fails_and_cannot_steer_the_terminal() -> None:
    reason = broken("golden.cosine_min", "golden.cosine_min 0.8732 is below 0.9; worst text " + "long " * 40)
    name = "embeddinggemma-with-a-long-name-q4_0-256d"
    text = render_text(report(profile(), failing(reason, name=name)))
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


@pytest.mark.parametrize("count", [4, 28, 60])
def test_views_stay_small_and_the_terminal_narrow_however_many_profiles(count: int) -> None:
    checks = [broken("ram_mb.anonymous", "ram_mb.anonymous 301.2 is above 200 (MB)")]
    profiles = [
        failing(*checks, name=f"onnx-{'a-long-name-' * (index % 5)}{index}") for index in range(count)
    ]
    many = report(*profiles, verdict="fail")
    assert len(render_html(many).encode()) < 80_000 + 18_000 * count
    assert len(render_markdown(many).encode()) < 5_000 + 2_000 * count
    assert max(map(len, render_text(many).splitlines())) <= 110
