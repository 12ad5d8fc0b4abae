"""ONNX surgery: put a folded head on a trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.head import NORM_FLOOR, DenseLayer
from export.manifest import OUTPUT, POOLED
from export.onnx_file import EXTERNAL_FROM_BYTES, OnnxModel

if TYPE_CHECKING:
    import onnx

ONNX_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "gelu": "Gelu"}


def attach_head(trunk: OnnxModel, layers: list[DenseLayer], dim: int) -> OnnxModel:
    """A copy of `trunk` that ends in `sentence_embedding`, float32 [batch, dim], unit norm.

    The constants are the trunk's own, not copied. `layers` come from `fold_head`; without any, the pooled
    vector itself is cut to `dim`.
    """
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.ModelProto()
    proto.CopyFrom(trunk.proto)
    head = _HeadBuilder(proto.graph)
    head.normalise(head.dense(POOLED, layers) if layers else head.truncate(POOLED, dim))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", dim]))
    return OnnxModel(proto, {**trunk.weights, **head.weights})


class _HeadBuilder:
    """Appends the head's nodes to a graph; each method takes and returns the name of a [batch, n] tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self.weights: dict[str, npt.NDArray[np.generic]] = {}

    def dense(self, current: str, layers: list[DenseLayer]) -> str:
        """activation(x @ weight.T + bias), layer by layer."""
        for index, layer in enumerate(layers):
            weight = self._constant(f"head.{index}.weight_t", layer.weight.T)
            current = self._add("MatMul", [current, weight], f"head.{index}.product")
            if layer.bias is not None:
                bias = self._constant(f"head.{index}.bias", layer.bias)
                current = self._add("Add", [current, bias], f"head.{index}.biased")
            if layer.activation != "identity":
                current = self._add(ONNX_ACTIVATIONS[layer.activation], [current], f"head.{index}.activated")
        return current

    def truncate(self, current: str, dim: int) -> str:
        """The first `dim` columns, for a model without Dense layers."""
        bounds = [
            self._constant(f"head.slice_{name}", np.array([value], dtype=np.int64))
            for name, value in (("start", 0), ("end", dim), ("axis", 1))
        ]
        return self._add("Slice", [current, *bounds], "head.truncated")

    def normalise(self, current: str) -> str:
        """Unit L2 norm along the columns."""
        axes = self._constant("head.norm_axis", np.array([1], dtype=np.int64))
        norm = self._add("ReduceL2", [current, axes], "head.norm", keepdims=1)
        floor = self._constant("head.norm_floor", np.array(NORM_FLOOR, dtype=np.float32))
        divisor = self._add("Max", [norm, floor], "head.norm_floored")
        return self._add("Div", [current, divisor], OUTPUT)

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        from onnx import helper

        node = helper.make_node(operator, inputs, [output], output, **attributes)  # type: ignore[arg-type]
        self._graph.node.append(node)
        return output

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        if value.nbytes >= EXTERNAL_FROM_BYTES:
            self.weights[name] = value
        else:
            self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
