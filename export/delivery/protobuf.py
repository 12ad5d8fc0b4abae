"""Fields of a serialised protocol buffer, by number, for the two small messages that an .aab needs read."""

from __future__ import annotations

from common.errors import UserError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10

Fields = dict[int, list[int | bytes]]


def fields(message: bytes) -> Fields:
    """Values by field number, in order: integers for varints, bytes for everything that has a length.

    Raises UserError for bytes that are no message.
    """
    found: Fields = {}
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == VARINT:
            value, place = _varint(message, place)
        else:
            size, place = _size(message, place, kind)
            value, place = message[place : place + size], place + size
        found.setdefault(number, []).append(value)
    return found


def messages(found: Fields, number: int) -> list[Fields]:
    """The nested messages of a field."""
    return [fields(value) for value in found.get(number, []) if isinstance(value, bytes)]


def integer(found: Fields, number: int) -> int:
    """The last value of a number field, 0 where it is absent."""
    last = found.get(number, [0])[-1]
    if not isinstance(last, int):
        raise UserError(f"field {number} is no number")
    return last


def texts(found: Fields, number: int) -> list[str]:
    """The values of a string field."""
    return [value.decode(errors="replace") for value in found.get(number, []) if isinstance(value, bytes)]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[place : place + LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    raise UserError("not a protocol buffer: a number without end")


def _size(message: bytes, place: int, kind: int) -> tuple[int, int]:
    sizes = {FIXED64: 8, FIXED32: 4}
    if kind not in (*sizes, BYTES):
        raise UserError(f"not a protocol buffer: field type {kind}")
    size, place = (sizes[kind], place) if kind in sizes else _varint(message, place)
    if place + size > len(message):
        raise UserError("not a protocol buffer: a field ends behind it")
    return size, place
