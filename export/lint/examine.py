"""Looks for structural faults in an artifact without running it.

Everything is compared with something that was made apart from it: the graph's constants with the manifest's
encoder record (from torch's configuration), the weights with their sketches (from torch's parameters), the
prompts and special tokens with the golden ids (from Sentence Transformers). docs/lint.md lists the faults.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from common.errors import missing_extra
from export.artifact import Artifact
from export.fault import Fault
from export.golden import read_golden
from export.lint.encoder import lint_graph, lint_order
from export.lint.found import FoundGraph, Reading
from export.lint.sketch_file import SKETCH_NAME, Sketches, read_sketches
from export.lint.texts import lint_prompts, lint_tokenizer
from export.lint.weights import lint_weights
from export.litert_graph import signature_name
from export.manifest import Manifest

READERS = {
    "onnx": ("export.lint.onnx_artifact", "read_onnx_artifact"),
    "litert": ("export.lint.litert_artifact", "read_litert_artifact"),
    "gguf": ("export.lint.gguf_artifact", "read_gguf_artifact"),
}


@dataclass(frozen=True)
class Examination:
    """Every fault that was found, and what could not be looked at, a line each."""

    faults: list[Fault]
    unchecked: list[str]


def lint(artifact: Artifact) -> list[Fault]:
    """The structural faults of an artifact; empty for a sound one. See `examine`."""
    return examine(artifact).faults


def examine(artifact: Artifact) -> Examination:
    """Look at graph, weights, tokenizer and manifest of an opened artifact.

    No inference, no torch, a few megabytes of weights at a time. Raises UserError for a file that is not of
    its kind at all.
    """
    manifest = artifact.manifest
    sketches = read_sketches(artifact.path) if SKETCH_NAME in manifest.files else None
    reading = _read(artifact)
    golden = read_golden(artifact.path)
    texts, unchecked = lint_tokenizer(artifact, golden)
    faults = [*lint_prompts(manifest.prompts, golden), *texts, *reading.faults]
    is_written = manifest.encoder is not None
    for graph in reading.graphs:
        faults += lint_graph(graph, manifest, _dim(graph, manifest))
        faults += lint_order(graph, sketches, is_written) if sketches else []
    if sketches is None:
        unchecked.append(f"weights: no {SKETCH_NAME}, an older export")
    else:
        faults += lint_weights(reading, sketches, is_written)
        faults += _lint_table(sketches, manifest)
    if manifest.encoder is None:
        unchecked.append("window, rotary bases and scales: the manifest has no encoder record")
    return Examination(list(dict.fromkeys(faults)), unchecked + reading.unchecked)


def _read(artifact: Artifact) -> Reading:
    module, function = READERS[artifact.manifest.runtime]
    try:
        reader: Any = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise missing_extra("quantize", error.name or "onnx") from None
    reading: Reading = reader(artifact)
    return reading


def _dim(graph: FoundGraph, manifest: Manifest) -> int:
    """The dimension that a signature is for."""
    for dim in manifest.further_dims:
        if graph.length is not None and graph.name == signature_name(graph.length, dim):
            return dim
    return manifest.dim


def _lint_table(sketches: Sketches, manifest: Manifest) -> list[Fault]:
    tallest = max(sketches.weights.values(), key=lambda one: one.rows, default=None)
    rows = manifest.tokenizer.vocab_size
    if tallest is None or manifest.encoder is None or tallest.rows == rows:
        return []
    return [Fault("out-of-range-guard", f"the manifest says {rows} rows, the table has {tallest.rows}")]
