"""Artifacts in the forms that Google's own clients load: the RAG SDK's pair of files, MediaPipe's .task.

A .task for MediaPipe's TextEmbedder (1.0 and later) is a ZIP of stored entries: one .tflite, which it maps
and runs in place, and sentencepiece.model, with which it tokenises. It puts that file's begin and end
tokens around a text, pads with its padding token, and refuses a text that does not fit: it never cuts one.

Sources: text_embedder_graph.cc, sentencepiece_preprocessor_calculator.cc, zip_utils.cc and
bundle_manifest.proto of MediaPipe.
"""

from __future__ import annotations

import dataclasses
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UserError, missing_extra
from common.files import refuse_existing, remove_empty, whole_folder, write_json
from common.prompts import default_document_prompt, default_query_prompt
from export.artifact import Artifact
from export.contract import PAD_ID, ContractCheck, check_rag_sdk
from export.golden import read_golden
from export.manifest import RAG_SDK, SENTENCEPIECE_NAME
from export.tflite_file import PAGE

MODEL_ENTRY = "gemma.tflite"
MANIFEST_ENTRY = "manifest.pb"
SENTENCEPIECE_ENTRY = "sentencepiece.model"
NOTES_NAME = "model.json"

READ_ALIGNMENT = 4
"""A model that begins elsewhere is copied to the heap, tensor by tensor, when MediaPipe opens it."""
WRITE_ALIGNMENT = PAGE
"""Entries begin at a page, so that the pages of the model are those that its own layout has chosen."""
LOCAL_HEADER_BYTES = 30
EXTRA_ID = 0xD935
"""Extra field that is known for alignment: Android's zipalign writes it."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
QUERY_PROMPT = "task: search result | query: "
DOCUMENT_PROMPT = "title: none | text: "
"""What MediaPipe's TextFormatContext puts before queries and passages, from its text_embedder.cc."""


def write_task(artifact: Artifact, out: Path) -> None:
    """Write the .task bundle of a rag-sdk artifact; the same artifact gives the same bytes.

    Raises UserError when `out` exists, the artifact is made for no such client or lacks its SentencePiece
    file, or that file tokenises otherwise than the checkpoint does.
    """
    refuse_existing(out)
    sentencepiece = _deliverable(artifact)
    with _whole_file(out) as building, zipfile.ZipFile(building, "w") as bundle:
        _add(bundle, MODEL_ENTRY, artifact.model_path)
        _add(bundle, SENTENCEPIECE_ENTRY, sentencepiece)
        bundle.writestr(_entry(bundle, MANIFEST_ENTRY), bundle_manifest(artifact.manifest.name))


def write_rag_sdk(artifact: Artifact, out: Path) -> None:
    """Write the folder for the RAG SDK: <name>.tflite, sentencepiece.model and model.json.

    model.json states what the app must know: dimension, token limit and the prompts, verbatim. Raises
    UserError as `write_task` does.
    """
    refuse_existing(out)
    sentencepiece = _deliverable(artifact)
    manifest = artifact.manifest
    with whole_folder(out) as folder:
        shutil.copyfile(artifact.model_path, folder / f"{manifest.name}.tflite")
        shutil.copyfile(sentencepiece, folder / SENTENCEPIECE_ENTRY)
        notes = {
            "name": manifest.name,
            "model": manifest.model.name,
            "dim": manifest.dim,
            "max_tokens": manifest.max_tokens,
            "prompts": manifest.prompts,
        }
        write_json(folder / NOTES_NAME, notes)


def client_notes(artifact: Artifact) -> list[str]:
    """What the engineer who receives the files must know of the client; a line each."""
    manifest = artifact.manifest
    room = manifest.max_tokens - 2
    notes = [
        f"texts of up to {room} pieces, prompt included: MediaPipe fails on a longer one instead of cutting "
        "it, and its TextEmbedder must be made anew after that"
    ]
    own = (default_query_prompt(manifest.prompts), default_document_prompt(manifest.prompts))
    if own == (QUERY_PROMPT, DOCUMENT_PROMPT):
        notes.append("prompts: let TextFormatContext add them or put them into the text, never both")
    else:
        notes.append("prompts: put the model's own into the text; those of TextFormatContext differ")
    return notes


def bundle_manifest(bundle_id: str) -> bytes:
    """A BundleManifest message with only its id (field 2): the profile's name, nothing of the model's."""
    encoded = bundle_id.encode()
    if len(encoded) > 127:
        raise UserError(f"bundle id '{bundle_id}': at most 127 bytes")
    return bytes([2 << 3 | 2, len(encoded)]) + encoded


def _deliverable(artifact: Artifact) -> Path:
    """The SentencePiece file of an artifact that clients can use. Raises UserError for any other."""
    if artifact.manifest.contract != RAG_SDK:
        raise UserError(f"{artifact.path}: not made for Google's clients; export it with contract {RAG_SDK}")
    pad_id = artifact.manifest.tokenizer.pad_id
    if pad_id != PAD_ID:
        raise UserError(f"{artifact.path}: masks padding by id {pad_id}, but the client pads with {PAD_ID}")
    path = artifact.path / SENTENCEPIECE_NAME
    if not path.is_file():
        raise UserError(f"{artifact.path}: has no {SENTENCEPIECE_NAME}, with which the client tokenises")
    model = path.read_bytes()
    for fault in _sentencepiece_faults(model, artifact.manifest.tokenizer.vocab_size):
        raise UserError(f"{path}: {fault}")
    _check_ids(artifact, path, _load_sentencepiece(model))
    return path


def _check_ids(artifact: Artifact, path: Path, pieces: Any) -> None:
    """Golden texts that are not cut must get the checkpoint's ids from the client's tokenizer."""
    texts = [text for text in read_golden(artifact.path) if len(text.ids) < artifact.manifest.max_tokens]
    for text in texts:
        whole = text.prompt + text.text
        if [pieces.bos_id(), *pieces.encode(whole), pieces.eos_id()] != text.ids:
            raise UserError(f"{path}: gives {whole[:60]!r} other token ids than the checkpoint's tokenizer")


@contextmanager
def _whole_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `final` when the block ends without an exception."""
    new_parents = [parent for parent in final.parents if not parent.exists()]
    final.parent.mkdir(parents=True, exist_ok=True)
    building = final.with_name(f".{final.name}.tmp")
    try:
        yield building
        building.replace(final)
    except BaseException as error:
        building.unlink(missing_ok=True)
        remove_empty(new_parents)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(final)
        raise


def _add(bundle: zipfile.ZipFile, name: str, source: Path) -> None:
    entry = _entry(bundle, name)
    entry.file_size = source.stat().st_size
    with source.open("rb") as file, bundle.open(entry, "w") as target:
        shutil.copyfileobj(file, target)


def _entry(bundle: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A stored entry without a date, its header padded so that its data begins at a page."""
    entry = zipfile.ZipInfo(name, ZIP_DATE)
    entry.create_system = 3  # the same bytes wherever it is written
    entry.external_attr = 0o644 << 16
    unpadded = bundle.start_dir + LOCAL_HEADER_BYTES + len(name) + 4
    padding = -unpadded % WRITE_ALIGNMENT
    entry.extra = struct.pack("<HH", EXTRA_ID, padding) + bytes(padding)
    return entry


def check_task(path: Path) -> ContractCheck:
    """All that would break a .task bundle in MediaPipe's TextEmbedder, not only the first of it.

    Looked at: stored entries; one .tflite, aligned, that passes `check_rag_sdk`; a sentencepiece.model
    whose begin, end and padding tokens suit the model. Raises UserError for what is not a whole ZIP file or
    holds a broken model.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as bundle:
            return _check_bundle(path, bundle)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: not a whole .task file ({error})") from None


def _check_bundle(path: Path, bundle: zipfile.ZipFile) -> ContractCheck:
    entries = bundle.infolist()
    stored = [one for one in entries if one.compress_type == zipfile.ZIP_STORED and not one.flag_bits & 1]
    faults = [
        f"{one.filename}: compressed or encrypted, but MediaPipe reads stored entries only"
        for one in entries
        if one not in stored
    ]
    models = [one for one in entries if one.filename.endswith(".tflite")]
    if len(models) != 1:
        names = ", ".join(one.filename for one in models) or "none"
        faults.append(f"it holds {len(models)} .tflite files ({names}), but MediaPipe runs one, any of them")
    unchecked: list[str] = []
    rows = 0
    for model in (one for one in models if one in stored):
        check = _check_entry(path, bundle, model)
        rows = check.table_rows
        faults += [f"{model.filename}: {fault}" for fault in check.faults]
        unchecked += [f"{model.filename}: {what}" for what in check.unchecked]
    if SENTENCEPIECE_ENTRY not in bundle.namelist():
        faults.append(f"it has no {SENTENCEPIECE_ENTRY}, so MediaPipe does not take it for a text model")
    elif bundle.getinfo(SENTENCEPIECE_ENTRY) in stored:
        found = _sentencepiece_faults(bundle.read(SENTENCEPIECE_ENTRY), rows)
        faults += [f"{SENTENCEPIECE_ENTRY}: {fault}" for fault in found]
    return ContractCheck(tuple(faults), tuple(unchecked), rows)


def _check_entry(path: Path, bundle: zipfile.ZipFile, entry: zipfile.ZipInfo) -> ContractCheck:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(bundle.extract(entry, folder))
        try:
            check = check_rag_sdk(model)
        except UserError as error:
            reason = str(error).removeprefix(f"{model}: ")
            raise UserError(f"{path}: {entry.filename}: {reason}") from None
    offset = data_offset(path, entry)
    if offset % READ_ALIGNMENT == 0:
        return check
    fault = f"begins at byte {offset}, not at a multiple of {READ_ALIGNMENT}: MediaPipe copies its weights"
    return dataclasses.replace(check, faults=(fault, *check.faults))


def data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """Byte of the ZIP file at which an entry's data begins: behind its own header, which may be padded."""
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
    return int(entry.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes)


def _sentencepiece_faults(model: bytes, table_rows: int) -> list[str]:
    """Why MediaPipe could not feed a model with this file; `table_rows` is 0 when unknown."""
    pieces = _load_sentencepiece(model)
    if pieces is None:
        return ["not a SentencePiece model"]
    faults = []
    if pieces.pad_id() != PAD_ID:
        faults.append(f"pads with id {pieces.pad_id()}, but the model takes {PAD_ID} for padding")
    for name, token in (("begin", pieces.bos_id()), ("end", pieces.eos_id())):
        if token < 0:
            faults.append(f"has no {name} token, but MediaPipe sends one with every text")
    if 0 < table_rows < pieces.vocab_size():
        faults.append(f"has {pieces.vocab_size()} pieces, but the embedding table {table_rows} rows")
    return faults


def _load_sentencepiece(model: bytes) -> Any:
    """The processor of a serialised model; None for bytes that are none."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise missing_extra("pack", "sentencepiece") from None
    try:
        return SentencePieceProcessor(model_proto=model) if model else None
    except RuntimeError:
        return None
