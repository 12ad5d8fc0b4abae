"""Token ids gone wrong on purpose: prompts and special tokens that a broken tokenizer or client gives."""

from __future__ import annotations

from collections.abc import Iterator

from export.source import Source


def right_ids(source: Source, prompted: str) -> list[int]:
    """Token ids of prompt and text as the checkpoint's own tokenizer gives them, special tokens included."""
    ids: list[int] = source.model.preprocess([prompted])["input_ids"][0].tolist()
    return ids


def wrong_inputs(source: Source, prompts: tuple[str, str], text: str) -> Iterator[tuple[str, list[int]]]:
    """Wrong ids of a text by name of the fault; `prompts` are its own and that of the other kind of text."""
    prompt, other = prompts
    right = right_ids(source, prompt + text)
    if prompt:
        yield "prompt-missing", right_ids(source, text)
        yield "prompt-doubled", right_ids(source, prompt + prompt + text)
    if other != prompt:
        yield "prompts-swapped", right_ids(source, other + text)
    whole = prompt + text
    if not source.model[0].do_lower_case and whole.lower() != whole:
        yield "lower-cased", right_ids(source, whole.lower())
    special = set(source.tokenizer.all_special_ids)
    begins, ends = right[0] in special, right[-1] in special
    if begins:
        yield "bos-missing", right[1:]
        yield "bos-doubled", [right[0], *right]
    if ends:
        yield "eos-missing", right[:-1]
        yield "eos-doubled", [*right, right[-1]]
    if begins and ends:
        yield "bos-eos-swapped", [right[-1], *right[1:-1], right[0]]
        yield "special-tokens-missing", right[1:-1]
    rows = source.table_rows
    yield "ids-shifted/one too high", [(one + 1) % rows for one in right]
    yield "ids-shifted/one too low", [(one - 1) % rows for one in right]
