"""The headings of the page's tables: groups over columns, and what is shown before all columns are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.views.columns import Column


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under one name: how many, and how many of them are brief."""

    name: str
    width: int
    brief: int


@dataclass(frozen=True)
class Head:
    """A column's heading: its title and the CSS classes of all its cells."""

    title: str
    css: str


def table_headings(columns: Sequence[Column], marked: Collection[int] = ()) -> dict[str, Any]:
    """`groups` and `heads` of a table. A column with a marked cell is never among those left out."""
    brief = [column.brief or index in marked for index, column in enumerate(columns)]
    groups, heads, start = [], [], 0
    for name, run in groupby(columns, key=lambda column: column.group):
        width = len(list(run))
        shown = brief[start : start + width]
        groups.append(Group(name, width, sum(shown)))
        heads += [
            Head(column.title, _css(column, index, shown))
            for index, column in enumerate(columns[start : start + width])
        ]
        start += width
    return {"groups": groups, "heads": heads}


def _css(column: Column, index: int, brief: Sequence[bool]) -> str:
    """Numbers to the right, a rule where a group starts, `more` for what is not shown at first."""
    classes = {
        "num": column.is_number,
        "start": index == 0,
        "opens": brief[index] and not any(brief[:index]) and index > 0,
        "more": not brief[index],
    }
    return " ".join(name for name, holds in classes.items() if holds)
