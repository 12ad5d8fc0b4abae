"""Deliberate damage to real artifacts, with manifests whose hashes are right all the same."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from common.records import from_dict
from export.artifact import open_artifact, write_manifest
from export.lint.examine import lint
from export.manifest import Manifest
from export.onnx_file import OnnxModel, read_onnx, write_onnx

Edit = Callable[[OnnxModel], None]


def damaged(artifact: Path, folder: Path, change: Callable[[Path], None]) -> dict[str, str]:
    """Copy an artifact, change the copy, and lint it: the first evidence by name of fault."""
    shutil.copytree(artifact, folder)
    change(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, from_dict(Manifest, manifest, "m"))
    return {fault.name: fault.evidence for fault in reversed(lint(open_artifact(folder, verify=False)))}


def in_json(name: str, edit: Callable[[Any], object]) -> Callable[[Path], None]:
    """Damage to a JSON file of the artifact."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))

    return change


def in_manifest(**values: Any) -> Callable[[Path], None]:
    """Other values in the manifest."""

    def change(folder: Path) -> None:
        manifest = open_artifact(folder).manifest
        (folder / "manifest.json").write_text(
            json.dumps(dataclasses.asdict(dataclasses.replace(manifest, **values)))
        )

    return change


def in_onnx(edit: Edit) -> Callable[[Path], None]:
    """Damage to an ONNX graph or its weights; onnx's own checker still passes the result."""

    def change(folder: Path) -> None:
        path = folder / "model.onnx"
        model = read_onnx(path)
        model.weights = {name: np.array(value) for name, value in model.weights.items()}
        small = [one for one in model.proto.graph.initializer if one.name.endswith("weight")]
        for one in small:
            model.weights[one.name] = np.array(numpy_helper.to_array(one))
            model.proto.graph.initializer.remove(one)
        edit(model)
        write_onnx(path, model.proto, list(model.weights.items()))

    return change


def node(model: OnnxModel, kind: str, which: int = 0) -> onnx.NodeProto:
    """A node of an operator; the first one unless told otherwise."""
    found: list[onnx.NodeProto] = [one for one in model.proto.graph.node if one.op_type == kind]
    return found[which]


def set_constant(model: OnnxModel, name: str, value: float) -> str:
    """A new constant with the type of `name` and another value; returns what it is called."""
    held = next(one for one in model.proto.graph.initializer if one.name == name)
    array = np.full_like(numpy_helper.to_array(held), value)
    model.proto.graph.initializer.append(numpy_helper.from_array(array, f"{name}.damaged"))
    return f"{name}.damaged"


def bypass(model: OnnxModel, one: onnx.NodeProto, source: str) -> None:
    """Let a node hand on `source` as it is."""
    kept = helper.make_node("Identity", [source], [one.output[0]], f"{one.name}.bypassed")
    place = list(model.proto.graph.node).index(one)
    model.proto.graph.node.remove(one)
    model.proto.graph.node.insert(place, kept)


def through_half(model: OnnxModel, kind: str, dtype: int) -> None:
    """Have an operator calculate in half precision, cast there and back."""
    one = node(model, kind)
    source, result = one.input[0], one.output[0]
    narrow = helper.make_node("Cast", [source], [f"{source}.half"], to=dtype)
    widen = helper.make_node("Cast", [f"{result}.half"], [result], to=onnx.TensorProto.FLOAT)
    one.input[0], one.output[0] = f"{source}.half", f"{result}.half"
    place = list(model.proto.graph.node).index(one)
    model.proto.graph.node.insert(place, narrow)
    model.proto.graph.node.insert(place + 2, widen)
