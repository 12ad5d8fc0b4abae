"""Replace the large weights of an ONNX graph by quantised blocks and the operators that read them.

MatMul and Gemm become com.microsoft.MatMulNBits, Gather becomes com.microsoft.GatherBlockQuantized. Both
use zero point 2**(bits-1) when none is given, which is exactly the offset of a symmetric code. Scales are
stored as float32 holding fp16 values: with float16 scales the kernels would also compute in float16.

The head's input columns are equalised first (quantize.weights) by a Mul before the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from common.errors import UserError
from export.onnx_graph import save_graph
from quantize.blocks import BLOCK, Blocks, Codec, Float32
from quantize.channels import FP32
from quantize.recipes import Recipe
from quantize.weights import LARGE_ELEMENTS, encode_weight, pack

DOMAIN = "com.microsoft"
INT8_COMPUTE = 4
"""MatMulNBits accuracy_level: activations are rounded to int8 block by block for the product.

On x86 with VNNI an 8-bit product of 16 tokens ran 3 times faster than with float32 activations, and the
worst golden cosine of the starter moved by less than 0.0001.
"""
FLOAT_COMPUTE = 1
"""For the head, one row a text: nothing to gain, and a rounded pooled vector moved NDCG by 0.5 %."""
HEAD_INPUT = "head.0.weight_t"
"""The matrix whose input is the pooled vector; one row a text, so that scaling it costs nothing."""


@dataclass(frozen=True)
class Weight:
    """A constant matrix and the node that reads it.

    `matrix` is float32 [rows, columns] with the quantised axis last: outputs x inputs for a product,
    vocabulary x width for a table.
    """

    node: onnx.NodeProto
    name: str
    matrix: Float32


def write_quantized(source: Path, target: Path, recipe: Recipe) -> None:
    """Read the fp32 graph `source` and write it to `target` with its weights quantised."""
    model = onnx.load(str(source))
    quantize_graph(model, recipe)
    save_graph(model, target)


def write_rounded(source: Path, target: Path, recipe: Recipe) -> None:
    """Read the fp32 graph `source` and write it to `target` with its weights rounded, all else fp32."""
    model = onnx.load(str(source))
    round_graph(model, recipe)
    save_graph(model, target)


def quantize_graph(model: onnx.ModelProto, recipe: Recipe) -> None:
    """Quantise every large weight of `model` in place.

    Raises UserError when a large float32 matrix is left over that the recipe does not keep, naming it.
    """
    kept: set[str] = set()
    for weight in find_weights(model):
        codec = _codec(weight, recipe)
        if codec is FP32:
            kept.add(weight.name)
            continue
        encoded = encode_weight(weight.matrix, codec, weight.name, equalised=weight.name == HEAD_INPUT)
        if encoded.column_scales is not None:
            _scale_input(model.graph, weight.node, encoded.column_scales)
        _replace(model.graph, weight, encoded.blocks, codec)
    _drop_unused(model.graph)
    if not any(entry.domain == DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    _refuse_large_float(model, kept)


def _codec(weight: Weight, recipe: Recipe) -> Codec:
    return recipe.codec(weight.name, is_table=weight.node.op_type == "Gather")


def round_graph(model: onnx.ModelProto, recipe: Recipe) -> None:
    """Give every large weight its rounded value but keep the fp32 operators.

    What this graph loses against fp32 is the cost of the rounding alone; the rest is the kernels'.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for weight in find_weights(model):
        codec = _codec(weight, recipe)
        encoded = encode_weight(weight.matrix, codec, weight.name, equalised=weight.name == HEAD_INPUT)
        rounded = encoded.decode(*weight.matrix.shape)
        stored = rounded if _rows_are_outputs(weight.node) else rounded.T
        constants[weight.name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(stored), weight.name))


def find_weights(model: onnx.ModelProto) -> list[Weight]:
    """Large constant matrices that a MatMul, Gemm or Gather reads, in graph order."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        position = {"MatMul": 1, "Gemm": 1, "Gather": 0}.get(node.op_type)
        tensor = constants.get(node.input[position]) if position is not None else None
        if tensor is None or not _is_large(tensor) or _axis(node) != 0:
            continue
        stored = numpy_helper.to_array(tensor).astype(np.float32)
        matrix = stored if _rows_are_outputs(node) else np.ascontiguousarray(stored.T)
        found.append(Weight(node, tensor.name, matrix))
    _refuse_mixed_use(found)
    return found


def _refuse_mixed_use(weights: list[Weight]) -> None:
    """A matrix that one node gathers from and another multiplies by has no single block layout."""
    layouts: dict[str, bool] = {}
    for weight in weights:
        if layouts.setdefault(weight.name, _rows_are_outputs(weight.node)) != _rows_are_outputs(weight.node):
            raise UserError(f"tensor '{weight.name}': read in two layouts, which blocks cannot serve")


def _is_large(tensor: onnx.TensorProto) -> bool:
    is_matrix = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    return is_matrix and int(np.prod(tensor.dims)) >= LARGE_ELEMENTS


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _axis(node: onnx.NodeProto) -> float:
    return _attribute(node, "axis", 0) if node.op_type == "Gather" else 0


def _rows_are_outputs(node: onnx.NodeProto) -> bool:
    """Whether the stored layout already has the quantised axis last."""
    return node.op_type == "Gather" or (node.op_type == "Gemm" and _attribute(node, "transB", 0) == 1)


def _scale_input(graph: onnx.GraphProto, node: onnx.NodeProto, scales: Float32) -> None:
    """Multiply what `node` reads by the column scales of its weight."""
    constant = _constant(graph, "head.column_scales", scales)
    scaled = helper.make_node("Mul", [node.input[0], constant], ["head.scaled"], name="head.scaled")
    graph.node.insert(list(graph.node).index(node), scaled)
    node.input[0] = "head.scaled"


def _replace(graph: onnx.GraphProto, weight: Weight, blocks: Blocks, codec: Codec) -> None:
    position = list(graph.node).index(weight.node)
    if weight.node.op_type == "Gather":
        new = [_gather(graph, weight, blocks, codec)]
    else:
        new = _product(graph, weight, blocks, codec)
    del graph.node[position]
    for offset, node in enumerate(new):
        graph.node.insert(position + offset, node)


def _gather(graph: onnx.GraphProto, weight: Weight, blocks: Blocks, codec: Codec) -> onnx.NodeProto:
    """GatherBlockQuantized: data uint8 [rows, columns (packed)], scales float32 [rows, blocks]."""
    rows, columns = weight.matrix.shape
    if columns % BLOCK:
        raise UserError(f"tensor '{weight.name}': table width {columns} is not a multiple of {BLOCK}")
    packed = pack(blocks.codes + _offset(codec), codec.bits).reshape(rows, -1)
    data = _constant(graph, f"{weight.name}.{codec.name}", packed)
    scales = _constant(graph, f"{weight.name}.{codec.name}_scales", blocks.scales.reshape(rows, -1))
    node = weight.node
    return helper.make_node(
        "GatherBlockQuantized",
        [data, node.input[1], scales],
        [node.output[0]],
        name=node.name,
        domain=DOMAIN,
        bits=codec.bits,
        block_size=BLOCK,
        gather_axis=0,
        quantize_axis=1,
    )


def _product(graph: onnx.GraphProto, weight: Weight, blocks: Blocks, codec: Codec) -> list[onnx.NodeProto]:
    """MatMulNBits: B uint8 [N, blocks, blob], scales float32 [N, blocks]; a Gemm's bias becomes an Add."""
    outputs, inputs = weight.matrix.shape
    node = weight.node
    if node.op_type == "Gemm":
        _refuse_scaled_gemm(node, weight.name)
    packed = pack(blocks.codes + _offset(codec), codec.bits).reshape(outputs, -1, BLOCK * codec.bits // 8)
    data = _constant(graph, f"{weight.name}.{codec.name}", packed)
    scales = _constant(graph, f"{weight.name}.{codec.name}_scales", blocks.scales.reshape(outputs, -1))
    has_bias = node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]
    result = f"{node.output[0]}.product" if has_bias else node.output[0]
    product = helper.make_node(
        "MatMulNBits",
        [node.input[0], data, scales],
        [result],
        name=node.name,
        domain=DOMAIN,
        K=inputs,
        N=outputs,
        bits=codec.bits,
        block_size=BLOCK,
        accuracy_level=FLOAT_COMPUTE if weight.name.startswith("head.") else INT8_COMPUTE,
    )
    if not has_bias:
        return [product]
    return [product, helper.make_node("Add", [result, node.input[2]], [node.output[0]])]


def _refuse_scaled_gemm(node: onnx.NodeProto, name: str) -> None:
    if _attribute(node, "transA", 0) or _attribute(node, "alpha", 1) != 1 or _attribute(node, "beta", 1) != 1:
        raise UserError(f"tensor '{name}': a Gemm with transA, alpha or beta cannot be quantised")


def _offset(codec: Codec) -> np.int16:
    """What the kernels take off a stored code."""
    return np.int16(1 << (codec.bits - 1))


def _constant(graph: onnx.GraphProto, name: str, value: npt.NDArray[np.generic]) -> str:
    if name not in {tensor.name for tensor in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _refuse_large_float(model: onnx.ModelProto, kept: set[str]) -> None:
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1]
    large = [t for t in floats if np.prod(t.dims) >= LARGE_ELEMENTS]
    left = [t for t in large if not t.name.endswith("_scales") and t.name not in kept]
    if left:
        raise UserError(
            f"tensor '{left[0].name}' {list(left[0].dims)} would stay fp32: no quantised operator reads it"
        )
