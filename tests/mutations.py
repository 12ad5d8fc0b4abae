"""Faults injected into real artifacts: edits of an ONNX graph, of tokenizer.json and of the manifest.

The hashes of a mutated artifact agree, and golden.json and faults.json stay those of the right model: it is
what a broken exporter would have written. tests/graph_faults.py has the edits of the graph.
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

HIDDEN = 256
Edit = Callable[["Graph"], None]


def mutated(artifact: Path, out: Path, change: Callable[[Path], Manifest | None]) -> Path:
    """A copy of an artifact after `change`, which may give another manifest, with a new file table."""
    shutil.copytree(artifact, out)
    write_manifest(out, change(out) or open_artifact(out, verify=False).manifest)
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
        found: onnx.NodeProto = next(node for node in self.proto.graph.node if output in node.output)
        return found

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
        self.proto.graph.node.insert(
            place, helper.make_node(operator, inputs, [output], output, **attributes)
        )
        return output

    def change_input(self, node: onnx.NodeProto, place: int, operator: str, *others: str, **kw: Any) -> None:
        """Put an operator between a node and one of its inputs."""
        node.input[place] = self.before(node, operator, [node.input[place], *others], **kw)

    def array(self, name: str) -> Any:
        return numpy_helper.to_array(next(one for one in self.proto.graph.initializer if one.name == name))


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


def rows_shuffled(folder: Path) -> None:
    """Every other row of the fp32 token table in its neighbour's place."""
    graph = onnx.load(str(folder / "model.onnx"), load_external_data=False).graph
    table = next(one for one in graph.initializer if one.name == "embed_tokens.weight")
    offset = next(int(item.value) for item in table.external_data if item.key == "offset")
    rows = np.memmap(folder / "model.onnx.data", "<f4", "r+", offset, tuple(table.dims))
    rows[:] = rows.reshape(-1, 2, HIDDEN)[:, ::-1].reshape(rows.shape).copy()
    rows.flush()


class Trembling:
    """An open model whose vectors are never the same twice."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._random = np.random.default_rng(0)

    def run_batch(self, batch: Any) -> Any:
        vectors = self._session.run_batch(batch)
        return (vectors + self._random.normal(scale=1e-5, size=vectors.shape)).astype(np.float32)
