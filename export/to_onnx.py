"""Checkpoint to fp32 ONNX artifacts: one trace, then one cheap head per dimension."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from common.dims import check_dim
from common.files import refuse_existing, remove_empty, sha256_file, write_text
from export.artifact import write_manifest, writing_artifact
from export.golden import GoldenText, make_golden, write_golden
from export.head import fold_head
from export.manifest import (
    GOLDEN_NAME,
    MANIFEST_SCHEMA,
    MODEL_NAME,
    PROMPT_MASK,
    TOKENIZER_NAME,
    Manifest,
    ModelIdentity,
    ReferenceScores,
    TensorSpec,
    TokenizerSpec,
    profile_name,
)
from export.onnx_graph import OUTPUT, attach_head, save_graph
from export.session import SESSION_OPTIONS
from export.source import Source
from export.trunk import trace_trunk
from train.checkpoint import CheckpointInfo, read_checkpoint_info, weights_sha256

if TYPE_CHECKING:
    import onnx

TOOLS = ("torch", "transformers", "sentence-transformers", "onnx", "onnxscript", "tokenizers")


def export_onnx(
    source: Source, dims: list[int], out: Path, step: Callable[[str], None] = lambda what: None
) -> list[Path]:
    """Write one fp32 artifact per dimension under `out` and return their folders.

    `step` is called with a word on each finished piece (len(dims) + 2 times). Raises UserError before
    any work for a dimension that the model does not have or an artifact that exists already.
    """
    for dim in dims:
        check_dim(dim, source.full_dim)
        refuse_existing(out / profile_name("onnx", "fp32", dim))
    trunk = trace_trunk(source)
    step("traced")
    golden = make_golden(source)
    step("golden vectors")
    folders: list[Path] = []
    new_parents = [parent for parent in (out, *out.parents) if not parent.exists()]
    try:
        for dim in dims:
            folders.append(_write_profile(source, trunk, golden, dim, out))
            step(f"{dim}d")
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder)  # all of them or none: the next start finds no output in its way
        remove_empty(new_parents)
        raise
    return folders


def _write_profile(
    source: Source, trunk: onnx.ModelProto, golden: list[GoldenText], dim: int, out: Path
) -> Path:
    final = out / profile_name("onnx", "fp32", dim)
    with writing_artifact(final) as folder:
        save_graph(attach_head(trunk, fold_head(source.layers, dim), dim), folder / MODEL_NAME)
        _write_tokenizer(source, folder)
        write_golden(folder / GOLDEN_NAME, golden, dim)
        write_manifest(folder, _manifest(source, dim, folder))
    return final


def _write_tokenizer(source: Source, folder: Path) -> None:
    """tokenizer.json as the model uses it, and the SentencePiece file that Android clients read."""
    write_text(folder / TOKENIZER_NAME, source.tokenizer.backend_tokenizer.to_str(pretty=True))
    sentencepiece = source.folder / "tokenizer.model"
    if sentencepiece.is_file():
        (folder / sentencepiece.name).write_bytes(sentencepiece.read_bytes())


def _manifest(source: Source, dim: int, folder: Path) -> Manifest:
    info = read_checkpoint_info(source.folder)
    mask = "1 token, 0 padding"
    if not source.include_prompt:
        mask += f", {PROMPT_MASK} prompt token (attended to, not pooled)"
    axes = ["batch", "sequence"]
    return Manifest(
        schema=MANIFEST_SCHEMA,
        name=profile_name("onnx", "fp32", dim),
        runtime="onnx",
        precision="fp32",
        dim=dim,
        full_dim=source.full_dim,
        max_tokens=source.max_tokens,
        model=_identity(source, info),
        prompts=dict(source.model.prompts),
        pooling=source.pooling,
        include_prompt=source.include_prompt,
        inputs=[
            TensorSpec("input_ids", "int64", axes, "token ids, special tokens included"),
            TensorSpec("attention_mask", "int64", axes, mask),
        ],
        outputs=[TensorSpec(OUTPUT, "float32", ["batch", str(dim)], "unit-norm sentence embedding")],
        tokenizer=TokenizerSpec(
            sha256=sha256_file(folder / TOKENIZER_NAME),
            pad_id=source.tokenizer.pad_token_id or 0,
            padding_side=source.tokenizer.padding_side,
            vocab_size=source.table_rows,
            lower_case=bool(source.model[0].do_lower_case),
        ),
        files={},
        tools={name: version(name) for name in TOOLS},
        reference=_reference(info),
        session=SESSION_OPTIONS,
    )


def _identity(source: Source, info: CheckpointInfo | None) -> ModelIdentity:
    name = source.folder.resolve().name if Path(source.name).is_dir() else source.name
    return ModelIdentity(
        name=name,
        architecture=type(source.backbone).__name__,
        base=info.base if info else name,
        base_revision=info.base_revision if info else source.revision,
        checkpoint_sha256=weights_sha256(source.folder),
        data=info.data if info else None,
    )


def _reference(info: CheckpointInfo | None) -> ReferenceScores | None:
    if info is None or "test" not in info.after:
        return None
    return ReferenceScores(
        data=info.eval_data["name"],
        split="test",
        data_sha256=info.eval_data["test_sha256"],
        query_prompt=info.eval_data["query_prompt"],
        ndcg_at_10=info.after["test"],
        before_ndcg_at_10=info.before["test"],
    )
