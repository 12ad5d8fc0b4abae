"""The teacher's vectors of every shard, computed once: by an int8 artifact of pocketvec's own, or by torch.

One .npz per shard beside the texts, written whole or not at all, so that an interrupted run goes on with the
first shard that lacks one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from export.embedder import Embedder, Opening
from export.manifest import MANIFEST_NAME
from tools.starter.texts import Row, read_shard, shard_paths
from train.checkpoint import load_sentence_transformer

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
PAUSE_SECONDS = 2.0


class Teacher(Protocol):
    """A model that texts go into as they are: all-MiniLM-L6-v2 has no prompts."""

    def embed(self, texts: list[str]) -> Float32:
        """Unit vectors float32 [n, width]."""


class TorchTeacher:
    """A Sentence Transformers folder, on the GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        self._model = load_sentence_transformer(folder)

    def embed(self, texts: list[str]) -> Float32:
        """Unit vectors float32 [n, width]."""
        return np.asarray(self._model.encode(texts, batch_size=256, normalize_embeddings=True))


def open_teacher(model: Path) -> Teacher:
    """An artifact of pocketvec, on one thread, or a Sentence Transformers folder."""
    if (model / MANIFEST_NAME).is_file():
        return Embedder.open(model, Opening(threads=1))
    return TorchTeacher(model)


def embed_shards(model: Path, folder: Path, pause: Path | None = None) -> Iterator[str]:
    """Embed the shards that lack vectors; yields a line per shard with its speed in tokens a second."""
    teacher = open_teacher(model)
    for path in shard_paths(folder):
        if vectors_path(path).exists():
            continue
        wait_while(pause)
        rows, started = read_shard(path), time.process_time()
        queries = teacher.embed([row.query for row in rows])
        passages = teacher.embed([row.titled for row in rows])
        _write(vectors_path(path), queries, passages)
        yield f"{path.stem}: {2 * len(rows)} texts in {time.process_time() - started:.0f} CPU seconds"


def vectors_path(shard: Path) -> Path:
    """Where the vectors of a shard are."""
    return shard.with_suffix(".npz")


def read_vectors(shard: Path) -> tuple[Float16, Float16]:
    """The teacher's unit vectors of a shard's queries and passages: float16 [rows, width] each."""
    with np.load(vectors_path(shard)) as stored:
        return stored["queries"].astype(np.float16), stored["passages"].astype(np.float16)


def embed_pieces(model: Path, pieces: list[str]) -> Float32:
    """The teacher's vectors of single token pieces, of "." for one that is nothing but space."""
    return open_teacher(model).embed([piece.strip() or "." for piece in pieces])


def wait_while(pause: Path | None) -> None:
    """Do nothing for as long as the file `pause` exists: other work on the machine is being timed."""
    while pause is not None and pause.exists():
        time.sleep(PAUSE_SECONDS)


def _write(path: Path, queries: Float32, passages: Float32) -> None:
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("wb") as handle:
            np.savez(handle, queries=queries.astype(np.float16), passages=passages.astype(np.float16))
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def embedded_rows(shard: Path) -> tuple[list[Row], Float16, Float16]:
    """A shard's rows with the teacher's vectors of their queries and passages."""
    return (read_shard(shard), *read_vectors(shard))
