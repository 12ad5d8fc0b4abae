"""The part of an artifact that a phone reads: manifest, graph and weights, one tokenizer, a few golden texts.

What stays behind is for the machine that makes and measures artifacts: sketches of weights, the table of
broken pipelines, tokenizer.json where tokenizer.bin says the same, golden texts that take a phone seconds.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from common.errors import UserError
from common.files import read_json
from export.artifact import Artifact, write_manifest
from export.golden import GoldenText, read_golden, write_golden
from export.manifest import GOLDEN_NAME, TOKENIZER_BIN, TOKENIZER_NAME, Manifest, model_file

PHONE_RUNTIMES = ("onnx", "litert")
"""Runtimes that the Kotlin library has."""
SELF_TEST_TEXTS = 8
SELF_TEST_TOKENS = 64
"""A self-test runs at an app's start: some milliseconds a text, in the shortest signature."""


def write_phone_folder(artifact: Artifact, folder: Path) -> None:
    """Write what a phone reads into `folder`, its manifest last and listing exactly these files.

    Raises UserError when the Kotlin library could not open it.
    """
    names = phone_files(artifact)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(artifact.path / name, folder / name)
    write_golden(folder / GOLDEN_NAME, self_test_texts(artifact.path), artifact.manifest.dim)
    write_manifest(folder, _phone_manifest(artifact.manifest))


def phone_files(artifact: Artifact) -> list[str]:
    """Files to copy as they are. Raises UserError when the Kotlin library could not open them."""
    manifest = artifact.manifest
    if manifest.runtime not in PHONE_RUNTIMES:
        known = " and ".join(PHONE_RUNTIMES)
        raise UserError(f"{artifact.path}: runtime '{manifest.runtime}'; the Kotlin library runs {known}")
    tokenizer = TOKENIZER_BIN if TOKENIZER_BIN in manifest.files else TOKENIZER_NAME
    if tokenizer == TOKENIZER_NAME and tokenizer_kind(artifact.path) != "WordPiece":
        kind = tokenizer_kind(artifact.path)
        raise UserError(f"{artifact.path}: no {TOKENIZER_BIN}, and the Kotlin library reads no {kind}")
    return [*model_files(manifest), tokenizer]


def model_files(manifest: Manifest) -> list[str]:
    """Names of graph and weights."""
    return sorted(name for name in manifest.files if name.startswith(model_file(manifest.runtime)))


def tokenizer_kind(folder: Path) -> str:
    """The model type of a tokenizer.json, for instance WordPiece."""
    content = read_json(folder / TOKENIZER_NAME)
    model = content.get("model") if isinstance(content, dict) else None
    return str(model.get("type")) if isinstance(model, dict) else "None"


def self_test_texts(folder: Path) -> list[GoldenText]:
    """Up to eight short golden texts, spread over their scripts and prompts.

    Of an artifact that has no short ones, the shortest.
    """
    golden = read_golden(folder)
    short = [one for one in golden if one.text and len(one.ids) <= SELF_TEST_TOKENS]
    if not short:
        return [min(golden, key=lambda one: len(one.ids))]
    count = min(SELF_TEST_TEXTS, len(short))
    return [short[place * len(short) // count] for place in range(count)]


def _phone_manifest(manifest: Manifest) -> Manifest:
    """The manifest without scores query by query, which are most of its bytes."""
    if manifest.reference is None:
        return manifest
    return dataclasses.replace(manifest, reference=dataclasses.replace(manifest.reference, by_query={}))
