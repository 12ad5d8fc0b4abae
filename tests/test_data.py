"""What the data card and the model card say of the bundled data and starter."""

import json
from collections import Counter
from pathlib import Path

import pytest

from common.retrieval import read_retrieval_set
from pocketvec import BUNDLED_DATA, STARTER_MODEL
from train.pairs import read_pairs


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (BUNDLED_DATA / name).read_text(encoding="utf-8").splitlines()]


SECTION = {row["_id"]: row["section"] for row in rows("corpus.jsonl")}


def sections_of(split: str) -> set[str]:
    data = read_retrieval_set(BUNDLED_DATA, split)
    return {SECTION[document] for grades in data.qrels.values() for document in grades}


def test_the_counts_are_those_of_the_data_card() -> None:
    card = (BUNDLED_DATA / "README.md").read_text(encoding="utf-8")
    assert len(SECTION) == 336
    assert len(rows("queries.jsonl")) == 544
    assert len(rows("train.jsonl")) == 1594
    assert [len(read_retrieval_set(BUNDLED_DATA, split).qrels) for split in ("dev", "test")] == [224, 320]
    assert all(count in card for count in ("336 passages", "544 questions", "224 and 320", "1,594 pairs"))


def test_passages_have_forty_to_a_hundred_and_twenty_words() -> None:
    lengths = [len(row["text"].split()) for row in rows("corpus.jsonl")]
    assert min(lengths) >= 40
    assert max(lengths) <= 120


def test_splits_share_no_section_and_no_passage() -> None:
    passage_of = {row["text"]: row["_id"] for row in rows("corpus.jsonl")}
    trained = {passage_of[r["positive"]] for r in rows("train.jsonl") if r["positive"] in passage_of}
    splits = [{SECTION[passage] for passage in trained}, sections_of("dev"), sections_of("test")]
    assert [len(sections) for sections in splits] == [25, 7, 10]
    assert len(set.union(*splits)) == 42


def test_no_question_and_no_passage_appears_twice() -> None:
    questions = [row["text"] for row in rows("queries.jsonl")] + [row["query"] for row in rows("train.jsonl")]
    assert len({question.lower() for question in questions}) == len(questions)
    assert len({row["text"] for row in rows("corpus.jsonl")}) == len(SECTION)


def test_questions_are_not_cut_from_a_template() -> None:
    questions = [row["text"] for row in rows("queries.jsonl")]
    openings = Counter(" ".join(question.lower().split()[:3]) for question in questions)
    assert openings.most_common(1)[0][1] <= 0.02 * len(questions)
    assert len(openings) > 0.75 * len(questions)


def test_training_rows_are_valid_pairs() -> None:
    assert len(read_pairs(BUNDLED_DATA / "train.jsonl")) == 1594


def shared_runs(question: str, passage: str, words: int) -> int:
    a, b = (text.lower().replace(",", "").replace(".", "").split() for text in (question, passage))
    grams = {tuple(b[i : i + words]) for i in range(len(b))}
    return sum(tuple(a[i : i + words]) in grams for i in range(len(a) - words + 1))


def test_hardly_a_question_copies_five_words_in_a_row_from_its_passage() -> None:
    text = {row["_id"]: row["text"] for row in rows("corpus.jsonl")}
    question = {row["_id"]: row["text"] for row in rows("queries.jsonl")}
    data = [read_retrieval_set(BUNDLED_DATA, split) for split in ("dev", "test")]
    pairs = [(question[q], text[d]) for split in data for q, grades in split.qrels.items() for d in grades]
    assert sum(shared_runs(q, d, 5) > 0 for q, d in pairs) <= 0.02 * len(pairs)


@pytest.mark.parametrize("folder", [STARTER_MODEL, BUNDLED_DATA], ids=["starter", "data"])
def test_each_bundle_has_a_card_with_a_licence(folder: Path) -> None:
    assert "Apache-2.0" in (folder / "README.md").read_text(encoding="utf-8")
