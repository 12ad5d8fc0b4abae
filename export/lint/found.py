"""What the readers of the containers hand to the lint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from export.fault import Fault
from export.lint.graph_view import GraphView, Op
from export.lint.stored_weight import StoredWeight
from export.manifest import EncoderRecord

Array = npt.NDArray[Any]

MEAN, CLS, LAST = "mean", "cls", "lasttoken"
PADDED_MEAN = "a mean over padding too"
TABLE_TOLERANCE = 1e-4
"""Largest error of a cosine or sine in a float32 table."""


@dataclass
class FoundEncoder:
    """The constants of an encoder as one graph holds them, by layer where layers may differ.

    windows: the farthest distance that a mask lets through, None for a layer without such a mask; layers of
    short signatures need none. rope_bases: nan for tables that belong to no base.
    """

    windows: dict[int, set[int | None]] = field(default_factory=dict)
    rope_bases: dict[int, set[float]] = field(default_factory=dict)
    embedding_scale: float | None = None
    epsilons: set[float] = field(default_factory=set)


@dataclass
class FoundGraph:
    """One graph or signature. length: its token count, None where that is free. width: of its output.

    pooling: what it does, empty for what was not recognised. encoder: None where it is not read back.
    reads: large weights in the order in which operators read them.
    """

    name: str
    length: int | None
    encoder: FoundEncoder | None
    pooling: str
    normalised: bool
    width: int | None
    reads: list[str] = field(default_factory=list)


@dataclass
class Reading:
    """Everything that a container's reader found.

    query_scale: what the stored norms of queries are multiplied by more than the model's own.
    """

    faults: list[Fault]
    graphs: list[FoundGraph]
    weights: Iterable[StoredWeight]
    query_scale: float = 1.0
    unchecked: list[str] = field(default_factory=list)


def query_factor(encoder: EncoderRecord | None, runtime: str) -> float:
    """What a container multiplies the queries' norm by: the softmax scale, or what llama.cpp lacks of it."""
    if encoder is None:
        return 1.0
    return encoder.query_scale * (encoder.head_dim**0.5 if runtime == "gguf" else 1.0)


def rotary_tables(view: GraphView, key: str) -> list[Array]:
    """The 3-dimensional constants behind a tensor: coarse and fine cosines and sines."""
    keys = dict.fromkeys(one for op in view.ancestors(key, 24) for one in op.inputs)
    constants = [view.constants[one] for one in keys if one in view.constants]
    return [one.read() for one in constants if len(one.shape) == 3]


def rotary_base(tables: list[Array]) -> float:
    """The base that coarse [steps, 1, half] and fine [1, n, half] tables are made with; nan for none."""
    cosines = {one.shape[0] == 1: one for one in tables if np.all(one.reshape(-1, one.shape[-1])[0] == 1)}
    sines = {one.shape[0] == 1: one for one in tables if np.all(one.reshape(-1, one.shape[-1])[0] == 0)}
    if len(tables) != 4 or set(cosines) != {True, False} or set(sines) != {True, False}:
        return float("nan")
    half, fine = cosines[True].shape[-1], cosines[True].shape[1]
    first = float(np.arctan2(sines[True][0, 1, 1], cosines[True][0, 1, 1]))
    base = first**-half if first > 0 else float("nan")
    frequencies = base ** -(np.arange(half) / half)
    for is_fine, step in ((True, 1), (False, fine)):
        count = cosines[is_fine].size // half
        angles = np.outer(np.arange(count) * step, frequencies)
        for held, function in ((cosines, np.cos), (sines, np.sin)):
            if not np.abs(held[is_fine].reshape(-1, half) - function(angles)).max() < _tolerance(angles):
                return float("nan")
    return base


def _tolerance(angles: npt.NDArray[np.float64]) -> float:
    """The base is known to a few parts in a million only, which far positions multiply."""
    return TABLE_TOLERANCE + 2e-5 * float(angles.max())


def squared_sum(view: GraphView, key: str, kinds: tuple[str, str]) -> str:
    """The tensor whose squares are summed behind `key`; empty when none are. kinds: sum and product."""
    for op in view.ancestors(key, 5):
        if op.kind == kinds[0]:
            square = view.producer(op.inputs[0])
            if square and square.kind == kinds[1] and square.inputs[0] == square.inputs[1]:
                return square.inputs[0]
    return ""


def follow(view: GraphView, key: str, kind: str, steps: int = 8) -> float | None:
    """The scalar of the first `kind` of operator downstream, as long as one operator reads each tensor."""
    for _ in range(steps):
        readers: list[Op] = view.consumers(key)
        if len(readers) != 1:
            return None
        scalar = view.scalar(readers[0]) if readers[0].kind == kind else None
        if scalar is not None:
            return scalar
        key = readers[0].outputs[0]
    return None
