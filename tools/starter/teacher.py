"""What the teacher makes of every shard, computed once: vectors of texts, and states of the words in them.

One .npz per shard beside the texts, written whole or not at all, so that an interrupted run goes on with the
first shard that lacks one. A state is kept in 8 bits: one scale for each word.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from transformers import AutoModel, AutoTokenizer

from tools.starter.texts import read_shard, shard_paths
from tools.starter.words import owners

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]

BATCH = 64
LONGEST = 256
"""Tokens of a text at most, of all-MiniLM-L6-v2."""
PAUSE_SECONDS = 2.0
BETWEEN = ". "
"""Between the parts of a text: this teacher has no place of its own for a title."""


@dataclass(frozen=True)
class Lesson:
    """What the teacher makes of some texts.

    vectors: float16 [texts, width], of length 1; words: codes of the states of all their words in a row,
    int8 [words, width], with scales float16 [words], 0 where the teacher saw nothing of a word; counts: words
    of each text, int32 [texts].
    """

    vectors: Float16
    codes: Int8
    scales: Float16
    counts: Int32


class Teacher:
    """An encoder with mean pooling in a folder, in bfloat16, on the GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
        self._model = model.to(self._device).eval()

    def teach(self, texts: Sequence[tuple[str, ...]]) -> Lesson:
        """The lesson of texts, each given in its parts."""
        wholes = [BETWEEN.join(parts) for parts in texts]
        order = sorted(range(len(wholes)), key=lambda index: len(wholes[index]))
        vectors: list[Any] = [None] * len(wholes)
        words: list[Any] = [None] * len(wholes)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            encoded = self._encode([wholes[index] for index in chosen])
            for place, states in enumerate(self._states(encoded)):
                index = chosen[place]
                owned = owners(encoded[place].offsets, _placed(texts[index]))
                vectors[index] = F.normalize(states.mean(0), dim=0).numpy()
                words[index] = _mean_by_word(states, owned)
        counts = np.array([len(one) for one in words], np.int32)
        return Lesson(np.stack(vectors).astype(np.float16), *_rounded(np.concatenate(words)), counts)

    def _encode(self, texts: list[str]) -> list[Any]:
        encoded = self._tokenizer(texts, truncation=True, max_length=LONGEST)
        return list(encoded.encodings)

    @torch.inference_mode()
    def _states(self, encoded: list[Any]) -> Iterator[torch.Tensor]:
        """The last states of each text, without padding: float32 [tokens, width]."""
        longest = max(len(one.ids) for one in encoded)
        ids = torch.zeros(len(encoded), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(encoded):
            ids[row, : len(one.ids)], mask[row, : len(one.ids)] = torch.tensor(one.ids), 1
        inputs = ids.to(self._device), mask.to(self._device)
        states = self._model(input_ids=inputs[0], attention_mask=inputs[1]).last_hidden_state.float().cpu()
        for row, one in enumerate(encoded):
            yield states[row, : len(one.ids)]


def teach_shards(model: Path, folder: Path, pause: Path | None = None) -> Iterator[str]:
    """Write the lessons that shards lack; yields a line per shard with the time it took."""
    teacher = Teacher(model)
    for path in shard_paths(folder):
        if lesson_path(path).exists():
            continue
        wait_while(pause)
        rows, started = read_shard(path), time.process_time()
        texts = [(row.query,) for row in rows] + [row.parts for row in rows]
        write_lesson(path, teacher.teach(texts))
        yield f"{path.stem}: {len(texts)} texts in {time.process_time() - started:.0f} CPU seconds"


def piece_vectors(model: Path, pieces: list[str]) -> Float32:
    """The teacher's vectors of single token pieces, of "." for one that is nothing but space."""
    return Teacher(model).teach([(piece.strip() or ".",) for piece in pieces]).vectors.astype(np.float32)


def lesson_path(shard: Path) -> Path:
    """Where the lesson of a shard is."""
    return shard.with_suffix(".npz")


def read_lesson(shard: Path) -> Lesson:
    """The lesson of a shard: its queries first, then its passages."""
    with np.load(lesson_path(shard)) as stored:
        return Lesson(*(stored[name] for name in Lesson.__dataclass_fields__))


def write_lesson(shard: Path, lesson: Lesson) -> None:
    """Keep the lesson of a shard, whole or not at all."""
    path = lesson_path(shard)
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("wb") as handle:
            np.savez(handle, **vars(lesson))
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def wait_while(pause: Path | None) -> None:
    """Do nothing for as long as the file `pause` exists: other work on the machine is being timed."""
    while pause is not None and pause.exists():
        time.sleep(PAUSE_SECONDS)


def _placed(parts: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The parts of a text with the offsets they have in the whole."""
    begin = 0
    for part in parts:
        yield begin, part
        begin += len(part) + len(BETWEEN)


def _mean_by_word(states: torch.Tensor, owned: Int32) -> Float32:
    """The mean state of each word's tokens, zeros for a word between others that has none."""
    count = int(owned.max(initial=-1)) + 1
    sums, tokens = np.zeros((count, states.shape[1]), np.float32), np.zeros((count, 1), np.float32)
    kept = owned >= 0
    np.add.at(sums, owned[kept], states.numpy()[kept])
    np.add.at(tokens, owned[kept], 1)
    return np.asarray(sums / np.maximum(tokens, 1), np.float32)


def _rounded(words: Float32) -> tuple[Int8, Float16]:
    scales = (np.abs(words).max(axis=1, initial=0) / 127).astype(np.float16)
    codes = np.rint(words / np.maximum(scales, 1e-6).astype(np.float32)[:, None])
    return np.clip(codes, -127, 127).astype(np.int8), scales
