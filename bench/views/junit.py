"""junit.xml: a suite per profile and a case per check, for the test reports of CI systems.

JUnit has no schema of its own maker. This is the part that Jenkins, GitLab and GitHub's reporters share: a
message stands in the attribute and in the text, since some read the one and some the other, and a case is
known by its class and name together, which are therefore unique.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench.report import FAIL, INCONCLUSIVE, PASS, Check, Report
from common.files import write_text

JUNIT_NAME = "junit.xml"
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write, not even escaped."""

Suite = tuple[str, Sequence[Check]]


def write_junit(report: Report, folder: Path) -> None:
    """Write a gated report's junit.xml into `folder`, whole or not at all."""
    suites = [(profile.name, profile.checks) for profile in report.profiles]
    write_text(folder / JUNIT_NAME, render_junit("pocketvec gate", suites, report.context.created))


def render_junit(title: str, suites: Iterable[Suite], created: str) -> str:
    """Suites of checks as JUnit's XML.

    A check that blocks is a failure, of type `inconclusive` where it could not be decided. One that could not
    be decided and lets through, or did not apply, is skipped. `created` is ISO 8601 and otherwise left out.
    """
    root = Element("testsuites", name=_text(title))
    for name, checks in suites:
        suite = SubElement(root, "testsuite", name=_text(name), time="0")
        suite.attrib.update(_counts(checks) | _timestamp(created))
        for metric, check in _named(checks):
            _add_case(suite, name, metric, check)
    totals = ("tests", "failures", "errors")
    root.attrib.update({one: str(sum(int(suite.attrib[one]) for suite in root)) for one in totals})
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _add_case(suite: Element, profile: str, metric: str, check: Check) -> None:
    case = SubElement(suite, "testcase", classname=_text(profile), name=_text(metric), time="0")
    text = _text(check.text)
    if check.blocks:
        kind = INCONCLUSIVE if check.outcome == INCONCLUSIVE else FAIL
        SubElement(case, "failure", message=text, type=kind).text = text
    elif check.outcome == PASS:
        SubElement(case, "system-out").text = text
    else:
        SubElement(case, "skipped", message=f"{check.outcome}: {text}")


def _named(checks: Sequence[Check]) -> Iterable[tuple[str, Check]]:
    """Checks by metric, numbered from the second of the same."""
    seen: dict[str, int] = {}
    for check in checks:
        count = seen[check.metric] = seen.get(check.metric, 0) + 1
        yield (check.metric if count == 1 else f"{check.metric} ({count})"), check


def _counts(checks: Sequence[Check]) -> dict[str, str]:
    failures = sum(check.blocks for check in checks)
    skipped = sum(not check.blocks and check.outcome != PASS for check in checks)
    counts = {"tests": len(checks), "failures": failures, "errors": 0, "skipped": skipped}
    return {name: str(count) for name, count in counts.items()}


def _timestamp(created: str) -> dict[str, str]:
    """As Ant writes it: UTC to the second, without a zone."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return {}
    if moment.tzinfo:
        moment = moment.astimezone(UTC)
    return {"timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S")}


def _text(value: str) -> str:
    return NOT_XML.sub("?", value)
