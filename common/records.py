"""Frozen dataclasses from JSON or TOML, read strictly: unknown and missing keys are refused by name."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

from common.errors import UserError

T = TypeVar("T")

MAX_NUMBER = 1e300


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def from_dict(cls: type[T], data: Any, place: str) -> T:
    """Build dataclass `cls` from a mapping, nested dataclasses included.

    Raises UserError naming `place` and the key when a key is unknown, missing or of another type.
    """
    if not isinstance(data, dict):
        raise UserError(f"{place}: expected a table of fields, found {type(data).__name__}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(fields)):
        raise UserError(f"{place}: unknown field '{unknown[0]}'; known fields: {', '.join(fields)}")
    hints = _hints(cls)  # type: ignore[arg-type]  # every class can be a key
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{place}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{place}: the field '{name}' is missing")
    try:
        return cls(**values)
    except UserError as error:  # a rule of the dataclass itself, which does not know where it was read
        raise UserError(f"{place}: {error}") from None


def _convert(hint: Any, value: Any, place: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _convert(_non_none(arguments), value, place)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, place)
    if origin in (list, tuple) and _is_plain(value, arguments[0]):
        return origin(value)
    if origin in (list, tuple):
        return origin(_convert(arguments[0], item, place) for item in _expect(value, (list, tuple), place))
    if origin is dict:
        items = _expect(value, (dict,), place).items()
        return {key: _convert(arguments[1], item, f"{place}.{key}") for key, item in items}
    if hint is float:
        number = _expect(value, (int, float), place)
        if abs(number) > MAX_NUMBER:
            raise UserError(f"{place}: {str(number)[:20]}... is beyond any measurement")
        return float(number)
    return _expect(value, (hint,), place)


def _is_plain(value: Any, kind: Any) -> bool:
    """Whether everything in a list, which may be long, is of the very type: there is nothing to convert."""
    if kind not in (int, float, str) or not isinstance(value, (list, tuple)):
        return False
    return set(map(type, value)) == {kind} and (kind is not float or max(map(abs, value)) <= MAX_NUMBER)


def _non_none(arguments: tuple[Any, ...]) -> Any:
    return next(argument for argument in arguments if argument is not type(None))


def _expect(value: Any, kinds: tuple[type, ...], place: str) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"{place}: expected {wanted}, found {value!r}")
    return value
