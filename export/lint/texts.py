"""Prompts, special tokens and token ids: manifest, tokenizer and golden vectors against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json
from export.artifact import Artifact
from export.bpe_tokenizer import BpeTokenizer
from export.fault import Fault
from export.golden import GoldenText
from export.manifest import GOLDEN_NAME, TOKENIZER_BIN, TOKENIZER_NAME

Ends = tuple[list[int], list[int]]
"""Ids that stand before and behind every text."""


def lint_prompts(prompts: dict[str, str], golden: list[GoldenText]) -> Iterator[Fault]:
    """Prompts of the manifest against those that the golden texts were embedded behind."""
    held = {text for text in prompts.values() if text}
    for name, text in prompts.items():
        if is_doubled(text):
            yield Fault("prompt-doubled", f"prompt '{name}' of the manifest holds itself twice: {text!r}")
    made = {one.prompt for one in golden if one.prompt}
    for text in sorted(made - held):
        if is_doubled(text) and text[: len(text) // 2] in held:
            yield Fault("prompt-doubled", f"{GOLDEN_NAME} has {text!r}, the manifest has it once")
        elif text * 2 not in held:
            name = "prompt-wrong" if prompts else "prompt-missing"
            yield Fault(name, f"{GOLDEN_NAME} was made with {text!r}, which the manifest has not")
    for text in sorted(held - made):
        if not is_doubled(text) and text * 2 not in made:
            yield Fault(
                "prompt-wrong", f"the manifest has {text!r}, which is behind no text of {GOLDEN_NAME}"
            )
    yield from _unprompted(golden)


def is_doubled(text: str) -> bool:
    """Whether a text is another one twice."""
    half = len(text) // 2
    return len(text) > 1 and text[:half] * 2 == text


def _unprompted(golden: list[GoldenText]) -> Iterator[Fault]:
    """Golden ids that are the same with a prompt as without."""
    bare = {one.text: one.ids for one in golden if not one.prompt}
    for one in golden:
        if one.prompt and bare.get(one.text) == one.ids:
            yield Fault("prompt-missing", f"{GOLDEN_NAME}: the ids of {one.text!r} lack {one.prompt!r}")


def lint_tokenizer(artifact: Artifact, golden: list[GoldenText]) -> tuple[list[Fault], list[str]]:
    """Faults of the tokenizer's files, and what could not be looked at."""
    empty = next((one.ids for one in golden if not one.prompt and not one.text), None)
    spec = read_json(artifact.path / TOKENIZER_NAME)
    unchecked = _beyond(spec, artifact)
    rows = artifact.manifest.tokenizer.vocab_size
    faults = [
        Fault(
            "golden-ids-out-of-range", f"{GOLDEN_NAME}: id {max(one.ids)} of {one.text[:40]!r}, {rows} rows"
        )
        for one in golden
        if max(one.ids) >= rows
    ][:1]
    ends = template_ends(spec.get("post_processor"))
    if ends is None:
        unchecked.append(f"special tokens of {TOKENIZER_NAME}: a post-processor of another kind")
    else:
        faults += _end_faults(TOKENIZER_NAME, ends, empty, golden)
    compact = artifact.path / TOKENIZER_BIN
    if TOKENIZER_BIN in artifact.manifest.files and empty is not None:
        faults += _compact_faults(compact, empty)
    return faults, unchecked


def _compact_faults(path: Path, empty: list[int]) -> list[Fault]:
    try:
        found = BpeTokenizer(path).encode("", len(empty) + 1)
    except UserError as error:
        return [Fault("tokenizer-damaged", str(error))]
    return [Fault(name, f"{TOKENIZER_BIN}: {text}") for name, text in special_faults(found, empty)]


def _end_faults(name: str, ends: Ends, empty: list[int] | None, golden: list[GoldenText]) -> list[Fault]:
    before, behind = ends
    if empty is not None:
        return [Fault(kind, f"{name}: {text}") for kind, text in special_faults(before + behind, empty)]
    for one in golden:
        if one.ids[: len(before)] != before:
            return [Fault("bos-missing", f"{name}: {before} before a text, golden ids {one.ids[:3]}...")]
        if behind and one.ids[-len(behind) :] != behind:
            return [Fault("eos-missing", f"{name}: {behind} behind a text, golden ids ...{one.ids[-3:]}")]
    return []


def special_faults(found: list[int], golden: list[int]) -> Iterator[tuple[str, str]]:
    """The ids of the empty text as a tokenizer gives them, against the golden ones."""
    if found == golden:
        return
    evidence = f"the empty text is {found}, golden ids {golden}"
    if len(golden) == 2 and found == golden[::-1]:
        yield "bos-eos-swapped", evidence
    elif len(golden) == 2 and found in (golden[1:], []):
        yield "bos-missing", evidence
    elif len(golden) == 2 and found == golden[:1]:
        yield "eos-missing", evidence
    else:
        yield "special-tokens-wrong", evidence
    if len(golden) == 2 and not found:
        yield "eos-missing", evidence


def template_ends(processor: Any) -> Ends | None:
    """Ids around every text by tokenizer.json's post-processor; None for a kind that is not read here."""
    if processor is None or processor["type"] == "ByteLevel":
        return [], []
    if processor["type"] == "Sequence":
        known = [ends for one in processor["processors"] if (ends := template_ends(one)) is not None]
        return next((ends for ends in known if ends != ([], [])), ([], [])) if known else None
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        return [processor["cls"][1]], [processor["sep"][1]]
    if processor["type"] != "TemplateProcessing":
        return None
    around: Ends = [], []
    behind = False
    for part in processor["single"]:
        if "Sequence" in part:
            behind = True
        else:
            around[behind].extend(processor["special_tokens"][part["SpecialToken"]["id"]]["ids"])
    return around


def _beyond(spec: Any, artifact: Artifact) -> list[str]:
    """A note on ids that the tokenizer knows and the table lacks."""
    rows = artifact.manifest.tokenizer.vocab_size
    vocabulary = spec.get("model", {}).get("vocab", {})
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else list(range(len(vocabulary)))
    ids += [one["id"] for one in spec.get("added_tokens", [])]
    beyond = sorted({one for one in ids if one >= rows})
    if not beyond:
        return []
    return [f"ids from {beyond[0]} on ({len(beyond)}) have no row: the client must refuse them, as ours does"]


def prompts_of(raw: bytes) -> dict[str, str]:
    """Prompts as a GGUF holds them."""
    return {str(name): str(text) for name, text in json.loads(raw).items()}
