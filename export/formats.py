"""Export in one or several formats: each as its own artifacts, all of them or none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from export.manifest import DEFAULT_RUNTIMES
from export.profiles import check_profiles
from export.source import Source

STEPS_BEFORE_PROFILES = 2


@dataclass(frozen=True)
class ExportPlan:
    """Formats to write; the rest is LiteRT's alone, see LiteRTOptions."""

    formats: tuple[str, ...] = DEFAULT_RUNTIMES
    lengths: tuple[int, ...] = ()
    contract: str | None = None
    further_dims: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if "litert" not in self.formats and (self.lengths or self.contract or self.further_dims):
            raise UserError(
                "lengths, contract and further dimensions are LiteRT's; add litert to the formats"
            )

    def steps(self, dims: int) -> int:
        """How often `export_formats` reports a finished piece."""
        return len(self.formats) * (dims + STEPS_BEFORE_PROFILES)


def export_formats(
    source: Source, dims: list[int], out: Path, plan: ExportPlan, step: Callable[[str], None]
) -> list[Path]:
    """Write one fp32 artifact per format and dimension under `out` and return their folders.

    Raises UserError as the formats do; what was written by then is removed again.
    """
    for runtime in plan.formats:
        check_profiles(source, runtime, dims, out)
    folders: list[Path] = []
    try:
        for runtime in plan.formats:
            folders += _export(runtime, source, dims, out, plan, step)
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder)
        raise
    return folders


def _export(
    runtime: str, source: Source, dims: list[int], out: Path, plan: ExportPlan, step: Callable[[str], None]
) -> list[Path]:
    """One format; its libraries are imported only when it is wanted."""
    if runtime == "onnx":
        from export.to_onnx import export_onnx

        return export_onnx(source, dims, out, step)
    if runtime == "gguf":
        from export.to_gguf import export_gguf

        return export_gguf(source, dims, out, step)
    from export.to_litert import LiteRTOptions, export_litert

    return export_litert(
        source, dims, out, LiteRTOptions(plan.lengths, plan.contract, plan.further_dims), step
    )
