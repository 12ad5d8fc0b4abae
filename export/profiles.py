"""Writing one artifact per dimension: what is common to every runtime."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from common.dims import check_dim
from common.files import refuse_existing, remove_empty, sha256_file
from export.artifact import write_manifest, writing_artifact
from export.bpe_table import UnsupportedTokenizerError, build_table
from export.bpe_tokenizer import BpeTokenizer
from export.golden import GoldenText, write_golden
from export.lint.sketch_file import SKETCH_NAME, write_sketches
from export.lint.sketch_model import ModelSketches, encoder_record
from export.manifest import (
    FAULTS_NAME,
    GOLDEN_NAME,
    MANIFEST_SCHEMA,
    OUTPUT,
    SENTENCEPIECE_NAME,
    TOKENIZER_BIN,
    TOKENIZER_NAME,
    Manifest,
    ModelIdentity,
    ReferenceScores,
    TensorSpec,
    TokenizerSpec,
    profile_name,
)
from export.source import Source
from export.wrong.pipelines import FaultMaker, make_faults
from export.wrong.table import write_faults
from train.checkpoint import CheckpointInfo, read_checkpoint_info, weights_sha256

_OWN_FIELDS = ("tools", "output_shape")
TOOLS = ("torch", "transformers", "sentence-transformers", "tokenizers")


@dataclass(frozen=True)
class Form:
    """What a runtime adds to the manifest; see Manifest for the fields."""

    runtime: str
    max_tokens: int
    inputs: list[TensorSpec]
    tools: tuple[str, ...]
    session: dict[str, str]
    output_shape: list[str]
    lengths: list[int] = field(default_factory=list)
    further_dims: list[int] = field(default_factory=list)
    contract: str | None = None
    delegates: dict[str, str] = field(default_factory=dict)


def check_profiles(source: Source, runtime: str, dims: list[int], out: Path) -> None:
    """Raise UserError for a dimension that the model lacks or an artifact that exists already."""
    for dim in dims:
        check_dim(dim, source.full_dim)
        refuse_existing(out / profile_name(runtime, "fp32", dim))


def write_profiles(
    source: Source,
    form: Form,
    dims: list[int],
    out: Path,
    golden: list[GoldenText],
    write_model: Callable[[Path, int], None],
    step: Callable[[str], None],
) -> list[Path]:
    """One artifact per dimension under `out`, all of them or none; `write_model` fills in the graph."""
    folders: list[Path] = []
    tokenizer = _tokenizer_files(source, form.max_tokens, golden)
    sketches = ModelSketches(source)
    faults = faults_of(source, form.max_tokens)
    new_parents = [parent for parent in (out, *out.parents) if not parent.exists()]
    try:
        for dim in dims:
            final = out / profile_name(form.runtime, "fp32", dim)
            with writing_artifact(final) as folder:
                write_model(folder, dim)
                for name, content in tokenizer.items():
                    (folder / name).write_bytes(content)
                write_golden(folder / GOLDEN_NAME, golden, dim)
                write_sketches(folder / SKETCH_NAME, sketches.of(form.runtime, dim))
                write_faults(folder / FAULTS_NAME, faults.table(dim))
                write_manifest(folder, _manifest(source, form, dim, folder))
            folders.append(final)
            step(final.name)
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder)  # all of them or none: the next start finds no output in its way
        remove_empty(new_parents)
        raise
    return folders


def faults_of(source: Source, max_tokens: int) -> FaultMaker:
    """`make_faults`, or what it gave for the last runtime where no text reaches the limit of either."""
    known: tuple[int, FaultMaker] | None = source.known.get(FAULTS_NAME)
    if known is None or (known[0] != max_tokens and known[1].needed > min(known[0], max_tokens)):
        known = source.known[FAULTS_NAME] = max_tokens, make_faults(source, max_tokens)
    return known[1]


def _tokenizer_files(source: Source, max_tokens: int, golden: list[GoldenText]) -> dict[str, bytes]:
    """tokenizer.json as the model uses it, its compact form, and the SentencePiece file of Android clients.

    The compact form is left out where the tokenizer has none, and where it would give a golden text other
    ids: its presence is the promise that it does not, and an artifact without it is right all the same.
    """
    content: str = source.tokenizer.backend_tokenizer.to_str(pretty=True)
    files = {TOKENIZER_NAME: content.encode()}
    try:
        table = build_table(json.loads(content))
    except UnsupportedTokenizerError:
        table = b""
    if table and _gives_the_ids(table, source, max_tokens, golden):
        files[TOKENIZER_BIN] = table
    sentencepiece = source.folder / SENTENCEPIECE_NAME
    if sentencepiece.is_file():
        files[SENTENCEPIECE_NAME] = sentencepiece.read_bytes()
    return files


def _gives_the_ids(table: bytes, source: Source, max_tokens: int, golden: list[GoldenText]) -> bool:
    tokenizer = BpeTokenizer(table)
    lower = bool(source.model[0].do_lower_case)
    texts = [(g.prompt + g.text).lower() if lower else g.prompt + g.text for g in golden]
    return all(tokenizer.encode(text, max_tokens) == g.ids for text, g in zip(texts, golden, strict=True))


def _manifest(source: Source, form: Form, dim: int, folder: Path) -> Manifest:
    info = read_checkpoint_info(source.folder)
    added = {f.name: getattr(form, f.name) for f in dataclasses.fields(form) if f.name not in _OWN_FIELDS}
    output = [*form.output_shape[:-1], str(dim)]
    return Manifest(
        **added,
        schema=MANIFEST_SCHEMA,
        name=profile_name(form.runtime, "fp32", dim),
        precision="fp32",
        dim=dim,
        full_dim=source.full_dim,
        model=_identity(source, info),
        prompts=dict(source.model.prompts),
        pooling=source.pooling,
        include_prompt=source.include_prompt,
        outputs=[TensorSpec(OUTPUT, "float32", output, "unit-norm sentence embedding")],
        tokenizer=TokenizerSpec(
            sha256=sha256_file(folder / TOKENIZER_NAME),
            pad_id=source.pad_id,
            padding_side=source.tokenizer.padding_side,
            vocab_size=source.table_rows,
            lower_case=bool(source.model[0].do_lower_case),
        ),
        files={},
        tools={name: version(name) for name in (*TOOLS, *form.tools)},
        reference=_reference(info),
        vocabulary=source.vocabulary,
        encoder=encoder_record(source),
    )


def _identity(source: Source, info: CheckpointInfo | None) -> ModelIdentity:
    name = Path(source.name).resolve().name if Path(source.name).is_dir() else source.name
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
        by_query=info.test_by_query,
    )
