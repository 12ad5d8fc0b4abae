"""Reading and writing .tflite files whose weights are never held twice.

A flatbuffer refers to a vector by a forward offset of 32 bits. The graph is therefore serialised with empty
buffers, and each buffer's offset is then pointed behind the graph, where the weights follow one by one
straight from their arrays. The result is an ordinary .tflite: no external data, readable by every runtime.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from common.errors import UserError

Array = npt.NDArray[Any]

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""The schema forces it on every buffer."""
PAGE = 4096
"""Alignment of large buffers: a row of the table then touches the fewest pages."""
LARGE_BYTES = 1 << 20
MAX_FILE_BYTES = (1 << 31) - 1
"""A flatbuffer's own limit."""


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the library has no types
    """Writes equal vectors and strings once.

    Every subgraph repeats the shapes, scales and names of the others; at full size with six lengths sharing
    them takes megabytes off the file.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802  (the base class's name)
        """Offset of a vector with these elements."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            self._vectors[key] = super().CreateNumpyVector(x)
        return self._vectors[key]

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802
        """Offset of a string with this text."""
        text = s.encode(encoding, errors) if isinstance(s, str) else s
        if ("str", text) not in self._vectors:
            self._vectors["str", text] = super().CreateString(text)
        return self._vectors["str", text]


def write_tflite(
    path: Path, model: schema.ModelT, weights: Mapping[int, Array | Callable[[], Array]]
) -> None:
    """Write `model` to a new file, `weights` by buffer index behind its graph.

    A weight may be a function that makes the array when its turn comes. Raises UserError when the file
    would pass the 2 GiB that a flatbuffer can address.
    """
    for index, buffer in enumerate(model.buffers):
        buffer.data = np.zeros(1, np.uint8) if index in weights else None
    graph = _serialise(model)
    root = schema.Model.GetRootAs(graph, 0)
    with path.open("wb") as file:
        file.write(graph)
        for index in sorted(weights):
            weight = weights[index]
            start = _write_vector(file, weight() if callable(weight) else weight, path)
            field = _data_field(root.Buffers(index))
            struct.pack_into("<I", graph, field, start - field)
        file.seek(0)
        file.write(graph)


class _Once:
    """A tensor or operator that is written once however many subgraphs have one just like it."""

    def __init__(self, table: Any, written: dict[str, int]) -> None:
        self._table = table
        self._written = written
        fields = [(name, _plain(value)) for name, value in vars(table).items()]
        self._key = f"{type(table).__name__} {fields}"

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  (the schema's name)
        if self._key not in self._written:
            self._written[self._key] = self._table.Pack(builder)
        return self._written[self._key]


def _plain(value: Any) -> Any:
    """What tells two fields apart: vectors by their bytes, tables by their own fields."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if hasattr(value, "Pack"):
        return type(value).__name__, [(name, _plain(field)) for name, field in vars(value).items()]
    return value


def _serialise(model: schema.ModelT) -> bytearray:
    builder = SharingBuilder(1 << 20)
    written: dict[str, int] = {}
    kept = [(graph.tensors, graph.operators) for graph in model.subgraphs]
    for graph in model.subgraphs:
        graph.tensors = [_Once(tensor, written) for tensor in graph.tensors]
        graph.operators = [_Once(operator, written) for operator in graph.operators]
    try:
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    finally:
        for graph, (tensors, operators) in zip(model.subgraphs, kept, strict=True):
            graph.tensors, graph.operators = tensors, operators
    return bytearray(builder.Output())


def _data_field(buffer: schema.Buffer) -> int:
    """Position of the offset that leads to a buffer's data: the first field of its table."""
    table = buffer._tab
    return int(table.Pos) + int(table.Offset(4))


def _write_vector(file: Any, value: Array, path: Path) -> int:
    """Append length and bytes at the next aligned place; returns where the length stands."""
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    alignment = PAGE if len(data) >= LARGE_BYTES else ALIGNMENT
    start: int = file.tell()
    padding = -(start + 4) % alignment
    if start + padding + 4 + len(data) > MAX_FILE_BYTES:
        raise UserError(f"{path.name}: a .tflite holds 2 GiB at most and these weights need more")
    file.write(b"\0" * padding)
    file.write(struct.pack("<I", len(data)))
    file.write(data)
    return start + padding


def read_tflite(path: Path) -> tuple[schema.ModelT, dict[int, Array]]:
    """The graph of a file as objects, and its buffers as read-only views of the mapped file.

    Raises UserError when the file is not a .tflite.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] != IDENTIFIER:
            raise UserError(f"{path}: not a .tflite file")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    root = schema.Model.GetRootAs(mapped, 0)
    weights = {
        index: root.Buffers(index).DataAsNumpy()
        for index in range(root.BuffersLength())
        if root.Buffers(index).DataLength()
    }
    return _graph_without_data(root), weights


def _graph_without_data(root: schema.Model) -> schema.ModelT:
    """Unpack everything but the buffers' contents."""
    model = schema.ModelT.InitFromObj(root)
    for buffer in model.buffers:
        buffer.data = None
    return model
