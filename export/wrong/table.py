"""faults.json: what broken pipelines make of a few probe texts, so that a broken artifact's fault has a name.

Each probe has its right ids and vector, and for each wrong pipeline the difference that it makes: unit vector
of the wrong one less the right one, in 8 bits with a scale of its own. A difference kept by itself is exact
to two percent of its length, however small it is. An artifact without the file is whole, and diagnosed less.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from common.files import read_json, write_text
from common.records import from_dict
from export.manifest import FAULTS_NAME

Float32 = npt.NDArray[np.float32]

FAULTS_SCHEMA = "pocketvec.faults/1"
QUERY, DOCUMENT = "query", "document"
STEPS = 127
"""Steps on each side of zero in which a difference is stored."""


@dataclass(frozen=True)
class Probe:
    """A text behind a prompt of the model, with its right ids and unit vector float32 [dim].

    role: query or document, by which a client picks the prompt from the manifest.
    """

    role: str
    prompt: str
    text: str
    ids: list[int]
    vector: Float32


@dataclass(frozen=True)
class Wrong:
    """What one wrong pipeline makes of one probe (by place): the difference that is in the vector.

    ids: the ids that it embeds, where its fault is in them.
    """

    probe: int
    difference: Float32
    ids: list[int] | None = None


@dataclass(frozen=True)
class FaultTable:
    """Probes by length, and the wrong pipelines by name; after a stroke, which form of the fault it is.

    Probes before the last one that a wrong pipeline lists are embedded rightly where it does not list them;
    of those after it nothing is known. cut_norms: lengths of the probes' unit vectors once cut to the
    dimension and not normalised again. table_rows: of the token table.
    """

    dim: int
    probes: list[Probe]
    wrong: dict[str, list[Wrong]]
    cut_norms: list[float]
    table_rows: int


@dataclass(frozen=True)
class _Packed:
    """A difference in the file: codes in base 64, and the value of one step."""

    probe: int
    step: float
    codes: str
    ids: list[int] | None = None


@dataclass(frozen=True)
class _PackedProbe:
    role: str
    prompt: str
    text: str
    ids: list[int]
    vector: str


@dataclass(frozen=True)
class _File:
    schema: str
    dim: int
    probes: list[_PackedProbe]
    wrong: dict[str, list[_Packed]]
    cut_norms: list[float]
    table_rows: int


def write_faults(path: Path, table: FaultTable) -> None:
    """Store faults.json."""
    wrong = {name: [_pack(one) for one in found] for name, found in table.wrong.items()}
    probes = [_pack_probe(one) for one in table.probes]
    file = _File(FAULTS_SCHEMA, table.dim, probes, wrong, table.cut_norms, table.table_rows)
    write_text(path, json.dumps(asdict(file), ensure_ascii=False, separators=(",", ":")) + "\n")


def read_faults(folder: Path) -> FaultTable | None:
    """The fault table of an artifact folder, None for one without.

    Raises UserError for a file that is none.
    """
    path = folder / FAULTS_NAME
    if not path.is_file():
        return None
    raw = read_json(path)
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != FAULTS_SCHEMA:
        raise UserError(f"{path}: schema '{found}' is not '{FAULTS_SCHEMA}'")
    file = from_dict(_File, raw, str(path))
    try:
        table = _unpacked(file)
    except ValueError as error:  # base 64 that is none
        raise UserError(f"{path}: not a fault table ({error})") from None
    _check(table, path)
    return table


def _unpacked(file: _File) -> FaultTable:
    wrong = {name: [_unpack(one) for one in packed] for name, packed in file.wrong.items()}
    probes = [_unpack_probe(one) for one in file.probes]
    return FaultTable(file.dim, probes, wrong, file.cut_norms, file.table_rows)


def _check(table: FaultTable, path: Path) -> None:
    many = [one for found in table.wrong.values() for one in found]
    vectors = [one.vector for one in table.probes] + [one.difference for one in many]
    if any(len(vector) != table.dim for vector in vectors):
        raise UserError(f"{path}: a vector has another length than {table.dim}")
    if not table.probes or any(not 0 <= one.probe < len(table.probes) for one in many):
        raise UserError(f"{path}: a vector belongs to no probe")


def _pack_probe(probe: Probe) -> _PackedProbe:
    codes = base64.b64encode(probe.vector.astype("<f4").tobytes()).decode()
    return _PackedProbe(**{**vars(probe), "vector": codes})


def _unpack_probe(packed: _PackedProbe) -> Probe:
    return Probe(**{**vars(packed), "vector": _array(packed.vector, "<f4")})


def _pack(one: Wrong) -> _Packed:
    step = float(np.abs(one.difference).max()) / STEPS or 1.0
    codes = np.rint(one.difference / step).astype(np.int8)
    return _Packed(one.probe, step, base64.b64encode(codes.tobytes()).decode(), one.ids)


def _unpack(packed: _Packed) -> Wrong:
    return Wrong(packed.probe, _array(packed.codes, "i1") * np.float32(packed.step), packed.ids)


def _array(text: str, kind: str) -> Float32:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind).astype(np.float32)
