"""GGUF in and out, tensor by tensor: nothing larger than a chunk of one weight is ever in memory.

The package gguf reads every token of the vocabulary into an object of its own, half a million for Gemma;
here the metadata of a file is copied as bytes. Layout: the GGUF specification of ggml, version 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from common.errors import UserError

Float32 = npt.NDArray[np.float32]

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
F32, Q4_0, Q8_0 = 0, 2, 8
"""Numbers of ggml's element types."""
BLOCK_FORMS = {F32: (1, 4), Q4_0: (32, 18), Q8_0: (32, 34)}
"""Values and bytes of a block, by element type."""
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, UINT32: 4, INT32: 4, FLOAT32: 4, BOOL: 1, 10: 8, 11: 8, 12: 8}
CHUNK_VALUES = 1 << 22

Metadata = dict[str, bytes]
"""Values by key, each as the file holds it: its type and then its bytes."""


def uint32(value: int) -> bytes:
    """A metadata value: an unsigned integer."""
    return struct.pack("<II", UINT32, value)


def float32(value: float) -> bytes:
    """A metadata value: a float."""
    return struct.pack("<If", FLOAT32, value)


def flag(value: bool) -> bytes:
    """A metadata value: true or false."""
    return struct.pack("<I?", BOOL, value)


def string(value: str) -> bytes:
    """A metadata value: text."""
    return struct.pack("<I", STRING) + _text(value)


def strings(values: Sequence[str]) -> bytes:
    """A metadata value: a list of texts."""
    return struct.pack("<IIQ", ARRAY, STRING, len(values)) + b"".join(map(_text, values))


def numbers(values: Sequence[float] | Sequence[int], kind: int) -> bytes:
    """A metadata value: a list of FLOAT32 or INT32."""
    dtype = "<f4" if kind == FLOAT32 else "<i4"
    return struct.pack("<IIQ", ARRAY, kind, len(values)) + np.asarray(values, dtype=dtype).tobytes()


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


@dataclass(frozen=True)
class NewTensor:
    """A tensor to write: shape with rows first, element type, and its bytes in order, in pieces."""

    name: str
    shape: tuple[int, ...]
    kind: int
    pieces: Callable[[], Iterable[npt.NDArray[Any]]]

    @property
    def nbytes(self) -> int:
        """Bytes in the file, padding not counted."""
        return _nbytes(self.shape, self.kind)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file: shape with rows first, element type, position of its first byte."""

    path: Path
    name: str
    shape: tuple[int, ...]
    kind: int
    position: int

    @property
    def nbytes(self) -> int:
        """Bytes in the file, padding not counted."""
        return _nbytes(self.shape, self.kind)

    def rows(self) -> Iterator[Float32]:
        """An F32 tensor's rows in chunks, float32 [rows, columns]; a vector is one row."""
        columns = self.shape[-1]
        rows = math.prod(self.shape[:-1])
        step = max(1, CHUNK_VALUES // columns)
        for start in range(0, rows, step):
            count = min(step, rows - start) * columns
            position = self.position + start * columns * BLOCK_FORMS[F32][1]
            yield np.fromfile(self.path, "<f4", count, offset=position).reshape(-1, columns)

    def read(self) -> Float32:
        """An F32 tensor whole, in its shape."""
        return np.concatenate(list(self.rows())).reshape(self.shape)


def _nbytes(shape: tuple[int, ...], kind: int) -> int:
    values, size = BLOCK_FORMS[kind]
    return math.prod(shape) // values * size


def write_gguf(path: Path, metadata: Metadata, tensors: Sequence[NewTensor]) -> None:
    """Write a file, one piece of a tensor in memory at a time."""
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_text(key) + value)
        offset = 0
        for tensor in tensors:
            file.write(_text(tensor.name) + struct.pack("<I", len(tensor.shape)))
            file.write(struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)))
            file.write(struct.pack("<IQ", tensor.kind, offset))
            offset = _aligned(offset + tensor.nbytes)
        for tensor in tensors:
            _write_data(file, tensor)
        _pad(file)


def _write_data(file: BinaryIO, tensor: NewTensor) -> None:
    _pad(file)
    start = file.tell()
    for piece in tensor.pieces():
        file.write(np.ascontiguousarray(piece).data)
    if file.tell() - start != tensor.nbytes:
        raise RuntimeError(f"tensor '{tensor.name}': {file.tell() - start} bytes, not {tensor.nbytes}")


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _pad(file: BinaryIO) -> None:
    file.write(bytes(_aligned(file.tell()) - file.tell()))


def read_gguf(path: Path) -> tuple[Metadata, list[StoredTensor]]:
    """Metadata and tensors of a file in its order. Raises UserError for one that is not such a GGUF."""
    with path.open("rb") as file:
        try:
            if file.read(4) != MAGIC:
                raise UserError(f"{path}: not a GGUF file")
            version, tensors, entries = struct.unpack("<IQQ", file.read(20))
            if version != VERSION:
                raise UserError(f"{path}: GGUF version {version}; only {VERSION} is read")
            metadata = {_read_text(file): _read_value(file) for _ in range(entries)}
            infos = [_read_info(file) for _ in range(tensors)]
        except (struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError):
            raise UserError(f"{path}: a truncated or damaged GGUF file") from None
        start = _aligned(file.tell())
    return metadata, [StoredTensor(path, name, shape, kind, start + at) for name, shape, kind, at in infos]


def _read_text(file: BinaryIO) -> str:
    (size,) = struct.unpack("<Q", file.read(8))
    return file.read(size).decode()


def _read_value(file: BinaryIO) -> bytes:
    """The bytes of a metadata value, its type before it."""
    start = file.tell()
    (kind,) = struct.unpack("<I", file.read(4))
    count = 1
    if kind == ARRAY:
        kind, count = struct.unpack("<IQ", file.read(12))
    if kind == STRING:
        for _ in range(count):
            (size,) = struct.unpack("<Q", file.read(8))
            file.seek(size, 1)
    else:
        file.seek(count * SCALAR_BYTES[kind], 1)
    size = file.tell() - start
    file.seek(start)
    return file.read(size)


def _read_info(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    name = _read_text(file)
    (dims,) = struct.unpack("<I", file.read(4))
    shape = struct.unpack(f"<{dims}Q", file.read(8 * dims))
    kind, offset = struct.unpack("<IQ", file.read(12))
    return name, tuple(reversed(shape)), kind, offset
