"""Hand-made reports of one or both runtimes, and what reads the views of them."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

from gate_samples import QUERIES, drop, golden, latency, memory, ratio

from bench.measurements import CacheState, WorstText
from bench.report import (
    FAIL,
    INCONCLUSIVE,
    REPORT_SCHEMA,
    Check,
    Comparison,
    Context,
    Profile,
    Reference,
    Report,
    Target,
)

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = '<script>alert(1)</script> | 🦀 שלום & "q" \''
"""A text that would break HTML, a Markdown table and a left-to-right layout."""


def profile(name: str = "q4_0-256d", **changes: Any) -> Profile:
    """A passing profile, with `changes`."""
    values: dict[str, Any] = {
        "name": name,
        "runtime": "onnxruntime",
        "precision": "q4_0",
        "dim": 256,
        "file_bytes": 198_400_000,
        "ndcg_at_10": 0.5121,
        "recall_at_10": 0.61,
        "mrr_at_10": 0.55,
        "ndcg_by_query": [0.5121] * QUERIES,
        "asymmetric_by_query": [0.52] * QUERIES,
        "ndcg_drop_same_dim": drop(0.0312, reference=0.5433),
        "ndcg_drop_full_dim": drop(0.0411, reference=0.5532),
        "ndcg_drop_asymmetric": drop(0.0201, reference=0.5433),
        "golden": golden(
            cosine_mean=0.9911, cosine_min=0.8732, worst=[WorstText("a hard text", 0.8732, 1.0, True)]
        ),
        "rounding_cosine_mean": 0.9951,
        "rounding_cosine_min": 0.9312,
        "load_ms": 812.4,
        "latency_ms": {"256": latency(171.2, 180.1, 190.3), "16": latency(14.1, 15.2, 17.3)},
        "latency_ratio": {"256": ratio(0.9), "16": ratio(0.7)},
        "ram_mb": memory(61.5, 275.5, 260.1, 104.7),
        "verdict": "pass",
        "first_ms": 16.3,
    }
    return Profile(**(values | changes))


def broken(metric: str, text: str = "", **changes: Any) -> Check:
    """A check that fails and blocks, with `changes`."""
    return dataclasses.replace(
        Check(metric, FAIL, True, None, None, None, text or f"{metric} is above"), **changes
    )


def undecided(metric: str, blocks: bool = True, text: str = "") -> Check:
    """A check that is inconclusive."""
    return Check(metric, INCONCLUSIVE, blocks, 0.0, [-1.0, 1.0], 0.5, text or f"{metric} may be above")


def failing(*checks: Check, name: str = "q4_0-256d", **changes: Any) -> Profile:
    """A profile that `checks` keep from shipping."""
    return profile(name, verdict="fail", checks=list(checks), **changes)


def report(*profiles: Profile, **changes: Any) -> Report:
    """A report over `profiles` (one passing profile when none is given), with `changes`."""
    context = Context(
        created="2025-01-02T03:04:05+00:00",
        target=Target("host", "Example CPU", 8, 4, "Linux-6.1"),
        versions={"python": "3.11.7", "onnxruntime": "1.29.0"},
        data={"name": "saltern", "split": "test", "sha256": "ab" * 32},
        query_prompt="task: search result | query: ",
        cache="page cache warm",
        reproduce="pocketvec bench artifacts/* --data saltern --out report",
    )
    values: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "context": context,
        "verdict": "pass",
        "reference": Reference(
            "fp32 PyTorch",
            {"128": 0.49, "768": 0.5532},
            {"128": [0.49] * QUERIES, "768": [0.5532] * QUERIES},
            {"128": 0.42, "768": 0.5011},
        ),
        "queries": [f"q{number}" for number in range(QUERIES)],
        "profiles": list(profiles) or [profile()],
        "gates": {"name": "gates.toml", "sha256": "cd" * 32},
    }
    return Report(**(values | changes))


def cached(name: str = "litert-q4_0-256d", **changes: Any) -> Profile:
    """A passing LiteRT profile, each state of its weight cache with figures of its own."""
    timed = profile().latency_ms["256"]
    states = {
        state: CacheState(
            load_ms=100.0 + index,
            first_ms=10.0 + index,
            latency_ms={"256": dataclasses.replace(timed, p50=170.0 + index)},
            ram_mb=memory(61.5, 275.5 + index, 260.1, 120.0 + index),
            cache_bytes=int(state != "none") * 2_100_000,
        )
        for index, state in enumerate(("none", "build", "warm"))
    }
    return profile(name, **{"runtime": "litert", "cache_states": states, **changes})


def comparison(**changes: Any) -> Comparison:
    """The profile of `cached` beside that of `profile`."""
    values: dict[str, Any] = {
        "onnx": "q4_0-256d",
        "litert": "litert-q4_0-256d",
        "dim": 256,
        "top10_overlap": 0.9375,
        "onnx_ndcg_at_10": 0.5121,
        "litert_ndcg_at_10": 0.5101,
        "ndcg_relative": 0.0039,
        "ndcg_error": 0.0055,
        "size_ratio": 0.95,
        "p50_length": "256",
        "p50_ratio": 0.52,
        "ram_ratio": 0.84,
    }
    return Comparison(**(values | changes))


def both_runtimes(**changes: Any) -> Report:
    """One profile in both runtimes, compared."""
    return report(profile(runtime="onnx"), cached(), comparisons=[comparison()], **changes)


class Page(HTMLParser):
    """Every element with its attributes and own text; fails on a tag that does not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {[self.elements[index][0] for index in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        opened = self.elements[self._open.pop()][0]
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def found(self, tag: str, css: str = "") -> list[tuple[dict[str, str | None], str]]:
        """(attributes, text) of elements called `tag` that have class `css`."""
        return [
            (attributes, " ".join("".join(texts).split()))
            for name, attributes, texts in self.elements
            if name == tag and (not css or css in (attributes.get("class") or "").split())
        ]


def table_cells(html: str, css: str) -> list[tuple[dict[str, str | None], str]]:
    """(attributes, text) of the cells of class `css` in the table of all profiles."""
    start = html.index('<table id="profiles">')
    return Page(html[start : html.index("</table>", start) + len("</table>")]).found("td", css)


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, split where a pipe is not escaped."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block] for block in blocks]


def assert_well_formed(markdown: str) -> None:
    tables = markdown_tables(markdown)
    assert len(tables) >= 3
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
        assert all(re.fullmatch(r" (:--|--:) ", cell) for cell in table[1])
