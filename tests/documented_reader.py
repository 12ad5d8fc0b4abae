"""A second reader of tokenizer.bin, written from docs/tokenizer.md alone, as plain as it can be."""

from __future__ import annotations

import itertools
import struct

NONE = 0xFFFFFFFF
NAMES = [
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
]


class DocumentedReader:
    """No heap, no words, no bisection of added tokens: slow, and nothing shared with the product."""

    def __init__(self, whole: bytes) -> None:
        self.size, self.unk, self.flags = struct.unpack_from("<III", whole, 24)
        self.parts = {}
        for index, name in enumerate(NAMES):
            offset, length = struct.unpack_from("<QQ", whole, 48 + 16 * index)
            self.parts[name] = whole[offset : offset + length]

    def numbers(self, name: str, width: str = "I") -> list[int]:
        content = self.parts[name]
        return list(struct.unpack(f"<{len(content) // struct.calcsize(width)}{width}", content))

    def strings(self, name: str) -> list[str]:
        starts, content = self.numbers(f"{name}_starts"), self.parts[f"{name}_bytes"]
        return [content[a:b].decode() for a, b in itertools.pairwise(starts)]

    def open(self) -> DocumentedReader:
        self.pages, self.ids = self.numbers("char_pages", "H"), self.numbers("char_ids")
        self.bytes_ = self.numbers("byte_ids")
        self.added = {
            kind: dict(zip(self.strings(kind), self.numbers(f"{kind}_ids"), strict=True))
            for kind in ("raw", "normalised")
        }
        steps = self.strings("steps")
        self.steps = list(zip(steps[::2], steps[1::2], strict=True))
        starts, records = self.numbers("merge_starts"), self.numbers("merges", "Q")
        mask = (1 << 21) - 1
        self.merges = {
            (left, record >> 42): (record >> 21 & mask, record & mask)
            for left in range(self.size)
            for record in records[starts[left] : starts[left + 1]]
        }
        return self

    def encode(self, text: str) -> list[int]:
        ids = self.numbers("prefix")
        for raw in self.cut(text, "raw"):
            if isinstance(raw, int):
                ids.append(raw)
                continue
            for pattern, content in self.steps:
                raw = raw.replace(pattern, content) if pattern else content + raw
            for part in self.cut(raw, "normalised"):
                ids += [part] if isinstance(part, int) else self.merge(self.symbols(part))
        return ids + self.numbers("suffix")

    def cut(self, text: str, kind: str) -> list[str | int]:
        found: list[str | int] = []
        while text:
            fitting = [token for token in self.added[kind] if text.startswith(token)]
            if fitting:
                longest = max(fitting, key=len)
                found.append(self.added[kind][longest])
                text = text[len(longest) :]
                continue
            if found and isinstance(found[-1], str):
                found[-1] += text[0]
            else:
                found.append(text[0])
            text = text[1:]
        return found

    def symbols(self, text: str) -> list[int]:
        ids: list[int] = []
        for char in text:
            code = ord(char)
            own = self.ids[self.pages[code >> 8] * 256 + (code & 255)]
            ids += [own] if own != NONE else [self.bytes_[byte] for byte in char.encode()]
        return ids

    def merge(self, ids: list[int]) -> list[int]:
        while True:
            pairs = enumerate(itertools.pairwise(ids))
            known = [(*self.merges[pair], at) for at, pair in pairs if pair in self.merges]
            if not known:
                return ids
            _, new, at = min(known, key=lambda one: (one[0], one[2]))
            ids[at : at + 2] = [new]
