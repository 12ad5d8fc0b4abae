"""A .tflite as the lint looks at it: a view per signature, tensors by number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.errors import UserError
from export.fault import Fault
from export.lint.graph_view import Array, Constant, GraphView, Op, Port
from export.tflite_file import read_tflite
from export.tflite_graph import builtin_code

KINDS = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
DTYPES = {number: name.lower() for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
NUMPY = {"float32": np.float32, "float16": np.float16, "int32": np.int32, "int64": np.int64, "int8": np.int8}


def read_views(path: Path) -> tuple[list[GraphView], list[Fault]]:
    """A view per signature, and what is wrong with the file. Raises UserError for what is no .tflite."""
    try:
        model, buffers = read_tflite(path)
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # offsets that lead nowhere
        raise UserError(f"{path}: a damaged .tflite file ({type(error).__name__})") from None
    faults = []
    for code in model.operatorCodes:
        number = builtin_code(code)
        if number not in KINDS or KINDS[number] == "CUSTOM":
            name = text(code.customCode) or number
            faults.append(Fault("operator-unknown", f"{path.name}: operator {name} is none of LiteRT's own"))
    kinds = [KINDS.get(builtin_code(code), "?") for code in model.operatorCodes]
    views = [_view(model, one, kinds, buffers) for one in model.signatureDefs or []]
    for view in views:
        faults += [
            Fault("tensor-undefined", f"{view.name}: tensor {key} is read and made nowhere")
            for key in view.undefined()
        ]
        faults += [
            Fault("data-beyond-file", f"{view.name}: {constant.name or key} needs more bytes than it has")
            for key, constant in view.constants.items()
            if _is_short(constant)
        ]
    return views, list(dict.fromkeys(faults))


def text(value: bytes | str | None) -> str:
    """A string of the schema, which may be bytes."""
    return value.decode() if isinstance(value, bytes) else value or ""


def _view(
    model: schema.ModelT, signature: schema.SignatureDefT, kinds: list[str], buffers: dict[int, Array]
) -> GraphView:
    graph = model.subgraphs[signature.subgraphIndex]
    constants = {
        str(index): _constant(graph, tensor, buffers)
        for index, tensor in enumerate(graph.tensors)
        if int(tensor.buffer) in buffers
    }
    types = {str(index): DTYPES[tensor.type] for index, tensor in enumerate(graph.tensors)}
    ops = [_op(operator, kinds) for operator in graph.operators]
    ports = [
        {str(one.tensorIndex): _port(graph.tensors[one.tensorIndex], one) for one in side or []}
        for side in (signature.inputs, signature.outputs)
    ]
    unnamed = {
        str(index): _port(graph.tensors[index], None) for index in graph.inputs if str(index) not in ports[0]
    }
    return GraphView(text(signature.signatureKey), ops, constants, ports[0] | unnamed, ports[1], types)


def _op(operator: schema.OperatorT, kinds: list[str]) -> Op:
    inputs = tuple(str(index) if index >= 0 else "" for index in operator.inputs)
    outputs = tuple(str(index) for index in operator.outputs)
    return Op(kinds[operator.opcodeIndex], inputs, outputs)


def _port(tensor: schema.TensorT, entry: Any) -> Port:
    name = text(entry.name if entry else tensor.name)
    return Port(name, DTYPES[tensor.type], tuple(int(size) for size in tensor.shape))


def _constant(graph: schema.SubGraphT, tensor: schema.TensorT, buffers: dict[int, Array]) -> Constant:
    shape = tuple(int(size) for size in (tensor.shape if tensor.shape is not None else ()))
    dtype = DTYPES[tensor.type]
    data = buffers[int(tensor.buffer)]
    scales = _block_scales(graph, tensor, buffers)
    if scales is None and tensor.quantization is not None:
        scales = tensor.quantization.scale
    return Constant(text(tensor.name), dtype, shape, _reader(data, dtype, shape), (scales, data.nbytes))


def _reader(data: Array, dtype: str, shape: tuple[int, ...]) -> Callable[[], Array]:
    if dtype == "int4":
        return lambda: data.reshape(shape[0], -1)  # two codes a byte
    return lambda: data.view(NUMPY.get(dtype, np.uint8)).reshape(shape)


def _block_scales(graph: schema.SubGraphT, tensor: schema.TensorT, buffers: dict[int, Array]) -> Array | None:
    details = getattr(tensor.quantization, "details", None)
    if not isinstance(details, schema.BlockwiseQuantizationT):
        return None
    held = graph.tensors[details.scales]
    return buffers[int(held.buffer)].view(np.float16).reshape(tuple(int(size) for size in held.shape))


def _is_short(constant: Constant) -> bool:
    """Whether a constant's buffer is not of the size that its shape takes."""
    size = int(np.prod(constant.shape))
    width = np.dtype(NUMPY[constant.dtype]).itemsize if constant.dtype in NUMPY else 0
    needed = -(-size // 2) if constant.dtype == "int4" else size * width
    return bool(needed and constant.details[1] != needed)
