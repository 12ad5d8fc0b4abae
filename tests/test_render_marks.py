"""What a limit says is shown where its value is: failing, inconclusive, and in words."""

from __future__ import annotations

import pytest
from report_samples import Page, broken, failing, profile, report, table_cells, undecided

from bench.report import PASS, Check
from bench.views.markdown import render_markdown
from bench.views.outcomes import findings
from bench.views.render import render_html
from bench.views.terminal import render_text


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
        ("faults.prompt-missing", "fail"),
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
    one = report(failing(broken("file_mb"), name="a"), failing(*ratios, name="b"), failing(*ratios, name="c"))
    found = [(each.title, each.lengths, each.profiles) for each in findings(one)]
    assert found == [("latency over fp32", ("16", "256"), (1, 2)), ("file size", (), (0,))]
    assert "- ✗ **latency over fp32 (16, 256 tokens)**: b, c\n" in render_markdown(one)
