"""The layout of tokenizer.bin: header and section table. docs/tokenizer.md states it in full.

Little endian, every section at a multiple of 8 bytes, no pointers: a reader maps the file and looks at it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from common.errors import UserError

MAGIC = b"pvtoken\0"
VERSION = 1
NONE = 0xFFFFFFFF
"""In any u32 field: there is none."""
FUSE_UNK = 1
"""Bit of `flags`: neighbouring unknown characters become one token."""
ID_BITS = 21
"""Width of a right id, a rank and a new id in a merge record: 63 bits, a positive number everywhere."""
PAGE_CHARS = 256
"""Code points per page of the character table."""
PAGES = 0x110000 // PAGE_CHARS

SECTIONS = (
    "char_pages",
    "char_ids",
    "byte_ids",
    "steps_starts",
    "steps_bytes",
    "split",
    "prefix",
    "suffix",
    "special",
    "raw_starts",
    "raw_bytes",
    "raw_ids",
    "raw_parents",
    "raw_first",
    "normalised_starts",
    "normalised_bytes",
    "normalised_ids",
    "normalised_parents",
    "normalised_first",
    "merge_starts",
    "merges",
    "piece_starts",
    "piece_bytes",
)
"""In file order: what every text touches first, the tables that are touched here and there last."""
_HEADER = struct.Struct("<8sIIQ6I")
_ENTRY = struct.Struct("<QQ")
_ALIGNMENT = 8


@dataclass(frozen=True)
class Header:
    """The numbers before the sections.

    size: every token id is below it. unk: the id for what has no other, or NONE. boundary: code point that
    no merge joins to another character before it, 0 for none. The last two are the characters of the longest
    added token of each kind.
    """

    size: int
    unk: int
    flags: int
    boundary: int
    raw_longest: int
    normalised_longest: int


def pack(header: Header, sections: dict[str, bytes]) -> bytes:
    """The whole file."""
    body = _HEADER.size + _ENTRY.size * len(SECTIONS)
    table, parts, offset = [], [], body
    for name in SECTIONS:
        content = sections[name]
        table.append(_ENTRY.pack(offset, len(content)))
        parts.append(content + bytes(-len(content) % _ALIGNMENT))
        offset += len(parts[-1])
    head = _HEADER.pack(MAGIC, VERSION, len(SECTIONS), offset, *vars(header).values())
    return b"".join([head, *table, *parts])


def parse(view: memoryview, place: str) -> tuple[Header, dict[str, memoryview]]:
    """Header and sections of a mapped file; `place` names it in errors.

    Raises UserError for another kind of file, another version or a file that is not whole.
    """
    if len(view) < _HEADER.size or bytes(view[: len(MAGIC)]) != MAGIC:
        raise UserError(f"{place}: not a tokenizer of pocketvec's, it does not begin with {MAGIC[:-1]!r}")
    _, version, count, size, *numbers = _HEADER.unpack_from(view)
    if (version, count) != (VERSION, len(SECTIONS)):
        raise UserError(f"{place}: version {version} with {count} sections, but this reads version {VERSION}")
    if size != len(view) or size < _HEADER.size + count * _ENTRY.size:
        raise UserError(f"{place}: not whole, {len(view)} bytes of {size}")
    sections = {}
    for index, name in enumerate(SECTIONS):
        offset, length = _ENTRY.unpack_from(view, _HEADER.size + index * _ENTRY.size)
        if offset % _ALIGNMENT or offset + length > size:
            raise UserError(f"{place}: its section '{name}' lies outside the file")
        sections[name] = view[offset : offset + length]
    header = Header(*numbers)
    lengths = len(sections["char_pages"]), len(sections["merge_starts"]), len(sections["piece_starts"])
    if lengths != (2 * PAGES, 4 * (header.size + 1), 4 * (header.size + 1)):
        raise UserError(f"{place}: its tables do not fit each other")
    return header, sections
