"""train/pairs.py: training rows are checked before training, and a hold-out leaks nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from train.pairs import Pair, hold_out, read_pairs, read_training_data

PAIRS = [Pair(f"query {n}", f"passage {n // 2}") for n in range(60)]


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_qrels(folder: Path, split: str, lines: list[str]) -> None:
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")


def write_beir(folder: Path, splits: dict[str, list[str]]) -> Path:
    folder.mkdir(exist_ok=True)
    texts = [{"_id": f"d{n}", "title": f"title {n}", "text": f"passage {n}"} for n in range(6)]
    write_rows(folder / "corpus.jsonl", texts)
    write_rows(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(6)])
    for split, lines in splits.items():
        write_qrels(folder, split, lines)
    return folder


def test_pairs_and_triplets_are_read_as_written(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "a.jsonl", [{"query": "q", "positive": "p", "negative": None, "source": 1}])
    assert read_pairs(pairs) == [Pair("q", "p")]
    triplets = write_rows(
        tmp_path / "b.jsonl", [{"query": "q", "positive": "p", "negative": "n", "title": "t"}]
    )
    assert read_pairs(triplets) == [Pair("q", "p", "n", "t")]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'{"query": "q"}', "the field 'positive' is missing"),
        (b'{"positive": "p"}', "the field 'query' is missing"),
        (b'{"query": "", "positive": "p"}', "'query' is empty"),
        (b'{"query": "q", "positive": "\\n "}', "'positive' is empty"),
        (b'{"query": "q", "positive": "p", "negative": ""}', "'negative' is empty"),
        (b'{"query": "q", "positive": ["p"]}', "'positive' must be a string, found list"),
        (b'{"query": "q", "positive": "p\xff"}', "not UTF-8 (invalid start byte at byte 29)"),
        (b'{"query": "q", "positive": "p"', "not JSON (Expecting ',' delimiter at column 31)"),
        (b'"q"', "expected a JSON object, found str"),
    ],
)
def test_a_bad_row_is_one_line_with_file_line_and_rule(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"query": "q", "positive": "p"}\n\n' + content + b"\n")
    with pytest.raises(UserError) as refusal:
        read_pairs(path)
    assert str(refusal.value) == f"{path}:3: {rule}"


@pytest.mark.parametrize(("bad", "more"), [(2, ""), (3, ""), (5, "; and 2 more bad rows")])
def test_several_bad_rows_are_named_at_once(tmp_path: Path, bad: int, more: str) -> None:
    path = write_rows(tmp_path / "train.jsonl", [{"query": "q", "positive": "p"}, *[{"query": "q"}] * bad])
    with pytest.raises(UserError) as refusal:
        read_pairs(path)
    named = "; ".join(f"{path}:{n + 2}: the field 'positive' is missing" for n in range(min(bad, 3)))
    assert str(refusal.value) == named + more


def test_a_file_with_negatives_in_some_rows_only_is_refused(tmp_path: Path) -> None:
    row = {"query": "q", "positive": "p"}
    path = write_rows(tmp_path / "train.jsonl", [row, {**row, "negative": "n"}, row])
    with pytest.raises(UserError, match=r"train\.jsonl: 1 of 3 rows have 'negative'"):
        read_pairs(path)


def test_an_empty_file_and_an_absent_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl: no training pairs"):
        read_pairs(write_rows(tmp_path / "train.jsonl", []))
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        read_training_data(tmp_path / "absent.jsonl", seed=1)


def test_a_folder_trains_on_its_train_jsonl_and_is_scored_on_its_own_splits(tmp_path: Path) -> None:
    folder = write_beir(
        tmp_path / "set", {"dev": ["q1\td1\t1"], "test": ["q2\td2\t1"], "train": ["q0\td0\t1"]}
    )
    write_rows(folder / "train.jsonl", [{"query": "q", "positive": "p"}])
    data = read_training_data(folder, seed=1)
    assert data.pairs == (Pair("q", "p"),)
    assert {split: found.queries for split, found in data.splits.items()} == {
        "dev": {"q1": "query 1"},
        "test": {"q2": "query 2"},
    }


def test_a_folder_without_train_jsonl_trains_on_its_relevant_judgements(tmp_path: Path) -> None:
    folder = write_beir(
        tmp_path / "set", {"train": ["q0\td0\t1", "q0\td1\t0", "q3\td2\t2"], "dev": ["q1\td1\t1"]}
    )
    assert read_training_data(folder, seed=1).pairs == (
        Pair("query 0", "passage 0", title="title 0"),
        Pair("query 3", "passage 2", title="title 2"),
    )


def test_a_folder_without_dev_has_one_held_out_and_keeps_its_test(tmp_path: Path) -> None:
    folder = write_beir(
        tmp_path / "set.v1", {"train": [f"q{n}\td{n}\t1" for n in range(5)], "test": ["q5\td5\t1"]}
    )
    data = read_training_data(folder, seed=1)
    assert (len(data.pairs), len(data.splits["dev"].queries)) == (4, 1)
    assert data.splits["test"].queries == {"q5": "query 5"}
    assert data.name == "set.v1"


def test_a_folder_with_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.tsv: no such file"):
        read_training_data(write_beir(tmp_path / "set", {"dev": ["q1\td1\t1"]}), seed=1)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"])
def test_the_hash_covers_every_file_the_pairs_come_from(tmp_path: Path, name: str) -> None:
    folder = write_beir(tmp_path / "set", {"train": ["q0\td0\t1"], "dev": ["q1\td1\t1"]})
    before = read_training_data(folder, seed=1).sha256
    with (folder / name).open("a") as handle:
        handle.write("\n")
    assert read_training_data(folder, seed=1).sha256 != before


def test_a_hold_out_is_a_tenth_of_the_passages_with_all_their_queries() -> None:
    kept, dev = hold_out(PAIRS, 1, "hash")
    held = set(PAIRS) - set(kept)
    assert len({pair.positive for pair in held}) == 3
    assert sorted(dev.queries.values()) == sorted(pair.query for pair in held)
    assert len(kept) + len(held) == len(PAIRS)


def test_a_hold_out_answers_each_query_with_its_own_passage_among_all_passages() -> None:
    _, dev = hold_out(PAIRS, 1, "hash")
    texts = {document.id: document.text for document in dev.documents}
    assert sorted(texts.values()) == sorted({pair.positive for pair in PAIRS})
    asked = {(dev.queries[query], texts[name]) for query, grades in dev.qrels.items() for name in grades}
    assert asked <= {(pair.query, pair.positive) for pair in PAIRS}


@pytest.mark.parametrize("seed", range(5))
def test_no_held_out_passage_is_trained(seed: int) -> None:
    kept, dev = hold_out(PAIRS, seed, "hash")
    relevant = {name for grades in dev.qrels.values() for name in grades}
    texts = {document.text for document in dev.documents if document.id in relevant}
    assert texts.isdisjoint(pair.positive for pair in kept)


@pytest.mark.parametrize("seed", range(5))
def test_no_held_out_query_is_trained_when_queries_have_several_passages(seed: int) -> None:
    pairs = [Pair(f"query {n // 2}", f"passage {n}") for n in range(60)]
    kept, dev = hold_out(pairs, seed, "hash")
    assert set(dev.queries.values()).isdisjoint(pair.query for pair in kept)


def test_a_hold_out_depends_on_the_seed_alone() -> None:
    assert hold_out(PAIRS, 7, "hash") == hold_out(PAIRS, 7, "hash")
    assert hold_out(PAIRS, 7, "hash") != hold_out(PAIRS, 8, "hash")


def test_two_passages_are_enough_to_hold_one_out_and_one_is_not() -> None:
    kept, dev = hold_out([Pair("a", "p"), Pair("b", "r")], 1, "hash")
    assert (len(kept), len(dev.queries)) == (1, 1)
    with pytest.raises(UserError, match="single passage"):
        hold_out([Pair("a", "p"), Pair("b", "p")], 1, "hash")
