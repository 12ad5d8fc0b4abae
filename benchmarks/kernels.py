"""What onnxruntime's products cost by themselves: the floor under any graph of EmbeddingGemma's shape.

`python -m benchmarks.kernels` prints milliseconds for all layers' products together, by kernel and number of
tokens; once with queries, keys, values and gate, up as products of their own and once merged.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.full_size import markdown
from export.session import load_onnxruntime

LAYERS, THREADS, RUNS = 24, 2, 14
TOKENS = (16, 64, 256)
OUT = [(768, 768), (1152, 768)]
SHAPES = {
    "apart": [(768, 768), (768, 256), (768, 256), (768, 1152), (768, 1152), *OUT],
    "merged": [(768, 1280), (768, 2304), *OUT],
}
"""(inputs, outputs) of one layer's products."""
DOMAIN = "com.microsoft"
Graph = tuple[list[onnx.NodeProto], dict[str, Any]]


def float32(inputs: int, outputs: int) -> Graph:
    """MatMul."""
    return [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((inputs, outputs), np.float32)}


def blocks(bits: int, size: int, level: int) -> Callable[[int, int], Graph]:
    """MatMulNBits with blocks of `size` at an accuracy level: 4 rounds activations to int8, 0 does not."""

    def make(inputs: int, outputs: int) -> Graph:
        count = -(-inputs // size)
        codes = np.full((outputs, count, size * bits // 8), 77, np.uint8)
        layout: dict[str, Any] = {
            "K": inputs,
            "N": outputs,
            "bits": bits,
            "block_size": size,
            "accuracy_level": level,
        }
        node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain=DOMAIN, **layout)
        return [node], {"w": codes, "s": np.ones((outputs, count), np.float32)}

    return make


def channels(inputs: int, outputs: int) -> Graph:
    """Activations to uint8 with one scale, and MatMulIntegerToFloat."""
    names = ["q", "w", "one", "s", "middle"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "middle"], ["q"]),
        helper.make_node("MatMulIntegerToFloat", names, ["y"], domain=DOMAIN),
    ]
    scales = {"one": np.float32(1), "middle": np.uint8(128), "s": np.ones(outputs, np.float32)}
    return nodes, {"w": np.full((inputs, outputs), 7, np.int8), **scales}


KERNELS = {
    "fp32": float32,
    "8 bits, blocks of 32": blocks(8, 32, 4),
    "4 bits, blocks of 32": blocks(4, 32, 4),
    "4 bits, blocks of 32, fp32 activations (stock)": blocks(4, 32, 0),
    "4 bits, blocks of 128": blocks(4, 128, 4),
    "8 bits, a scale per output": channels,
}


def main() -> int:
    """Print the table."""
    heads = ["kernel", *(f"{name}, {n} tokens" for name in SHAPES for n in TOKENS)]
    rows = []
    for name, kernel in KERNELS.items():
        taken = [
            sum(median_ms(kernel(*shape), shape[0], n) for shape in shapes) * LAYERS
            for shapes in SHAPES.values()
            for n in TOKENS
        ]
        rows.append([name, *(f"{ms:.1f}" for ms in taken)])
    print(markdown(heads, rows))
    return 0


def median_ms(graph: Graph, inputs: int, tokens: int) -> float:
    """Milliseconds of one product, median of RUNS, in a session that is closed again."""
    nodes, constants = graph
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "product",
            [value("x", onnx.TensorProto.FLOAT, ["tokens", inputs])],
            [value("y", onnx.TensorProto.FLOAT, ["tokens", None])],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)],
        ir_version=10,
    )
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((tokens, inputs)).astype(np.float32)
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        session.run(None, {"x": x})
        taken.append((time.perf_counter() - started) * 1e3)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())
