"""A LiteRT graph under construction: subgraphs, operators and constants that all subgraphs share.

The flatbuffer classes come with ai-edge-litert. Constants are kept as numpy arrays until the file is
written (export.tflite_file), so that one copy serves every subgraph and a large one is never duplicated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[Any]

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "int4": schema.TensorType.INT4,
    "bool": schema.TensorType.BOOL,
}
SCHEMA_VERSION = 3
OLD_CODE_LIMIT = 127
"""Operators above it leave the byte of older readers at this value, as the schema asks."""


def builtin_code(code: schema.OperatorCodeT) -> int:
    """The operator that a code stands for; files of older writers fill the first field only."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


class ModelBuilder:
    """The whole file: operator codes, shared constants, subgraphs and signatures."""

    def __init__(self, description: str) -> None:
        self.model = schema.ModelT(
            version=SCHEMA_VERSION,
            operatorCodes=[],
            subgraphs=[],
            buffers=[schema.BufferT()],  # buffer 0 is empty by convention
            description=description,
            signatureDefs=[],
        )
        self.weights: dict[int, Array] = {}
        self._codes: dict[int, int] = {}
        self._buffers: dict[str, int] = {}
        self._anonymous: dict[bytes, int] = {}

    @classmethod
    def of(cls, model: schema.ModelT, weights: Mapping[int, Array]) -> ModelBuilder:
        """Go on building a model that was read from a file."""
        builder = cls("")
        builder.model = model
        builder.weights = dict(weights)
        builder._codes = {builtin_code(code): index for index, code in enumerate(model.operatorCodes)}
        return builder

    def code(self, builtin: int) -> int:
        """Index of an operator code, added on first use."""
        if builtin not in self._codes:
            self._codes[builtin] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(
                schema.OperatorCodeT(
                    builtinCode=builtin, deprecatedBuiltinCode=min(builtin, OLD_CODE_LIMIT), version=1
                )
            )
        return self._codes[builtin]

    def buffer(self, name: str, value: Array) -> int:
        """Index of the buffer that holds a named constant, shared by every subgraph that asks for it."""
        if name not in self._buffers:
            self._buffers[name] = self._append(value)
        return self._buffers[name]

    def small_buffer(self, value: Array) -> int:
        """Buffer of a shape, an axis or a scalar; equal contents share one."""
        key = value.dtype.str.encode() + value.tobytes()
        if key not in self._anonymous:
            self._anonymous[key] = self._append(value)
        return self._anonymous[key]

    def _append(self, value: Array) -> int:
        self.model.buffers.append(schema.BufferT())
        index = len(self.model.buffers) - 1
        self.weights[index] = value
        return index

    def signature(self, name: str, subgraph: GraphBuilder, outputs: dict[str, int]) -> None:
        """Name a subgraph's entry point; inputs carry the names of their tensors."""
        tensors = subgraph.graph.tensors
        inputs = {tensors[index].name: index for index in subgraph.graph.inputs}
        self.model.signatureDefs.append(
            schema.SignatureDefT(
                signatureKey=name,
                subgraphIndex=self.model.subgraphs.index(subgraph.graph),
                inputs=[schema.TensorMapT(name=key, tensorIndex=index) for key, index in inputs.items()],
                outputs=[schema.TensorMapT(name=key, tensorIndex=index) for key, index in outputs.items()],
            )
        )


class GraphBuilder:
    """One subgraph. Every operator returns the index of the tensor that it makes."""

    def __init__(self, builder: ModelBuilder, name: str, graph: schema.SubGraphT | None = None) -> None:
        """Start a subgraph, or go on with `graph`, which belongs to the model already."""
        self.builder = builder
        self.graph = graph or schema.SubGraphT(name=name, tensors=[], inputs=[], outputs=[], operators=[])
        if graph is None:
            builder.model.subgraphs.append(self.graph)
        self._constants: dict[tuple[int, tuple[int, ...]], int] = {}

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor of this subgraph."""
        return tuple(int(size) for size in self.graph.tensors[tensor].shape)

    def tensor(
        self, shape: Sequence[int], dtype: str = "float32", name: str = "", buffer: int = 0, quant: Any = None
    ) -> int:
        """Add a tensor and return its index."""
        self.graph.tensors.append(
            schema.TensorT(
                shape=np.array(shape, dtype=np.int32),
                type=TYPES[dtype],
                buffer=buffer,
                name=name,
                quantization=quant,
                hasRank=True,
            )
        )
        return len(self.graph.tensors) - 1

    def input(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """Add an input tensor."""
        index = self.tensor(shape, dtype, name)
        self.graph.inputs.append(index)
        return index

    def weight(self, name: str, value: Array) -> int:
        """A named constant that other subgraphs may share."""
        return self._constant(self.builder.buffer(name, value), value, name)

    def constant(self, value: Any, dtype: str = "float32") -> int:
        """A small constant: a scalar, a shape or an axis."""
        array = np.asarray(value, dtype=dtype)
        return self._constant(self.builder.small_buffer(array), array, "")

    def _constant(self, buffer: int, value: Array, name: str) -> int:
        key = (buffer, value.shape)  # equal bytes may stand under two shapes
        if key not in self._constants:
            self._constants[key] = self.tensor(value.shape, value.dtype.name, name, buffer)
        return self._constants[key]

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: str = "float32",
        options: Any = None,
        name: str = "",
    ) -> int:
        """Add the builtin operator `kind` (its name in the schema) and return its output."""
        output = self.tensor(shape, dtype, name)
        kinds = schema.BuiltinOptions
        options_type = getattr(kinds, type(options).__name__.removesuffix("T")) if options is not None else 0
        self.graph.operators.append(
            schema.OperatorT(
                opcodeIndex=self.builder.code(getattr(schema.BuiltinOperator, kind)),
                inputs=np.array(inputs, dtype=np.int32),
                outputs=np.array([output], dtype=np.int32),
                builtinOptionsType=options_type,
                builtinOptions=options,
            )
        )
        return output

    def add(self, left: int, right: int) -> int:
        """Left + right, broadcast."""
        return self._elementwise("ADD", left, right, schema.AddOptionsT())

    def sub(self, left: int, right: int) -> int:
        """Left - right, broadcast."""
        return self._elementwise("SUB", left, right, schema.SubOptionsT())

    def mul(self, left: int, right: int) -> int:
        """Left * right, broadcast."""
        return self._elementwise("MUL", left, right, schema.MulOptionsT())

    def div(self, left: int, right: int) -> int:
        """Left / right, broadcast."""
        return self._elementwise("DIV", left, right, schema.DivOptionsT())

    def maximum(self, left: int, right: int) -> int:
        """The larger of both, broadcast."""
        return self._elementwise("MAXIMUM", left, right, schema.MaximumMinimumOptionsT())

    def minimum(self, left: int, right: int) -> int:
        """The smaller of both, broadcast."""
        return self._elementwise("MINIMUM", left, right, schema.MaximumMinimumOptionsT())

    def _elementwise(self, kind: str, left: int, right: int, options: Any) -> int:
        shape = np.broadcast_shapes(self.shape(left), self.shape(right))
        return self.op(kind, [left, right], shape, options=options)

    def unary(self, kind: str, value: int, options: Any = None) -> int:
        """An operator with one float input and an output of its shape."""
        return self.op(kind, [value], self.shape(value), options=options)

    def reduce(self, kind: str, value: int, axis: int) -> int:
        """MEAN, SUM or REDUCE_MAX over one axis, which stays with size 1."""
        shape = list(self.shape(value))
        shape[axis] = 1
        axes = self.constant([axis % len(shape)], "int32")
        return self.op(kind, [value, axes], shape, options=schema.ReducerOptionsT(keepDims=True))

    def reshape(self, value: int, shape: Sequence[int], dtype: str = "float32") -> int:
        """The same values under another shape."""
        target = self.constant(list(shape), "int32")
        options = schema.ReshapeOptionsT(newShape=np.array(shape, dtype=np.int32))
        return self.op("RESHAPE", [value, target], shape, dtype, options)

    def transpose(self, value: int, order: Sequence[int]) -> int:
        """Axes in another order."""
        shape = [self.shape(value)[axis] for axis in order]
        return self.op(
            "TRANSPOSE",
            [value, self.constant(list(order), "int32")],
            shape,
            options=schema.TransposeOptionsT(),
        )

    def slice(self, value: int, begin: Sequence[int], size: Sequence[int]) -> int:
        """A box of `value`; all of it is returned as it is."""
        if tuple(size) == self.shape(value):
            return value
        inputs = [value, self.constant(list(begin), "int32"), self.constant(list(size), "int32")]
        return self.op("SLICE", inputs, size, options=schema.SliceOptionsT())

    def concat(self, values: Sequence[int], axis: int) -> int:
        """Values side by side along `axis`; one value is returned as it is."""
        if len(values) == 1:
            return values[0]
        shape = list(self.shape(values[0]))
        axis %= len(shape)
        shape[axis] = sum(self.shape(value)[axis] for value in values)
        return self.op("CONCATENATION", values, shape, options=schema.ConcatenationOptionsT(axis=axis))

    def linear(self, value: int, weight: int, bias: int = -1) -> int:
        """Value [n, in] times weight [out, in] transposed, plus bias [out]: [n, out]."""
        shape = (self.shape(value)[0], self.shape(weight)[0])
        inputs = [value, weight, bias]
        return self.op(
            "FULLY_CONNECTED", inputs, shape, options=schema.FullyConnectedOptionsT(keepNumDims=True)
        )

    def matmul(self, left: int, right: int, transpose_right: bool = False) -> int:
        """Batched product over the last two axes."""
        rows, columns = self.shape(left)[:-1], self.shape(right)[-2 if transpose_right else -1]
        options = schema.BatchMatMulOptionsT(adjY=transpose_right)
        return self.op("BATCH_MATMUL", [left, right], (*rows, columns), options=options)
