"""What the teacher makes of texts, beside sentence-transformers, and which token belongs to which word."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bert import build_bert
from tiny_starter import write_donor, write_pairs
from tokenizers import Tokenizer

from tools.starter.batches import Order, Place, batches
from tools.starter.encoding import encode_shard
from tools.starter.teacher import Teacher, lesson_path, read_lesson, teach_shards
from tools.starter.texts import Row, shard_paths, write_shards
from tools.starter.words import NONE, owners
from train.checkpoint import load_sentence_transformer


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bert(tmp_path_factory.mktemp("teacher") / "bert", "mean")


@pytest.fixture(scope="module")
def taught(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Order:
    folder = tmp_path_factory.mktemp("taught")
    write_shards(write_pairs(folder / "pairs.jsonl", 12), folder / "texts", seed=1)
    list(teach_shards(bert, folder / "texts"))
    return Order(folder / "texts", write_donor(folder / "donor"), seed=1, tokens=300, held_out=0)


def test_vectors_are_those_of_sentence_transformers(bert: Path) -> None:
    wholes = ["salt, brine", "the tide gate. the salt pan opens at ebb, twice daily."]
    expected = load_sentence_transformer(bert, device="cpu").encode(wholes, normalize_embeddings=True)
    parts = [("salt, brine",), ("the tide gate", "the salt pan opens at ebb, twice daily.")]
    found = Teacher(bert).teach(parts)
    assert (found.vectors.astype(np.float32) * expected).sum(axis=1) == pytest.approx(1, abs=2e-3)
    assert found.counts.tolist() == [3, 13]


def test_a_word_has_the_mean_state_of_its_tokens(bert: Path) -> None:
    model = load_sentence_transformer(bert, device="cpu")
    states = model.encode("salt pans of x", output_value="token_embeddings").float()
    tokens = model.tokenizer.convert_ids_to_tokens(model.tokenizer("salt pans of x")["input_ids"])
    assert tokens == ["[CLS]", "salt", "pan", "##s", "of", "x", "[SEP]"]
    expected = torch.stack([states[1], states[2:4].mean(0), states[4], states[5]])
    lesson = Teacher(bert).teach([("salt pans of x",)])
    read = torch.from_numpy(lesson.codes * lesson.scales[:, None].astype(np.float32))
    assert torch.nn.functional.cosine_similarity(read, expected).min() > 0.999


def test_a_word_the_teacher_makes_nothing_of_has_no_scale(bert: Path) -> None:
    lesson = Teacher(bert).teach([("salt \u0301 pan",)])  # a lone accent, which BERT strips
    assert (lesson.scales > 0).tolist() == [True, False, True]


def test_a_token_belongs_to_the_word_its_last_character_is_in() -> None:
    text = "the salt-pan"
    offsets = [(0, 0), (0, 3), (3, 8), (8, 9), (9, 11), (11, 12), (12, 12)]  # "the", " salt", "-", "pa", "n"
    assert owners(offsets, ((0, text),)).tolist() == [NONE, 0, 1, 2, 3, 3, NONE]
    assert owners(offsets, ((9, "pan"),)).tolist() == [NONE, NONE, NONE, NONE, 0, 0, NONE]


def test_teaching_goes_on_with_the_shards_that_lack_a_lesson(bert: Path, taught: Order) -> None:
    (shard,) = shard_paths(taught.texts)
    kept = lesson_path(shard).read_bytes()
    assert list(teach_shards(bert, taught.texts)) == []
    lesson_path(shard).unlink()
    assert [line[:4] for line in teach_shards(bert, taught.texts)] == ["0000"]
    assert lesson_path(shard).read_bytes() == kept


def test_the_students_tokens_find_the_teachers_words_behind_prompt_and_title(
    bert: Path, taught: Order, tmp_path: Path
) -> None:
    row = Row("salt brine", "pan the gate", title="of tide")
    (shard,) = (tmp_path / "0000.jsonl",)
    shard.write_text('{"query": "salt brine", "passage": "pan the gate", "title": "of tide"}\n')
    list(teach_shards(bert, tmp_path))
    encoded = encode_shard(shard, taught.donor)
    assert read_lesson(shard).counts.tolist() == [2, 5]  # without the full stop that joins them
    tokenizer = Tokenizer.from_file(str(taught.donor / "tokenizer.json"))
    told = encoded.passages[0]
    assert row.title
    named = [tokenizer.decode(told.ids[told.words == number].tolist()) for number in range(5)]
    assert [name.strip() for name in named] == [*row.title.split(), *row.passage.split()]


def test_a_batch_has_the_words_of_its_own_texts(taught: Order) -> None:
    encoded = encode_shard(shard_paths(taught.texts)[0], taught.donor)
    run = batches(taught, Place())
    for batch in (next(run), next(run)):
        for side, texts, first in (
            (batch.queries, encoded.queries, 0),
            (batch.passages, encoded.passages, len(encoded.queries)),
        ):
            for ids, mask, words in zip(side.ids, side.mask, side.words, strict=True):
                own = next(n for n, one in enumerate(texts) if one.ids.tolist() == ids[mask > 0].tolist())
                states = torch.from_numpy(encoded.words(np.array([own + first])))
                known = words[mask > 0] != NONE
                expected = states[torch.from_numpy(texts[own].words)[known].long()]
                assert torch.equal(batch.words[words[mask > 0][known]], expected)
                assert (words[mask == 0] == NONE).all()
