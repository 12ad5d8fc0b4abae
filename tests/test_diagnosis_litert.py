"""bench/diagnosis.py on LiteRT artifacts: written by an exporter that reads the model wrongly, then named."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations as m
import pytest
import torch

import export.gemma_litert
from bench.diagnosis import diagnose
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.head import DenseLayer
from export.source import Source
from export.tflite_file import write_tflite
from export.to_litert import LiteRTOptions, _begin_gemma, build_model, export_litert
from quantize.litert_rewrite import write_quantized
from quantize.quantize import quantize_artifact
from quantize.recipe_file import plain

LENGTHS = (64, 256)
Misread = Callable[[pytest.MonkeyPatch, Source], Source]


@pytest.fixture(scope="module")
def right(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("right")
    (fp32,) = export_litert(starter, [128], folder, LiteRTOptions(LENGTHS))
    quantised = {name: quantize_artifact(fp32, name, folder / name) for name in ("int8", "q4_0")}
    return {"fp32": fp32, **quantised}


def config(**changes: Any) -> Misread:
    def misread(patch: pytest.MonkeyPatch, source: Source) -> Source:
        for name, value in changes.items():
            patch.setattr(source.backbone.config, name, value)
        return source

    return misread


def bases_swapped(patch: pytest.MonkeyPatch, source: Source) -> Source:
    settings: Any = source.backbone.config
    rope = settings.rope_parameters
    kinds = list(rope)
    patch.setattr(
        source.backbone.config, "rope_parameters", {kinds[0]: rope[kinds[1]], kinds[1]: rope[kinds[0]]}
    )
    return source


def scale_missing(patch: pytest.MonkeyPatch, source: Source) -> Source:
    buffers: Any = source.backbone.embed_tokens
    patch.setitem(buffers._buffers, "embed_scale", torch.tensor(1.0))
    return source


def padding_seen(patch: pytest.MonkeyPatch, source: Source) -> Source:
    patch.setattr(export.gemma_litert, "MASKED", 0.0)
    return source


def first_dense_alone(patch: pytest.MonkeyPatch, source: Source) -> Source:
    return dataclasses.replace(source, layers=source.layers[:1])


def cls_pooling(patch: pytest.MonkeyPatch, source: Source) -> Source:
    return dataclasses.replace(source, pooling="cls")


def last_numbers(patch: pytest.MonkeyPatch, source: Source) -> Source:
    *first, last = source.layers
    return dataclasses.replace(source, layers=[*first, DenseLayer(last.weight[-128:])])


CASES: list[tuple[str, Misread, str]] = [
    ("window-off-by-one", config(sliding_window=66), "fp32"),
    ("window-halved", config(sliding_window=33), "fp32"),
    ("rope-base-wrong", bases_swapped, "fp32 int8"),
    ("embedding-scale-missing", scale_missing, "fp32 q4_0"),
    ("cls-pooling", cls_pooling, "fp32 q4_0"),
    ("dense-missing", first_dense_alone, "fp32 int8"),
    ("slice-wrong", last_numbers, "fp32 q4_0"),
    ("padding-changes-vector", padding_seen, "fp32 int8"),
]
ROWS = [(name, misread, one) for name, misread, precisions in CASES for one in precisions.split()]


@pytest.mark.parametrize(("name", "misread", "precision"), ROWS, ids=[f"{row[0]}-{row[2]}" for row in ROWS])
def test_a_litert_file_made_wrongly_is_named(
    starter: Source, right: dict[str, Path], tmp_path: Path, name: str, misread: Misread, precision: str
) -> None:
    def change(folder: Path) -> None:
        fp32 = tmp_path / "fp32.tflite"
        with pytest.MonkeyPatch.context() as patch:
            source = misread(patch, starter)
            builder = build_model(source, _begin_gemma(source, list(LENGTHS)), (128,), None)
            write_tflite(fp32, builder.model, builder.weights)
        (folder / "model.tflite").unlink()
        if precision == "fp32":
            fp32.rename(folder / "model.tflite")
        else:
            write_quantized(fp32, folder / "model.tflite", plain(precision).resolve("litert"))

    folder = m.mutated(right[precision], tmp_path / "wrong", change)
    found = diagnose(Embedder.open(folder, Opening(use_weight_cache=False)))
    assert [fault.name for fault in found] == [name]


def test_a_right_file_that_cuts_the_probes_has_no_fault(starter: Source, tmp_path: Path) -> None:
    (folder,) = export_litert(starter, [128], tmp_path, LiteRTOptions((16,)))
    assert diagnose(Embedder.open(folder, Opening(use_weight_cache=False))) == []


@pytest.mark.parametrize("precision", ["fp32", "int8", "q4_0"])
def test_a_right_file_of_two_signatures_has_no_fault(right: dict[str, Path], precision: str) -> None:
    assert open_artifact(right[precision]).manifest.lengths == list(LENGTHS)
    assert diagnose(Embedder.open(right[precision], Opening(use_weight_cache=False))) == []
