"""Take the token table out of an ONNX graph: what is looked up by input_ids becomes an input of its own.

onnxruntime writes its packed weights out together with every other constant, each read into memory whole, and
the token table is the largest by far. And a table that is mapped costs more than the rows that are read: the
kernel maps 64 KB and more around each. So the packed graph (export.session) is given the rows of its tokens,
read from the artifact's file: copies of a few hundred bytes, and no page of the table is mapped. The edit
walks protobuf's wire format, of which it needs a dozen fields, so that a client needs no library for it.

Source of the field numbers: onnx.proto (ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto).
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT = 1, 5, 11
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR = 1, 2, 4
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_EXTERNAL = 1, 2, 8, 13
ENTRY_KEY, ENTRY_VALUE = 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10
"""Bytes of the longest number."""
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 10: np.float16}
"""numpy types by TensorProto.DataType, of those that tables have."""
TOKEN_IDS = "input_ids"  # noqa: S105

Fields = list[tuple[int, Any, bytes]]
"""(number, value, the field as it stands in the file)."""
Entries = dict[str, str]


@dataclass(frozen=True)
class Node:
    """An operator with the names of its inputs and outputs."""

    operator: str
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True)
class Table:
    """A table in a data file: the input that its rows go to, TensorProto.DataType, shape, file and offset."""

    rows_name: str
    data_type: int
    shape: tuple[int, ...]
    location: str
    offset: int


class TableFile:
    """An open table, read row by row."""

    def __init__(self, table: Table, folder: Path) -> None:
        """Raises UserError when the file in `folder` does not hold the table."""
        self._table = table
        self._dtype = np.dtype(DTYPES[table.data_type])
        self._row_bytes = self._dtype.itemsize * math.prod(table.shape[1:])
        path = folder / table.location
        if Path(table.location).name != table.location or not path.is_file():
            raise UserError(f"{folder}: the token table lies in '{table.location}', which is no file there")
        if path.stat().st_size < table.offset + table.shape[0] * self._row_bytes:
            raise UserError(f"{path}: too short for the token table")
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def rows(self, ids: Iterable[int]) -> npt.NDArray[Any]:
        """The rows of these ids, in order. Every id lies in the table."""
        size, start, file = self._row_bytes, self._table.offset, self._file
        read = b"".join([os.pread(file, size, start + size * row) for row in ids])
        return np.frombuffer(read, self._dtype).reshape(-1, *self._table.shape[1:])


class _NotOnnxError(ValueError):
    """Bytes that protobuf's wire format, or ONNX's messages in it, cannot have; says what."""


def split_tables(model: bytes, place: str = "the graph") -> tuple[bytes, list[Table]]:
    """The graph with the rows of its token tables as inputs, and what the tables are.

    A graph without such a table comes back as it was. Raises UserError for bytes that are not ONNX; `place`
    is what they are called in it.
    """
    tables: list[Table] = []

    def split(graph: bytes) -> bytes:
        without, found = _split_graph(graph)
        tables.extend(found)
        return without

    return _edit_graph(model, split, place), tables


def edit_external(model: bytes, edit: Callable[[Entries], Entries], place: str = "the graph") -> bytes:
    """The graph with what `edit` makes of the external data entries (text by key) of each constant.

    Raises UserError for bytes that are not ONNX.
    """

    def change(number: int, value: Any, raw: bytes) -> bytes:
        if number != GRAPH_INITIALIZER:
            return raw
        fields = list(_fields(value))
        rest = [part for kind, _, part in fields if kind != TENSOR_EXTERNAL]
        made = [_message(TENSOR_EXTERNAL, _entry(*item)) for item in edit(_external(fields)).items()]
        return _message(GRAPH_INITIALIZER, b"".join([*rest, *made]))

    return _edit_graph(model, lambda graph: b"".join(change(*field) for field in _fields(graph)), place)


def _edit_graph(model: bytes, edit: Callable[[bytes], bytes], place: str) -> bytes:
    try:
        fields = list(_fields(model))
        if not any(number == MODEL_GRAPH for number, _, _ in fields):
            raise _NotOnnxError("it has no graph")
        return b"".join(
            _message(MODEL_GRAPH, edit(value)) if number == MODEL_GRAPH else raw
            for number, value, raw in fields
        )
    except _NotOnnxError as error:
        raise UserError(f"{place}: not an ONNX file ({error})") from None


def _external(tensor: Fields) -> Entries:
    """Where a constant lies, by key; nothing for one that lies in the graph."""
    entries = [list(_fields(value)) for number, value, _ in tensor if number == TENSOR_EXTERNAL]
    return {_text(entry, ENTRY_KEY): _text(entry, ENTRY_VALUE) for entry in entries}


def _entry(key: str, value: str) -> bytes:
    return _message(ENTRY_KEY, key.encode()) + _message(ENTRY_VALUE, value.encode())


def _split_graph(graph: bytes) -> tuple[bytes, list[Table]]:
    fields = list(_fields(graph))
    nodes = [_node(value) for number, value, _ in fields if number == GRAPH_NODE]
    flat = {node.outputs[0] for node in nodes if (node.operator, node.inputs[:1]) == ("Reshape", [TOKEN_IDS])}
    lookups = {
        node.inputs[0]: node.outputs[0]
        for node in nodes
        if node.operator == "Gather" and flat & {*node.inputs[1:2]}
    }
    kept, tables = [], []
    for number, value, raw in fields:
        table = _table(value, lookups) if number == GRAPH_INITIALIZER else None
        if table is not None:
            tables.append(table)
            kept.append(_message(GRAPH_INPUT, _input(table)))
        else:
            kept.append(raw)
    made = {table.rows_name for table in tables}
    gone = [
        _message(GRAPH_NODE, value)
        for number, value, _ in fields
        if number == GRAPH_NODE and made & {*_node(value).outputs}
    ]
    return b"".join(part for part in kept if part not in gone), tables


def _node(node: bytes) -> Node:
    texts: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OPERATOR: []}
    for number, value, _ in _fields(node):
        if number in texts:
            texts[number].append(_utf8(value))
    if not (texts[NODE_OPERATOR] and texts[NODE_OUTPUT]):
        raise _NotOnnxError("a node without operator or output")
    return Node(texts[NODE_OPERATOR][0], texts[NODE_INPUT], texts[NODE_OUTPUT])


def _table(tensor: bytes, lookups: dict[str, str]) -> Table | None:
    """A constant in a data file that is looked up by token, else None. `lookups`: results by constant.

    One of a type that DTYPES lacks stays in the graph.
    """
    fields = list(_fields(tensor))
    place = _external(fields)
    name = _text(fields, TENSOR_NAME)
    data_type = next((value for number, value, _ in fields if number == TENSOR_TYPE), None)
    if "location" not in place or name not in lookups or data_type not in DTYPES:
        return None
    shape = tuple(size for number, value, _ in fields if number == TENSOR_DIMS for size in _sizes(value))
    offset = place.get("offset", "0")
    if not (shape and offset.isdecimal()):
        raise _NotOnnxError(f"a table of shape {list(shape)} at '{offset}'")
    return Table(lookups[name], data_type, shape, place["location"], int(offset))


def _sizes(value: int | bytes) -> list[int]:
    """Dimensions, which protobuf writes one by one or packed."""
    if isinstance(value, int):
        return [value]
    sizes, position = [], 0
    while position < len(value):
        size, position = _varint(value, position)
        sizes.append(size)
    return sizes


def _text(fields: Fields, wanted: int) -> str:
    return next((_utf8(value) for number, value, _ in fields if number == wanted), "")


def _utf8(value: Any) -> str:
    try:
        return bytes.decode(value)
    except (TypeError, UnicodeDecodeError):  # TypeError: a number
        raise _NotOnnxError("a name that is no text") from None


def _input(table: Table) -> bytes:
    """A ValueInfoProto of rows: name, and type as TypeProto.Tensor of element type and shape."""
    sizes = [_message(2, b"tokens"), *(_number(1, size) for size in table.shape[1:])]
    shape = b"".join(_message(1, size) for size in sizes)
    tensor = _number(1, table.data_type) + _message(2, shape)
    return _message(1, table.rows_name.encode()) + _message(2, _message(1, tensor))


def _fields(message: bytes) -> Iterator[tuple[int, Any, bytes]]:
    if not isinstance(message, bytes):
        raise _NotOnnxError("a number in place of a message")
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        value: Any
        if kind == VARINT:
            value, position = _varint(message, position)
        elif kind == BYTES:
            size, position = _varint(message, position)
            value, position = message[position : position + size], position + size
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value, position = message[position : position + size], position + size
        else:
            raise _NotOnnxError(f"a field of wire type {kind}")
        if position > len(message) or number == 0:
            raise _NotOnnxError("it is cut or damaged")
        yield number, value, message[start:position]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[position : position + MAX_VARINT]:
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise _NotOnnxError("it is cut or damaged")


def _encode(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _encode(field << 3 | VARINT) + _encode(value)


def _message(field: int, content: bytes) -> bytes:
    return _encode(field << 3 | BYTES) + _encode(len(content)) + content
