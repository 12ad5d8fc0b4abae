"""A LiteRT artifact read back for the lint: every signature's masks, tables and pooling, and the weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from export.artifact import Artifact
from export.fault import Fault
from export.lint.found import (
    CLS,
    LAST,
    MEAN,
    PADDED_MEAN,
    FoundEncoder,
    FoundGraph,
    Reading,
    follow,
    query_factor,
    rotary_base,
    rotary_tables,
    squared_sum,
)
from export.lint.graph_view import Constant, GraphView, Op, half_operators
from export.lint.litert_view import read_views
from export.lint.sketch_file import FIRST_HEAD
from export.lint.stored_weight import StoredWeight, blocks, channels, exact, signed_low_first
from export.litert_graph import signature_name
from export.manifest import EncoderRecord, Manifest

COLUMN_SCALES = "head.column_scales"
STACKED, NORMS = "qkv_proj.weight", "qk_norm.weight"
"""Three projections in one matrix, two norms in one table of rows: see export.gemma_litert."""


def read_litert_artifact(artifact: Artifact) -> Reading:
    """All that the lint wants to know of a LiteRT artifact. Raises UserError for what is no .tflite."""
    views, faults = read_views(artifact.model_path)
    manifest = artifact.manifest
    faults += _interface(views, manifest)
    for view in views:
        faults += [Fault("fp16-activations", f"{view.name}: {one}") for one in half_operators(view)]
    graphs = [_graph(view, manifest) for view in views]
    weights = _weights(views, manifest.encoder) if views else iter(())
    faults += _norm_faults(views, manifest.encoder)
    return Reading(faults, graphs, list(weights), query_factor(manifest.encoder, "litert"))


def _interface(views: list[GraphView], manifest: Manifest) -> Iterator[Fault]:
    found = {view.name for view in views}
    if manifest.contract is None:
        dims = (None, *manifest.further_dims)
        wanted = {signature_name(length, dim) for dim in dims for length in manifest.lengths}
        for name in sorted(wanted - found):
            yield Fault("signature-missing", f"'{name}' of the manifest's lengths is not in the file")
        for name in sorted(found - wanted):
            yield Fault("signature-undeclared", f"'{name}' is in the file, not in the manifest's lengths")
    for view in views:
        lengths = {port.shape[-1] for port in view.inputs.values()} - {1}
        if not lengths <= set(manifest.lengths):
            evidence = f"{view.name}: takes {sorted(lengths)} tokens, the manifest says {manifest.lengths}"
            yield Fault("signature-missing", evidence)
        for kind, ports, specs in (
            ("input", view.inputs, manifest.inputs),
            ("output", view.outputs, manifest.outputs),
        ):
            types = [port.dtype for port in ports.values()]
            declared = [one.dtype for one in specs]
            if len(types) != len(declared):
                name = f"{kind}-undeclared" if len(types) > len(declared) else f"{kind}-missing"
                yield Fault(name, f"{view.name}: {len(types)} {kind}s, the manifest says {len(declared)}")
            elif types != declared:
                yield Fault("dtype-wrong", f"{view.name}: {kind} {types}, the manifest says {declared}")


def _graph(view: GraphView, manifest: Manifest) -> FoundGraph:
    length = max((port.shape[-1] for port in view.inputs.values()), default=0)
    output = next(iter(view.outputs), "")
    return FoundGraph(
        name=view.name,
        length=length,
        encoder=_encoder(view, length) if manifest.encoder else None,
        pooling=_pooling(view),
        normalised=_is_normed(view, output),
        width=view.outputs[output].shape[-1] if output else None,
        reads=[
            view.constants[op.inputs[1]].name
            for op in view.ops
            if op.kind == "FULLY_CONNECTED" and op.inputs[1] in view.constants
        ],
    )


def _encoder(view: GraphView, length: int) -> FoundEncoder:
    found = FoundEncoder()
    layers = view.layers()
    inside = {id(op) for ops in layers.values() for op in ops}
    bases: dict[str, float] = {}
    for layer, ops in layers.items():
        for op in ops:
            if op.kind == "SOFTMAX":
                found.windows.setdefault(layer, set()).add(_window(view, op, length))
            for key in op.inputs if op.kind == "MUL" else ():
                made = view.producer(key)
                if made is not None and made.kind == "CONCATENATION" and id(made) not in inside:
                    if key not in bases:
                        bases[key] = rotary_base(rotary_tables(view, key))
                    found.rope_bases.setdefault(layer, set()).add(bases[key])
    sums = [op for op in view.ops if op.kind == "ADD" and view.kind(op.inputs[0]) == "MEAN"]
    found.epsilons = {value for op in sums if (value := view.scalar(op)) is not None}
    for op in [one for one in view.ops if one.kind == "EMBEDDING_LOOKUP"][:1]:
        found.embedding_scale = follow(view, op.outputs[0], "MUL")
    return found


def _window(view: GraphView, softmax: Op, length: int) -> int | None:
    """The farthest distance that the mask of a softmax lets through; None for a mask without distances."""
    added = view.producer(softmax.inputs[0])
    for key in added.inputs if added is not None and added.kind == "ADD" else ():
        for op in [] if view.kind(key) == "BATCH_MATMUL" else view.ancestors(key):
            beyond = view.producer(op.inputs[0]) if op.kind == "RELU" else None
            if beyond is not None and beyond.kind == "SUB" and view.kind(beyond.inputs[0]) == "ABS":
                limit = view.scalar(beyond)
                return None if limit is None else _reach(view, beyond.inputs[0], int(limit), length)
    return None


def _reach(view: GraphView, distance: str, limit: int, length: int) -> int:
    """The window, or what a band of keys that is cut too short leaves of it."""
    made = view.producer(distance)
    apart = view.producer(made.inputs[0]) if made else None
    if apart is None or (rows := view.value(apart.inputs[0])) is None:
        return limit
    keys = view.value(apart.inputs[1])
    if keys is None:
        return limit
    first, last = float(rows.min()), float(rows.max())
    missing = max(keys.min() - max(0.0, first - limit), min(length - 1.0, last + limit) - keys.max(), 0.0)
    return limit - int(missing)


def _pooling(view: GraphView) -> str:
    """What weights the last product of the graph, [1, tokens] times [tokens, hidden], is made with."""
    products = [op for op in view.ops if op.kind == "BATCH_MATMUL"]
    weights = view.producer(products[-1].inputs[0]) if products else None
    if weights is None:
        return ""
    if weights.kind == "DIV":
        kinds = {op.kind for op in view.ancestors(weights.inputs[0], 30)}
        return MEAN if "NOT_EQUAL" in kinds else PADDED_MEAN
    if weights.kind != "SUB":
        return ""
    for op in view.ancestors(weights.outputs[0], 4):
        apart = view.producer(op.inputs[0]) if op.kind == "ABS" else None
        if apart is not None:
            return LAST if view.kind(apart.inputs[1]) == "REDUCE_MAX" else CLS
    return ""


def _is_normed(view: GraphView, output: str) -> bool:
    op = view.producer(output)
    if op is not None and op.kind == "L2_NORMALIZATION":
        return True
    if op is None or op.kind != "MUL" or view.kind(op.inputs[1]) != "RSQRT":
        return False
    return squared_sum(view, op.inputs[1], ("SUM", "MUL")) == op.inputs[0]


def _weights(views: list[GraphView], record: EncoderRecord | None) -> Iterator[StoredWeight]:
    """Every named constant of the first signature; the others share its buffers."""
    constants = {one.name: one for one in views[0].constants.values() if one.name}
    used = {
        views[0].constants[key].name for op in views[0].ops for key in op.inputs if key in views[0].constants
    }
    for name, constant in constants.items():
        if not name.endswith("weight"):
            continue
        if name.endswith(NORMS) and record is not None:
            rows = constant.read()
            before = name.removesuffix(NORMS)
            yield exact(f"{before}q_norm.weight", rows[0])
            yield exact(f"{before}k_norm.weight", rows[-1])
            continue
        factors = constants.get(COLUMN_SCALES) if name == FIRST_HEAD and COLUMN_SCALES in used else None
        weight = _stored(constant, constants.get(f"{name}.scales"), factors)
        if name.endswith(STACKED) and record is not None:
            yield from _unstacked(weight, record)
        elif weight is not None:
            yield weight


def _stored(constant: Constant, beside: Constant | None, factors: Constant | None) -> StoredWeight:
    name, held, scales = constant.name, constant.read(), constant.details[0]
    times = factors.read() if factors else None
    if constant.dtype == "int4":
        return blocks(name, held, signed_low_first, scales, times)
    if constant.dtype == "int8" and beside is not None:
        return blocks(name, held, lambda rows: rows, beside.read(), times)
    if constant.dtype == "int8":
        return channels(name, held, np.asarray(scales, np.float32))
    return exact(name, held)


def _unstacked(weight: StoredWeight, record: EncoderRecord) -> Iterator[StoredWeight]:
    start, before = 0, weight.name.removesuffix(STACKED)
    for name, heads in (("q", record.heads), ("k", record.key_heads), ("v", record.key_heads)):
        stop = start + heads * record.head_dim
        yield weight.taking(f"{before}{name}_proj.weight", start, stop)
        start = stop


def _norm_faults(views: list[GraphView], record: EncoderRecord | None) -> Iterator[Fault]:
    """Heads that do not share the norm of their kind."""
    for constant in views[0].constants.values() if views and record else ():
        if record is not None and constant.name.endswith(NORMS):
            rows = constant.read()
            if not (rows[: record.heads] == rows[0]).all() or not (rows[record.heads :] == rows[-1]).all():
                yield Fault("weight-altered", f"'{constant.name}': heads with norms of their own")
