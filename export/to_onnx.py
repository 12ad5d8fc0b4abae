"""Checkpoint to fp32 ONNX artifacts: one trunk, then one cheap head per dimension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.golden import make_golden
from export.head import fold_head
from export.manifest import PROMPT_MASK, TensorSpec, model_file, profile_name
from export.onnx_file import HEAD_PREFIX, write_onnx
from export.onnx_graph import attach_head
from export.profiles import Form, check_profiles, write_profiles
from export.session import SESSION_OPTIONS
from export.source import Source
from export.trunk import make_trunk

RUNTIME = "onnx"


def export_onnx(
    source: Source, dims: list[int], out: Path, step: Callable[[str], None] = lambda what: None
) -> list[Path]:
    """Write one fp32 artifact per dimension under `out` and return their folders.

    `step` is called with a word on each finished piece (two more times than there are dimensions). Raises
    UserError before any work for a dimension that the model does not have or an artifact that exists already.
    """
    check_profiles(source, RUNTIME, dims, out)
    trunk = make_trunk(source)
    step("graph")
    golden = make_golden(source, source.max_tokens)
    step("golden vectors")

    first: list[Path] = []

    def write_model(folder: Path, dim: int) -> None:
        """The first profile gets the trunk's weights, the others share its file."""
        model = attach_head(trunk, fold_head(source.layers, dim), dim)
        donor = first[0] / model_file(RUNTIME) if first else None
        kept = list(model.weights.items())
        if donor:
            kept = [(name, value) for name, value in kept if name.startswith(HEAD_PREFIX)]
        write_onnx(folder / model_file(RUNTIME), model.proto, kept, donor)
        first.append(out / profile_name(RUNTIME, "fp32", dim))

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
