"""Which Android version a method has made sure of when it comes to an instruction.

The bound at an instruction is the lowest SDK_INT with which it can be reached. It begins at minSdk, rises on
the side of a comparison of Build.VERSION.SDK_INT with a number where that holds, and is the lower one where
ways meet. An exception handler may be reached from anywhere, so that its bound is minSdk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from android_harness.toolchain.class_file import ClassFile, Member, Method

SDK_INT = Member("android.os.Build$VERSION", "SDK_INT", "I")
BIPUSH, SIPUSH, GETSTATIC, WIDE, IINC = 0x10, 0x11, 0xB2, 0xC4, 0x84
GOTO, TABLE_SWITCH, LOOKUP_SWITCH, GOTO_WIDE = 0xA7, 0xAA, 0xAB, 0xC8
ENDS = {0xA7, 0xA9, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF, 0xB0, 0xB1, 0xBF, 0xC8}
"""Instructions after which the next one is not reached: goto, ret, switches, returns, throw."""
JUMPS = {*range(0x99, 0xA8), 0xC6, 0xC7}
LESS, AT_LEAST, MORE, AT_MOST = 0xA1, 0xA2, 0xA3, 0xA4
LENGTHS: dict[int, int] = (
    dict.fromkeys(range(256), 1)
    | dict.fromkeys((0x10, 0x12, *range(0x15, 0x1A), *range(0x36, 0x3B), 0xA9, 0xBC), 2)
    | dict.fromkeys((0x11, 0x13, 0x14, 0x84, *range(0x99, 0xA9), *range(0xB2, 0xB9), 0xBB, 0xBD), 3)
    | dict.fromkeys((0xC0, 0xC1, 0xC6, 0xC7), 3)
    | {0xC5: 4, 0xB9: 5, 0xBA: 5, 0xC8: 5, 0xC9: 5}
)
"""Bytes of an instruction by its first, but for switches and `wide`."""


def bounds(owner: ClassFile, method: Method, min_sdk: int) -> dict[int, int]:
    """The lowest SDK_INT with which each reachable instruction of a method runs, by its offset."""
    found: dict[int, int] = {}
    work = [(0, min_sdk), *((at, min_sdk) for at in method.handlers)]
    while work:
        at, bound = work.pop()
        if at not in found or bound < found[at]:
            found[at] = bound
            work += _next(owner, method.code, at, bound)
    return found


def index(code: bytes, at: int) -> int:
    """The constant that the instruction at an offset names in two bytes."""
    return int(struct.unpack_from(">H", code, at + 1)[0])


def _next(owner: ClassFile, code: bytes, at: int, bound: int) -> Iterator[tuple[int, int]]:
    if guard := _guard(owner, code, at):
        level, branch = guard
        kind, after, target = code[branch], branch + 3, branch + _offset(code, branch)
        yield after, max(bound, _level(level, kind, jumps=False))
        yield target, max(bound, _level(level, kind, jumps=True))
        return
    op = code[at]
    if op in JUMPS:
        yield at + _offset(code, at), bound
    elif op == GOTO_WIDE:
        yield at + struct.unpack_from(">i", code, at + 1)[0], bound
    elif op in (TABLE_SWITCH, LOOKUP_SWITCH):
        yield from ((target, bound) for target in _switch_targets(code, at))
    if op not in ENDS:
        yield at + _length(code, at), bound


def _guard(owner: ClassFile, code: bytes, at: int) -> tuple[int, int] | None:
    """The level and the branch of `SDK_INT <=> level` when that comparison begins here."""
    if code[at] != GETSTATIC or owner.members.get(index(code, at)) != SDK_INT:
        return None
    push = at + 3
    if code[push] == BIPUSH:
        level, branch = int(code[push + 1]), push + 2
    elif code[push] == SIPUSH:
        level, branch = index(code, push), push + 3
    else:
        return None
    return (level, branch) if code[branch] in (LESS, AT_LEAST, MORE, AT_MOST) else None


def _level(level: int, kind: int, *, jumps: bool) -> int:
    """What SDK_INT is at least, on this side of the branch; 0 where it says nothing."""
    if (kind, jumps) in ((LESS, False), (AT_LEAST, True)):
        return level
    return level + 1 if (kind, jumps) in ((MORE, True), (AT_MOST, False)) else 0


def _offset(code: bytes, at: int) -> int:
    return int(struct.unpack_from(">h", code, at + 1)[0])


def _length(code: bytes, at: int) -> int:
    if code[at] == WIDE:
        return 6 if code[at + 1] == IINC else 4
    return LENGTHS[code[at]]


def _switch_targets(code: bytes, at: int) -> list[int]:
    start = at + 4 - at % 4
    default, first, second = struct.unpack_from(">iii", code, start)
    if code[at] == TABLE_SWITCH:
        offsets = struct.unpack_from(f">{second - first + 1}i", code, start + 12)
    else:
        offsets = struct.unpack_from(f">{2 * first}i", code, start + 8)[1::2]
    return [at + default, *(at + offset for offset in offsets)]
