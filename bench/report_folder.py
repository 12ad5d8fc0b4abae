"""What a team pins to a release: a gated report and all its views, beside each other in one folder."""

from __future__ import annotations

from pathlib import Path

from bench.report import Report
from bench.report_file import write_report
from bench.views.junit import write_junit
from bench.views.render import write_views

REPORT_NAME = "report.json"


def write_report_folder(report: Report, folder: Path) -> None:
    """Write report.json, its views and junit.xml into `folder`, each whole or not at all."""
    write_report(folder / REPORT_NAME, report)
    write_views(report, folder)
    write_junit(report, folder)
