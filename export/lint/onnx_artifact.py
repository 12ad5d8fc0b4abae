"""An ONNX artifact read back for the lint: masks, tables, constants, pooling, head and weights."""

from __future__ import annotations

import re
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
)
from export.lint.graph_view import Array, Constant, GraphView, Op, half_operators
from export.lint.onnx_view import read_view
from export.lint.sketch_file import FIRST_HEAD
from export.lint.stored_weight import StoredWeight, blocks, channels, exact, low_first
from export.manifest import OUTPUT, POOLED

CODEC = re.compile(r"\.(q8_0|q4_0|int8)$")
COLUMN_SCALES = "head.column_scales"
BEYOND = {"GreaterOrEqual": -1, "Greater": 0, "Less": -1, "LessOrEqual": 0}
"""Comparisons of a distance with a number; what to add to it for the farthest key that is seen."""
PRODUCTS = {"MatMul", "MatMulNBits", "MatMulIntegerToFloat", "Gemm", "Gather"}
PASSES = {"Add", "Reshape", "Mul", "Tanh", "Relu", "Sigmoid", "Gelu"}
TOO_FAR = 12
"""Operators between the token vectors and POOLED, at most."""


def read_onnx_artifact(artifact: Artifact) -> Reading:
    """All that the lint wants to know of an ONNX artifact. Raises UserError for a file that is not ONNX."""
    view, faults = read_view(artifact.model_path)
    encoder = artifact.manifest.encoder
    faults += [Fault("fp16-activations", f"{one} in {artifact.model_name}") for one in half_operators(view)]
    faults += _interface(view, artifact)
    faults += [
        Fault(
            "out-of-range-guard", f"{op.kind} '{op.outputs[0]}' looks ids up itself: zeros beyond the table"
        )
        for op in view.ops
        if op.kind == "GatherBlockQuantized" and op.inputs[0] in view.constants
    ]
    graph = FoundGraph(
        name=artifact.model_name,
        length=None,
        encoder=_encoder(view) if encoder else None,
        pooling=_pooling(view),
        normalised=_normed(view) != "",
        width=_width(view, _normed(view)),
        reads=list(_reads(view)),
    )
    return Reading(faults, [graph], list(_weights(view)), query_factor(encoder, "onnx"))


def _interface(view: GraphView, artifact: Artifact) -> Iterator[Fault]:
    manifest = artifact.manifest
    for kind, ports, specs in (
        ("input", view.inputs, manifest.inputs),
        ("output", view.outputs, manifest.outputs),
    ):
        declared = {one.name: one for one in specs}
        for name in sorted(set(ports) - set(declared)):
            yield Fault(f"{kind}-undeclared", f"'{name}' of the graph is not in the manifest")
        for name in sorted(set(declared) - set(ports)):
            yield Fault(f"{kind}-missing", f"'{name}' of the manifest is not in the graph")
        for name in sorted(set(declared) & set(ports)):
            if ports[name].dtype != declared[name].dtype:
                evidence = f"{kind} '{name}' is {ports[name].dtype}, the manifest says {declared[name].dtype}"
                yield Fault("dtype-wrong", evidence)


def _encoder(view: GraphView) -> FoundEncoder:
    found = FoundEncoder()
    layers = view.layers()
    preamble = {id(op) for op in view.ops} - {id(op) for ops in layers.values() for op in ops}
    for layer, ops in layers.items():
        for op in ops:
            if op.kind == "Softmax":
                found.windows.setdefault(layer, set()).add(_window(view, op))
            elif op.kind == "RotaryEmbedding":
                tables = rotary_tables(view, op.inputs[1]) if len(op.inputs) > 2 else []
                found.rope_bases.setdefault(layer, set()).add(rotary_base(tables))
    found.epsilons = {
        float(op.attributes.get("epsilon", 1e-5)) for op in view.ops if op.kind == "RMSNormalization"
    }
    lookups = [op for op in view.ops if id(op) in preamble and op.kind in ("GatherBlockQuantized", "Gather")]
    lookups = [op for op in lookups if op.kind == "GatherBlockQuantized" or _is_table(view, op)]
    for op in sorted(lookups, key=lambda one: one.kind == "Gather")[:1]:
        found.embedding_scale = follow(view, op.outputs[0], "Mul")
    return found


def _is_table(view: GraphView, op: Op) -> bool:
    constant = view.constants.get(op.inputs[0])
    return constant is not None and len(constant.shape) == 2


def _window(view: GraphView, softmax: Op) -> int | None:
    """The farthest distance that the mask of a softmax lets through; None for a mask without distances."""
    added = view.producer(softmax.inputs[0])
    if added is None or added.kind != "Add":
        return None
    for key in added.inputs:
        for op in [] if view.kind(key) == "MatMul" else view.ancestors(key):
            limit = view.scalar(op) if op.kind in BEYOND else None
            if limit is not None and view.kind(op.inputs[0]) == "Abs":
                return int(limit) + BEYOND[op.kind]
    return None


def _pooling(view: GraphView) -> str:
    op = view.producer(POOLED)
    near = list(view.ancestors(POOLED, TOO_FAR))
    if op is None:
        return ""
    if op.kind == "Div":
        behind = view.ancestors(op.inputs[1], TOO_FAR)
        return MEAN if any("attention_mask" in one.inputs for one in behind) else PADDED_MEAN
    if op.kind == "ReduceMean":
        return PADDED_MEAN
    found = next((one for one in near if one.kind == "ArgMax"), None)
    if found is None:
        return f"a {op.kind}" if op.kind in ("Gather", "Slice", "ReduceMax") else ""
    counted = {one.kind for one in view.ancestors(found.inputs[0], 6)}
    return LAST if counted & {"CumSum", "Range", "Mul"} else CLS


def _normed(view: GraphView) -> str:
    """The tensor that the output is, at unit length; empty when it has been brought to none."""
    op = view.producer(OUTPUT)
    if op is not None and op.kind == "LpNormalization" and op.attributes.get("p", 2) == 2:
        return op.inputs[0]
    if op is None or op.kind != "Div":
        return ""
    norms = [one for one in view.ancestors(op.inputs[1], 3) if one.kind == "ReduceL2"]
    return op.inputs[0] if norms and norms[0].inputs[0] == op.inputs[0] else ""


def _width(view: GraphView, key: str) -> int | None:
    """Columns of the vector before normalisation, by what makes it."""
    op = view.producer(key or OUTPUT)
    while op is not None:
        if op.kind == "MatMulNBits":
            return int(op.attributes["N"])
        if op.kind == "MatMul":
            return _columns(view, op.inputs[1])
        if op.kind == "Slice":
            ends = view.value(op.inputs[2])
            return int(ends.reshape(-1)[0]) if ends is not None else None
        ahead = [one for one in op.inputs if one not in view.constants] if op.kind in PASSES else []
        op = view.producer(ahead[0]) if ahead else None
    return None


def _columns(view: GraphView, key: str) -> int | None:
    if key in view.constants:
        return view.constants[key].shape[-1]
    turned = view.producer(key)
    shaped = view.producer(turned.inputs[0]) if turned and turned.kind == "Transpose" else None
    sizes = view.value(shaped.inputs[1]) if shaped and shaped.kind == "Reshape" else None
    return int(sizes[0]) if sizes is not None else None


def _reads(view: GraphView) -> Iterator[str]:
    """Names of matrices in the order of the operators; the head's at 8 bits is read by a Cast."""
    for op in view.ops:
        for key in op.inputs if op.kind in PRODUCTS or op.kind == "Cast" else ():
            constant = view.constants.get(key)
            if constant and len(constant.shape) > 1 and "weight" in key and not key.endswith("_scales"):
                yield plain(key)


def plain(name: str) -> str:
    """A weight's name in torch, whatever it is called here."""
    name = CODEC.sub("", name).removeprefix("backbone.")
    return name.removesuffix("_t") if name.endswith(".weight_t") else name


def _weights(view: GraphView) -> Iterator[StoredWeight]:
    for name, constant in view.constants.items():
        codec = CODEC.search(name)
        scales = view.constants.get(f"{name}_scales")
        if codec and scales:
            yield _coded(view, constant, scales, codec[1])
        elif constant.dtype in ("float32", "float16") and name.endswith(("weight", "weight_t")):
            yield exact(plain(name), constant.read(), name.endswith("_t") and len(constant.shape) == 2)


def _coded(view: GraphView, constant: Constant, scales: Constant, codec: str) -> StoredWeight:
    name, codes, steps = plain(constant.name), constant.read(), scales.read()
    if codec == "int8":
        return channels(name, codes, steps, transposed=True)
    rows = codes.shape[0]
    steps, codes = steps.reshape(rows, -1), codes.reshape(rows, -1)

    def codes_of(part: Array) -> Array:
        if codec == "q4_0":
            return low_first(part)
        return part if part.dtype == np.int8 else (part ^ 0x80).view(np.int8)

    return blocks(name, codes, codes_of, steps, _factors(view) if name == FIRST_HEAD else None)


def _factors(view: GraphView) -> Array | None:
    """What a Mul before the head multiplies its columns by."""
    is_used = any(op.kind == "Mul" for op in view.consumers(COLUMN_SCALES))
    return view.value(COLUMN_SCALES) if is_used else None
