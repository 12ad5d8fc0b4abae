"""Shards of training texts."""

import json
from pathlib import Path

import pytest
from tiny_starter import write_pairs

from common.errors import UserError
from tools.starter.texts import (
    PASSAGE_CHARACTERS,
    QUERY_CHARACTERS,
    Row,
    leading,
    read_shard,
    shard_paths,
    write_shards,
)

LONG = "The pan is filled at dawn. " * 60


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("One short line.", 40, "One short line."),
        ("It rains. It pours. It hails.", 20, "It rains. It pours."),
        ("no end of a sentence anywhere here", 14, "no end of a"),
        ("spread   over\nlines", 40, "spread over lines"),
    ],
)
def test_a_text_is_cut_after_the_last_whole_sentence_that_fits(text: str, limit: int, expected: str) -> None:
    assert leading(text, limit) == expected


def test_equal_seeds_give_equal_shards_and_others_do_not(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", 30)
    texts = [
        [read_shard(one) for one in _shards(pairs, tmp_path / name, seed)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_no_text_is_longer_than_its_limit_and_some_passages_keep_more(tmp_path: Path) -> None:
    rows = [{"query": f"{n} {LONG}", "positive": f"{n} {LONG}", "set": "wordnet"} for n in range(80)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (shard,) = _shards(tmp_path / "pairs.jsonl", tmp_path / "texts", 1)
    passages = [len(row.passage) for row in read_shard(shard)]
    assert max(len(row.query) for row in read_shard(shard)) <= QUERY_CHARACTERS
    assert max(passages) <= PASSAGE_CHARACTERS[-1][1]
    assert min(passages) <= PASSAGE_CHARACTERS[0][1] < max(passages)


def test_a_title_is_a_heading_that_the_teacher_reads_before_the_passage(tmp_path: Path) -> None:
    rows = [{"query": f"Heading {n}", "positive": LONG, "set": "owasp_en"} for n in range(200)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (shard,) = _shards(tmp_path / "pairs.jsonl", tmp_path / "texts", 1)
    titled = [row for row in read_shard(shard) if row.title]
    assert 10 < len(titled) < 60
    assert all(row.title == row.query for row in titled)
    assert Row("q", "A passage.", "Salt").parts == ("Salt", "A passage.")
    assert Row("q", "A passage.").parts == ("A passage.",)


def test_a_row_without_its_fields_is_named(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "set": "wordnet"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"pairs.jsonl:1: the field 'positive' is missing"):
        write_shards(tmp_path / "pairs.jsonl", tmp_path / "texts", 1)
    assert not (tmp_path / "texts").exists()


def _shards(pairs: Path, out: Path, seed: int) -> list[Path]:
    write_shards(pairs, out, seed)
    return shard_paths(out)
