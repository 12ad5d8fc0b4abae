"""fp32 artifact to quantised artifact: same tokenizer, same golden vectors, smaller model."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from common.errors import UserError, missing_extra
from common.files import refuse_existing
from export.artifact import Artifact, open_artifact, write_manifest, writing_artifact
from export.embedder import Embedder
from export.golden import golden_parity
from export.manifest import MODEL_NAME, RoundingCost, profile_name
from export.onnx_graph import save_graph
from quantize.blocks import CODECS, Codec
from train.checkpoint import refuse_fp16


def parse_precision(name: str) -> str:
    """A precision that `quantize_artifact` takes. Raises UserError otherwise, with the reason for fp16."""
    refuse_fp16(name)
    if name not in CODECS:
        raise UserError(f"precision '{name}': unknown; choose from {', '.join(CODECS)}")
    return name


@dataclass(frozen=True)
class QuantizeJob:
    """One fp32 artifact, the precision it gets and the folder that results."""

    parent: Path
    precision: str
    out: Path


def plan_quantization(
    parents: list[Path], precisions: tuple[str, ...], out: Path | None
) -> list[QuantizeJob]:
    """Every parent in every precision, into `out` or beside the parent; all checked before any work.

    Raises UserError for an unknown precision, a parent that is not fp32, or an output that exists or is
    named twice.
    """
    jobs: list[QuantizeJob] = []
    for parent in parents:
        manifest = open_fp32(parent).manifest
        for precision in map(parse_precision, precisions):
            name = profile_name(manifest.runtime, precision, manifest.dim)
            jobs.append(QuantizeJob(parent, precision, (out or parent.resolve().parent) / name))
    folders = [job.out for job in jobs]
    for folder in folders:
        refuse_existing(folder)
        if folders.count(folder) > 1:
            raise UserError(f"{folder}: two of the artifacts and precisions given would write it")
    return jobs


def open_fp32(path: Path) -> Artifact:
    """Open an artifact that may be quantised. Raises UserError when it is quantised already."""
    artifact = open_artifact(path)
    if artifact.manifest.precision != "fp32":
        raise UserError(f"{path}: its precision is {artifact.manifest.precision}; only fp32 is quantised")
    return artifact


def parse_precisions(names: tuple[str, ...]) -> tuple[str, ...]:
    """Several precisions. Raises UserError for one unknown or given twice."""
    for name in names:
        if names.count(parse_precision(name)) > 1:
            raise UserError(f"precision '{name}': given twice")
    return names


def quantize_artifact(parent: Path, precision: str, out: Path) -> Path:
    """Quantise the fp32 artifact `parent` into folder `out`, which must not exist.

    The manifest records the parent and what the rounding alone costs on the golden texts. Raises UserError
    for a parent that is not fp32, a precision unknown, or weights that cannot be quantised.
    """
    codec = CODECS[parse_precision(precision)]
    try:
        import onnx

        from quantize.onnx_rewrite import quantize_graph
    except ImportError as error:
        raise missing_extra("quantize", error.name or "onnx") from None
    source = open_fp32(parent)
    with writing_artifact(out) as folder:
        for name in source.manifest.files:
            if not name.startswith(MODEL_NAME):
                shutil.copyfile(parent / name, folder / name)
        model = onnx.load(str(source.model_path))
        quantize_graph(model, codec)
        save_graph(model, folder / MODEL_NAME)
        manifest = dataclasses.replace(
            source.manifest,
            name=profile_name(source.manifest.runtime, precision, source.manifest.dim),
            precision=precision,
            parent=source.manifest.name,
            rounding=rounding_cost(source, codec, out.parent),
            tools={**source.manifest.tools, "onnx": version("onnx")},
        )
        write_manifest(folder, manifest)
    return out


def rounding_cost(source: Artifact, codec: Codec, scratch_parent: Path) -> RoundingCost:
    """Golden cosine of the fp32 graph with rounded weights: the part that no kernel can win back.

    The graph lies for a moment in a temporary folder under `scratch_parent`; it is as large as the fp32 one.
    """
    import onnx

    from quantize.onnx_rewrite import round_graph

    model = onnx.load(str(source.model_path))
    round_graph(model, codec)
    with tempfile.TemporaryDirectory(prefix=".rounded.", dir=scratch_parent) as scratch:
        folder = Path(scratch)
        for name in source.manifest.files:
            if not name.startswith(MODEL_NAME):
                shutil.copyfile(source.path / name, folder / name)
        save_graph(model, folder / MODEL_NAME)
        parity = golden_parity(Embedder(Artifact(folder, source.manifest)))
    return RoundingCost(parity.cosine_mean, parity.cosine_min)
