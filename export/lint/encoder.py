"""A graph's own constants against the manifest: window, rotary tables, scales, pooling, norm, dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator

from export.fault import Fault
from export.lint.found import FoundEncoder, FoundGraph
from export.lint.sketch_file import Sketches
from export.manifest import EncoderRecord, Manifest

BASE_TOLERANCE = 1e-3
SCALE_TOLERANCE = 1e-5
"""Relative: bases are read back from angles, scales are constants."""
SLIDING = "sliding"


def lint_graph(graph: FoundGraph, manifest: Manifest, dim: int) -> Iterator[Fault]:
    """Faults of one graph that should give `dim` numbers."""
    if not graph.normalised:
        yield Fault("not-normalised", f"{graph.name}: the output is not divided by its own length")
    if graph.width not in (None, dim):
        is_whole = dim < manifest.dim or graph.width == manifest.full_dim
        name = "slice-missing" if is_whole and (graph.width or 0) > dim else "dim-wrong"
        yield Fault(name, f"{graph.name}: {graph.width} numbers come out, the manifest says {dim}")
    if graph.pooling and graph.pooling != manifest.pooling:
        evidence = f"{graph.name}: pooling is {graph.pooling}, the manifest says {manifest.pooling}"
        yield Fault("pooling-wrong", evidence)
    if manifest.encoder is not None and graph.encoder is not None:
        yield from _lint_encoder(graph, graph.encoder, manifest.encoder)


def lint_order(graph: FoundGraph, sketches: Sketches, is_written: bool) -> Iterator[Fault]:
    """Matrices that operators read in another order than the model has them.

    `is_written` says that pocketvec wrote the encoder; a tracer has an order of its own, but for the head.
    """
    ours = [name for name in sketches.weights if is_written or name.startswith("head.")]
    known = [name for name in ours if name in set(graph.reads)]
    read = [name for name in dict.fromkeys(graph.reads) if name in set(ours)]
    for found, expected in zip(read, known, strict=True):
        if found != expected:
            name = "dense-order-swapped" if found.startswith("head.") else "weights-exchanged"
            yield Fault(name, f"{graph.name}: reads '{found}' where '{expected}' belongs")
            return


def _lint_encoder(graph: FoundGraph, found: FoundEncoder, record: EncoderRecord) -> Iterator[Fault]:
    if len(found.windows) != len(record.layers):
        rule = f"the manifest says {len(record.layers)}"
        yield Fault("layer-missing", f"{graph.name}: attention in {len(found.windows)} layers, {rule}")
    scale, wanted = found.embedding_scale, record.embedding_scale
    if scale is None or (scale == 1 and wanted != 1):
        evidence = f"{graph.name}: rows of the table are not multiplied by {wanted:g}"
        yield Fault("embedding-scale-missing", evidence)
    elif not math.isclose(scale, wanted, rel_tol=SCALE_TOLERANCE):
        yield Fault("embedding-scale-wrong", f"{graph.name}: {scale:g}, the manifest says {wanted:g}")
    for epsilon in sorted(found.epsilons):
        if not math.isclose(epsilon, record.norm_epsilon, rel_tol=SCALE_TOLERANCE):
            evidence = f"{graph.name}: {epsilon:g}, the manifest says {record.norm_epsilon:g}"
            yield Fault("norm-epsilon-wrong", evidence)
    yield from _by_layers(graph, "rope", _ropes(found, record))
    yield from _by_layers(graph, "window", _windows(graph, found, record))


Wrong = Iterator[tuple[int, str, str]]
"""Layer, fault, and what was found and expected."""


def _by_layers(graph: FoundGraph, what: str, wrong: Wrong) -> Iterator[Fault]:
    """One fault for all layers that have it alike."""
    layers: dict[tuple[str, str], list[int]] = {}
    for layer, name, evidence in wrong:
        layers.setdefault((name, evidence), []).append(layer)
    for (name, evidence), held in layers.items():
        yield Fault(name, f"{graph.name}: {what} {evidence} in layers {', '.join(map(str, held))}")


def _ropes(found: FoundEncoder, record: EncoderRecord) -> Wrong:
    for layer, kind in enumerate(record.layers):
        wanted = record.rope_bases[kind]
        for base in found.rope_bases.get(layer, {math.nan}):
            if not math.isclose(base, wanted, rel_tol=BASE_TOLERANCE):
                held = "tables of no base" if math.isnan(base) else f"base {base:.6g}"
                yield layer, "rope-base-wrong", f"{held}, the manifest says {wanted:g} ({kind})"


def _windows(graph: FoundGraph, found: FoundEncoder, record: EncoderRecord) -> Wrong:
    limit = record.sliding_window
    for layer, kind in enumerate(record.layers):
        for window in found.windows.get(layer, set()):
            rule = f"the manifest says {limit} ({kind})"
            if kind != SLIDING:
                if window is not None:
                    yield layer, "window-wrong", f"{window}, the manifest says none ({kind})"
            elif window is None:
                if graph.length is None or graph.length > limit + 1:
                    yield layer, "window-ignored", f"none, {rule}"
            elif window != limit:
                yield layer, _window_fault(window, limit), f"{window}, {rule}"


def _window_fault(window: int, limit: int) -> str:
    if abs(window - limit) == 1:
        return "window-off-by-one"
    return "window-halved" if abs(window - limit / 2) <= 1 else "window-wrong"
