"""report.html in a real browser: quiet, offline, sortable, marked where it should be, readable on a phone.

Skipped where no Chromium is installed, unless POCKETVEC_REQUIRE_BROWSER is 1.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Literal

import pytest
from gate_samples import drop
from playwright.sync_api import Browser, Dialog, Locator, Page, sync_playwright
from report_samples import HOSTILE, broken, cached, comparison, failing, profile, report, undecided

from bench.views.render import render_html

REQUIRE = "POCKETVEC_REQUIRE_BROWSER"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ["onnx-good-256d", "litert-good-256d", "onnx-breaks-256d", "onnx-undecided-256d", HOSTILE]
SIZES = [198.4, 198.4, 40.0, 1000.0, 198.4]
TIMEOUT_MS = 5000
NDCG, SAME_DIM = "NDCG@10", "Same dim"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = f"no browser: none of {', '.join(BROWSERS)} is installed"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{missing}, and {REQUIRE} is 1")
        pytest.skip(missing)
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with two passing profiles, a failing, an inconclusive and a hostile one."""
    breaks = failing(broken("golden.cosine_min"), name=NAMES[2], file_bytes=40_000_000, runtime="onnx")
    open_ = failing(undecided("ndcg_drop_same_dim"), name=NAMES[3], file_bytes=1_000_000_000, ndcg_at_10=0.45)
    profiles = [profile(NAMES[0], runtime="onnx"), cached(NAMES[1]), breaks, open_]
    hostile = profile(HOSTILE, ndcg_drop_same_dim=None, ndcg_drop_full_dim=drop(0.01))
    pair = comparison(onnx=NAMES[0], litert=NAMES[1])
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(report(*profiles, hostile, comparisons=[pair], verdict="fail")), "utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page; at the end nothing was logged, thrown, or asked of any network."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    opened = context.new_page()
    troubles: list[str] = []

    def refuse(dialog: Dialog) -> None:
        troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("dialog", refuse)
    opened.on("request", lambda asked: troubles.append(asked.url) if asked.url != address else None)
    opened.goto(address)
    yield opened
    context.close()
    assert troubles == []


def names(page: Page) -> list[str]:
    """The profiles in the order of their rows."""
    heads = page.locator("#profiles tbody tr > th").all()
    return [head.get_attribute("data-key") or "" for head in heads]


def heading(page: Page, title: str) -> Locator:
    return page.locator("#profiles [aria-sort]", has=page.get_by_role("button", name=title, exact=True))


def cell(page: Page, profile: int, title: str) -> Locator:
    """The cell of a profile in the column with that title."""
    column = heading(page, title).evaluate("head => head.cellIndex")
    return page.locator(f"#profile-{profile} > :nth-child({column + 1})")


def test_a_heading_sorts_up_then_down_by_mouse_and_by_keyboard(page: Page) -> None:
    assert names(page) == NAMES
    head = heading(page, "Size MB")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [SIZES[NAMES.index(name)] for name in names(page)] == sorted(SIZES)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [SIZES[NAMES.index(name)] for name in names(page)] == sorted(SIZES, reverse=True)
    heading(page, NDCG).get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert names(page)[0] == NAMES[3]


def test_what_was_not_measured_sorts_last_both_ways(page: Page) -> None:
    for _ in range(2):
        heading(page, SAME_DIM).get_by_role("button").click()
        assert names(page)[-1] == HOSTILE


def test_the_failing_and_the_inconclusive_cell_are_the_right_ones(page: Page) -> None:
    assert page.locator("#profiles td.bad").count() == 1
    assert "bad" in (cell(page, 2, "Min").get_attribute("class") or "")
    assert page.locator("#profiles td.unsure").count() == 1
    assert "unsure" in (cell(page, 3, SAME_DIM).get_attribute("class") or "")
    colours = {
        page.locator(f"#profiles td.{css}").evaluate("one => getComputedStyle(one).backgroundColor")
        for css in ("bad", "unsure")
    }
    assert len(colours) == 2
    assert cell(page, 2, "Min").is_visible()


def test_the_note_of_a_cell_shows_on_focus_on_hovering_and_on_the_next_cell(page: Page) -> None:
    tip = page.get_by_role("tooltip")
    bad = cell(page, 2, "Min")
    bad.focus()
    assert "golden.cosine_min is above" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    cell(page, 0, SAME_DIM).hover()
    assert "95 % interval" in tip.inner_text()
    bad.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.cellIndex") < bad.evaluate("one => one.cellIndex")
    assert page.evaluate("document.activeElement.offsetParent !== null")


def test_all_columns_are_shown_on_request(page: Page) -> None:
    recall = heading(page, "Recall@10")
    assert not recall.is_visible()
    page.get_by_label("All columns").check()
    assert recall.is_visible()


def test_the_plot_switches_between_size_and_latency(page: Page) -> None:
    size, latency = page.locator(".plot.by-size svg"), page.locator(".plot.by-latency svg")
    assert size.is_visible()
    assert not latency.is_visible()
    page.get_by_text("Latency, 256 tokens", exact=True).first.click()
    assert latency.is_visible()
    assert not size.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) > 20
    assert [one for one in ratios if one[0] < 4.5] == []


def test_a_phone_does_not_scroll_sideways_with_every_row_and_column_shown(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 812})
    page.get_by_label("All columns").check()
    width = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert page.evaluate(width) == [375, 375]


def test_print_shows_both_plots_and_hides_what_only_a_screen_can_use(page: Page) -> None:
    cell(page, 2, "Min").focus()
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("nav", ".switch", "#tip", "label[for=all-columns]"):
        assert not page.locator(hidden).first.is_visible(), hidden
    for shown in (".plot.by-size svg", ".plot.by-latency svg", "#reasons"):
        assert page.locator(shown).is_visible(), shown
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ownText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("main *:not(svg *)")]
    .filter((one) => ownText(one) && one.checkVisibility())
    .map((one) => {
      const both = [light(parse(getComputedStyle(one).color)), light(behind(one))];
      const [high, low] = both.sort((a, b) => b - a);
      return [(high + 0.05) / (low + 0.05), one.outerHTML.slice(0, 90)];
    });
}"""
