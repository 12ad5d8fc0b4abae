"""junit.xml as Jenkins, GitLab and GitHub's reporters read it: structure, counts, outcomes, hostile text."""

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from report_samples import HOSTILE, both_runtimes, profile, report

from bench.gate import apply_gates
from bench.limits import read_gates
from bench.report import Check
from bench.report_file import read_report, write_report
from bench.views.junit import render_junit
from pocketvec import DEFAULT_GATES
from pocketvec.cli import main

PASSED = Check("size", "pass", False, 1.0, None, 2.0, "size 1 is within 2")
FAILED = Check("ram", "fail", True, 3.0, None, 2.0, "ram 3 is above 2")
STOPPING = Check("ndcg", "inconclusive", True, 1.0, [0.0, 3.0], 2.0, "ndcg may be above")
WARNING = dataclasses.replace(STOPPING, blocks=False)
IDLE = Check("p90", "not applied", False, 3.0, None, 2.0, "p90: not applied")
CONTROL = "".join(map(chr, range(32))) + "\x7f\x85\ufffe\uffff"

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "time", "disabled"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
    "testcase": {"name", "classname", "time", "assertions", "status"},
    "failure": {"message", "type"},
    "skipped": {"message", "type"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}
REQUIRED = {"testsuite": {"name", "tests"}, "testcase": {"name", "classname"}}


def parsed(text: str) -> ET.Element:
    """The root, when everything in it is what the common schema has and every count is right."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ET.fromstring(text)  # noqa: S314
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
        assert set(element.attrib) >= REQUIRED.get(element.tag, set())
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    for holder in (root, *root.iter("testsuite")):
        counts = {"tests": "testcase", "failures": "failure", "skipped": "skipped"}
        for attribute, tag in counts.items():
            if attribute in holder.attrib:
                assert int(holder.attrib[attribute]) == len(list(holder.iter(tag)))
        assert holder.attrib["errors"] == "0"
    for suite in root.iter("testsuite"):
        stamp = suite.get("timestamp", "2026-01-01T00:00:00")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", stamp)
    known = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(set(known)) == len(known)
    return root


def case(check: Check) -> ET.Element:
    (found,) = parsed(render_junit("t", [("one", [check])], "")).iter("testcase")
    return found


def test_a_passing_check_is_a_case_that_tells_its_value() -> None:
    found = case(PASSED)
    assert (found.get("classname"), found.get("name")) == ("one", "size")
    assert [(child.tag, child.text) for child in found] == [("system-out", "size 1 is within 2")]


@pytest.mark.parametrize(("check", "kind"), [(FAILED, "fail"), (STOPPING, "inconclusive")])
def test_what_blocks_is_a_failure_of_its_kind_told_in_attribute_and_text(check: Check, kind: str) -> None:
    (failure,) = case(check)
    assert (failure.tag, failure.get("type")) == ("failure", kind)
    assert failure.get("message") == failure.text == check.text


@pytest.mark.parametrize(("check", "word"), [(WARNING, "inconclusive: "), (IDLE, "not applied: ")])
def test_what_does_not_decide_is_skipped_and_says_why(check: Check, word: str) -> None:
    (skipped,) = case(check)
    assert (skipped.tag, skipped.get("message")) == ("skipped", word + check.text)


def test_counts_are_of_each_suite_and_of_all() -> None:
    root = parsed(render_junit("t", [("a", [PASSED, FAILED, IDLE]), ("b", [STOPPING]), ("c", [])], ""))
    assert [suite.attrib["failures"] for suite in root] == ["1", "1", "0"]
    assert root.attrib == {"name": "t", "tests": "4", "failures": "2", "errors": "0"}


def test_a_metric_that_comes_twice_is_two_cases() -> None:
    root = parsed(render_junit("t", [("a", [FAILED, FAILED, FAILED])], ""))
    assert [one.get("name") for one in root.iter("testcase")] == ["ram", "ram (2)", "ram (3)"]


@pytest.mark.parametrize("text", [HOSTILE, CONTROL, "]]>", "<![CDATA[", "&#0;", "\U0001f980"])
def test_hostile_names_and_texts_stay_text(text: str) -> None:
    check = dataclasses.replace(FAILED, metric=text, text=text)
    root = parsed(render_junit(text, [(text, [check])], text))
    (found,) = root.iter("testcase")
    shown = found[0].text or ""
    if text != CONTROL:
        assert found.get("name") == found.get("classname") == shown == text
    assert len(shown) == len(text)


@pytest.mark.parametrize(
    ("created", "stamp"),
    [
        ("2026-11-21T12:30:00+00:00", "2026-11-21T12:30:00"),
        ("2026-11-21T14:30:00.25+02:00", "2026-11-21T12:30:00"),
        ("2026-11-21T12:30:00", "2026-11-21T12:30:00"),
        ("yesterday", None),
    ],
)
def test_the_time_is_in_utc_or_left_out(created: str, stamp: str | None) -> None:
    root = parsed(render_junit("t", [("a", [PASSED])], created))
    assert root[0].get("timestamp") == stamp


def test_gate_writes_the_report_and_every_view_judged_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = tmp_path / "strict.toml"
    gates.write_text('schema = "pocketvec.gates/2"\n[ram_mb]\npeak_above_baseline = 1\nanonymous = 1\n')
    write_report(tmp_path / "report.json", both_runtimes())
    out = tmp_path / "made" / "gated"
    assert main(["gate", str(tmp_path / "report.json"), "--gates", str(gates), "--out", str(out)]) == 1
    assert {path.name for path in out.iterdir()} == {"report.json", "report.md", "report.html", "junit.xml"}
    written = read_report(out / "report.json")
    assert (written.verdict, written.gates["name"]) == ("fail", "strict.toml")
    root = parsed((out / "junit.xml").read_text(encoding="utf-8"))
    assert [suite.get("name") for suite in root] == [one.name for one in written.profiles]
    expected = {(p.name, c.metric, c.text) for p, c in written.checks() if c.blocks}
    failures = {
        (one.get("classname"), one.get("name"), one[0].text)
        for one in root.iter("testcase")
        if one[0].tag == "failure"
    }
    assert failures == expected
    assert len(expected) == 4


def test_every_check_of_the_default_gates_becomes_one_case() -> None:
    judged = apply_gates(
        report(profile(golden=dataclasses.replace(profile().golden, ids_equal=False))),
        read_gates(DEFAULT_GATES),
    )
    suites = [(one.name, one.checks) for one in judged.profiles]
    root = parsed(render_junit("t", suites, judged.context.created))
    assert len(list(root.iter("testcase"))) == len(judged.profiles[0].checks) > 10
