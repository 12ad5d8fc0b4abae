"""Reads what a compiled class refers to, from its .class file alone.

The format is chapter 4 of the Java Virtual Machine Specification.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from common.errors import UserError

Built = TypeVar("Built")
MAGIC = 0xCAFEBABE
UTF8, CLASS, NAME_AND_TYPE, METHOD_HANDLE = 1, 7, 12, 15
FIELD_REF, METHOD_REF, INTERFACE_METHOD_REF = 9, 10, 11
SIZES = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    7: 2,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}
"""Bytes behind the tag of every constant but a text."""


@dataclass(frozen=True)
class Member:
    """A field or method as a class names it: owner with dots and dollars, name, JVM descriptor."""

    owner: str
    name: str
    descriptor: str

    @property
    def arity(self) -> int | None:
        """How many parameters a method takes, None for a field."""
        if not self.descriptor.startswith("("):
            return None
        count, at = 0, 1
        while self.descriptor[at] != ")":
            while self.descriptor[at] == "[":
                at += 1
            at = self.descriptor.index(";", at) + 1 if self.descriptor[at] == "L" else at + 1
            count += 1
        return count


@dataclass(frozen=True)
class Method:
    """A method with code: its bytes, and where exception handlers begin in them."""

    name: str
    code: bytes
    handlers: tuple[int, ...]


@dataclass(frozen=True)
class ClassFile:
    """One class: names with dots, the constants that instructions point to, and its methods."""

    name: str
    parents: tuple[str, ...]
    members: dict[int, Member]
    classes: dict[int, str]
    handles: tuple[Member, ...]
    declared: frozenset[str]
    methods: tuple[Method, ...]


def read_class(path: Path) -> ClassFile:
    """Read a .class file. Raises UserError for a file that is none."""
    return _Reader(path.read_bytes(), path).read()


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._at = data, 0
        if len(data) < 10 or self._take(">I") != MAGIC:
            raise UserError(f"{path}: not a Java class file")
        self._take(">I")  # versions
        self._constants = self._pool()

    def read(self) -> ClassFile:
        self._take(">H")  # access flags
        name, *parents = [self._class(self._take(">H")) for _ in range(2)]
        parents += [self._class(self._take(">H")) for _ in range(self._take(">H"))]
        fields = self._members(lambda name, code: name)
        bodies = self._members(self._method)
        pool = self._constants
        kinds = (FIELD_REF, METHOD_REF, INTERFACE_METHOD_REF)
        members = {at: self._member(at) for at, (tag, _) in pool.items() if tag in kinds}
        return ClassFile(
            name=name,
            parents=tuple(parent for parent in parents if parent),
            members=members,
            classes={at: self._class(at) for at, (tag, _) in pool.items() if tag == CLASS},
            handles=tuple(self._handle(raw) for tag, raw in pool.values() if tag == METHOD_HANDLE),
            declared=frozenset([*fields, *(method.name for method in bodies)]),
            methods=tuple(method for method in bodies if method.code),
        )

    def _take(self, shape: str) -> int:
        (value,) = struct.unpack_from(shape, self._data, self._at)
        self._at += struct.calcsize(shape)
        return int(value)

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _pool(self) -> dict[int, tuple[int, bytes]]:
        constants, at, count = {}, 1, self._take(">H")
        while at < count:
            tag = self._take(">B")
            size = self._take(">H") if tag == UTF8 else SIZES[tag]
            constants[at] = (tag, self._bytes(size))
            at += 2 if tag in (5, 6) else 1  # a long or a double counts twice
        return constants

    def _text(self, at: int) -> str:
        return self._constants[at][1].decode(errors="replace")

    def _class(self, at: int) -> str:
        if not at:
            return ""  # the superclass of java.lang.Object
        (text,) = struct.unpack(">H", self._constants[at][1])
        return self._text(text).replace("/", ".")

    def _member(self, at: int) -> Member:
        owner, pair = struct.unpack(">HH", self._constants[at][1])
        name, descriptor = struct.unpack(">HH", self._constants[pair][1])
        return Member(self._class(owner), self._text(name), self._text(descriptor))

    def _handle(self, raw: bytes) -> Member:
        return self._member(struct.unpack(">BH", raw)[1])

    def _members(self, build: Callable[[str, bytes], Built]) -> list[Built]:
        built = []
        for _ in range(self._take(">H")):
            self._take(">H")
            name, code = self._text(self._take(">H")), b""
            self._take(">H")
            for _ in range(self._take(">H")):
                attribute, body = self._text(self._take(">H")), self._bytes(self._take(">I"))
                code = body if attribute == "Code" else code
            built.append(build(name, code))
        return built

    @staticmethod
    def _method(name: str, body: bytes) -> Method:
        if not body:
            return Method(name, b"", ())
        (size,) = struct.unpack_from(">I", body, 4)
        code, after = body[8 : 8 + size], 8 + size
        (count,) = struct.unpack_from(">H", body, after)
        handlers = [struct.unpack_from(">H", body, after + 2 + 8 * n + 4)[0] for n in range(count)]
        return Method(name, code, tuple(handlers))
