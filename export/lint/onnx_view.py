"""An ONNX file as the lint looks at it: the graph by the package onnx, constants where they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from common.errors import UserError
from export.fault import Fault
from export.lint.graph_view import Array, Constant, GraphView, Op, Port

DOMAIN = "com.microsoft"
KNOWN_THERE = {"MatMulNBits", "GatherBlockQuantized", "MatMulIntegerToFloat"}
"""Operators of onnxruntime's own that pocketvec writes; it is refused to guess about others."""


def read_view(path: Path) -> tuple[GraphView, list[Fault]]:
    """The graph, and what is wrong with the file itself. Raises UserError for what is not ONNX."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        model = onnx.ModelProto()
    if not model.HasField("graph"):
        raise UserError(f"{path}: not an ONNX file")
    graph = model.graph
    faults = [fault for tensor in graph.initializer if (fault := _beyond(path, tensor)) is not None]
    whole = [tensor for tensor in graph.initializer if _beyond(path, tensor) is None]
    constants = {tensor.name: _constant(path, tensor) for tensor in whole}
    ops = [_op(node) for node in graph.node]
    constants |= {op.outputs[0]: _inline(op) for op in ops if op.kind == "Constant"}
    ops = [op for op in ops if op.kind != "Constant"]
    inputs = {value.name: _port(value) for value in graph.input if value.name not in constants}
    view = GraphView("", ops, constants, inputs, {value.name: _port(value) for value in graph.output})
    missing = {tensor.name for tensor in graph.initializer} - set(constants)
    undefined = [name for name in view.undefined() if name not in missing]
    faults += [
        Fault("tensor-undefined", f"'{name}' is read in {path.name} and made nowhere") for name in undefined
    ]
    return view, faults + _unknown(model, ops)


def _unknown(model: onnx.ModelProto, ops: list[Op]) -> list[Fault]:
    """Operator sets and operators that the package onnx, or pocketvec, does not know."""
    newest = onnx.defs.onnx_opset_version()
    faults = []
    for entry in model.opset_import:
        limit = {"": newest, "ai.onnx": newest, DOMAIN: 1}.get(entry.domain, 0)
        if not 1 <= entry.version <= limit:
            rule = f"known up to {limit}" if limit else "an unknown domain"
            faults.append(Fault("opset-unknown", f"operator set '{entry.domain}' {entry.version}: {rule}"))
    kinds = dict.fromkeys((op.domain, op.kind) for op in ops)
    for domain, kind in kinds:
        known = kind in KNOWN_THERE if domain == DOMAIN else domain == "" and onnx.defs.has(kind)
        if not known:
            faults.append(Fault("operator-unknown", f"{domain or 'ai.onnx'}.{kind}: not known to pocketvec"))
    return faults


def _op(node: onnx.NodeProto) -> Op:
    attributes: dict[str, Any] = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Cast":
        attributes["to"] = _dtype(attributes["to"])
    return Op(node.op_type, tuple(node.input), tuple(node.output), attributes, node.domain)


def _dtype(number: int) -> str:
    name: str = onnx.TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    sizes = tuple(one.dim_value if one.HasField("dim_value") else -1 for one in tensor.shape.dim)
    return Port(value.name, _dtype(tensor.elem_type), sizes)


def _inline(op: Op) -> Constant:
    value = op.attributes.get("value")
    array = numpy_helper.to_array(value) if value is not None else np.zeros(0)
    return Constant(op.outputs[0], str(array.dtype), array.shape, lambda: array)


def _constant(path: Path, tensor: onnx.TensorProto) -> Constant:
    return Constant(tensor.name, _dtype(tensor.data_type), tuple(tensor.dims), _reader(path, tensor))


def _reader(path: Path, tensor: onnx.TensorProto) -> Callable[[], Array]:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return lambda: numpy_helper.to_array(tensor)
    place = {item.key: item.value for item in tensor.external_data}
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)

    def read() -> Array:
        start, count = int(place.get("offset", "0")), math.prod(tensor.dims)
        file = path.parent / place["location"]
        return np.memmap(file, dtype, "r", start, (count,)).view(np.ndarray).reshape(tuple(tensor.dims))

    return read


def _beyond(path: Path, tensor: onnx.TensorProto) -> Fault | None:
    """A constant that does not lie where the graph says."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    place = {item.key: item.value for item in tensor.external_data}
    location, offset = place.get("location", ""), place.get("offset", "0")
    needed = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    stated = place.get("length", str(needed))
    file = path.parent / location
    where = f"'{tensor.name}' in '{location}' from byte {offset} on"
    if Path(location).name != location or not file.is_file():
        return Fault("data-beyond-file", f"{where}: no such file beside the graph")
    if not offset.isdecimal() or stated != str(needed):
        return Fault("data-beyond-file", f"{where}: {stated} bytes are stated, its shape needs {needed}")
    size = file.stat().st_size
    if int(offset) + needed > size:
        return Fault("data-beyond-file", f"{where}: {needed} bytes, but the file ends at {size}")
    return None
