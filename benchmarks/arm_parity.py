"""How near ARM's kernels come to the fp32 golden vectors, by core and profile, and to this machine's kernels.

`python -m benchmarks.arm_parity ARTIFACT... [--core CORE...]` embeds short golden texts on three kinds of ARM
core under emulation and here, and prints a table: cosines to the fp32 PyTorch vectors in each artifact, and
the largest difference of a component between the core and this machine. `--opcodes` prints instead how many
different instructions of each kind the core ran, which says whether the kernels for it were taken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from android_harness.toolchain.arm64 import CORES, run_arm64
from benchmarks.arm_embed import choose
from benchmarks.arm_opcodes import KINDS, count_opcodes
from benchmarks.full_size import markdown
from export.golden import read_golden, row_cosines

HERE = "here"
MODULE = "benchmarks.arm_embed"
TIMEOUT_S = 3600
"""A core takes a minute of processor time, and much longer on a machine with other work."""


@dataclass(frozen=True)
class Parity:
    """One profile on one core. apart: largest difference of a component from this machine's vectors."""

    core: str
    profile: str
    texts: int
    cosine_mean: float
    cosine_min: float
    ids_equal: bool
    apart: float


@dataclass(frozen=True)
class Embedded:
    """Vectors [n, dim] of the chosen golden texts, and whether each one's ids were right."""

    vectors: npt.NDArray[np.float32]
    ids_equal: npt.NDArray[np.bool_]


def measure(core: str, folders: Sequence[Path]) -> list[Parity]:
    """The parity of artifact folders on a core, or on this machine (HERE)."""
    found, own = embed_on(core, folders), embed_on(HERE, folders)
    return [parity(core, folder, found[folder.name], own[folder.name]) for folder in folders]


def parity(core: str, folder: Path, found: Embedded, own: Embedded) -> Parity:
    """Compare an artifact's vectors with its golden ones and with this machine's."""
    golden = np.array([one.vector for one in choose(read_golden(folder))], dtype=np.float32)
    cosines = row_cosines(found.vectors, golden)
    apart = float(np.abs(found.vectors - own.vectors).max())
    equal = bool(found.ids_equal.all())
    return Parity(core, folder.name, len(golden), float(cosines.mean()), float(cosines.min()), equal, apart)


def embed_on(core: str, folders: Sequence[Path]) -> dict[str, Embedded]:
    """Vectors by artifact. Raises RuntimeError with what a program said that did not end well."""
    with tempfile.TemporaryDirectory() as out:
        arguments = ["-P", "-m", MODULE, out, *(str(folder.resolve()) for folder in folders)]
        if core == HERE:
            done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        else:
            done = run_arm64(core, *arguments, timeout_s=TIMEOUT_S)
        if done.returncode != 0:
            raise RuntimeError(f"{core}: {MODULE} ended with {done.returncode}: {done.stderr[-2000:]}")
        return {folder.name: _load(Path(out) / f"{folder.name}.npz") for folder in folders}


def _load(path: Path) -> Embedded:
    with np.load(path) as file:
        return Embedded(file["vectors"], file["ids_equal"])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arm_parity")
    parser.add_argument("artifacts", type=Path, nargs="+")
    parser.add_argument("--core", nargs="+", choices=CORES, default=list(CORES))
    parser.add_argument("--opcodes", action="store_true", help="count instructions instead")
    options = parser.parse_args()
    if options.opcodes:
        counted = [(c, f.name, count_opcodes(c, f)) for c in options.core for f in options.artifacts]
        rows = [[core, name, *(str(found[kind]) for kind in KINDS)] for core, name, found in counted]
        print(markdown(["core", "profile", *KINDS], rows))
        return 0
    own = embed_on(HERE, options.artifacts)
    measured = [parity(HERE, folder, own[folder.name], own[folder.name]) for folder in options.artifacts]
    for core in options.core:
        found = embed_on(core, options.artifacts)
        measured += [parity(core, one, found[one.name], own[one.name]) for one in options.artifacts]
    rows = [
        [one.core, one.profile, f"{one.cosine_mean:.6f}", f"{one.cosine_min:.6f}", f"{one.apart:.1e}"]
        for one in measured
    ]
    print(markdown(["core", "profile", "cosine mean", "cosine min", "apart"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
