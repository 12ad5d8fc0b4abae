"""The model's prompts, used verbatim, and the title slot of EmbeddingGemma's document prompt.

Source: the model card of google/embeddinggemma-300m. A document prompt of the form
``title: none | text: `` takes the real title in place of ``none``; any other model gets the title
before the text, as BEIR does.
"""

from __future__ import annotations

from common.errors import UserError
from common.retrieval import Document

TITLE_SLOT = "title: none"
QUERY_NAMES = ("query", "Retrieval-query")
DOCUMENT_NAMES = ("document", "passage", "Retrieval-document")


def pick_prompt(prompts: dict[str, str], name: str) -> str:
    """The prompt called `name`. Raises UserError with the names there are."""
    if name not in prompts:
        known = ", ".join(sorted(prompts)) or "none"
        raise UserError(f"prompt '{name}': the model has no such prompt; it has: {known}")
    return prompts[name]


def default_query_prompt(prompts: dict[str, str]) -> str:
    """The prompt for search queries; empty for a model without one."""
    return _first(prompts, QUERY_NAMES)


def choose_query_prompt(prompts: dict[str, str], name: str | None) -> str:
    """The prompt called `name`, or the one for search queries when no name is given."""
    return pick_prompt(prompts, name) if name else default_query_prompt(prompts)


def default_document_prompt(prompts: dict[str, str]) -> str:
    """The prompt for passages; empty for a model without one."""
    return _first(prompts, DOCUMENT_NAMES)


def _first(prompts: dict[str, str], names: tuple[str, ...]) -> str:
    return next((prompts[name] for name in names if name in prompts), "")


def split_document(prompt: str, document: Document) -> tuple[str, str]:
    """The (prompt, text) pair to embed for one document, its title in place."""
    if not document.title:
        return prompt, document.text
    if TITLE_SLOT in prompt:
        return prompt.replace(TITLE_SLOT, f"title: {document.title}", 1), document.text
    return prompt, f"{document.title} {document.text}"
