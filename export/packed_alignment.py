"""Move onnxruntime's packed weights to aligned places in the file that it has written them to.

The packed form of com.microsoft.MatMulNBits has parts that begin at the next multiple of 64 bytes of memory.
onnxruntime 1.31 writes it wherever the constant before it ends; mapped from another remainder, the parts
are looked for beside their places, and vectors are wrong or zero without any error. So every constant of the
data file is put at a multiple of 64, and the graph told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from export.onnx_tables import Entries, edit_external

ALIGNMENT = 64
CHUNK = 1 << 20
PACKED = "prepacked_"
"""Key of an entry 'kernel|offset;length;checksum|...' beside a constant's own offset and length."""


def align_packed(graph: Path, data: Path) -> None:
    """Rewrite `graph` and its file `data` if something in it lies at no multiple of ALIGNMENT.

    Raises UserError for a graph that is not ONNX.
    """
    model = graph.read_bytes()
    spans: set[tuple[int, int]] = set()

    def note(entries: Entries) -> Entries:
        spans.update(_spans(entries))
        return entries

    edit_external(model, note, str(graph))
    if all(offset % ALIGNMENT == 0 for offset, _ in spans):
        return
    moved = data.with_name(f"{data.name}.aligned")
    with data.open("rb") as source, moved.open("wb") as target:
        places = {offset: _copy(source, target, offset, length) for offset, length in sorted(spans)}
    moved.replace(data)
    graph.write_bytes(edit_external(model, lambda entries: _moved(entries, places), str(graph)))


def _spans(entries: Entries) -> Iterator[tuple[int, int]]:
    if "location" in entries:
        yield int(entries["offset"]), int(entries["length"])
    for key, value in entries.items():
        if key.startswith(PACKED):
            for part in filter(None, value.split("|")[1:]):
                offset, length, _ = part.split(";")
                yield int(offset), int(length)


def _moved(entries: Entries, places: dict[int, int]) -> Entries:
    made = dict(entries)
    if "location" in entries:
        made["offset"] = str(places[int(entries["offset"])])
    for key, value in entries.items():
        if key.startswith(PACKED):
            kernel, *parts = value.split("|")
            split = [part.split(";") for part in parts]
            shifted = [";".join([str(places[int(one[0])]), *one[1:]]) if one[0] else "" for one in split]
            made[key] = "|".join([kernel, *shifted])
    return made


def _copy(source: BinaryIO, target: BinaryIO, offset: int, length: int) -> int:
    """Append a part of `source` at the next aligned place of `target`, which is returned."""
    target.write(b"\0" * (-target.tell() % ALIGNMENT))
    place = target.tell()
    source.seek(offset)
    while length and (chunk := source.read(min(length, CHUNK))):
        target.write(chunk)
        length -= len(chunk)
    return place
