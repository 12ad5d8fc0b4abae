"""Replace the large weights of a LiteRT graph by quantised ones.

FULLY_CONNECTED takes 4-bit blocks of 32 (float16 scales in a tensor of their own), int8 with a scale per
output channel, and float16 behind a DEQUANTIZE; for the integer forms its kernel quantises the activations
row by row. EMBEDDING_LOOKUP takes 4-bit blocks. It knows no 8-bit blocks, so a Q8_0 table is looked up as
plain codes and multiplied by a second lookup, of the scales: exact Q8_0, and no table of scales per signature
in anonymous memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from common.errors import UserError
from export.tflite_file import read_tflite, write_tflite
from export.tflite_graph import GraphBuilder, ModelBuilder, builtin_code
from quantize.blocks import BLOCK, Blocks, Codec, Float32
from quantize.channels import F16
from quantize.recipes import Recipe
from quantize.weights import LARGE_ELEMENTS, EncodedWeight, encode_weight, pack

PRODUCT = schema.BuiltinOperator.FULLY_CONNECTED
LOOKUP = schema.BuiltinOperator.EMBEDDING_LOOKUP
WEIGHT_INPUT = 1
"""Position of the constant matrix among the inputs of both operators."""
HEAD_INPUT = "head.0.weight"
TABLE_CHUNK = 16384
"""Rows of a matrix encoded at a time, to keep float64 and bool temporaries of a large table small."""


def write_quantized(source: Path, target: Path, recipe: Recipe) -> None:
    """Read the fp32 file `source` and write it to `target` with its weights quantised.

    Raises UserError for a weight that the codec or the container cannot hold, with its name.
    """
    model, weights = read_tflite(source)
    rewriter = _Rewriter(ModelBuilder.of(model, weights), recipe)
    for graph in model.subgraphs:
        rewriter.rewrite(graph)
    used = {int(tensor.buffer) for graph in model.subgraphs for tensor in graph.tensors}
    kept = {index: value for index, value in rewriter.builder.weights.items() if index in used}
    write_tflite(target, model, kept)


def write_rounded(source: Path, target: Path, recipe: Recipe) -> None:
    """Read the fp32 file `source` and write it to `target` with its weights rounded, all else fp32."""
    model, weights = read_tflite(source)
    rounded: dict[int, Any] = dict(weights)
    for name, buffer, shape, is_table in large_weights(model, weights):
        matrix = weights[buffer].view(np.float32).reshape(shape)
        encoded = _encode(matrix, recipe.codec(name, is_table), name)
        rounded[buffer] = encoded.decode(*shape)
    write_tflite(target, model, rounded)


def large_weights(
    model: schema.ModelT, weights: dict[int, Any]
) -> Iterator[tuple[str, int, tuple[int, int], bool]]:
    """(name, buffer, shape, whether it is a table) of each matrix to quantise, once."""
    codes = [builtin_code(code) for code in model.operatorCodes]
    seen: set[int] = set()
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = codes[operator.opcodeIndex]
            if kind in (PRODUCT, LOOKUP):
                tensor = graph.tensors[operator.inputs[WEIGHT_INPUT]]
                if tensor.buffer not in seen and _is_large(tensor, weights):
                    seen.add(tensor.buffer)
                    yield _name(tensor), int(tensor.buffer), _shape(tensor), kind == LOOKUP


def _is_large(tensor: schema.TensorT, weights: dict[int, Any]) -> bool:
    is_matrix = tensor.type == schema.TensorType.FLOAT32 and len(tensor.shape) == 2
    return is_matrix and int(tensor.buffer) in weights and int(np.prod(tensor.shape)) >= LARGE_ELEMENTS


def _name(tensor: schema.TensorT) -> str:
    return tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name or ""


def _shape(tensor: schema.TensorT) -> tuple[int, int]:
    rows, columns = (int(size) for size in tensor.shape)
    return rows, columns


def _encode(matrix: Float32, codec: Codec, name: str) -> EncodedWeight:
    """Encode a matrix in chunks of rows; the head's input with its columns equalised."""
    if codec.block and matrix.shape[1] % codec.block:
        raise UserError(f"tensor '{name}': width {matrix.shape[1]} is not a multiple of {codec.block}")
    if name == HEAD_INPUT or len(matrix) <= TABLE_CHUNK:
        return encode_weight(matrix, codec, name, equalised=name == HEAD_INPUT and codec.block is not None)
    parts = [
        encode_weight(matrix[start : start + TABLE_CHUNK], codec, name).blocks
        for start in range(0, len(matrix), TABLE_CHUNK)
    ]
    codes = np.concatenate([part.codes for part in parts])
    return EncodedWeight(Blocks(codes, np.concatenate([part.scales for part in parts])), None)


class _Rewriter:
    """Rewrites the subgraphs of one model; a weight that they share is encoded once."""

    def __init__(self, builder: ModelBuilder, recipe: Recipe) -> None:
        self.builder = builder
        self.recipe = recipe
        self._codes = [builtin_code(code) for code in builder.model.operatorCodes]
        self._encoded: dict[int, EncodedWeight] = {}

    def rewrite(self, subgraph: schema.SubGraphT) -> None:
        """Quantise what the products and lookups of one subgraph read."""
        graph = GraphBuilder(self.builder, "", subgraph)
        operators, subgraph.operators = subgraph.operators, []
        done: set[int] = set()
        for operator in operators:
            kind = self._codes[operator.opcodeIndex]
            if kind not in (PRODUCT, LOOKUP) or not self._is_weight(subgraph, operator, done):
                subgraph.operators.append(operator)
            elif kind == PRODUCT:
                self._product(graph, operator, done)
            else:
                self._lookup(graph, operator, done)

    def _is_weight(self, subgraph: schema.SubGraphT, operator: schema.OperatorT, done: set[int]) -> bool:
        index = int(operator.inputs[WEIGHT_INPUT])
        tensor = subgraph.tensors[index]
        return index in done or int(tensor.buffer) in self._encoded or _is_large(tensor, self.builder.weights)

    def _product(self, graph: GraphBuilder, operator: schema.OperatorT, done: set[int]) -> None:
        index = int(operator.inputs[WEIGHT_INPUT])
        tensor = graph.graph.tensors[index]
        codec = self.recipe.codec(_name(tensor), is_table=False)
        encoded = self._encode(tensor, codec)
        if codec.bits == F16.bits:
            self._halve(graph, operator)
        elif index not in done:
            done.add(index)
            if codec.block:
                self._blocks(graph, tensor, encoded.blocks, _shape(tensor))
            else:
                self._channels(tensor, encoded.blocks)
        if encoded.column_scales is not None:
            scales = graph.weight("head.column_scales", encoded.column_scales)
            scaled = graph.mul(int(operator.inputs[0]), scales)
            operator.inputs = np.array([scaled, *operator.inputs[1:]], dtype=np.int32)
        graph.graph.operators.append(operator)

    def _encode(self, tensor: schema.TensorT, codec: Codec) -> EncodedWeight:
        """Encode a tensor's buffer on first sight and leave the packed codes in its place."""
        buffer = int(tensor.buffer)
        if buffer not in self._encoded:
            matrix = self.builder.weights[buffer].view(np.float32).reshape(_shape(tensor))
            encoded = _encode(matrix, codec, _name(tensor))
            self._encoded[buffer] = encoded
            self.builder.weights[buffer] = pack(encoded.blocks.codes, codec.bits)
        return self._encoded[buffer]

    def _blocks(
        self, graph: GraphBuilder, tensor: schema.TensorT, blocks: Blocks, shape: tuple[int, int]
    ) -> None:
        """4-bit blocks: the scales [rows, columns / 32] are a float16 tensor that the details name."""
        tensor.type = schema.TensorType.INT4
        details = schema.BlockwiseQuantizationT(
            scales=self._scales(graph, tensor, blocks, shape), zeroPoints=-1, blockSize=BLOCK
        )
        tensor.quantization = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization, details=details
        )

    def _scales(
        self, graph: GraphBuilder, tensor: schema.TensorT, blocks: Blocks, shape: tuple[int, int]
    ) -> int:
        rows, columns = shape
        stored = blocks.scales.astype(np.float16).reshape(rows, columns // BLOCK)
        return graph.weight(f"{_name(tensor)}.scales", stored)

    def _halve(self, graph: GraphBuilder, operator: schema.OperatorT) -> None:
        """float16 that a DEQUANTIZE widens; XNNPACK takes the pair as one float32 weight."""
        index = int(operator.inputs[WEIGHT_INPUT])
        graph.graph.tensors[index].type = schema.TensorType.FLOAT16
        wide = graph.op("DEQUANTIZE", [index], graph.shape(index))
        operator.inputs = np.array([operator.inputs[0], wide, *operator.inputs[2:]], dtype=np.int32)

    def _channels(self, tensor: schema.TensorT, blocks: Blocks) -> None:
        """int8 with one scale per output channel."""
        tensor.type = schema.TensorType.INT8
        tensor.quantization = _affine(blocks.scales)

    def _lookup(self, graph: GraphBuilder, operator: schema.OperatorT, done: set[int]) -> None:
        index = int(operator.inputs[WEIGHT_INPUT])
        tensor = graph.graph.tensors[index]
        shape = _shape(tensor)
        codec = self.recipe.codec(_name(tensor), is_table=True)
        blocks = self._encode(tensor, codec).blocks
        if codec.bits == 4:
            if index not in done:
                self._blocks(graph, tensor, blocks, shape)
            graph.graph.operators.append(operator)
        else:
            tensor.type = schema.TensorType.INT8
            tensor.quantization = _affine(np.ones(1, dtype=np.float32))
            self._lookup_twice(graph, operator, self._scales(graph, tensor, blocks, shape))
        done.add(index)

    def _lookup_twice(self, graph: GraphBuilder, operator: schema.OperatorT, scales: int) -> None:
        """Codes [n, width] times the scales [n, width / 32] of their blocks."""
        ids, output = int(operator.inputs[0]), int(operator.outputs[0])
        count, width = graph.shape(output)
        blocks = width // BLOCK
        codes = graph.op("EMBEDDING_LOOKUP", [ids, int(operator.inputs[WEIGHT_INPUT])], [count, width])
        half = graph.op("EMBEDDING_LOOKUP", [ids, scales], [count, blocks], "float16")
        single = graph.op("DEQUANTIZE", [half], [count, blocks])
        blocked = graph.reshape(codes, [count, blocks, BLOCK])
        product = graph.mul(blocked, graph.reshape(single, [count, blocks, 1]))
        graph.reshape(product, [count, width])
        graph.graph.operators[-1].outputs = np.array([output], dtype=np.int32)


def _affine(scales: npt.NDArray[np.float32]) -> schema.QuantizationParametersT:
    return schema.QuantizationParametersT(
        scale=scales, zeroPoint=np.zeros(len(scales), dtype=np.int64), quantizedDimension=0
    )
