"""The plan command: its options, and the plan as text or JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pocketvec.options import integers, words
from pocketvec.synthesis import SHAPE_HELP
from train.shapes import find_shape

if TYPE_CHECKING:
    from pocketvec.planning import Plan, Predicted

MB = 1e6
TEXT = "predict file size, memory and vector index of a shape, without its weights"
PLAN_SCHEMA = "pocketvec.plan/1"
DIMS_ABREAST = 4
NOTES = """\
file: the model's files; tokenizer.bin is another {tokenizer:.1f} MB (a GGUF holds its own tokenizer).
RAM: peak of a fresh process above an interpreter with numpy; one text of up to {tokens} tokens, two
threads; first and second use of the weight cache. anonymous: of the whole process, at second use.
index: {documents} vectors, each with an id of 8 bytes; without what a search structure adds.
Tests hold sizes to 5 % and RAM to 15 % of what is measured on x86-64 Linux; docs/plan.md has both.
For another processor or runtime version measure: pocketvec synth, export, quantize, bench.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--shape", default="embeddinggemma-300m", help=SHAPE_HELP)
    parser.add_argument(
        "--dims",
        type=integers,
        default=(),
        help="dimensions, comma-separated (default: the width, and 768,512,256,128 below it)",
    )
    parser.add_argument(
        "--precisions", type=words, default=(), help="fp32,q8_0,int8,q4_0,mixed (default: all)"
    )
    parser.add_argument("--runtimes", type=words, default=(), help="onnx,litert,gguf (default: all)")
    parser.add_argument("--documents", type=int, default=10_000, help="vectors in the index")
    parser.add_argument(
        "--vocab-size", type=int, default=None, help="rows of a trimmed table (default: the shape's)"
    )
    parser.add_argument("--max-tokens", type=int, default=256, help="tokens of the longest text embedded")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def plan(given: argparse.Namespace) -> int:
    """Print what the shape's profiles will weigh."""
    from pocketvec.planning import PlanRequest, make_plan

    shape = find_shape(given.shape)
    if given.vocab_size is not None:
        shape = dataclasses.replace(shape, rows=given.vocab_size)
    request = PlanRequest(
        shape, given.dims, given.precisions, given.runtimes, given.documents, given.max_tokens
    )
    made = make_plan(request)
    sys.stdout.write(as_json(made) if given.json else as_text(made))
    return 0


def as_json(plan: Plan) -> str:
    """The plan as one line of JSON: bytes, whole numbers."""
    profiles = [dataclasses.asdict(one) for one in plan.profiles]
    for one in profiles:
        one["ram_bytes"] = {name: round(value) for name, value in one.pop("ram").items()}
    request = dataclasses.asdict(plan.request)
    answer = {
        "schema": PLAN_SCHEMA,
        "shape": request["shape"],
        "documents": plan.request.documents,
        "max_tokens": plan.request.tokens,
        "tokenizer_bytes": plan.tokenizer_bytes,
        "profiles": profiles,
        "index_bytes": [dataclasses.asdict(one) for one in plan.index],
    }
    return json.dumps(answer) + "\n"


def as_text(plan: Plan) -> str:
    """The plan as tables of at most 100 columns."""
    request = plan.request
    shape = request.shape
    dims = list(dict.fromkeys(one.dim for one in plan.profiles))
    lines = [
        f"{shape.name}: {shape.layers} layers, hidden {shape.hidden}, table {shape.rows} x {shape.hidden}; "
        "predicted, in MB of 10^6 bytes"
    ]
    for first in range(0, len(dims), DIMS_ABREAST):
        lines += ["", *_profile_table(plan.profiles, dims[first : first + DIMS_ABREAST])]
    lines += ["", *_index_table(plan), ""]
    facts = {
        "tokenizer": plan.tokenizer_bytes / MB,
        "tokens": request.tokens,
        "documents": request.documents,
    }
    return "\n".join([*lines, NOTES.format(**facts)])


def _profile_table(profiles: Sequence[Predicted], dims: list[int]) -> list[str]:
    """A row per runtime and precision: files and second use by dimension, the rest at the widest of them."""
    width = 7 * len(dims)
    kinds = dict.fromkeys((one.runtime, one.precision) for one in profiles)
    found = {(one.runtime, one.precision, one.dim): one for one in profiles}
    heads = [f"{dim}d" for dim in dims]
    last = "first use  anonymous"
    lines = [
        f"{'':13}{'file':>{width}}   {'RAM, second use':>{width}}   {f'RAM at {dims[0]}d':>{len(last)}}",
        f"{'':13}{_cells(heads)}   {_cells(heads)}   {last}",
    ]
    for runtime, precision in kinds:
        row = [found[runtime, precision, dim] for dim in dims]
        files = _cells(f"{one.file_bytes / MB:.1f}" for one in row)
        second = _cells(f"{one.ram.second_use / MB:.0f}" for one in row)
        rest = f"{row[0].ram.first_use / MB:9.0f}{row[0].ram.anonymous / MB:11.0f}"
        lines.append(f"{f'{runtime} {precision}':13}{files}   {second}   {rest}")
    return lines


def _index_table(plan: Plan) -> list[str]:
    lines = [f"{'index':13}{'float32':>9}{'int8':>9}{'binary':>9}"]
    for one in plan.index:
        sizes = "".join(f"{size / MB:9.1f}" for size in (one.float32, one.int8, one.binary))
        lines.append(f"{f'{one.dim}d':13}{sizes}")
    return lines


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"{text:>7}" for text in texts)
