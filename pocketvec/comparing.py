"""The compare command: a report against an earlier one, in a table, as files, and as an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.files import whole_folder, write_text
from pocketvec import DEFAULT_GATES

if TYPE_CHECKING:
    from bench.regression import Regression

MARKDOWN_NAME = "compare.md"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Two reports, limits, and where to write."""
    parser.add_argument("old", type=Path, help="report.json of what was released")
    parser.add_argument("new", type=Path, help="report.json of what is to be")
    parser.add_argument("--gates", type=Path, default=DEFAULT_GATES, help="limits, in the table [regression]")
    parser.add_argument("--out", type=Path, default=None, help="folder for compare.md and junit.xml")


def compare(given: argparse.Namespace) -> int:
    """Print what changed; exit 1 on a regression. The last line of stdout is the verdict as JSON."""
    from bench.limits import read_regression_gates
    from bench.regression import compare_reports
    from bench.report_file import read_report
    from bench.views.junit import JUNIT_NAME, render_junit
    from bench.views.regression_views import render_changes_markdown, render_changes_text

    gates = read_regression_gates(given.gates)
    old, new = read_report(given.old), read_report(given.new)
    found = compare_reports(old, new, gates)
    if given.out is not None:
        suites = [(one.name, one.checks) for one in found.profiles]
        with whole_folder(given.out) as folder:
            write_text(folder / MARKDOWN_NAME, render_changes_markdown(found))
            write_text(folder / JUNIT_NAME, render_junit("pocketvec compare", suites, found.new))
    sys.stdout.write(f"{render_changes_text(found)}\n{_verdict(found, given.out)}\n")
    return 0 if found.verdict == "pass" else 1


def _verdict(found: Regression, folder: Path | None) -> str:
    verdict = {
        "verdict": found.verdict,
        "failed": {one.name: one.reasons for one in found.profiles if one.reasons},
        "new": [one.name for one in found.profiles if one.presence == "new"],
        "vanished": [one.name for one in found.profiles if one.presence == "vanished"],
        "report": str(folder / MARKDOWN_NAME) if folder else None,
    }
    return json.dumps(verdict, ensure_ascii=False)
