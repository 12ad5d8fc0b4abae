"""The operators that read quantised weights in an ONNX graph.

Blocks of 32: a product is com.microsoft.MatMulNBits, which takes zero point 2**(bits-1) when none is given,
exactly the offset of a symmetric code. Its scales are float32 holding fp16 values: with float16 scales it
would also compute in float16. A table's rows are looked up as stored, packed codes and float16 scales, and
only those rows are unpacked, by com.microsoft.GatherBlockQuantized with scales turned to float32: the numbers
stay exact, the scales take two bytes, and an id outside the table is an error instead of a row of zeros.

int8 with a scale per output: every row of activations is divided by its largest magnitude and rounded to
8 bits, as LiteRT's kernels do; com.microsoft.MatMulIntegerToFloat multiplies. On x86 with VNNI that product
runs three times as fast as one in blocks. Where only norms read the result, the row's factor is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from common.errors import UserError
from export.onnx_build import SCALE_FREE, TOKEN_ROWS
from export.onnx_file import HEAD_PREFIX
from quantize.blocks import BLOCK, Blocks, Codec, Float32
from quantize.weights import pack

DOMAIN = "com.microsoft"
INT8_COMPUTE = 4
"""MatMulNBits accuracy_level: activations are rounded to int8 block by block for the product.

On x86 with VNNI an 8-bit product of 16 tokens ran 3 times faster than with float32 activations, and the
worst golden cosine of the first starter moved by less than 0.0001.
"""
FLOAT_COMPUTE = 1
"""For the head, one row a text: nothing to gain; a rounded pooled vector moved NDCG of the first starter by
0.5 %."""
LARGEST = 127
MIDDLE = 128
"""uint8 code of zero: x86 has no fast product of two signed operands."""
TINY = 1e-30
"""Scale of a row of zeros, which must not be divided by zero."""


@dataclass(frozen=True)
class Place:
    """A weight's place in the graph: the node that reads it, its shape with the quantised axis last."""

    node: onnx.NodeProto
    name: str
    rows: int
    columns: int
    codec: Codec

    @property
    def codes_name(self) -> str:
        """Name of the constant with the codes."""
        return f"{self.name}.{self.codec.name}"

    @property
    def scales_name(self) -> str:
        """Name of the constant with the scales."""
        return f"{self.codes_name}_scales"

    @property
    def is_table(self) -> bool:
        """Whether rows are looked up rather than multiplied by."""
        return self.node.op_type == "Gather"

    @property
    def is_unfolded(self) -> bool:
        """Whether plain operators turn it to float32, which a runtime does once, when it opens the file."""
        is_eight_bit = self.codec.block is not None and self.codec.bits == 8
        return is_eight_bit and self.name.startswith(HEAD_PREFIX) and self.columns % BLOCK == 0

    def constants(self, blocks: Blocks) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Codes and scales in the layout that the operators take, by name."""
        scales = blocks.scales.reshape(self.rows, -1)
        if self.is_unfolded:
            yield self.codes_name, blocks.codes.reshape(self.rows, -1, BLOCK)
            yield self.scales_name, scales[:, :, None]
            return
        if self.codec.block is None:
            yield self.codes_name, blocks.codes.reshape(self.rows, -1).T
            yield self.scales_name, scales[:, 0]
            return
        packed = (
            pack(blocks.codes + np.int8(-MIDDLE), 8) if self.codec.bits == 8 else pack(blocks.codes + 8, 4)
        )
        shape = (self.rows, -1) if self.is_table else (self.rows, -1, BLOCK * self.codec.bits // 8)
        yield self.codes_name, packed.reshape(shape)
        yield self.scales_name, scales.astype(np.float16) if self.is_table else scales


class Operators:
    """Appends operators to a graph that is being rewritten."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._rounded: dict[str, tuple[str, str]] = {}
        self._constants: set[str] = set()
        self._made: set[str] = set()
        self._token_middles = ""

    def read(self, place: Place) -> None:
        """Append what takes the place of a node that reads a large weight."""
        if place.is_table:
            self._lookup(place)
        elif place.is_unfolded:
            self._unfolded_product(place)
        elif place.codec.block is None:
            self._channel_product(place)
        else:
            self._block_product(place)

    def scale_input(self, node: onnx.NodeProto, scales: Float32) -> None:
        """Multiply what `node` reads by the column scales of its weight."""
        name = self._constant("head.column_scales", scales)
        node.input[0] = self._add("Mul", [node.input[0], name], "head.scaled")

    def _lookup(self, place: Place) -> None:
        node, codec = place.node, place.codec
        if place.columns % BLOCK:
            raise UserError(
                f"tensor '{place.name}': table width {place.columns} is not a multiple of {BLOCK}"
            )
        ids = self._add("Reshape", [node.input[1], self._sizes(-1)], f"{place.name}.ids")
        codes = self._add("Gather", [place.codes_name, ids], f"{place.name}.codes")
        halves = self._add("Gather", [place.scales_name, ids], f"{place.name}.halves")
        scales = self._add("Cast", [halves], f"{place.name}.scales", to=onnx.TensorProto.FLOAT)
        zero, one = (self._constant(f"number_{n}", np.array(n, np.int64)) for n in (0, 1))
        count = self._add("Size", [ids], f"{place.name}.count")
        places = self._add("Range", [zero, count, one], f"{place.name}.places")
        shape = self._add("Shape", [node.input[1]], f"{place.name}.shape")
        indices = self._add("Reshape", [places, shape], f"{place.name}.indices")
        layout = {"bits": codec.bits, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        inputs = [codes, indices, scales]
        self._add("GatherBlockQuantized", inputs, node.output[0], domain=DOMAIN, **layout)

    def _unfolded_product(self, place: Place) -> None:
        """The head at 8 bits, one row a text: MatMulNBits took 0.5 ms for it with float32 activations."""
        codes = self._add("Cast", [place.codes_name], f"{place.name}.codes", to=onnx.TensorProto.FLOAT)
        values = self._add("Mul", [codes, place.scales_name], f"{place.name}.values")
        matrix = self._add(
            "Reshape", [values, self._sizes(place.rows, place.columns)], f"{place.name}.matrix"
        )
        turned = self._add("Transpose", [matrix], f"{place.name}.turned", perm=[1, 0])
        result, bias = self._result(place)
        self._add("MatMul", [place.node.input[0], turned], result)
        self._add_bias(place, result, bias)

    def _block_product(self, place: Place) -> None:
        level = FLOAT_COMPUTE if place.name.startswith(HEAD_PREFIX) else INT8_COMPUTE
        layout = {"bits": place.codec.bits, "block_size": BLOCK, "accuracy_level": level}
        inputs = [place.node.input[0], place.codes_name, place.scales_name]
        result, bias = self._result(place)
        self._add("MatMulNBits", inputs, result, domain=DOMAIN, K=place.columns, N=place.rows, **layout)
        self._add_bias(place, result, bias)

    def _channel_product(self, place: Place) -> None:
        node, marks = place.node, {item.key for item in place.node.metadata_props}
        result, bias = self._result(place)
        is_matrix, is_free = TOKEN_ROWS in marks, SCALE_FREE in marks
        codes, scales = self._round(node.input[0], None if is_matrix else place.columns)
        one = self._constant("int8.one", np.array(1, np.float32))
        inputs = [codes, place.codes_name, one, place.scales_name, self._middle()]
        last = result if is_matrix else f"{result}.int8_rows"  # a weight may serve several products
        product = self._add(
            "MatMulIntegerToFloat", inputs, last if is_free else f"{result}.int8_product", domain=DOMAIN
        )
        if not is_free:
            self._add("Mul", [product, self._column(scales)], last)
        if not is_matrix:
            self._restore(node.input[0], last, place.rows, result)
        self._add_bias(place, result, bias)

    def _round(self, value: str, width: int | None) -> tuple[str, str]:
        """Codes uint8 [rows, width] and scales [rows] of activations; once for all that multiply them.

        `width` is None for a matrix that has a row per token; any other shape is made a matrix first.
        """
        if value not in self._rounded:
            rows = value
            if width is not None:
                rows = self._add("Reshape", [value, self._sizes(-1, width)], f"{value}.rows")
            axis = self._sizes(1)
            magnitude = self._add("Abs", [rows], f"{value}.magnitude")
            largest = self._add("ReduceMax", [magnitude, axis], f"{value}.largest", keepdims=0)
            tiny = self._constant("int8.tiny", np.array(TINY, np.float32))
            step = self._constant("int8.step", np.array(1 / LARGEST, np.float32))
            floored = self._add("Max", [largest, tiny], f"{value}.floored")
            scales = self._add("Mul", [floored, step], f"{value}.scales")
            middles = self._middles(value, scales, shared=width is None)
            codes = self._add("QuantizeLinear", [rows, scales, middles], f"{value}.codes", axis=0)
            self._rounded[value] = codes, scales
        return self._rounded[value]

    def _column(self, scales: str) -> str:
        """Scales [rows] as [rows, 1], to multiply rows by."""
        name = f"{scales}.column"
        if name not in self._made:
            self._made.add(name)
            self._add("Unsqueeze", [scales, self._sizes(1)], name)
        return name

    def _middle(self) -> str:
        return self._constant("int8.middle", np.array(MIDDLE, np.uint8))

    def _middles(self, value: str, scales: str, shared: bool) -> str:
        """MIDDLE once per row; all matrices with a row per token share theirs."""
        if shared and self._token_middles:
            return self._token_middles
        count = self._add("Shape", [scales], f"{value}.count")
        middles = self._add("Expand", [self._middle(), count], f"{value}.middles")
        if shared:
            self._token_middles = middles
        return middles

    def _restore(self, value: str, product: str, width: int, result: str) -> None:
        """Rows [n, width] in the leading shape of `value`."""
        shape = self._add("Shape", [value], f"{result}.leading", end=-1)
        wanted = self._add("Concat", [shape, self._sizes(width)], f"{result}.shape", axis=0)
        self._add("Reshape", [product, wanted], result)

    def _result(self, place: Place) -> tuple[str, str]:
        """Names of the product and of the bias that a Gemm adds to it (empty: none)."""
        node = place.node
        if node.op_type != "Gemm":
            return node.output[0], ""
        settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if settings.get("transA", 0) or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1:
            raise UserError(f"tensor '{place.name}': a Gemm with transA, alpha or beta cannot be quantised")
        bias = node.input[2] if len(node.input) > 2 else ""
        return (f"{node.output[0]}.product" if bias else node.output[0]), bias

    def _add_bias(self, place: Place, result: str, bias: str) -> None:
        if bias:
            self._add("Add", [result, bias], place.node.output[0])

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._graph.node.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def _sizes(self, *sizes: int) -> str:
        return self._constant(f"sizes_{'_'.join(map(str, sizes))}", np.array(sizes, np.int64))

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants.add(name)
            self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name
