"""Since which Android version each public class and member exists, as typings of the platform say.

The typings are generated from the SDK and say `@since` for all that came after API 21; see `android_api`.
TypeScript has one number type, so a method is told from its overloads by how many parameters it takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from android_harness.toolchain.class_file import Member
from common.errors import UserError

OLDEST = 21
"""What the typings leave unmarked exists at least since this version."""
CONSTRUCTOR = "constructor"
MODULE = re.compile(r"(?:declare |export )module ([\w.]+) \{")
TYPE = re.compile(r"export (?:abstract )?(?:class|interface) (\w+)[^{]*\{")
PARENTS = re.compile(r"(?:java|javax|android|org|dalvik)\.[\w.$]+")
GENERICS = re.compile(r"<[^<>]*>")
SINCE = re.compile(r"@since (\d+)")
MEMBER = re.compile(
    r"(?:public |protected )?(?:static )?(?:abstract )?(?:readonly )?([\w$]+)(?:<.*?>)?\s*([(:?])"
)


@dataclass
class PlatformClass:
    """A class of the platform: since when, what it inherits from, and its members by name and arity."""

    since: int
    parents: list[str]
    members: dict[tuple[str, int | None], int] = field(default_factory=dict)


@dataclass(frozen=True)
class ApiLevels:
    """The public API of Android with the version that each part came with."""

    classes: dict[str, PlatformClass]

    def of_class(self, name: str) -> int | None:
        """Since which API level a class exists; None when the platform has no such public class."""
        found = self.classes.get(name.replace("$", "."))
        return found.since if found else None

    def of_member(self, member: Member) -> int | None:
        """Since which API level a member can be used, inherited ones included; None for an unknown one."""
        key = (CONSTRUCTOR if member.name == "<init>" else member.name, member.arity)
        return self._find(member.owner.replace("$", "."), key)

    def _find(self, name: str, key: tuple[str, int | None]) -> int | None:
        known = self.classes.get(name)
        if known is None:
            return None
        if key in known.members:
            return max(known.members[key], known.since)
        if key == (CONSTRUCTOR, 0):
            return known.since  # typings leave a constructor without parameters out
        levels = [self._find(parent, key) for parent in known.parents if key[0] != CONSTRUCTOR]
        return min((max(level, known.since) for level in levels if level is not None), default=None)


def read_levels(path: Path) -> ApiLevels:
    """Read the platform's typings. Raises UserError when there is hardly a class in them."""
    parser = _Parser()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            parser.feed(line)
    if len(parser.classes) < 1000:
        raise UserError(f"{path}: {len(parser.classes)} classes are too few to be Android's typings")
    return ApiLevels(parser.classes)


class _Parser:
    def __init__(self) -> None:
        self.classes: dict[str, PlatformClass] = {}
        self._open: list[tuple[int, str, PlatformClass | None]] = []
        self._since = OLDEST

    def feed(self, line: str) -> None:
        text, depth = line.strip(), len(line) - len(line.lstrip("\t"))
        if text.startswith(("/**", "*")):
            self._note(text)
        elif text:
            while self._open and self._open[-1][0] >= depth:
                self._open.pop()
            self._declare(text, depth)
            self._since = OLDEST

    def _note(self, text: str) -> None:
        if found := SINCE.search(text):
            self._since = int(found[1])

    def _declare(self, text: str, depth: int) -> None:
        if module := MODULE.match(text):
            self._open.append((depth, module[1], None))
        elif kind := TYPE.match(text):
            name = ".".join([*(part for _, part, _ in self._open), kind[1]])
            known = self.classes.setdefault(name, PlatformClass(self._since, []))
            known.parents += [parent for parent in PARENTS.findall(_without_generics(text)) if parent != name]
            self._open.append((depth, kind[1], known))
        elif self._open and (holder := self._open[-1][2]) and depth == self._open[-1][0] + 1:
            self._member(holder, text)

    def _member(self, holder: PlatformClass, text: str) -> None:
        if found := MEMBER.match(text):
            arity = _arity(text[found.end() :]) if found[2] == "(" else None
            key = (found[1], arity)
            holder.members[key] = min(holder.members.get(key, self._since), self._since)


def _without_generics(text: str) -> str:
    shorter = GENERICS.sub("", text)
    return shorter if shorter == text else _without_generics(shorter)


def _arity(parameters: str) -> int:
    """How many parameters stand before the closing bracket."""
    depth, commas, empty = 0, 0, True
    for character in parameters:
        if character == ")" and depth == 0:
            break
        empty = empty and character.isspace()
        depth += {"(": 1, "<": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(character, 0)
        depth -= character == ">" and depth > 0
        commas += character == "," and depth == 0
    return 0 if empty else commas + 1
