"""The teacher's vectors of every shard, computed once by an int8 ONNX artifact of pocketvec's own.

One .npz per shard beside the texts, written whole or not at all, so that an interrupted run goes on with the
first shard that lacks one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.embedder import Embedder, Opening
from tools.starter.texts import Row, read_shard, shard_paths

Float32 = npt.NDArray[np.float32]
PAUSE_SECONDS = 2.0


def open_teacher(artifact: Path) -> Embedder:
    """The teacher on one thread: all-MiniLM-L6-v2 has no prompts, texts go in as they are."""
    return Embedder.open(artifact, Opening(threads=1))


def embed_shards(artifact: Path, folder: Path, pause: Path | None = None) -> Iterator[str]:
    """Embed the shards that lack vectors; yields a line per shard with its speed in tokens a second."""
    teacher = open_teacher(artifact)
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


def read_vectors(shard: Path) -> tuple[Float32, Float32]:
    """The teacher's unit vectors of a shard's queries and passages: float32 [rows, width] each."""
    with np.load(vectors_path(shard)) as stored:
        return stored["queries"].astype(np.float32), stored["passages"].astype(np.float32)


def embed_pieces(artifact: Path, pieces: list[str]) -> Float32:
    """The teacher's vectors of single token pieces, of "." for one that is nothing but space."""
    return open_teacher(artifact).embed([piece.strip() or "." for piece in pieces])


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


def embedded_rows(shard: Path) -> tuple[list[Row], Float32, Float32]:
    """A shard's rows with the teacher's vectors of their queries and passages."""
    return (read_shard(shard), *read_vectors(shard))
