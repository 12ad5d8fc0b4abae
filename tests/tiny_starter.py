"""A student of a few thousand weights behind the real tokenizer, its texts, and a made-up teacher of them."""

import json
from pathlib import Path

import numpy as np

from pocketvec import STARTER_MODEL
from tools.starter.batches import Order
from tools.starter.student import Beginning, Student, begin
from tools.starter.teacher import Lesson, write_lesson
from tools.starter.texts import read_shard, shard_paths, write_shards
from train.shapes import FULL, SLIDING, Shape
from train.synthetic import SyntheticConfig, write_synthetic

ROWS = 16_384
WIDTH = 24
"""Of the made-up teacher's vectors."""
SHAPE = Shape("tiny", ROWS, 16, 24, (SLIDING, FULL), 2, 1, 8, 16, 128, (32, 40))
DIMS = (40, 16)
WORDS = "salt brine pan sluice tide gate fleet ridge crystal winter barrow reeve".split()  # noqa: SIM905


def write_donor(out: Path) -> Path:
    """A checkpoint folder of SHAPE."""
    write_synthetic(SHAPE, STARTER_MODEL, out, SyntheticConfig(seed=3))
    return out


def write_pairs(path: Path, count: int) -> Path:
    """Pairs of a few words each, of a set that `texts` knows."""
    rng = np.random.default_rng(1)
    rows = [
        {"query": " ".join(words[:3]), "positive": " ".join(words), "set": "wordnet"}
        for words in (rng.choice(WORDS, 9).tolist() for _ in range(count))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def teach(folder: Path) -> None:
    """Random unit vectors for every shard, and a random state for each of their words."""
    rng = np.random.default_rng(2)
    for shard in shard_paths(folder):
        rows = read_shard(shard)
        counts = [len(row.query.split()) for row in rows] + [len(row.passage.split()) for row in rows]
        vectors = rng.normal(size=(len(counts), WIDTH))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        codes = rng.integers(-127, 128, size=(sum(counts), WIDTH)).astype(np.int8)
        scales = np.full(len(codes), 0.02, np.float16)
        write_lesson(shard, Lesson(vectors.astype(np.float16), codes, scales, np.array(counts, np.int32)))


def write_order(folder: Path, donor: Path, pairs: int = 60) -> Order:
    """Texts and vectors below `folder`, none of them held out."""
    write_shards(write_pairs(folder / "pairs.jsonl", pairs), folder / "texts", seed=5)
    teach(folder / "texts")
    return Order(folder / "texts", donor, seed=5, tokens=600, held_out=0)


def new_student(donor: Path) -> Student:
    """A student that begins from random pieces, always the same."""
    rng = np.random.default_rng(4)
    pieces = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    student = Student(donor, WIDTH)
    begin(student, Beginning(pieces, np.full(ROWS, 1 / ROWS, np.float32), pieces[:200]), seed=6)
    return student
