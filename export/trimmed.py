"""A model with a smaller vocabulary, written as a temporary checkpoint that every runtime exports as it is.

The original folder stays untouched: files that do not change are links to it.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.dims import choose_dims
from common.errors import UserError, missing_extra
from common.files import read_json, write_json
from common.prompts import default_query_prompt
from common.retrieval import RetrievalSet, read_retrieval_set
from export.manifest import SENTENCEPIECE_NAME, TOKENIZER_NAME, VocabularyTrim
from export.pieces import BYTE_PIECE, Pieces, renumber
from export.source import Source, open_source
from export.vocabulary import Encoding, Selection, TrimRequest, select
from export.weight_rows import tensor_names, write_rows
from train.checkpoint import weights_sha256

STEPS = 3
BITS = {"fp32": 32.0, "q8_0": 8.5, "q4_0": 4.5}
"""Bits of a weight, the blocks' scales included (ggml's definitions)."""
SUPERSEDED = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json")
"""Older forms of what tokenizer.json holds."""
SPLITS = ("test", "dev")
Step = Callable[[str], None]


@dataclass(frozen=True)
class _Original:
    """What is remembered of the untrimmed model once it is closed again."""

    name: str
    folder: Path
    revision: str | None
    transformer: str
    table: str
    rows: int
    width: int
    pieces: Pieces
    selection: Selection
    ndcg_at_10: dict[str, float]


@contextmanager
def open_trimmed(
    name: str, request: TrimRequest, wanted_dims: tuple[int, ...], out: Path, step: Step = lambda what: None
) -> Iterator[Source]:
    """Open a model with the vocabulary that `request` asks for; its temporary files end with the block.

    They lie beside `out`, where an export needs the room anyway. `step` is called STEPS times. Raises
    UserError for a model, a corpus or a size that does not go together.
    """
    data = _scoring_set(request)
    original = _examine(name, request, wanted_dims, data)
    gc.collect()  # the untrimmed model, which refers to itself: two at once would double the peak
    step(f"{len(original.selection.keep)} of {len(original.pieces.names)} tokens selected")
    beside = next(folder for folder in out.resolve().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.vocab.", suffix=".tmp", dir=beside) as temporary:
        folder = Path(temporary) / original.folder.resolve().name
        write_trimmed(original, folder)
        step("checkpoint trimmed")
        source = open_source(str(folder))
        after = _ndcg(source, data, wanted_dims)
        step("opened again")
        yield dataclasses.replace(
            source,
            name=name,
            revision=original.revision,
            vocabulary=_summary(original, source.table_rows, data, after),
        )


def _examine(
    name: str, request: TrimRequest, wanted_dims: tuple[int, ...], data: RetrievalSet | None
) -> _Original:
    """Open the model, select and score; the model itself is let go again, so that two never share memory."""
    source = open_source(name)
    pieces = Pieces(source.tokenizer.backend_tokenizer.to_str())
    lower_case = bool(source.model[0].do_lower_case)
    encoding = Encoding(pieces, dict(source.model.prompts), lower_case, source.table_rows)
    modules = read_json(source.folder / "modules.json")
    selection = select(encoding, request)
    return _Original(
        name=name,
        folder=source.folder,
        revision=source.revision,
        transformer=modules[0]["path"],
        table=_table_name(source),
        rows=source.table_rows,
        width=source.backbone.get_input_embeddings().weight.shape[1],  # type: ignore[operator]
        pieces=pieces,
        selection=selection,
        ndcg_at_10=_ndcg(source, data, wanted_dims),
    )


def _table_name(source: Source) -> str:
    """Name of the embedding table among the weights. Raises UserError where another goes by tokens too."""
    backbone: Any = source.backbone
    table = backbone.get_input_embeddings()
    names = {module: name for name, module in backbone.named_modules() if hasattr(module, "num_embeddings")}
    for module, name in names.items():
        if module is not table and module.num_embeddings == table.num_embeddings:
            raise UserError(f"vocab: the model has a second table by token, {name}; it cannot be trimmed")
    return f"{names[table]}.weight"


def _scoring_set(request: TrimRequest) -> RetrievalSet | None:
    folder = request.scored_on
    if folder is None:
        return None
    split = next((one for one in SPLITS if (folder / "qrels" / f"{one}.tsv").is_file()), SPLITS[0])
    return read_retrieval_set(folder, split)


def _ndcg(source: Source, data: RetrievalSet | None, wanted_dims: tuple[int, ...]) -> dict[str, float]:
    """NDCG@10 of the fp32 model by exported dimension; empty without a retrieval set."""
    dims = choose_dims(wanted_dims, source.full_dim)
    if data is None:
        return {}
    from train.evaluate import MatryoshkaEvaluator

    prompt = default_query_prompt(source.model.prompts)
    return MatryoshkaEvaluator(data, dims, prompt).by_dim(source.model)


def _summary(
    original: _Original, rows: int, data: RetrievalSet | None, after: dict[str, float]
) -> VocabularyTrim:
    def sizes(height: int) -> dict[str, int]:
        return {name: round(height * original.width * bits / 8) for name, bits in BITS.items()}

    selection = original.selection
    return VocabularyTrim(
        selected_by=selection.selected_by,
        corpus_sha256=selection.corpus_sha256,
        untrimmed_checkpoint_sha256=weights_sha256(original.folder),
        rows=rows,
        rows_before=original.rows,
        table_bytes=sizes(rows),
        table_bytes_before=sizes(original.rows),
        inflation=selection.inflation,
        held_out_inflation=selection.held_out_inflation,
        ndcg_data=f"{data.name} {data.split}" if data else None,
        ndcg_at_10=after,
        ndcg_at_10_before=original.ndcg_at_10,
    )


def write_trimmed(original: _Original, into: Path) -> None:
    """Write the checkpoint with the selected rows and pieces under new contiguous ids."""
    new_ids = renumber(original.selection.keep)
    _link(original.folder, into)
    old, new = original.folder / original.transformer, into / original.transformer
    _replace_json(new / TOKENIZER_NAME, original.pieces.trimmed(new_ids))
    for name in SUPERSEDED:
        (new / name).unlink(missing_ok=True)
    _rewrite_config(old, new, original.rows, new_ids)
    if (old / SENTENCEPIECE_NAME).is_file():
        content = trim_sentencepiece(old / SENTENCEPIECE_NAME, original.pieces, new_ids)
        (new / SENTENCEPIECE_NAME).unlink()
        (new / SENTENCEPIECE_NAME).write_bytes(content)
    _rewrite_table(original, old, new)


def _link(folder: Path, into: Path) -> None:
    """The same folders with a link for every file; hidden folders (git's, this one's) are no part of it."""
    into.mkdir()
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            _link(path, into / path.name)
        elif path.is_file():
            (into / path.name).symlink_to(path.resolve())


def _replace_json(path: Path, content: Any) -> None:
    """Write in place of a link; never through it."""
    path.unlink(missing_ok=True)
    write_json(path, content)


def _rewrite_config(old: Path, new: Path, rows: int, new_ids: dict[int, int]) -> None:
    count = sum(id_ < rows for id_ in new_ids)
    config = read_json(old / "config.json")
    _replace_json(new / "config.json", _with_new_ids(config, rows, count, new_ids))
    if (old / "tokenizer_config.json").is_file():
        settings = read_json(old / "tokenizer_config.json")
        tokens = settings.get("added_tokens_decoder", {})
        if tokens:
            kept = {str(new_ids[int(id_)]): token for id_, token in tokens.items() if int(id_) in new_ids}
            settings["added_tokens_decoder"] = kept
        _replace_json(new / "tokenizer_config.json", settings)


def _with_new_ids(config: dict[str, Any], rows: int, count: int, new_ids: dict[int, int]) -> dict[str, Any]:
    """config.json with `vocab_size` and every `..._token_id` changed, in nested configs too."""
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            changed[key] = _with_new_ids(value, rows, count, new_ids)
        elif key == "vocab_size" and value == rows:
            changed[key] = count
        elif key.endswith("_token_id") and isinstance(value, int):
            changed[key] = new_ids.get(value)
        elif key.endswith("_token_id") and isinstance(value, list):
            changed[key] = [new_ids[id_] for id_ in value if id_ in new_ids]
        else:
            changed[key] = value
    return changed


def trim_sentencepiece(path: Path, pieces: Pieces, new_ids: dict[int, int]) -> bytes:
    """The bytes of a tokenizer.model with the kept pieces, their scores and types as they were.

    Raises UserError when it does not number its pieces as tokenizer.json does.
    """
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        raise missing_extra("export", "sentencepiece") from None
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    for id_, piece in enumerate(model.pieces):
        name = pieces.names.get(id_)
        if name is not None and name != piece.piece and not BYTE_PIECE.fullmatch(piece.piece):
            raise UserError(f"{path}: its id {id_} is '{piece.piece}', but '{name}' in {TOKENIZER_NAME}")
    small = sentencepiece_model_pb2.ModelProto()  # a new one: samples of a self-test would no longer hold
    small.pieces.extend(piece for id_, piece in enumerate(model.pieces) if id_ in new_ids)
    for part in ("trainer_spec", "normalizer_spec", "denormalizer_spec"):
        if model.HasField(part):
            getattr(small, part).CopyFrom(getattr(model, part))
    small.trainer_spec.vocab_size = len(small.pieces)
    for field in ("unk_id", "bos_id", "eos_id", "pad_id"):
        setattr(small.trainer_spec, field, new_ids.get(getattr(small.trainer_spec, field), -1))
    return bytes(small.SerializeToString())


def _rewrite_table(original: _Original, old: Path, new: Path) -> None:
    """Replace the link to the weight file that holds the table by one with the kept rows."""
    rows = np.array(sorted(id_ for id_ in original.selection.keep if id_ < original.rows), dtype=np.int64)
    for path in sorted(old.glob("*.safetensors")):
        for name in tensor_names(path):
            if f".{name}".endswith(f".{original.table}"):
                (new / path.name).unlink()
                write_rows(path, new / path.name, name, rows)
                return
    raise UserError(f"{old}: no weight file holds the embedding table, {original.table}")
