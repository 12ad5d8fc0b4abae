"""Real artifacts for the Kotlin client: right ones, and wrong ones that its tests want refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tiny_bert import build_bert

from export.source import open_source
from export.to_onnx import export_onnx

ROOT = Path(__file__).parent.parent
MADE = ROOT / "runs" / "default" / "artifacts"
PRECISIONS = ("fp32", "q8_0", "int8", "q4_0")
DIM = 128
LEFT_OUT = "bert-prompt-left-out"


def profile(precision: str) -> str:
    """Name of the profile that the tests take."""
    return f"onnx-{precision}-{DIM}d"


def has_made() -> bool:
    """Whether `make run` has left the artifacts that are wanted here."""
    return all((MADE / profile(precision) / "manifest.json").is_file() for precision in PRECISIONS)


def android_artifacts(source: Path, folder: Path) -> Path:
    """Fill `folder` with the profiles of `source` (as links), a BERT, and what must be refused."""
    for precision in PRECISIONS:
        (folder / profile(precision)).symlink_to(source / profile(precision))
    bert = build_bert(folder / "bert", "mean", include_prompt=False)
    (made,) = export_onnx(open_source(str(bert)), [384], folder / "made")
    made.rename(folder / LEFT_OUT)
    right = source / profile("fp32")
    _reverse_weights(_copy(right, folder / "other-weights"))
    _edit_manifest(_copy(right, folder / "other-tokenizer"), _lower_case)
    (_copy(right, folder / "no-weights") / "model.onnx.data").unlink()
    graph = _copy(right, folder / "no-graph") / "model.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    litert = _copy(right, folder / "litert")
    (litert / "model.tflite").write_bytes(b"none")
    _edit_manifest(litert, _litert)
    return folder


def _copy(artifact: Path, folder: Path) -> Path:
    return Path(shutil.copytree(artifact, folder))


def _reverse_weights(folder: Path) -> None:
    """The same numbers at other places: sizes and the graph stay, the model is another."""
    path = folder / "model.onnx.data"
    np.fromfile(path, dtype="<f4")[::-1].tofile(path)


def _edit_manifest(folder: Path, edit: Any) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _lower_case(manifest: dict[str, Any]) -> None:
    manifest["tokenizer"]["lower_case"] = True


def _litert(manifest: dict[str, Any]) -> None:
    manifest["runtime"] = "litert"
    manifest["files"]["model.tflite"] = {"bytes": 4, "sha256": "0" * 64}
