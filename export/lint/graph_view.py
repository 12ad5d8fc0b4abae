"""A graph as the lint looks at it, whatever the container: operators in order, constants, what feeds what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Op:
    """An operator: its kind in the container's words, keys of its inputs ("" for none) and outputs."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True)
class Constant:
    """A constant: its name in the file, element type, shape, and what reads it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    details: Any = None


@dataclass(frozen=True)
class Port:
    """An input or output of the graph; -1 is a size that may vary."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass
class GraphView:
    """One graph or signature; tensors go by key. types: element types where the file states them."""

    name: str
    ops: list[Op]
    constants: dict[str, Constant]
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    types: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._producers = {key: op for op in self.ops for key in op.outputs}
        self._consumers: dict[str, list[Op]] = {}
        for op in self.ops:
            for key in op.inputs:
                self._consumers.setdefault(key, []).append(op)

    def producer(self, key: str) -> Op | None:
        """The operator that makes a tensor; None for inputs and constants."""
        return self._producers.get(key)

    def consumers(self, key: str) -> list[Op]:
        """The operators that read a tensor."""
        return self._consumers.get(key, [])

    def kind(self, key: str) -> str:
        """The kind of the operator that makes a tensor; empty for inputs and constants."""
        op = self.producer(key)
        return op.kind if op else ""

    def value(self, key: str) -> Array | None:
        """A constant's value."""
        constant = self.constants.get(key)
        return constant.read() if constant else None

    def scalar(self, op: Op) -> float | None:
        """The one scalar constant among an operator's inputs."""
        for key in op.inputs:
            constant = self.constants.get(key)
            if constant and int(np.prod(constant.shape)) == 1:
                return float(constant.read().reshape(-1)[0])
        return None

    def other(self, op: Op, key: str) -> str:
        """The first input of an operator that is not `key`."""
        return next((one for one in op.inputs if one != key), "")

    def ancestors(self, key: str, limit: int = 60) -> Iterator[Op]:
        """The operators behind a tensor, the nearest first, at most `limit` of them."""
        waiting, seen = [key], set[int]()
        while waiting and len(seen) < limit:
            op = self.producer(waiting.pop(0))
            if op is not None and id(op) not in seen:
                seen.add(id(op))
                yield op
                waiting += op.inputs

    def layers(self) -> dict[int, list[Op]]:
        """The operators of each layer, from the first that reads a constant named after it."""
        found: dict[int, list[Op]] = {}
        current = -1
        for op in self.ops:
            for key in op.inputs:
                name = LAYER.search(self.constants[key].name) if key in self.constants else None
                current = int(name[1]) if name else current
            if current >= 0:
                found.setdefault(current, []).append(op)
        return found

    def undefined(self) -> list[str]:
        """Tensors that an operator or an output reads and nothing makes."""
        known = {*self.constants, *self.inputs, *self._producers, ""}
        read = [key for op in self.ops for key in op.inputs]
        return sorted({key for key in (*read, *self.outputs) if key not in known})


MOVES = {
    *("Gather", "Reshape", "Slice", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Identity"),
    *("RESHAPE", "SLICE", "GATHER", "EMBEDDING_LOOKUP", "TRANSPOSE", "CONCATENATION"),
}
"""Operators that move values without calculating with them."""
WIDENS = {"Cast", "CAST", "DEQUANTIZE", "DequantizeLinear"}


def half_operators(view: GraphView) -> list[str]:
    """Operators that calculate in half precision, or make it of what was single precision.

    Half-precision constants may be moved about and widened, nothing else.
    """
    half = {key for key, constant in view.constants.items() if constant.dtype in HALVES}
    half |= {key for key, dtype in view.types.items() if dtype in HALVES}
    found = []
    for op in view.ops:
        reads = [key for key in op.inputs if key in half]
        if narrows(op) or any(key in half and not reads for key in op.outputs):
            found.append(f"{op.kind} makes half precision at '{op.outputs[0]}'")
            half.update(op.outputs)
        elif reads and op.kind in MOVES:
            half.update(op.outputs)
        elif reads and op.kind not in WIDENS:
            found.append(f"{op.kind} calculates with half precision at '{op.outputs[0]}'")
            half.update(op.outputs)
    ports = (*view.inputs.values(), *view.outputs.values())
    return found + [f"'{port.name}' is {port.dtype}" for port in ports if port.dtype in HALVES]


def narrows(op: Op) -> bool:
    """Whether an operator casts to half precision."""
    return op.attributes.get("to") in HALVES
