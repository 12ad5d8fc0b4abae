"""The recommend command: which profile of a report to ship, in lines or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.recommend import Recommendation

DROPS = ("same_dim", "full_dim", "asymmetric")
PREFERENCES = ("size", "ndcg", "latency", "ram")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The report and the conditions."""
    parser.add_argument("report", type=Path, help="report.json")
    parser.add_argument(
        "--ram", required=True, metavar="MB", help="most RAM: peak over the baseline, and anonymous by itself"
    )
    parser.add_argument(
        "--max-drop",
        required=True,
        metavar="DROP",
        help="most NDCG@10 lost, by the interval's upper end: 0.01 (points) or 1%% (of the reference)",
    )
    parser.add_argument(
        "--drop",
        choices=DROPS,
        default="full_dim",
        help="lost to fp32 at full dimension, at the same, or with documents that an fp32 server embedded",
    )
    parser.add_argument("--max-size", default=None, metavar="MB", help="most MB of graph and weights")
    latency = parser.add_mutually_exclusive_group()
    latency.add_argument(
        "--max-latency-ratio",
        default=None,
        metavar="R[@LENGTH]",
        help="most time against fp32 (default length: the longest)",
    )
    latency.add_argument("--max-p90", default=None, metavar="MS@LENGTH", help="for a device's report")
    parser.add_argument("--runtime", default=None, help="only profiles of this one")
    parser.add_argument("--prefer", choices=PREFERENCES, default="size", help="among those that fit")
    parser.add_argument("--json", action="store_true", help="everything as JSON")


def recommend(given: argparse.Namespace) -> int:
    """Print the recommendation; exit 1 when nothing fits."""
    from bench.conditions import Limit, Needs
    from bench.recommend import Wish, as_json
    from bench.recommend import recommend as choose
    from bench.report_file import read_report

    def limit(option: str) -> Limit | None:
        text = getattr(given, option.lstrip("-").replace("-", "_"))
        return None if text is None else Limit.parse(option, text)

    needs = Needs(
        ram=Limit.parse("--ram", given.ram),
        max_drop=Limit.parse("--max-drop", given.max_drop),
        drop=f"ndcg_drop_{given.drop}",
        size=limit("--max-size"),
        latency_ratio=limit("--max-latency-ratio"),
        p90_ms=limit("--max-p90"),
    )
    found = choose(read_report(given.report), Wish(needs, given.prefer, given.runtime))
    if given.json:
        sys.stdout.write(json.dumps(as_json(found), ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{_printable(line)}\n" for line in _lines(found)))
    return 0 if found.chosen else 1


def _lines(found: Recommendation) -> list[str]:
    asked = f"asked: {', '.join(found.conditions)}; prefer {found.prefer}"
    head = [] if found.chosen else ["nothing fits", found.nearest or ""]
    return [*head, *(one.text for one in found.candidates), asked]


def _printable(line: str) -> str:
    """A line that cannot steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)
