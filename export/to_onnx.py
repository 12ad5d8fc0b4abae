"""Checkpoint to fp32 ONNX artifacts: one trace, then one cheap head per dimension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.golden import make_golden
from export.head import fold_head
from export.manifest import PROMPT_MASK, TensorSpec, model_file
from export.onnx_graph import attach_head, save_graph
from export.profiles import Form, check_profiles, write_profiles
from export.session import SESSION_OPTIONS
from export.source import Source
from export.trunk import trace_trunk

RUNTIME = "onnx"


def export_onnx(
    source: Source, dims: list[int], out: Path, step: Callable[[str], None] = lambda what: None
) -> list[Path]:
    """Write one fp32 artifact per dimension under `out` and return their folders.

    `step` is called with a word on each finished piece (two more times than there are dimensions). Raises
    UserError before any work for a dimension that the model does not have or an artifact that exists already.
    """
    check_profiles(source, RUNTIME, dims, out)
    trunk = trace_trunk(source)
    step("traced")
    golden = make_golden(source, source.max_tokens)
    step("golden vectors")

    def write_model(folder: Path, dim: int) -> None:
        save_graph(attach_head(trunk, fold_head(source.layers, dim), dim), folder / model_file(RUNTIME))

    return write_profiles(source, _form(source), dims, out, golden, write_model, step)


def _form(source: Source) -> Form:
    mask = "1 token, 0 padding"
    if not source.include_prompt:
        mask += f", {PROMPT_MASK} prompt token (attended to, not pooled)"
    axes = ["batch", "sequence"]
    return Form(
        runtime=RUNTIME,
        max_tokens=source.max_tokens,
        inputs=[
            TensorSpec("input_ids", "int64", axes, "token ids, special tokens included"),
            TensorSpec("attention_mask", "int64", axes, mask),
        ],
        output_shape=["batch", ""],
        tools=("onnx", "onnxscript"),
        session=SESSION_OPTIONS,
    )
