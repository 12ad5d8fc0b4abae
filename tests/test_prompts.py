"""common/prompts.py: prompts are verbatim, and a title goes where the model expects it."""

from __future__ import annotations

import pytest

from common.errors import UserError
from common.prompts import (
    choose_query_prompt,
    default_document_prompt,
    default_query_prompt,
    pick_prompt,
    split_document,
)
from common.retrieval import Document

GEMMA = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "Retrieval-query": "other query: ",
    "Retrieval-document": "other document: ",
}


def test_a_prompt_is_given_as_the_model_has_it() -> None:
    assert pick_prompt(GEMMA, "query") == "task: search result | query: "


@pytest.mark.parametrize(
    ("prompts", "known"), [({"query": "q: ", "a": ""}, "it has: a, query"), ({}, "it has: none")]
)
def test_an_unknown_prompt_is_refused_with_those_there_are(prompts: dict[str, str], known: str) -> None:
    with pytest.raises(UserError, match=f"prompt 'clustering': .*{known}"):
        pick_prompt(prompts, "clustering")


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        (GEMMA, GEMMA["query"], GEMMA["document"]),
        ({"query": "query: ", "passage": "passage: "}, "query: ", "passage: "),
        ({"Retrieval-query": "q: ", "Retrieval-document": "d: "}, "q: ", "d: "),
        ({"query": "", "Retrieval-query": "q: "}, "", ""),
        ({"clustering": "c: "}, "", ""),
        ({}, "", ""),
    ],
)
def test_search_takes_the_retrieval_prompts_and_none_where_there_are_none(
    prompts: dict[str, str], query: str, document: str
) -> None:
    assert default_query_prompt(prompts) == query
    assert default_document_prompt(prompts) == document


@pytest.mark.parametrize(
    ("name", "prompt"),
    [(None, GEMMA["query"]), ("query", GEMMA["query"]), ("Retrieval-query", "other query: ")],
)
def test_a_named_query_prompt_goes_before_the_usual_one(name: str | None, prompt: str) -> None:
    assert choose_query_prompt(GEMMA, name) == prompt


def test_a_query_prompt_the_model_lacks_is_refused_rather_than_replaced() -> None:
    with pytest.raises(UserError, match="prompt 'absent': the model has no such prompt"):
        choose_query_prompt(GEMMA, "absent")


@pytest.mark.parametrize(
    ("prompt", "title", "expected"),
    [
        ("title: none | text: ", None, ("title: none | text: ", "Body")),
        ("title: none | text: ", "Salt", ("title: Salt | text: ", "Body")),
        ("title: none | text: ", "title: none", ("title: title: none | text: ", "Body")),
        ("title: none, title: none | ", "Salt", ("title: Salt, title: none | ", "Body")),
        ("passage: ", "Salt", ("passage: ", "Salt Body")),
        ("passage: ", None, ("passage: ", "Body")),
        ("", "Salt", ("", "Salt Body")),
    ],
)
def test_a_title_fills_its_slot_or_comes_before_the_text(
    prompt: str, title: str | None, expected: tuple[str, str]
) -> None:
    assert split_document(prompt, Document("d", "Body", title)) == expected
