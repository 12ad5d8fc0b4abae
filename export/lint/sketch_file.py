"""weights.json: the sketch of every weight of a model, by torch's name within the encoder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import read_json, write_text
from common.records import from_dict
from export.lint.sketch import Sketch

SKETCH_NAME = "weights.json"
SKETCH_SCHEMA = "pocketvec.weights/1"
FIRST_HEAD = "head.0.weight"
SWAPPED_HEAD = "head.swapped"
"""The head with its Dense layers in the wrong order, where their widths allow that."""
NORM = "norm.weight"
GGUF_HEAD = f"{FIRST_HEAD}*{NORM}"
"""GGUF's quantised files move factors from the head's columns into the last norm; their product stays."""


@dataclass(frozen=True)
class Sketches:
    """The sketches of an artifact by weight, in the order of the model; decoys are what a weight must not be.

    offset_norms: the norms' weights are stored less one in the checkpoint, and sketched with it.
    """

    schema: str
    offset_norms: bool
    weights: dict[str, Sketch]
    decoys: dict[str, Sketch]


def write_sketches(path: Path, sketches: Sketches) -> None:
    """Write weights.json, a line per weight."""
    content = dataclasses.asdict(sketches)
    lines = [
        f"{json.dumps(key)}: {_table(value) if isinstance(value, dict) else json.dumps(value)}"
        for key, value in content.items()
    ]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _table(sketches: dict[str, object]) -> str:
    rows = [f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in sketches.items()]
    return "{\n" + ",\n".join(rows) + "\n}" if rows else "{}"


def read_sketches(folder: Path) -> Sketches:
    """The sketches of an artifact folder. Raises UserError for another schema, naming the file."""
    path = folder / SKETCH_NAME
    raw = read_json(path)
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != SKETCH_SCHEMA:
        raise UserError(f"{path}: schema '{found}' is not '{SKETCH_SCHEMA}'")
    sketches = from_dict(Sketches, raw, str(path))
    for name, sketch in (sketches.weights | sketches.decoys).items():
        try:
            sketch.expected()
        except ValueError:
            raise UserError(f"{path}: the sums of '{name}' are not those of {list(sketch.shape)}") from None
    return sketches
