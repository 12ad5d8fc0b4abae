"""Recommendations on hand-made reports: who wins, who loses, and by which number."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from gate_samples import QUERIES, drop, latency, memory, ratio
from report_samples import profile, report

from bench.conditions import Limit, Needs
from bench.drops import ASYMMETRIC, FULL_DIM, SAME_DIM
from bench.recommend import Recommendation, Wish, recommend
from bench.report import Check, Profile, Report
from bench.report_file import write_report
from common.errors import UserError
from export.fault import Fault
from pocketvec.cli import main

SMALL = profile(
    "small", file_bytes=4_500_000, ndcg_at_10=0.40, ndcg_by_query=[0.40] * QUERIES, runtime="litert"
)
LARGE = profile("large", file_bytes=8_400_000, ndcg_at_10=0.41, ndcg_by_query=[0.41] * QUERIES)


def with_drop(one: Profile, value: float, half_width: float = 0.001, reference: float = 0.4) -> Profile:
    lost = drop(value, half_width, reference)
    return dataclasses.replace(
        one, ndcg_drop_full_dim=lost, ndcg_drop_same_dim=lost, ndcg_drop_asymmetric=lost
    )


def asked(
    *profiles: Profile, prefer: str = "size", runtime: str | None = None, **needs: Any
) -> Recommendation:
    made = report(*(with_drop(one, 0.0) if one in (SMALL, LARGE) else one for one in profiles))
    return wished(made, prefer, runtime, **needs)


def wished(made: Report, prefer: str = "size", runtime: str | None = None, **needs: Any) -> Recommendation:
    values = {"ram": Limit(250), "max_drop": Limit(0.01)} | needs
    return recommend(made, Wish(Needs(**values), prefer, runtime))


def lines(found: Recommendation) -> list[str]:
    return [one.text for one in found.candidates]


def test_the_smallest_that_fits_is_named_with_whom_it_beats_and_the_number() -> None:
    found = asked(LARGE, SMALL)
    assert found.chosen == "small"
    assert lines(found) == [
        "small: 4.5 MB, NDCG@10 0.4000; beats large (8.4 MB) on size",
        "large lost: size 8.4 MB against 4.5 MB of small",
    ]


@pytest.mark.parametrize(
    ("value", "half_width", "status", "text"),
    [
        (0.005, 0.004, "chosen", "no other profile fits"),
        (0.009, 0.001, "chosen", "no other profile fits"),
        (0.009, 0.002, "inconclusive", "0.0090 [0.0070, 0.0110] is inconclusive about 0.01; about "),
        (0.012, 0.003, "inconclusive", "is inconclusive about 0.01; about "),
        (0.013, 0.002, "misses", "NDCG@10 drop (full_dim) 0.0130 [0.0110, 0.0150] is beyond 0.01"),
    ],
)
def test_the_whole_interval_of_a_drop_must_be_within_the_budget(
    value: float, half_width: float, status: str, text: str
) -> None:
    (one,) = asked(with_drop(profile("one"), value, half_width)).candidates
    assert one.status == status
    assert text in one.text


def test_an_interval_without_ends_is_inconclusive() -> None:
    unbounded = dataclasses.replace(drop(0.0), interval=[None, None])
    (one,) = asked(profile("one", ndcg_drop_full_dim=unbounded)).candidates
    assert (one.status, "[?, ?] is inconclusive" in one.text) == ("inconclusive", True)


@pytest.mark.parametrize(("budget", "fits"), [("0.01", True), ("1%", False), ("2.5%", True), (".01", True)])
def test_a_share_is_of_the_references_score_and_a_plain_number_is_points(budget: str, fits: bool) -> None:
    found = asked(with_drop(profile("one"), 0.007, 0.001, 0.4), max_drop=Limit.parse("--max-drop", budget))
    assert (found.chosen is not None) == fits
    words = "of the reference's score" if "%" in budget else "NDCG points"
    assert words in found.conditions[0]


@pytest.mark.parametrize(("which", "fits"), [(SAME_DIM, True), (FULL_DIM, False), (ASYMMETRIC, True)])
def test_the_drop_that_is_asked_for_counts(which: str, fits: bool) -> None:
    one = dataclasses.replace(with_drop(profile("one"), 0.0), ndcg_drop_full_dim=drop(0.05))
    assert (asked(one, drop=which).chosen is not None) == fits


def test_a_drop_that_was_not_measured_fits_nothing() -> None:
    (one,) = asked(profile("one", ndcg_drop_full_dim=None)).candidates
    assert (one.status, one.text) == ("misses", "one lost: NDCG@10 drop (full_dim) was not measured")


@pytest.mark.parametrize(
    ("ram", "text"),
    [
        (memory(30.0, 80.0, 281.0, 100.0), "RAM over baseline 251.0 MB is beyond 250 MB"),
        (memory(30.0, 281.0, 90.0, 100.0), "RAM over baseline 251.0 MB is beyond 250 MB"),
        (memory(30.0, 80.0, 270.0, 251.0), "anonymous RAM 251.0 MB is beyond 250 MB"),
    ],
)
def test_the_peak_and_anonymous_memory_must_both_hold(ram: Any, text: str) -> None:
    found = asked(dataclasses.replace(SMALL, ram_mb=ram, ndcg_drop_full_dim=drop(0.0)))
    assert lines(found) == [f"small lost: {text}"]


def test_the_size_that_is_asked_for_counts() -> None:
    found = asked(SMALL, LARGE, prefer="ndcg", size=Limit(5))
    assert found.chosen == "small"
    assert lines(found)[1] == "large lost: size 8.4 MB is beyond 5 MB"


@pytest.mark.parametrize(
    ("measured", "limit", "status"),
    [
        (ratio(0.8, 0.05), Limit(0.9), "chosen"),
        (ratio(0.88, 0.05), Limit(0.9), "inconclusive"),
        (ratio(0.96, 0.05), Limit(0.9), "misses"),
        (ratio(0.96, 0.05), Limit(0.9, length="16"), "chosen"),
    ],
)
def test_a_latency_ratio_counts_with_its_interval_at_the_longest_length_unless_told(
    measured: Any, limit: Limit, status: str
) -> None:
    one = with_drop(profile("one", latency_ratio={"256": measured, "16": ratio(0.5)}), 0.0)
    assert asked(one, latency_ratio=limit).candidates[0].status == status


def test_fp32_is_what_ratios_are_of_and_others_without_one_do_not_fit() -> None:
    plain = with_drop(profile("plain", precision="fp32", latency_ratio={}), 0.0)
    bare = with_drop(profile("bare", latency_ratio={}), 0.0)
    slow = with_drop(profile("slow", latency_ratio={"256": ratio(2.0)}), 0.0)
    found = asked(plain, bare, slow, latency_ratio=Limit(1.0))
    assert found.chosen == "plain"
    assert "bare lost: latency ratio to fp32 at 256 tokens was not measured" in lines(found)


def on(kind: str) -> Report:
    made = report(with_drop(profile("one", latency_ratio={}), 0.0))
    target = dataclasses.replace(made.context.target, kind=kind)
    return dataclasses.replace(made, context=dataclasses.replace(made.context, target=target))


def test_nothing_is_recommended_by_an_emulators_memory() -> None:
    with pytest.raises(UserError, match="--ram 250: this report's target is 'emulated'"):
        wished(on("emulated"))


def test_a_devices_report_is_asked_for_milliseconds_and_not_for_ratios() -> None:
    with pytest.raises(UserError, match="a device's report holds no ratios; use --max-p90"):
        wished(on("device"), latency_ratio=Limit(1.0))


def test_on_a_device_the_upper_end_of_the_90th_percentile_counts() -> None:
    made = report(with_drop(profile("one"), 0.0))
    target = dataclasses.replace(made.context.target, kind="device")
    made = dataclasses.replace(made, context=dataclasses.replace(made.context, target=target))
    timed = dataclasses.replace(latency(10.0, 20.0, 30.0), p90_interval=[18.0, 26.0])
    wide = dataclasses.replace(made.profiles[0], latency_ms={"256": timed})
    made = dataclasses.replace(made, profiles=[wide])
    outcomes = [
        wished(made, p90_ms=Limit(ms, length="256")).candidates[0].status for ms in (26.0, 25.0, 17.0)
    ]
    assert outcomes == ["chosen", "inconclusive", "misses"]


@pytest.mark.parametrize("prefer", ["size", "ndcg", "latency", "ram"])
def test_what_is_preferred_decides_among_those_that_fit(prefer: str) -> None:
    best: dict[str, dict[str, Any]] = {
        "size": {"file_bytes": 1_000_000},
        "ndcg": {"ndcg_at_10": 0.9, "ndcg_by_query": [0.9] * QUERIES},
        "latency": {"latency_ms": {"256": latency(1.0, 2.0, 3.0)}},
        "ram": {"ram_mb": memory(61.5, 100.0, 100.0, 90.0)},
    }
    profiles = [with_drop(profile(name, **changes), 0.0) for name, changes in best.items()]
    found = asked(*profiles, prefer=prefer)
    assert found.chosen == prefer
    decided = {"size": "size", "ndcg": "NDCG@10", "latency": "latency at 256 tokens", "ram": "RAM"}[prefer]
    assert all(f" lost: {decided} " in line for line in lines(found)[1:])


def test_a_tie_is_broken_by_the_next_figure_and_the_text_names_that() -> None:
    better = with_drop(profile("better", ndcg_at_10=0.52, ndcg_by_query=[0.52] * QUERIES), 0.0)
    found = asked(with_drop(profile("worse"), 0.0), better)
    assert found.chosen == "better"
    assert "lost: NDCG@10 0.5121 against 0.5200 of better, less by 0.0079 [0.0079, 0.0079]" in lines(found)[1]
    twins = asked(with_drop(profile("one"), 0.0), with_drop(profile("two"), 0.0))
    assert lines(twins)[1] == "two lost: alike in everything with one, which comes first in the report"


def test_figures_that_differ_little_are_shown_with_the_digits_that_show_it() -> None:
    near = with_drop(profile("near", file_bytes=198_401_000), 0.0)
    assert "size 198.401 MB against 198.400 MB" in lines(asked(near, with_drop(profile("one"), 0.0)))[1]


def test_a_lead_in_ndcg_that_the_queries_cannot_tell_from_none_is_said() -> None:
    scores = [0.5 + 0.1 * (-1) ** number for number in range(QUERIES)]
    noisy = with_drop(profile("noisy", ndcg_at_10=0.5, ndcg_by_query=scores), 0.0)
    found = asked(noisy, with_drop(profile("level"), 0.0), prefer="ndcg")
    assert found.chosen == "level"
    assert all("cannot tell from none" in line for line in lines(found))
    clear = with_drop(profile("clear", ndcg_at_10=0.6, ndcg_by_query=[0.6] * QUERIES), 0.0)
    assert not any("cannot tell" in line for line in lines(asked(clear, noisy, prefer="ndcg"))[:1])


def test_a_runtime_that_is_asked_for_leaves_the_others_out() -> None:
    assert [one.name for one in asked(SMALL, LARGE, runtime="onnxruntime").candidates] == ["large"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"faults": [Fault("prompt missing", "query: not there")]}, "prompt missing: query: not there"),
        ({"golden": dataclasses.replace(SMALL.golden, ids_equal=False)}, "its token ids differ"),
        ({"golden": dataclasses.replace(SMALL.golden, finite=False)}, "not all of its golden vectors"),
        (
            {"verdict": "fail", "checks": [Check("m", "fail", True, 1.0, None, 0.5, "m 1 is above 0.5")]},
            "its gates stop it: m 1 is above 0.5",
        ),
    ],
)
def test_what_must_not_ship_is_never_recommended(changes: dict[str, Any], text: str) -> None:
    broken = with_drop(dataclasses.replace(SMALL, **changes), 0.0)
    found = asked(broken, LARGE)
    assert found.chosen == "large"
    assert lines(found)[1].startswith(f"small lost: {text}")


def test_when_nothing_fits_the_nearest_miss_is_named_with_what_it_misses_by() -> None:
    far = with_drop(profile("far"), 0.03, 0.001)
    near = with_drop(profile("near"), 0.012, 0.001)
    twice = with_drop(profile("twice", ram_mb=memory(61.5, 400.0, 90.0, 80.0)), 0.0111, 0.0001)
    unknown = profile("unknown", ndcg_drop_full_dim=None)
    found = asked(unknown, twice, far, near)
    assert found.chosen is None
    assert [one.name for one in found.candidates] == ["near", "far", "twice", "unknown"]
    assert found.nearest == (
        "nearest: near misses 1: the upper end of NDCG@10 drop (full_dim) by 0.0030: "
        "0.0120 [0.0110, 0.0130], allowed 0.01"
    )


@pytest.mark.parametrize(("ram", "code"), [("250", 0), ("20", 1)])
def test_the_command_prints_lines_or_json_and_its_exit_code_says_whether_something_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ram: str, code: int
) -> None:
    path = tmp_path / "report.json"
    write_report(path, report(with_drop(profile("evil\x1b[31m"), 0.0), reference=None))
    arguments = ["recommend", str(path), "--ram", ram, "--max-drop", "1%"]
    assert main(arguments) == code
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert ("nothing fits\nnearest: evil?[31m misses 2: RAM over baseline by 194.0 MB" in out) == bool(code)
    assert "asked: NDCG@10 drop (full_dim) at most 1.00% of the reference's score" in out
    assert main([*arguments, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["chosen"] is None) == bool(code)
    assert found["candidates"][0]["findings"][0]["outcome"] == "fits"


def test_a_drop_from_a_reference_that_finds_nothing_fits_no_condition() -> None:
    for limit in (Limit(0.01), Limit(0.01, is_share=True)):
        found = asked(with_drop(profile("lost"), 0.0, 0.0, reference=0.0), max_drop=limit)
        assert found.chosen is None
        assert "NDCG@10 drop (full_dim) was not measured" in found.candidates[0].text
