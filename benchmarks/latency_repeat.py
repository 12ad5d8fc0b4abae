"""What a ratio of latencies is worth: `python -m benchmarks.latency_repeat ARTIFACT...` prints a table.

Every artifact is measured against itself in ROUNDS sessions, as bench measures it against fp32: the ratio
should be 1, and its interval should hold 1 in nineteen of twenty. Other work on the machine is welcome.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bench.cost import MIN_RUNS, Plan, weight_cache
from bench.measurements import LatencyRatio
from bench.timing import Contender, measure_ratios
from benchmarks.full_size import markdown
from export.artifact import open_artifact

ROUNDS = 10
LENGTHS = (16, 64, 256)
RUNS = 50


def main() -> int:
    """Print the table and what else the machine did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    rows = [cells for folder in given.artifacts for cells in measure(folder, given.rounds)]
    heads = ["profile", "tokens", "sessions", "lowest", "highest", "widest interval", "hold 1"]
    print(markdown(heads, rows))
    load, spent = os.getloadavg()[2], os.times()
    cpu = (spent.user + spent.system + spent.children_user + spent.children_system) / (
        given.rounds * len(given.artifacts)
    )
    print(f"\n{RUNS} pairs ({MIN_RUNS} of long texts), {cpu:.1f} CPU seconds a session;", end=" ")
    print(f"load average {load:.1f} on {os.cpu_count()} cores")
    return 0


def measure(folder: Path, rounds: int) -> list[list[str]]:
    """A row for each length of one artifact against itself."""
    artifact = open_artifact(folder, verify=False)
    plan = Plan(list(LENGTHS), RUNS, threads=1)
    with weight_cache() as cache:
        same = Contender(artifact, cache)
        found = [measure_ratios(same, same, plan) for _ in range(rounds)]
    return [
        [artifact.manifest.name, *cells([one[str(length)] for one in found], length)] for length in LENGTHS
    ]


def cells(ratios: list[LatencyRatio], length: int) -> list[str]:
    """What the sessions of one length came to."""
    values = [one.ratio for one in ratios]
    ends = [(low, high) for low, high in (one.interval for one in ratios) if low and high]
    holding = sum(low <= 1 <= high for low, high in ends)
    widest = max(high - low for low, high in ends)
    shown = [f"{min(values):.3f}", f"{max(values):.3f}", f"{widest:.3f}", str(holding)]
    return [str(length), str(len(ratios)), *shown]


if __name__ == "__main__":
    sys.exit(main())
