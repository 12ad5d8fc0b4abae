"""Faults injected into real artifacts: edits of an ONNX graph, of tokenizer.json and of the manifest.

The hashes of a mutated artifact agree, and golden.json and faults.json stay those of the right model: it is what
a broken exporter would have written.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.artifact import open_artifact, write_manifest
from export.manifest import TOKENIZER_BIN, TOKENIZER_NAME, Manifest

MASKED = -1e4
HIDDEN = 256
Edit = Callable[["Graph"], None]


def mutated(artifact: Path, out: Path, change: Callable[[Path], Manifest | None]) -> Path:
    """A copy of an artifact after `change`, which may give another manifest; its file table is written anew."""
    shutil.copytree(artifact, out)
    manifest = change(out) or open_artifact(out, verify=False).manifest
    if not (out / TOKENIZER_BIN).is_file():
        manifest = dataclasses.replace(manifest, files={})
    write_manifest(out, manifest)
    return out


def graph_edit(edit: Edit) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        graph = Graph(onnx.load(str(folder / "model.onnx"), load_external_data=False))
        edit(graph)
        (folder / "model.onnx").write_bytes(graph.proto.SerializeToString())

    return change


def manifest_edit(**changes: Any) -> Callable[[Path], Manifest]:
    return lambda folder: dataclasses.replace(open_artifact(folder, verify=False).manifest, **changes)


def tokenizer_spec(**changes: Any) -> Callable[[Path], Manifest]:
    def change(folder: Path) -> Manifest:
        manifest = open_artifact(folder, verify=False).manifest
        return dataclasses.replace(manifest, tokenizer=dataclasses.replace(manifest.tokenizer, **changes))

    return change


def template(*order: str) -> Callable[[Path], None]:
    """tokenizer.json with these around a text: bos, text, eos in some order; its compact form goes."""
    pieces = {
        "bos": {"SpecialToken": {"id": "<bos>", "type_id": 0}},
        "text": {"Sequence": {"id": "A", "type_id": 0}},
        "eos": {"SpecialToken": {"id": "<eos>", "type_id": 0}},
    }

    def change(folder: Path) -> None:
        (folder / TOKENIZER_BIN).unlink()
        path = folder / TOKENIZER_NAME
        tokenizer = json.loads(path.read_text())
        tokenizer["post_processor"]["single"] = [pieces[one] for one in order]
        path.write_text(json.dumps(tokenizer))

    return change


class Graph:
    """An ONNX graph under the knife."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self._made = 0

    def nodes(self, operator: str) -> list[onnx.NodeProto]:
        return [node for node in self.proto.graph.node if node.op_type == operator]

    def maker(self, output: str) -> onnx.NodeProto:
        return next(node for node in self.proto.graph.node if output in node.output)

    def number(self, value: Any, dtype: str = "float32") -> str:
        self._made += 1
        name = f"mutation_{self._made}"
        array = np.asarray(value, dtype=dtype)
        self.proto.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def before(self, node: onnx.NodeProto, operator: str, inputs: list[str], **attributes: Any) -> str:
        """A new operator in front of a node; gives the name of its output."""
        self._made += 1
        output = f"mutation_{self._made}"
        place = list(self.proto.graph.node).index(node)
        self.proto.graph.node.insert(place, helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def change_input(self, node: onnx.NodeProto, place: int, operator: str, *others: str, **kw: Any) -> None:
        """Put an operator between a node and one of its inputs."""
        node.input[place] = self.before(node, operator, [node.input[place], *others], **kw)

    def array(self, name: str) -> Any:
        return numpy_helper.to_array(next(one for one in self.proto.graph.initializer if one.name == name))


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
    (apart,) = graph.nodes("Abs")
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
    for index in range(6):
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
        states = graph.maker(graph.maker(node.input[0]).input[0]).input[1]
        if how == "max":
            axes = graph.number([1], "int64")
            node.CopyFrom(helper.make_node("ReduceMax", [states, axes], ["pooled"], keepdims=0))
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
    graph.change_input(node, 0, "Add", graph.before(node, "Mul", [mean, graph.number(0.1)]))


def noise(graph: Graph) -> None:
    """Dropout as in training."""
    node = graph.nodes("ReduceL2")[0]
    given = [node.input[0], graph.number(0.05), graph.number(True, "bool")]
    noisy = graph.before(node, "Dropout", given)
    node.input[0] = noisy
    graph.maker("sentence_embedding").input[0] = noisy


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


def head_weights(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """The fp32 head's matrix [hidden, dim] after a change that keeps its size."""

    def edit(folder: Path) -> None:
        path = folder / "model.onnx.head"
        weights = np.fromfile(path, dtype="<f4").reshape(HIDDEN, -1)
        np.ascontiguousarray(change(weights), dtype="<f4").tofile(path)

    return edit


def other_head(wide: Path, edit: Edit | None = None) -> Callable[[Path], None]:
    """The graph of the full-dimension artifact `wide` in place of a smaller one's."""

    def change(folder: Path) -> None:
        for path in wide.glob("model.onnx*"):
            shutil.copyfile(path, folder / path.name)
        if edit:
            graph_edit(edit)(folder)

    return change


def cut_last(graph: Graph) -> None:
    """The first 128 numbers of the unit vector, which nothing normalises again."""
    node = graph.maker("sentence_embedding")
    node.output[0] = "whole"
    bounds = [graph.number([value], "int64") for value in (0, 128, 1)]
    graph.proto.graph.node.append(helper.make_node("Slice", ["whole", *bounds], ["sentence_embedding"]))
    del graph.proto.graph.output[0].type.tensor_type.shape.dim[1]
    graph.proto.graph.output[0].type.tensor_type.shape.dim.add(dim_value=128)


def rows_shuffled(folder: Path) -> None:
    """Every other row of the fp32 token table in its neighbour's place."""
    graph = onnx.load(str(folder / "model.onnx"), load_external_data=False).graph
    table = next(one for one in graph.initializer if one.name == "embed_tokens.weight")
    offset = next(int(item.value) for item in table.external_data if item.key == "offset")
    rows = np.memmap(folder / "model.onnx.data", "<f4", "r+", offset, tuple(table.dims))
    rows[:] = rows.reshape(-1, 2, HIDDEN)[:, ::-1].reshape(rows.shape).copy()
    rows.flush()


def scale_doubled(graph: Graph) -> None:
    """One product of the middle twice as large as it should be, where no norm follows."""
    node = graph.maker("layers.2.mlp.gate_proj.product")
    graph.change_input(node, 0, "Mul", graph.number(2.0))
