"""What the student starts from, gathered from the teacher and the first shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from tools.starter.batches import Order, training_shards, wait_for
from tools.starter.encoding import encode_shard
from tools.starter.student import Beginning, Student, begin
from tools.starter.teacher import piece_vectors

FIRST_SHARDS = 6
SPACE = "\u2581"


def new_student(order: Order, teacher: Path) -> Student:
    """A student at its beginning, the same for the same texts, teacher, donor and seed."""
    tokenizer = Tokenizer.from_file(str(order.donor / "tokenizer.json"))
    names = [tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size())]
    pieces = piece_vectors(teacher, [name.replace(SPACE, " ") for name in names])
    counts = np.ones(len(names))
    sentences = []
    for shard in training_shards(order)[:FIRST_SHARDS]:
        encoded = encode_shard(wait_for(shard), order.donor)
        ids = np.concatenate([text.ids for text in encoded.queries + encoded.passages])
        np.add.at(counts, ids, 1)
        sentences.append(encoded.lesson.vectors)
    torch.manual_seed(order.seed)
    student = Student(order.donor, pieces.shape[1])
    shares = (counts / counts.sum()).astype(np.float32)
    begin(student, Beginning(pieces, shares, np.concatenate(sentences).astype(np.float32)), order.seed)
    return student
