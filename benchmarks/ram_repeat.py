"""How well memory figures repeat: `python -m benchmarks.ram_repeat ARTIFACT...` prints a table of spreads.

Every artifact is opened and run in ROUNDS fresh processes, as bench does, its weight cache warm. A spread is
the distance of the highest from the lowest figure as a share of the median one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.cost import Plan, measure_cost, weight_cache
from bench.measurements import Memory
from bench.proc import Status
from benchmarks.full_size import markdown
from export.artifact import open_artifact

ROUNDS = 10
LENGTHS = (16, 64, 256)
THREADS = 2
LIMIT = 0.05
READINGS = 1000
UNSAMPLED = "most unsampled MB"


def at_length(length: str, ram: Memory) -> float:
    """The high-water mark of one length."""
    return ram.run_high_water[length]


def unsampled(ram: Memory) -> float:
    """The most that the kernel saw and no sample did."""
    pairs = [(ram.load_high_water, ram.load_peak)]
    pairs += [(high, ram.run_peak[length]) for length, high in ram.run_high_water.items()]
    return max(high - sampled.rss for high, sampled in pairs)


def sample_us() -> float:
    """Microseconds that whoever samples takes for one reading."""
    status, started = Status(), time.perf_counter()
    for _ in range(READINGS):
        status.read()
    return (time.perf_counter() - started) / READINGS * 1e6


FIGURES: dict[str, Callable[[Memory], float]] = {
    "peak above baseline": lambda ram: ram.peak_above_baseline,
    "anonymous": lambda ram: ram.anonymous,
    "file-backed at the peak": lambda ram: ram.highest.file_backed,
    "baseline": lambda ram: ram.baseline,
    "load": lambda ram: ram.load_high_water,
    **{f"{length} tokens": partial(at_length, str(length)) for length in LENGTHS},
    "rest": lambda ram: ram.rest.rss,
    UNSAMPLED: unsampled,
}
"""MB of a Memory by what the table calls them; the last is shown as it is."""
GATED = ("peak above baseline", "anonymous")


def main() -> int:
    """Print the table; the exit code is 1 when a figure that is gated spreads by more than LIMIT."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    rows = [row(folder, given.rounds) for folder in given.artifacts]
    print(markdown(["profile", *FIGURES], [cells for cells, _ in rows]))
    worst = max(spread for _, spread in rows)
    print(f"\nlargest spread of a gated figure: {worst:.1%}; a sample takes {sample_us():.0f} microseconds")
    return int(worst > LIMIT)


def row(folder: Path, rounds: int) -> tuple[list[str], float]:
    """One profile's cells, `median MB (spread)` each, and the worse spread of the gated figures."""
    with weight_cache() as cache:
        plan = Plan(list(LENGTHS), 1, THREADS, cache, timed=[])
        measure_cost(folder, plan)  # builds the cache and reads the files
        found = [measure_cost(folder, plan).ram_mb for _ in range(rounds)]
    cells, spreads = [open_artifact(folder, verify=False).manifest.name], {}
    for name, figure in FIGURES.items():
        values = [figure(ram) for ram in found]
        if name == UNSAMPLED:
            cells.append(f"{max(values):.2f}")
            continue
        spreads[name] = spread(values)
        cells.append(f"{statistics.median(values):.1f} ({spreads[name]:.1%})")
    return cells, max(spreads[name] for name in GATED)


def spread(values: Sequence[float]) -> float:
    """Distance of the highest from the lowest, as a share of the median."""
    return (max(values) - min(values)) / statistics.median(values)


if __name__ == "__main__":
    sys.exit(main())
