"""The synth command: a checkpoint of a real shape with random weights, for gates on size, memory, speed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common.files import refuse_existing
from common.progress import Display
from pocketvec import STARTER_MODEL
from train.shapes import SHAPES, find_shape

MB = 1e6
TEXT = "a checkpoint of a real shape with random weights, to set up gates on size, memory and speed"
SHAPE_HELP = f"{', '.join(SHAPES)}, or a model folder or its config.json"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--shape", default="embeddinggemma-300m", help=SHAPE_HELP)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal bytes")
    parser.add_argument(
        "--tokenizer-size",
        type=int,
        default=None,
        help="pieces of the tokenizer (default: one for each row of the table)",
    )
    parser.add_argument(
        "--dtype", default="float32", help="float32, as the real one, or bfloat16: half the disk"
    )


def synthesise(given: argparse.Namespace) -> int:
    """Write the checkpoint and say what it is, and what it is not."""
    shape = find_shape(given.shape)
    refuse_existing(given.out)
    from train.synthetic import STEPS, SyntheticConfig, write_synthetic

    config = SyntheticConfig(given.seed, given.tokenizer_size, given.dtype)
    with Display() as display, display.stage("synth", STEPS) as step:
        values = write_synthetic(shape, STARTER_MODEL, given.out, config, step)
    size = sum(file.stat().st_size for file in given.out.rglob("*") if file.is_file())
    sys.stdout.write(
        f"{given.out}\n{values / MB:.1f}M random weights in the shape of {shape.name}, {size / MB:.0f} MB. "
        "Its vectors mean nothing: use it for size, memory and speed alone.\n"
    )
    return 0
