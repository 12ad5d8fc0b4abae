"""Whether a .tflite keeps the contract of Google's on-device clients, whoever made it.

The AI Edge RAG SDK (GemmaEmbeddingModel) and MediaPipe (TextEmbedder) give a model one int32 row of token
ids that is padded to a fixed length and has no mask beside it, run the file's first subgraph, and hand on
its one output as it is. What such a file gets wrong shows as wrong vectors, not as an error, so norm,
length and padding are looked at in real runs.

Sources: text_preprocessing_graph.cc and sentencepiece_preprocessor_calculator.cc of MediaPipe; the native
half of the RAG SDK is not published, its public models have this form. export.task_bundle checks bundles.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from common.errors import UserError
from export.litert_session import quiet
from export.session import usable_cores
from export.tflite_file import read_tflite
from export.tflite_graph import builtin_code

Float32 = npt.NDArray[np.float32]

PAD_ID = 0
TOKENS = (2, 9, 14, 1)
"""A short text: any ids below the rows of the table do."""
UNIT_TOLERANCE = 1e-3
MOVED = 1e-2
"""Share of its length by which a vector moves that depends on padding; int8 activations move it by less."""

_OPERATORS = schema.BuiltinOperator
_LOOKUPS = {_OPERATORS.EMBEDDING_LOOKUP: (0, 1), _OPERATORS.GATHER: (1, 0)}
"""Operator: places of ids and table among its inputs."""
_IDS_STAY_IDS = {
    _OPERATORS.RESHAPE,
    _OPERATORS.CAST,
    _OPERATORS.EXPAND_DIMS,
    _OPERATORS.SQUEEZE,
    _OPERATORS.TRANSPOSE,
    _OPERATORS.ADD,
    _OPERATORS.SELECT,
    _OPERATORS.SELECT_V2,
    _OPERATORS.MAXIMUM,
    _OPERATORS.MINIMUM,
}


@dataclass(frozen=True)
class ContractCheck:
    """What breaks the contract and what could not be looked at, a line each; nothing of both is a pass.

    table_rows: rows of the embedding table, 0 where no plain one was found. notes: what is worth knowing
    and breaks nothing.
    """

    faults: tuple[str, ...]
    unchecked: tuple[str, ...] = ()
    table_rows: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The embedding table of a file: its rows, and where in the file row 0 begins and how long a row is."""

    rows: int
    start: int
    row_bytes: int


def check_rag_sdk(path: Path) -> ContractCheck:
    """All that would break a .tflite in the RAG SDK or in MediaPipe, not only the first of it.

    Looked at: one signature or subgraph; one input int32 [1, seq] and one output float32 [1, dim], both
    static; in real runs, finite unit vectors that depend on the text and not on what padding (id 0) looks
    like. Raises UserError for what is not a whole .tflite.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    interpreter = _open(path)  # verifies every offset in the file, so what follows may trust them
    model, weights = read_tflite(path)
    graph = model.subgraphs[0]
    wrong_shape = _shape_faults(graph)
    faults = [*_signature_faults(model), *wrong_shape]
    table = _find_table(path, model, weights)
    unchecked = ["its vectors, for it cannot be run as the client does"]
    if not wrong_shape:
        seq = int(graph.tensors[graph.inputs[0]].shape[1])
        run_faults, unchecked = _run_faults(path, interpreter, seq, table)
        faults += run_faults
    return ContractCheck(tuple(faults), tuple(unchecked), table.rows if table else 0)


def _open(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        return Interpreter(model_path=str(path), num_threads=usable_cores())
    except ValueError as error:
        raise UserError(f"{path}: not a whole .tflite file ({error})") from None


def _signature_faults(model: schema.ModelT) -> list[str]:
    signatures = model.signatureDefs or []
    if len(signatures) > 1:
        names = ", ".join(_text(one.signatureKey) for one in signatures)
        return [f"it has {len(signatures)} signatures ({names}); the client runs the first subgraph only"]
    if signatures and signatures[0].subgraphIndex != 0:
        return [f"its signature is subgraph {signatures[0].subgraphIndex}; the client runs subgraph 0"]
    if not signatures and len(model.subgraphs) > 1:
        return [f"it has {len(model.subgraphs)} subgraphs and no signature; the client runs the first only"]
    return []


def _shape_faults(graph: schema.SubGraphT) -> list[str]:
    return [
        *_side_faults(graph, "input", _ints(graph.inputs), "INT32", "seq"),
        *_side_faults(graph, "output", _ints(graph.outputs), "FLOAT32", "dim"),
    ]


def _side_faults(graph: schema.SubGraphT, side: str, indices: list[int], kind: str, size: str) -> list[str]:
    tensors = [graph.tensors[index] for index in indices]
    faults = []
    if len(tensors) != 1:
        names = ", ".join(_text(tensor.name) for tensor in tensors)
        faults.append(f"it has {len(tensors)} {side}s ({names}); the client knows exactly one")
    for tensor in tensors:
        shape = _ints(tensor.shape)
        dynamic = -1 in _ints(tensor.shapeSignature)
        fits = len(shape) == 2 and shape[0] == 1 and shape[1] >= 1 and not dynamic
        if not fits or tensor.type != getattr(schema.TensorType, kind):
            found = f"{_type_name(tensor.type)} {_ints(tensor.shapeSignature) if dynamic else shape}"
            rule = f"{kind.lower()} [1, {size}] of fixed size"
            faults.append(f"{side} '{_text(tensor.name)}' is {found}; the client takes {rule}")
    return faults


def _ints(vector: Any) -> list[int]:
    """A vector of the file as a list; an absent one is empty."""
    return [] if vector is None else [int(value) for value in vector]


def _type_name(kind: int) -> str:
    return next(str(name).lower() for name, value in vars(schema.TensorType).items() if value == kind)


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def _find_table(path: Path, model: schema.ModelT, weights: dict[int, Any]) -> Table | None:
    """The constant that the first look-up of the ids reads; None where there is no plain one."""
    graph = model.subgraphs[0]
    ids = set(_ints(graph.inputs))
    unpacked = {}
    for op in graph.operators or []:
        kind = builtin_code(model.operatorCodes[op.opcodeIndex])
        inputs, outputs = _ints(op.inputs), _ints(op.outputs)
        if kind == _OPERATORS.DEQUANTIZE:
            unpacked[outputs[0]] = inputs[0]
        if kind in _LOOKUPS and inputs[_LOOKUPS[kind][0]] in ids:
            table = inputs[_LOOKUPS[kind][1]]
            return _table(path, graph.tensors[unpacked.get(table, table)], weights)
        if kind in _IDS_STAY_IDS and ids.intersection(inputs):
            ids.update(outputs)
    return None


def _table(path: Path, tensor: schema.TensorT, weights: dict[int, Any]) -> Table | None:
    rows = next(iter(_ints(tensor.shape)), 0)
    data = weights.get(int(tensor.buffer))
    if data is None or rows < 2 or len(data) % rows:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        fields = schema.Model.GetRootAs(mapped, 0).Buffers(tensor.buffer)._tab
        return Table(rows, int(fields.Vector(fields.Offset(4))), len(data) // rows)


def _run_faults(path: Path, interpreter: Any, seq: int, table: Table | None) -> tuple[list[str], list[str]]:
    """Faults that only runs show, and what the runs could not show."""
    rows = table.rows if table else max(TOKENS) + 1
    short = [token for token in TOKENS if token < rows][:seq]
    texts = {
        "one token": short[:1],
        "a short text": short,
        "a text of full length": [1 + place % (rows - 1) for place in range(seq)],
    }
    try:
        vectors = {what: _vector(interpreter, ids, seq) for what, ids in texts.items()}
    except (RuntimeError, ValueError) as error:
        return [f"a run fails ({str(error).splitlines()[0]})"], []
    faults = [fault for what, vector in vectors.items() for fault in _norm_faults(what, vector)]
    if seq > 1 and np.array_equal(vectors["a short text"], vectors["a text of full length"]):
        faults.append("a short text and one of full length have the same vector")
    if len(short) == seq or not np.isfinite(vectors["a short text"]).all():
        return faults, []
    moves = _padding_moves(path, table, short, vectors["a short text"], seq)
    if moves is None:
        return faults, ["whether padding is masked: no plain embedding table was found behind the input"]
    if moves:
        faults.append(f"padding (id {PAD_ID}) is not masked: its row of the table moves the vector")
    return faults, []


def _norm_faults(what: str, vector: Float32) -> list[str]:
    if not np.isfinite(vector).all():
        return [f"the vector of {what} is not finite"]
    norm = float(np.linalg.norm(vector))
    return [] if abs(norm - 1) <= UNIT_TOLERANCE else [f"the vector of {what} has norm {norm:.4g}, not 1"]


def _vector(interpreter: Any, ids: list[int], seq: int) -> Float32:
    row = np.full((1, seq), PAD_ID, dtype=np.int32)
    row[0, : len(ids)] = ids
    with quiet():
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row)
        interpreter.invoke()
    vector: Float32 = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    return vector


def _padding_moves(
    path: Path, table: Table | None, short: list[int], vector: Float32, seq: int
) -> bool | None:
    """Whether the vector of a short text depends on what padding looks like.

    One static length leaves the amount of padding no room to vary, so the table is varied: with a word's row
    in the place of padding's, a masked model gives the same vector. The same done to a token of the text
    must move it; where it does not, the runs do not read that table and nothing is known (None).
    """
    if table is None or len(short) < 2:
        return None
    moves = []
    for token in (PAD_ID, short[0]):
        with tempfile.TemporaryDirectory() as folder:
            altered = Path(folder, "altered.tflite")
            shutil.copyfile(path, altered)
            _copy_row(altered, table, short[1], token)
            distance = np.linalg.norm(_vector(_open(altered), short, seq) - vector)
        moves.append(bool(distance > MOVED * np.linalg.norm(vector)))
    return moves[0] if moves[1] else None


def _copy_row(path: Path, table: Table, source: int, target: int) -> None:
    with path.open("r+b") as file:
        file.seek(table.start + source * table.row_bytes)
        row = file.read(table.row_bytes)
        file.seek(table.start + target * table.row_bytes)
        file.write(row)
