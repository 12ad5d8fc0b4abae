"""A small builder of ONNX graphs: operators appended in order, constants by name, weights as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.onnx_file import EXTERNAL_FROM_BYTES, OnnxModel

if TYPE_CHECKING:
    import onnx

OPSET = 23
"""Has RMSNormalization and RotaryEmbedding as operators."""
IR_VERSION = 11
TOKEN_ROWS = "pocketvec.token_rows"  # noqa: S105
"""Metadata of a product: it multiplies a matrix of one row per token of the batch, padding included."""
SCALE_FREE = "pocketvec.scale_free"
"""Metadata of a product: multiplying a row of it by a positive number changes nothing in what reads it."""


class OnnxBuilder:
    """Collects one graph. Every method that makes a tensor returns its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self._anonymous: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(self, operator: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Append an operator with one output."""
        return self.ops(operator, inputs, 1, name, **attributes)[0]

    def ops(
        self, operator: str, inputs: Sequence[str], outputs: int, name: str = "", **attributes: Any
    ) -> list[str]:
        """Append an operator with several outputs."""
        from onnx import helper

        name = name or f"{operator}_{len(self.nodes)}"
        made = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, made, name, **attributes))
        return made

    def product(self, value: str, weight: str, matrix: npt.NDArray[Any], scale_free: bool = False) -> str:
        """The product of [tokens, in] and a weight matrix [out, in], stored transposed; see SCALE_FREE."""
        product = self.op("MatMul", [value, self.weight(f"{weight}.weight_t", matrix.T)], f"{weight}.product")
        for key in (TOKEN_ROWS, SCALE_FREE)[: 1 + scale_free]:
            self.nodes[-1].metadata_props.add(key=key, value="1")
        return product

    def weight(self, name: str, value: npt.NDArray[Any]) -> str:
        """A named constant; giving a name twice means the same constant."""
        self.constants.setdefault(name, value)
        return name

    def constant(self, value: Any, dtype: str = "float32") -> str:
        """A small constant: a scalar, a shape or an axis; equal ones are one."""
        array = np.asarray(value, dtype=dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._anonymous:
            self._anonymous[key] = self.weight(f"constant_{len(self._anonymous)}", array)
        return self._anonymous[key]

    def reshape(self, value: str, *shape: int | str) -> str:
        """Reshape; a size may be the name of an int64 [1] tensor."""
        if all(isinstance(size, int) for size in shape):
            return self.op("Reshape", [value, self.constant(shape, "int64")])
        sizes = [self.constant([size], "int64") if isinstance(size, int) else size for size in shape]
        return self.op("Reshape", [value, self.op("Concat", sizes, axis=0)])

    def model(self, inputs: Mapping[str, onnx.ValueInfoProto], outputs: Sequence[Any]) -> OnnxModel:
        """The graph made so far."""
        from onnx import helper, numpy_helper

        large = {name: v for name, v in self.constants.items() if v.nbytes >= EXTERNAL_FROM_BYTES}
        small = [numpy_helper.from_array(v, name) for name, v in self.constants.items() if name not in large]
        graph = helper.make_graph(self.nodes, "pocketvec", list(inputs.values()), list(outputs), small)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        proto.ir_version = IR_VERSION
        return OnnxModel(proto, large)
