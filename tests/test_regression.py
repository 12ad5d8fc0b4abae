"""A report against an earlier one: an unchanged model passes, a worse one does not, noise is not a change."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_samples import QUERIES, golden, latency, memory
from report_samples import HOSTILE, markdown_tables, profile, report
from test_junit import parsed

from bench.limits import Budget, Gates, RegressionLimits, read_regression_gates
from bench.measurements import LatencyRatio
from bench.regression import ProfileChange, Regression, compare_reports
from bench.report import Profile, Report
from bench.report_file import write_report
from bench.views.regression_views import render_changes_markdown, render_changes_text
from export.fault import Fault
from pocketvec import DEFAULT_GATES
from pocketvec.cli import main

SCORES = np.random.default_rng(7).uniform(0.2, 0.8, QUERIES).round(6)
DEFAULT = read_regression_gates(DEFAULT_GATES)


def noise() -> np.random.Generator:
    """Anew in each test, so that none depends on which ones ran before it."""
    return np.random.default_rng(8)


def timed(ratio: float, spread: float = 0.05, runs: int = 50, seed: int = 0) -> LatencyRatio:
    """Neighbouring timings whose ratio scatters around `ratio`."""
    noise = np.random.default_rng(seed).normal(1, spread, runs).clip(0.5, 1.5)
    ms = [float(one) for one in ratio * noise * 10]
    median = float(np.median(ms) / 10)
    return LatencyRatio("fp32", median, [median * 0.99, median * 1.01], ms, [10.0] * runs)


def scored(scores: Any = SCORES, **changes: Any) -> Profile:
    by_query = [float(one) for one in scores]
    values: dict[str, Any] = {
        "ndcg_by_query": by_query,
        "ndcg_at_10": float(np.mean(by_query)),
        "latency_ratio": {"256": timed(0.9), "16": timed(0.7)},
    }
    return profile(**(values | changes))


OLD = report(scored())


def compared(new: Profile | Report, gates: Gates = DEFAULT, old: Report = OLD) -> Regression:
    return compare_reports(old, new if isinstance(new, Report) else report(new), gates)


def only(found: Regression) -> ProfileChange:
    (one,) = found.profiles
    return one


def limited(**limits: Any) -> Gates:
    return Gates("pocketvec.gates/2", regression=RegressionLimits(**limits))


def test_an_unchanged_report_passes_and_nothing_in_it_has_changed() -> None:
    found = compared(OLD)
    assert (found.verdict, found.context) == ("pass", {})
    assert not any(change.changed for change in only(found).changes.values())
    assert {check.outcome for check in only(found).checks} == {"pass"}


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_same_model_measured_again_passes(seed: int) -> None:
    """Another session: RAM up by the noise it has, timings that scatter anew."""
    again = scored(
        latency_ratio={"256": timed(0.9, seed=seed), "16": timed(0.7, seed=seed + 100)},
        ram_mb=memory(61.5, 275.5 + 214 * 0.04, 260.1, 104.7 * 1.04),
    )
    found = compared(again)
    assert found.verdict == "pass"
    changed = [metric for metric, change in only(found).changes.items() if change.changed]
    assert [metric for metric in changed if not metric.startswith("latency_ratio")] == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": SCORES * 0.9}, "regression.ndcg_at_10 0.0"),
        ({"golden": golden(cosine_min=0.85)}, "regression.golden.cosine_min 0.850000 is below"),
        ({"golden": golden(ids_equal=False)}, "regression.golden.ids_equal: true in the earlier report"),
        ({"golden": golden(finite=False)}, "regression.golden.finite: true in the earlier report"),
        ({"file_bytes": 201_000_000}, "regression.file_mb 201 is above 200.384 (MB; it was 198.4, 0.01 more"),
        (
            {"ram_mb": memory(61.5, 300.0, 260.1, 104.7)},
            "regression.ram_mb.peak_above_baseline 238.5 is above",
        ),
        ({"ram_mb": memory(61.5, 275.5, 260.1, 116.0)}, "regression.ram_mb.anonymous 116 is above 115.17"),
        ({"latency_ratio": {"256": timed(1.3), "16": timed(0.7)}}, "regression.latency_ratio.256 1.44"),
        ({"latency_ratio": {"256": timed(0.9)}}, "regression.latency_ratio.16 not measured"),
        ({"faults": [Fault("prompt doubled", "twice")]}, "regression.faults.prompt doubled: twice"),
    ],
)
def test_each_way_of_being_worse_fails_and_is_named(changes: dict[str, Any], reason: str) -> None:
    base = {"golden": golden()} if "golden" in changes else {}
    found = compared(scored(**changes), old=report(scored(**base)))
    assert (found.verdict, only(found).verdict) == ("fail", "fail")
    assert [line for line in only(found).reasons if line.startswith(reason)] != []


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": SCORES * 1.1},
        {"golden": golden(cosine_min=0.99)},
        {"file_bytes": 1_000_000},
        {"ram_mb": memory(61.5, 100.0, 100.0, 50.0)},
        {"latency_ratio": {"256": timed(0.4), "16": timed(0.3)}},
    ],
)
def test_being_better_passes_and_counts_as_a_change(changes: dict[str, Any]) -> None:
    found = compared(scored(**changes))
    assert found.verdict == "pass"
    assert any(change.changed for change in only(found).changes.values())


def test_scores_are_paired_by_query_so_that_a_small_even_loss_is_seen() -> None:
    """The scores scatter by a hundred times what each of them loses."""
    found = only(compared(scored(SCORES - 0.002), limited(ndcg=Budget(absolute=0.001))))
    assert (found.verdict, found.changes["ndcg_at_10"].changed) == ("fail", True)
    shuffled = only(
        compared(scored(noise().permutation(SCORES - 0.002)), limited(ndcg=Budget(absolute=0.001)))
    )
    assert found.lost is not None
    assert shuffled.lost is not None
    assert shuffled.changes["ndcg_at_10"].changed is False
    assert shuffled.lost.error > 10 * found.lost.error


@pytest.mark.parametrize(("word", "verdict"), [(None, "fail"), ("fail", "fail"), ("warn", "pass")])
def test_a_loss_that_the_queries_cannot_decide_blocks_unless_it_is_to_warn(
    word: str | None, verdict: str
) -> None:
    noisy = scored((SCORES + noise().normal(0, 0.1, QUERIES)).clip(0, 1))
    found = compared(noisy, limited(ndcg=Budget(relative=0.02, inconclusive=word)))
    assert found.verdict == verdict
    (check,) = only(found).checks
    assert check.outcome == "inconclusive"
    assert "more queries would decide" in check.text
    assert only(found).warnings == ([check.text] if word == "warn" else [])


def test_a_latency_ratio_counts_only_as_far_as_both_intervals_tell() -> None:
    gates = limited(latency_ratio=Budget(relative=0.05))
    for spread, outcome in ((0.01, "fail"), (0.5, "inconclusive")):
        old = report(scored(latency_ratio={"256": timed(0.9, spread, seed=3)}))
        found = only(compared(scored(latency_ratio={"256": timed(1.0, spread, seed=4)}), gates, old))
        assert found.checks[0].outcome == outcome


def test_a_ratio_that_the_earlier_report_lacks_is_not_held_against_the_new_one() -> None:
    found = only(compared(OLD, old=report(scored(latency_ratio={}))))
    assert {one.outcome for one in found.checks if "latency" in one.metric} == {"not applied"}
    assert found.verdict == "pass"


def test_a_vanished_profile_fails_a_new_one_does_not_and_a_fault_that_is_gone_is_told() -> None:
    old = report(scored(name="kept", faults=[Fault("wrong pooling", "cls")]), scored(name="dropped"))
    new = report(scored(name="added"), scored(name="kept"))
    found = compared(new, old=old)
    assert {one.name: (one.presence, one.verdict) for one in found.profiles} == {
        "added": ("new", "pass"),
        "kept": ("both", "pass"),
        "dropped": ("vanished", "fail"),
    }
    assert found.verdict == "fail"
    assert "kept: the fault wrong pooling is gone" in render_changes_text(found)


def elsewhere(**changes: Any) -> Report:
    target = dataclasses.replace(OLD.context.target, **changes)
    versions = {"python": "3.12.1", "litert": "2.3"}
    context = dataclasses.replace(OLD.context, target=target, versions=versions, created="later")
    return dataclasses.replace(OLD, context=context)


def test_what_differs_in_the_context_is_listed_but_for_the_time() -> None:
    found = compared(elsewhere(threads=1))
    assert found.context == {
        "target.threads": ("4", "1"),
        "versions.python": ("3.11.7", "3.12.1"),
        "versions.onnxruntime": ("1.29.0", "-"),
        "versions.litert": ("-", "2.3"),
    }


def test_another_confidence_is_the_one_of_every_interval() -> None:
    noisy = scored((SCORES + noise().normal(0, 0.05, QUERIES)).clip(0, 1))
    widths = []
    for confidence in (0.99, 0.5):
        gates = dataclasses.replace(DEFAULT, confidence=confidence)
        changes = only(compared(noisy, gates)).changes
        widths.append(
            [np.ptp(np.array(changes[one].interval)) for one in ("ndcg_at_10", "latency_ratio.256")]
        )
    assert widths[0][0] > widths[1][0] > 0
    assert widths[0][1] > widths[1][1] > 0


def test_the_table_fits_a_terminal_and_stars_what_changed() -> None:
    long = scored(name="a-very-long-runtime-q4_0-and-more-768d", latency_ms={"256": latency(1, 2, 3)})
    worse = dataclasses.replace(
        long, file_bytes=10**12, golden=golden(cosine_min=-0.9), ndcg_by_query=[0.0] * QUERIES
    )
    text = render_changes_text(compared(report(worse), old=report(long)))
    assert max(map(len, text.splitlines())) <= 110
    (row,) = [line for line in text.splitlines() if line.startswith("a-very-long-runtime-q4_0-…")]
    assert row.count("*") == 3


def test_markdown_survives_hostile_names_and_the_terminal_is_not_steered() -> None:
    old, new = report(scored(name=HOSTILE)), report(scored(name=HOSTILE, file_bytes=10**9))
    found = compared(new, old=old)
    ((head, _, row),) = markdown_tables(render_changes_markdown(found))
    assert len(head) == len(row) == 9
    assert "<script>" not in render_changes_markdown(found)
    evil = compared(report(scored(name="\x1b[2J")), old=report(scored(name="\x1b[2J")))
    assert "\x1b" not in render_changes_text(evil)


@pytest.mark.parametrize(("file_bytes", "code"), [(198_400_000, 0), (300_000_000, 1)])
def test_the_command_writes_both_files_and_its_last_line_is_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file_bytes: int, code: int
) -> None:
    old, new, out = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "out"
    write_report(old, dataclasses.replace(OLD, reference=None))
    write_report(new, report(scored(file_bytes=file_bytes), scored(name="added"), reference=None))
    assert main(["compare", str(old), str(new), "--out", str(out)]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    verdict = json.loads(printed.out.splitlines()[-1])
    assert verdict["verdict"] == ("fail" if code else "pass")
    assert (list(verdict["failed"]), verdict["new"], verdict["vanished"]) == (
        ["q4_0-256d"] * code,
        ["added"],
        [],
    )
    assert {path.name for path in out.iterdir()} == {"compare.md", "junit.xml"}
    root = parsed((out / "junit.xml").read_text(encoding="utf-8"))
    assert [suite.get("failures") for suite in root] == [str(code), "0"]
