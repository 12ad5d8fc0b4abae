"""common/records.py: dataclasses are read strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from common.errors import UserError
from common.records import from_dict


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 3


@dataclass(frozen=True)
class Outer:
    label: str
    ratio: float
    count: int
    on: bool
    inner: Inner
    many: list[Inner] = field(default_factory=list)
    dims: tuple[int, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    points: list[float] = field(default_factory=list)
    maybe: Inner | None = None
    free: Any = None


def row(**changes: Any) -> dict[str, Any]:
    return {"label": "a", "ratio": 0.5, "count": 2, "on": True, "inner": {"name": "n"}, **changes}


def test_defaults_fill_what_is_left_out() -> None:
    assert from_dict(Outer, row(), "f") == Outer("a", 0.5, 2, True, Inner("n", 3))


@pytest.mark.parametrize(
    ("name", "given", "built"),
    [
        ("ratio", 2, 2.0),
        ("many", [{"name": "x"}, {"name": "y", "size": 1}], [Inner("x"), Inner("y", 1)]),
        ("dims", [768, 128], (768, 128)),
        ("scores", {"256": 1}, {"256": 1.0}),
        ("maybe", None, None),
        ("maybe", {"name": "x"}, Inner("x")),
        ("free", [1, "two", None], [1, "two", None]),
    ],
)
def test_a_value_becomes_the_declared_type(name: str, given: Any, built: Any) -> None:
    value = getattr(from_dict(Outer, row(**{name: given}), "f"), name)
    assert value == built
    assert type(value) is type(built)


def test_whole_numbers_among_others_become_floats() -> None:
    points = from_dict(Outer, row(points=[0.5, 2]), "f").points
    assert [type(one) for one in points] == [float, float]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 1}, "f: label: expected str, found 1"),
        ({"label": None}, "f: label: expected str, found None"),
        ({"count": 1.5}, "f: count: expected int, found 1.5"),
        ({"count": True}, "f: count: expected int, found True"),
        ({"ratio": False}, "f: ratio: expected int or float, found False"),
        ({"ratio": "0.5"}, "f: ratio: expected int or float, found '0.5'"),
        ({"on": 1}, "f: on: expected bool, found 1"),
        ({"dims": 768}, "f: dims: expected list or tuple, found 768"),
        ({"dims": ["768"]}, "f: dims: expected int, found '768'"),
        ({"dims": [768, True]}, "f: dims: expected int, found True"),
        ({"points": [0.5, "1"]}, "f: points: expected int or float, found '1'"),
        ({"points": [0.5, -1e301]}, "f: points: -1e+301... is beyond any measurement"),
        ({"scores": [1]}, "f: scores: expected dict, found [1]"),
        ({"scores": {"256": "x"}}, "f: scores.256: expected int or float, found 'x'"),
        ({"inner": "n"}, "f: inner: expected a table of fields, found str"),
        ({"inner": {}}, "f: inner: the field 'name' is missing"),
        ({"inner": {"name": "n", "sise": 1}}, "f: inner: unknown field 'sise'; known fields: name, size"),
        ({"many": [{"name": 1}]}, "f: many: name: expected str, found 1"),
        ({"maybe": {"size": 1}}, "f: maybe: the field 'name' is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        from_dict(Outer, row(**changes), "f")
    assert str(refusal.value) == message


def test_an_unknown_field_is_named_before_a_missing_one() -> None:
    with pytest.raises(UserError, match="unknown field 'lable'"):
        from_dict(Outer, {"lable": "a"}, "f")


def test_a_missing_field_is_named() -> None:
    given = row()
    del given["count"]
    with pytest.raises(UserError, match="f: the field 'count' is missing"):
        from_dict(Outer, given, "f")


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_something_other_than_a_table_is_refused(data: Any) -> None:
    with pytest.raises(UserError, match="f: expected a table of fields"):
        from_dict(Outer, data, "f")
