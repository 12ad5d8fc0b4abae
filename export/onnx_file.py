"""ONNX files whose weights are never held twice: a graph in protobuf, its large constants beside it.

A model in memory is the protobuf without its large constants and those as arrays by name; read from disk
they are views of the mapped file, and writing takes them one by one. The constants of the head have a file of
their own, so that the profiles of one model, which differ in nothing else, can share the other one.
"""

from __future__ import annotations

import math
import mmap
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from common.errors import UserError

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

EXTERNAL_FROM_BYTES = 1024
"""Constants from this size on lie in a data file, where a runtime can map them."""
ALIGNMENT = 64
PAGE = 4096
"""Alignment of large constants: a row of the table then touches the fewest pages."""
LARGE_BYTES = 1 << 20
CHUNK_ROWS = 4096
HEAD_PREFIX = "head."
"""Constants named so belong to the head: the one part in which the dimensions of a model differ."""


@dataclass
class OnnxModel:
    """`proto` lacks the constants in `weights`, which has them by name in the order of the file."""

    proto: onnx.ModelProto
    weights: dict[str, Array]


def trunk_file(path: Path) -> Path:
    """Where the constants of everything but the head lie, for the graph at `path`."""
    return path.with_name(f"{path.name}.data")


def head_file(path: Path) -> Path:
    """Where the head's constants lie, for the graph at `path`."""
    return path.with_name(f"{path.name}.head")


def detach_weights(proto: onnx.ModelProto) -> OnnxModel:
    """Take the large constants out of a protobuf that holds them all."""
    from onnx import numpy_helper

    weights, small = {}, []
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) >= EXTERNAL_FROM_BYTES:
            weights[tensor.name] = numpy_helper.to_array(tensor)
        else:
            small.append(tensor)
    _keep(proto, small)
    return OnnxModel(proto, weights)


def read_onnx(path: Path) -> OnnxModel:
    """A graph, and its external constants as read-only views of the mapped files.

    Raises UserError when the file is not ONNX or a constant lies outside its folder or its file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        proto = onnx.ModelProto()
    if not proto.HasField("graph"):  # an empty file is a protobuf too
        raise UserError(f"{path}: not an ONNX file")
    weights, small = {}, []
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = _map(path, tensor)
        elif len(tensor.raw_data) >= EXTERNAL_FROM_BYTES:
            weights[tensor.name] = onnx.numpy_helper.to_array(tensor)
        else:
            small.append(tensor)
    _keep(proto, small)
    return OnnxModel(proto, weights)


def release(value: Array) -> None:
    """Hand the pages of a view of a mapped file back to the system; they are read again when needed."""
    base: Any = value
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


def write_onnx(
    path: Path, proto: onnx.ModelProto, tensors: Iterable[tuple[str, Array]], donor: Path | None = None
) -> None:
    """Write a graph to `path`, and its large constants into two files beside it, one by one.

    With `donor`, another graph of the same trunk, its trunk file is copied and `tensors` need only hold the
    head's (not linked: onnx refuses files with two names). The result is checked by onnx.
    """
    import onnx

    written = onnx.ModelProto()
    written.CopyFrom(proto)
    if donor is not None:
        shutil.copyfile(trunk_file(donor), trunk_file(path))
        written.graph.initializer.extend(_trunk_entries(donor))
    mode: Literal["ab", "wb"] = "ab" if donor else "wb"
    with trunk_file(path).open(mode) as trunk, head_file(path).open("wb") as head:
        for name, value in tensors:
            is_head = name.startswith(HEAD_PREFIX)
            entry = _append(head if is_head else trunk, name, value)
            written.graph.initializer.append(entry)
    for file in (trunk_file(path), head_file(path)):
        if file.stat().st_size == 0:
            file.unlink()
    path.write_bytes(written.SerializeToString())
    onnx.checker.check_model(str(path))


def _keep(proto: onnx.ModelProto, tensors: list[onnx.TensorProto]) -> None:
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(tensors)


def _trunk_entries(donor: Path) -> list[onnx.TensorProto]:
    import onnx

    held = onnx.load(str(donor), load_external_data=False).graph.initializer
    external = [tensor for tensor in held if tensor.data_location == onnx.TensorProto.EXTERNAL]
    return [tensor for tensor in external if not tensor.name.startswith(HEAD_PREFIX)]


def _append(file: BinaryIO, name: str, value: Array) -> onnx.TensorProto:
    """Write an array at the next aligned place and return the entry that points there."""
    import onnx

    start = file.tell()
    start += -start % (PAGE if value.nbytes >= LARGE_BYTES else ALIGNMENT)
    file.write(b"\0" * (start - file.tell()))
    rows = np.atleast_1d(value)
    for first in range(0, len(rows), CHUNK_ROWS):  # a transposed view is copied a piece at a time
        file.write(np.ascontiguousarray(rows[first : first + CHUNK_ROWS]).data)
    entry = onnx.TensorProto(
        name=name, dims=value.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    )
    entry.data_location = onnx.TensorProto.EXTERNAL
    place = {"location": Path(file.name).name, "offset": str(start), "length": str(value.nbytes)}
    for key, text in place.items():
        entry.external_data.add(key=key, value=text)
    return entry


def _map(path: Path, tensor: onnx.TensorProto) -> Array:
    import onnx

    place = {item.key: item.value for item in tensor.external_data}
    location, offset = place.get("location", ""), place.get("offset", "0")
    file = path.parent / location
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    size = math.prod(tensor.dims) * dtype.itemsize
    is_near = Path(location).name == location and offset.isdecimal() and file.is_file()
    if not is_near or (start := int(offset)) + size > file.stat().st_size:
        raise UserError(f"{path}: tensor '{tensor.name}' lies in '{location}', which does not hold it")
    mapped = np.memmap(file, dtype=np.uint8, mode="r", offset=start, shape=(size,))
    return mapped.view(np.ndarray).view(dtype).reshape(tuple(tensor.dims))
