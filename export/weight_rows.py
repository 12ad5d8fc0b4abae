"""Some rows of one tensor of a safetensors file, and all of the others, without loading either.

Layout: eight bytes with the length of a JSON header, the header with each tensor's dtype, shape and byte
range, then the bytes (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

LENGTH_BYTES = 8
CHUNK_BYTES = 1 << 24
METADATA = "__metadata__"


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file."""
    return [name for name in _read_header(path)[0] if name != METADATA]


def write_rows(source: Path, target: Path, tensor: str, rows: npt.NDArray[np.int64]) -> None:
    """Copy `source` to `target` with only `rows` of `tensor`, in their order; dtypes stay as they are."""
    header, start = _read_header(source)
    names = sorted((name for name in header if name != METADATA), key=lambda n: header[n]["data_offsets"])
    changed = {METADATA: header[METADATA]} if METADATA in header else {}
    end = 0
    for name in names:
        begin, stop = header[name]["data_offsets"]
        size, shape = stop - begin, header[name]["shape"]
        if name == tensor:
            size, shape = size // shape[0] * len(rows), [len(rows), *shape[1:]]
        changed[name] = {**header[name], "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(changed).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    with source.open("rb") as old, target.open("wb") as new:
        new.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for name in names:
            begin, stop = (start + offset for offset in header[name]["data_offsets"])
            if name == tensor:
                height = header[name]["shape"][0]
                chunks = _rows(source, begin, (height, (stop - begin) // height), rows)
            else:
                chunks = _bytes(old, begin, stop)
            for chunk in chunks:
                new.write(chunk)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the data begins."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(LENGTH_BYTES), "little")
        return json.loads(handle.read(length)), LENGTH_BYTES + length


def _rows(path: Path, begin: int, shape: tuple[int, int], rows: npt.NDArray[np.int64]) -> Iterator[bytes]:
    table = np.memmap(path, dtype=np.uint8, mode="r", offset=begin, shape=shape)
    step = max(1, CHUNK_BYTES // shape[1])
    for first in range(0, len(rows), step):
        yield table[rows[first : first + step]].tobytes()


def _bytes(handle: BinaryIO, begin: int, stop: int) -> Iterator[bytes]:
    handle.seek(begin)
    while (left := stop - handle.tell()) > 0:
        yield handle.read(min(CHUNK_BYTES, left))
