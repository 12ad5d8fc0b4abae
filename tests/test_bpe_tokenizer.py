"""export/bpe_tokenizer.py against the `tokenizers` library: the same ids, or a refusal."""

import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tokenizer_samples import GROWN_SIZE, STARTER, Content, added_texts, changed, library, strings

from common.errors import UserError
from export.bpe_table import build_table
from export.bpe_tokenizer import BpeTokenizer
from export.golden import PLAIN_TEXTS
from export.manifest import TOKENIZER_BIN, TOKENIZER_NAME
from export.tokenizer import JsonTokenizer
from pocketvec import STARTER_MODEL
from train.synthetic_tokenizer import grow

LIMITS = (0, 1, 2, 3, 7, 64, 2048)


def first_difference(content: Content, texts: list[str]) -> str | None:
    """The first text to which the compact form gives other ids than the library."""
    ours, theirs = BpeTokenizer(build_table(content)), library(content)
    return next((text for text in texts if ours.encode(text) != theirs.encode(text).ids), None)


@pytest.fixture(scope="module")
def grown() -> Content:
    return grow(STARTER, GROWN_SIZE, seed=1)


def test_the_starters_tokenizer_gives_the_librarys_ids() -> None:
    assert first_difference(STARTER, strings(3000, added_texts(STARTER))) is None


def test_a_tokenizer_with_added_tokens_in_the_text_gives_the_librarys_ids(grown: Content) -> None:
    assert first_difference(grown, strings(3000, added_texts(grown))) is None


def test_long_texts_with_and_without_spaces_give_the_librarys_ids(grown: Content) -> None:
    rng = random.Random(3)  # noqa: S311
    letters = "".join(rng.choice("etaoin shrdlu") for _ in range(20_000))
    assert first_difference(grown, [letters, letters.replace(" ", "") * 5, "\u2581" * 20_000]) is None


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
PREPEND = {"type": "Prepend", "prepend": "\u2581"}
REMOVE = {"type": "Replace", "pattern": {"String": "salt"}, "content": ""}


def with_normalised_tokens(content: Content) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    for text in ("the quick", "the", "  ", "\u2581salt", "日本"):
        id_ = content["model"]["vocab"].setdefault(text, len(content["model"]["vocab"]))
        content["added_tokens"].append({"id": id_, "content": text, "special": text == "the", **flags})


def with_a_merge_across_words(content: Content) -> None:
    for left, right in (("e", "\u2581"), ("e\u2581", "q"), ("o", "\u2581f")):
        content["model"]["vocab"].setdefault(left + right, len(content["model"]["vocab"]))
        content["model"]["merges"].insert(40, [left, right])


def with_holes(content: Content, byte: int, **model: object) -> None:
    """Without one byte's token, so that some characters are unknown."""
    vocab = content["model"]["vocab"]
    vocab["no byte"] = vocab.pop(f"<0x{byte:02X}>")
    content["model"].update(model)


def with_a_token_beyond_the_table(content: Content) -> None:
    row = {
        **content["added_tokens"][0],
        "id": len(content["model"]["vocab"]),
        "content": "<image_soft_token>",
    }
    content["added_tokens"].append(row)


def with_merges_twice(content: Content) -> None:
    content["model"]["merges"] += content["model"]["merges"][:300]


VARIANTS: dict[str, Callable[[Content], object]] = {
    "prepended": lambda c: c.update(normalizer={"type": "Sequence", "normalizers": [PREPEND, REPLACE]}),
    "emptied": lambda c: c.update(normalizer={"type": "Sequence", "normalizers": [REMOVE, PREPEND]}),
    "split after spaces": lambda c: c.update(normalizer=None),
    "nothing before merging": lambda c: c.update(normalizer=None, pre_tokenizer=None),
    "no template": lambda c: c.update(post_processor=None),
    "normalised tokens": with_normalised_tokens,
    "merge across words": with_a_merge_across_words,
    "fused unknowns": partial(with_holes, byte=0x9F),
    "single unknowns": partial(with_holes, byte=0x9F, fuse_unk=False),
    "dropped unknowns": partial(with_holes, byte=0x80, unk_token=None),
    "no bytes": lambda c: c["model"].update(byte_fallback=False),
    "beyond the table": with_a_token_beyond_the_table,
    "merges twice": with_merges_twice,
    "merges as strings": lambda c: c["model"].update(merges=[" ".join(m) for m in c["model"]["merges"]]),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_relative_of_gemmas_tokenizer_gives_the_librarys_ids(name: str) -> None:
    content = changed(VARIANTS[name])
    assert first_difference(content, strings(1200, added_texts(content))) is None


def test_every_truncation_is_the_librarys(grown: Content) -> None:
    ours, theirs = BpeTokenizer(build_table(grown)), library(grown)
    for limit in LIMITS:
        theirs.enable_truncation(limit)
        for text in ("", "salt", "a \n\n<table> the quick brown fox", PLAIN_TEXTS[-1] * 20):
            assert ours.encode(text, limit) == theirs.encode(text).ids, (limit, text[:40])


def test_every_piece_has_its_text_back(grown: Content) -> None:
    tokenizer = BpeTokenizer(build_table(grown))
    assert all(tokenizer.piece(id_) == piece for piece, id_ in grown["model"]["vocab"].items())


def test_a_remembered_word_is_as_good_as_a_new_one() -> None:
    tokenizer = BpeTokenizer(build_table(STARTER))
    first = [tokenizer.encode(text) for text in PLAIN_TEXTS]
    assert first == [tokenizer.encode(text) for text in PLAIN_TEXTS]
    tokenizer.encode(PLAIN_TEXTS[5])[:] = []
    assert tokenizer.encode(PLAIN_TEXTS[5]) == first[5]


@pytest.mark.parametrize("text", ["\ud800", "salt \udc00 brine"])
def test_half_a_surrogate_pair_is_refused_in_one_line_by_both_forms(text: str) -> None:
    for tokenizer in (BpeTokenizer(build_table(STARTER)), JsonTokenizer(STARTER_MODEL / TOKENIZER_NAME)):
        with pytest.raises(UserError, match="half a surrogate pair"):
            tokenizer.encode(text, 64)


READ_ALONE = """
import sys
from pathlib import Path
from export.bpe_tokenizer import BpeTokenizer
print(BpeTokenizer(Path(sys.argv[1])).encode("salt"))
print([name for name in ("tokenizers", "transformers", "torch", "sentencepiece") if name in sys.modules])
"""


def test_the_reader_needs_no_tokenizer_library(tmp_path: Path) -> None:
    path = tmp_path / TOKENIZER_BIN
    path.write_bytes(build_table(STARTER))
    command = [sys.executable, "-c", READ_ALONE, str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [str(library(STARTER).encode("salt").ids), "[]"]
