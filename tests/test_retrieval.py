"""common/retrieval.py: a BEIR folder is read whole, and each fault is one line with file, line and rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from common.retrieval import Document, RetrievalSet, read_retrieval_set

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels/dev.tsv"
GOOD = {
    CORPUS: b'{"_id": "d1", "title": "Salt", "text": "one"}\n\n{"_id": "d2", "title": "", "text": "two"}\n',
    QUERIES: b'{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n',
    QRELS: b"query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t0\n",
}


def read(folder: Path, changes: dict[str, bytes | None]) -> RetrievalSet:
    (folder / "qrels").mkdir(exist_ok=True)
    for name, content in {**GOOD, **changes}.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return read_retrieval_set(folder, "dev")


def test_a_good_folder_is_read_as_written(tmp_path: Path) -> None:
    loaded = read(tmp_path, {})
    assert loaded.documents == (Document("d1", "one", "Salt"), Document("d2", "two", None))
    assert (loaded.name, loaded.split) == (tmp_path.name, "dev")


def test_a_query_without_a_relevant_document_is_left_out(tmp_path: Path) -> None:
    loaded = read(tmp_path, {})
    assert loaded.queries == {"q1": "first"}
    assert loaded.qrels == {"q1": {"d1": 2, "d2": 0}}


def test_qrels_need_no_header_and_may_end_lines_as_windows_does(tmp_path: Path) -> None:
    assert read(tmp_path, {QRELS: b"q2\td1\t1\r\n"}).qrels == {"q2": {"d1": 1}}


@pytest.mark.parametrize("name", [CORPUS, QUERIES, QRELS])
def test_the_hash_changes_with_each_file(tmp_path: Path, name: str) -> None:
    before = read(tmp_path, {}).sha256
    assert read(tmp_path, {name: GOOD[name] + b"\n"}).sha256 != before


def row(number: int, content: bytes) -> bytes:
    return b'{"_id": "x", "text": "good"}\n' * (number - 1) + content + b"\n"


BAD_ROWS = [
    (b'{"_id": "a", "text": "caf\xe9"}', "not UTF-8 (invalid continuation byte at byte 25)"),
    (b"{'_id': 'a'}", "not JSON (Expecting property name enclosed in double quotes at column 2)"),
    (b'\xef\xbb\xbf{"_id": "a", "text": "b"}', "not JSON"),
    (b'["a", "b"]', "expected a JSON object, found list"),
    (b'{"text": "b"}', "the field '_id' is missing"),
    (b'{"_id": "a"}', "the field 'text' is missing"),
    (b'{"_id": 7, "text": "b"}', "'_id' must be a string, found int"),
    (b'{"_id": "a", "text": null}', "'text' must be a string, found NoneType"),
    (b'{"_id": "a", "text": " "}', "'text' is empty"),
    (b'{"_id": "", "text": "b"}', "'_id' is empty"),
    (b'{"_id": "a", "text": "half \\ud83d"}', "'text'"),
    (b'{"_id": "a", "text": "b", "n": ' + b"1" * 5000 + b"}", "not JSON"),
]


@pytest.mark.parametrize("name", [CORPUS, QUERIES])
@pytest.mark.parametrize(("content", "rule"), BAD_ROWS)
def test_a_bad_row_is_one_line_with_file_line_and_rule(
    tmp_path: Path, name: str, content: bytes, rule: str
) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, {name: row(2, content)})
    assert str(refusal.value).startswith(f"{tmp_path / name}:2: {rule}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", [CORPUS, QUERIES])
def test_a_repeated_identifier_is_refused_where_it_comes_again(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, {name: GOOD[name] + GOOD[name].splitlines()[0]})
    line = len(GOOD[name].splitlines()) + 1
    assert str(refusal.value).startswith(
        f"{tmp_path / name}:{line}: the identifier '{GOOD[name][9:11].decode()}'"
    )


def test_a_title_that_is_not_a_string_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.jsonl:1: 'title' must be a string, found list"):
        read(tmp_path, {CORPUS: b'{"_id": "d1", "text": "one", "title": ["a"]}\n'})


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_an_empty_corpus_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"corpus\.jsonl: the corpus is empty"):
        read(tmp_path, {CORPUS: content})


@pytest.mark.parametrize("name", [CORPUS, QUERIES, QRELS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, {name: None})
    assert str(refusal.value) == f"{tmp_path / name}: no such file"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"q9\td1\t1", "unknown query id 'q9'"),
        (b"q1\td9\t1", "unknown document id 'd9'"),
        (b"q1\td1", "expected 3 tab-separated columns"),
        (b"q1 d1 1", "expected 3 tab-separated columns"),
        (b"q1\t0\td1\t1", "expected 3 tab-separated columns"),
        (b"q1\td1\tyes", "the score 'yes' is not an integer"),
        (b"q1\td1\t0.5", "the score '0.5' is not an integer"),
        (b"q1\td\xe9\t1", "not UTF-8"),
    ],
)
def test_a_bad_judgement_is_one_line_with_file_line_and_rule(tmp_path: Path, line: bytes, rule: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, {QRELS: b"query-id\tcorpus-id\tscore\nq1\td1\t1\n" + line + b"\n"})
    assert str(refusal.value).startswith(f"{tmp_path / QRELS}:3: {rule}")


@pytest.mark.parametrize("content", [b"", b"query-id\tcorpus-id\tscore\n", b"q1\td1\t0\n"])
def test_qrels_without_a_relevant_document_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"dev\.tsv: no query has a relevant document"):
        read(tmp_path, {QRELS: content})


def test_a_pair_judged_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dev\.tsv:2: .*'q1'.*'d1'.* twice"):
        read(tmp_path, {QRELS: b"q1\td1\t1\nq1\td1\t0\n"})
