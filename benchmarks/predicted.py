"""What `pocketvec plan` predicts beside what is measured, for artifacts of any size.

`python -m benchmarks.predicted SHAPE ARTIFACT...` opens each artifact twice in fresh processes with an empty
weight cache, the second use with the cache in place, and prints the table of docs/plan.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.cost import Plan, measure_cost
from export.artifact import open_artifact
from pocketvec.planning import PlanRequest, Predicted, make_plan
from train.shapes import Shape, find_shape

TOKENS, THREADS = 256, 2
MB = 1e6
HEADS = ("profile", "file MB", "predicted", "second use MB", "predicted", "first use MB", "predicted")
ANONYMOUS_HEADS = ("anonymous MB", "predicted")


def main() -> int:
    """Parse arguments, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", help="as for pocketvec plan")
    parser.add_argument("artifacts", type=Path, nargs="+", help="artifact folders of that shape")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens of the text")
    given = parser.parse_args()
    print(side_by_side(find_shape(given.shape), given.artifacts, given.tokens))
    return 0


def side_by_side(shape: Shape, artifacts: Sequence[Path], tokens: int = TOKENS) -> str:
    """A Markdown table with a row per artifact, every figure with the one that was predicted."""
    from benchmarks.full_size import markdown

    return markdown([*HEADS, *ANONYMOUS_HEADS], [_row(shape, one, tokens) for one in artifacts])


def _row(shape: Shape, folder: Path, tokens: int) -> list[str]:
    profile = predict(shape, folder, tokens)
    size = sum(file.stat().st_size for file in folder.glob("model.*")) / MB
    with tempfile.TemporaryDirectory() as cache:
        plan = Plan([tokens], runs=1, threads=THREADS, cache=Path(cache), max_warm_up=1)
        first, second = (measure_cost(folder, plan).ram_mb for _ in range(2))
    ram = profile.ram
    pairs = (
        (second.peak_above_baseline, ram.second_use),
        (first.peak_above_baseline, ram.first_use),
        (second.anonymous, ram.anonymous),
    )
    row = [folder.name, f"{size:.1f}", f"{profile.file_bytes / MB:.1f}"]
    for found, predicted in pairs:
        off = round(100 * (predicted / MB / found - 1))
        row += [f"{found:.0f}", f"{predicted / MB:.0f} ({off:+d} %)"]
    return row


def predict(shape: Shape, folder: Path, tokens: int) -> Predicted:
    """What the planner says of the profile in a folder."""
    manifest = open_artifact(folder, verify=False).manifest
    wanted = PlanRequest(
        shape, (manifest.dim,), (manifest.precision,), (manifest.runtime,), documents=0, tokens=tokens
    )
    return make_plan(wanted).profiles[0]


if __name__ == "__main__":
    sys.exit(main())
