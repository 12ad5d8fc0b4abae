"""Edits of an ONNX graph that make it compute the wrong thing; tests/mutations.py applies them."""

from collections.abc import Callable

import numpy as np
from mutations import Edit, Graph
from onnx import helper

LAYERS = 6
MASKED = -1e4


def embedding_scale(graph: Graph) -> None:
    scaled = graph.maker(graph.maker("layers.0.input_layernorm").input[0])
    scaled.input[1] = graph.number(1.0)


def rope(sliding: int, full: int) -> Edit:
    """Which of the tables, the sliding layers' (0) or the full layers' (1), each kind of layer reads."""

    def edit(graph: Graph) -> None:
        nodes = graph.nodes("RotaryEmbedding")
        tables = [list(nodes[0].input[1:3]), list(nodes[-1].input[1:3])]
        for node in nodes:
            chosen = sliding if list(node.input[1:3]) == tables[0] else full
            node.input[1], node.input[2] = tables[chosen]

    return edit


def rope_missing(graph: Graph) -> None:
    zero = graph.number(0, "int64")
    for node in graph.nodes("RotaryEmbedding"):
        graph.change_input(node, 3, "Mul", zero)


def rope_interleaved(graph: Graph) -> None:
    for node in graph.nodes("RotaryEmbedding"):
        node.attribute.append(helper.make_attribute("interleaved", 1))


def window(change: Callable[[float], float]) -> Edit:
    def edit(graph: Graph) -> None:
        (node,) = graph.nodes("GreaterOrEqual")
        node.input[1] = graph.number(change(float(graph.array(node.input[1]))))

    return edit


def causal(graph: Graph) -> None:
    apart = graph.nodes("Abs")[0]
    for softmax in graph.nodes("Softmax"):
        masked = graph.maker(softmax.input[0])
        later = graph.before(masked, "Less", [apart.input[0], graph.number(0.0)])
        hidden = graph.before(masked, "Cast", [later], to=1)
        graph.change_input(masked, 1, "Add", graph.before(masked, "Mul", [hidden, graph.number(MASKED)]))


def query_scale(graph: Graph) -> None:
    for node in graph.nodes("RMSNormalization"):
        if node.output[0].endswith("q_norm"):
            graph.change_input(node, 1, "Mul", graph.number(8.0))


def final_norm(graph: Graph) -> None:
    node = graph.maker("norm")
    node.CopyFrom(helper.make_node("Identity", [node.input[0]], ["norm"], "norm"))


def norm_weights(graph: Graph) -> None:
    """w in place of 1 + w; the queries' norm holds the scale of the scores too, an eighth."""
    for node in graph.nodes("RMSNormalization"):
        one = 0.125 if node.output[0].endswith("q_norm") else 1.0
        graph.change_input(node, 1, "Sub", graph.number(one))


def last_layer(graph: Graph) -> None:
    """The final norm on what the layer before the last adds up to."""
    graph.maker("norm").input[0] = graph.maker("layers.5.input_layernorm").input[0]


def first_layer(graph: Graph) -> None:
    after, before = (graph.maker(f"layers.{index}.input_layernorm").input[0] for index in (1, 0))
    for node in graph.proto.graph.node:
        for place, name in enumerate(node.input):
            if name == after:
                node.input[place] = before


def gate_up(graph: Graph) -> None:
    for index in range(LAYERS):
        gate, up = (f"layers.{index}.mlp.{name}_proj.product" for name in ("gate", "up"))
        gelu = next(node for node in graph.nodes("Gelu") if gate in node.input)
        product = next(node for node in graph.nodes("Mul") if up in node.input)
        gelu.input[0] = up
        product.input[list(product.input).index(up)] = gate


def gelu(graph: Graph) -> None:
    for node in graph.nodes("Gelu"):
        del node.attribute[:]


def pooling(how: str) -> Edit:
    def edit(graph: Graph) -> None:
        node = graph.maker("pooled")
        mask, states = graph.maker(graph.maker(node.input[0]).input[0]).input
        if how == "max":
            column = graph.before(node, "Transpose", [mask], perm=[0, 2, 1])
            hidden = graph.before(node, "Sub", [column, graph.number(1.0)])
            far = graph.before(node, "Mul", [hidden, graph.number(-MASKED)])
            kept, axes = graph.before(node, "Add", [states, far]), graph.number([1], "int64")
            node.CopyFrom(helper.make_node("ReduceMax", [kept, axes], ["pooled"], keepdims=0))
        else:
            place = graph.number(0 if how == "cls" else -1, "int64")
            node.CopyFrom(helper.make_node("Gather", [states, place], ["pooled"], axis=1))

    return edit


def padding_pooled(graph: Graph) -> None:
    """The mean over the padding too."""
    cast = graph.maker(graph.maker(graph.maker(graph.maker("pooled").input[1]).input[0]).input[0])
    one = graph.number(1, "int64")
    graph.change_input(cast, 0, "Max", one)


def padding_attended(graph: Graph) -> None:
    for node in graph.nodes("Equal"):
        node.input[1] = graph.number(-1, "int64")


def neighbours(graph: Graph) -> None:
    """A share of the batch's mean in each pooled vector; alone it only makes it longer."""
    node = next(one for one in graph.proto.graph.node if "pooled" in one.input)
    mean = graph.before(node, "ReduceMean", ["pooled", graph.number([0], "int64")])
    graph.change_input(node, 0, "Add", graph.before(node, "Mul", [mean, graph.number(0.2)]))


def not_normalised(graph: Graph) -> None:
    node = graph.maker("sentence_embedding")
    node.CopyFrom(helper.make_node("Identity", [node.input[0]], ["sentence_embedding"]))


def not_finite(graph: Graph) -> None:
    node = graph.maker("sentence_embedding")
    graph.change_input(node, 0, "Mul", graph.number(np.inf))


def ids_shifted(graph: Graph) -> None:
    readers = [one for one in graph.proto.graph.node if "input_ids" in one.input]
    node = next(one for one in readers if one.op_type in ("Gather", "Reshape"))
    graph.change_input(node, list(node.input).index("input_ids"), "Add", graph.number(1, "int64"))


def dense_missing(graph: Graph) -> None:
    node = graph.maker("head.0.product")
    bounds = [graph.number([value], "int64") for value in (0, 128, 1)]
    node.CopyFrom(helper.make_node("Slice", ["pooled", *bounds], list(node.output)))


def cut_last(graph: Graph) -> None:
    """The first 128 numbers of the unit vector, which nothing normalises again."""
    node = graph.maker("sentence_embedding")
    node.output[0] = "whole"
    bounds = [graph.number([value], "int64") for value in (0, 128, 1)]
    graph.proto.graph.node.append(helper.make_node("Slice", ["whole", *bounds], ["sentence_embedding"]))
    del graph.proto.graph.output[0].type.tensor_type.shape.dim[1]
    graph.proto.graph.output[0].type.tensor_type.shape.dim.add(dim_value=128)


def scales_quadrupled(graph: Graph) -> None:
    """One product of each layer four times as large as it should be, where no norm follows."""
    for index in range(LAYERS):
        node = graph.maker(f"layers.{index}.mlp.gate_proj.product")
        graph.change_input(node, 0, "Mul", graph.number(4.0))
