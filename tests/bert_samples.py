"""BERT tokenizers for the tests of the Kotlin WordPiece, with vocabularies made of the texts themselves."""

import json
import random
from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import BertProcessing, TemplateProcessing

Content = dict[str, Any]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
KNOWN_SHARE = 0.8
"""Of the characters that occur; words with others are unknown."""
PIECES = 20_000
ADDED = ("<e1>", "<e1", "[BRINE]", "日本 Salt", "É\u0301clair", "  ")


def bert(texts: list[str], *, lowercase: bool) -> Tokenizer:
    """As BERT's own files are: uncased with accents stripped, or cased with all kept."""
    tokenizer = Tokenizer(WordPiece(vocabulary(texts, lowercase=lowercase), unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    template = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.post_processor = template if lowercase else BertProcessing(ends[1], ends[0])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, normalized=index % 2 > 0) for index, text in enumerate(ADDED)])
    return tokenizer


def vocabulary(texts: list[str], *, lowercase: bool) -> dict[str, int]:
    """Most characters of the texts, alone and continuing a word, and stretches of their words."""
    rng = random.Random(5)  # noqa: S311
    normalise = normalizers.BertNormalizer(lowercase=lowercase).normalize_str
    cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = sorted({word for text in texts for word, _ in cut(normalise(text[:5000]))})
    characters = sorted({char for word in words for char in word})
    known = {char for char in characters if char < "\u0250" or rng.random() < KNOWN_SHARE}
    pieces = dict.fromkeys([*SPECIAL, *sorted(known), *(f"##{char}" for char in sorted(known))])
    for _ in range(PIECES):
        word = rng.choice(words)
        start, end = sorted(rng.sample(range(len(word) + 1), 2))
        pieces[("##" if start else "") + word[start:end]] = None
    return {piece: index for index, piece in enumerate(pieces)}


def _added(content: Content, **flags: bool) -> None:
    content["added_tokens"][-1].update(flags)


CHANGES: dict[str, Callable[[Content], object]] = {
    "accents kept in lower case": lambda c: c["normalizer"].update(strip_accents=False),
    "nothing cleaned": lambda c: c["normalizer"].update(clean_text=False),
    "ideographs joined": lambda c: c["normalizer"].update(handle_chinese_chars=False),
    "short words": lambda c: c["model"].update(max_input_chars_per_word=4),
    "another prefix": lambda c: c["model"].update(continuing_subword_prefix="#"),
    "no post-processor": lambda c: c.update(post_processor=None),
}
"""To the uncased tokenizer, which stays one that the Kotlin code reads."""
REFUSED: dict[str, Callable[[Content], object]] = {
    "model Unigram is not supported": lambda c: c["model"].update(type="Unigram"),
    "normalizer NFKC is not supported": lambda c: c.update(normalizer={"type": "NFKC"}),
    "normalizer null is not supported": lambda c: c.update(normalizer=None),
    "pre_tokenizer Metaspace is not supported": lambda c: c["pre_tokenizer"].update(type="Metaspace"),
    "post_processor RobertaProcessing is not supported": lambda c: c["post_processor"].update(
        type="RobertaProcessing"
    ),
    "exactly one text": lambda c: c["post_processor"].update(single=[]),
    "lstrip is not supported": lambda c: _added(c, lstrip=True),
    "single_word is not supported": lambda c: _added(c, single_word=True),
    "the library gives it the id": lambda c: c["added_tokens"][-1].update(id=1),
    "empty or alike": lambda c: c["added_tokens"].append(c["added_tokens"][0]),
    "'[GONE]' is not in the vocabulary": lambda c: c["model"].update(unk_token="[GONE]"),  # noqa: S106
    "'lowercase' is missing": lambda c: c["normalizer"].pop("lowercase"),
}


def content(tokenizer: Tokenizer) -> Content:
    parsed: Content = json.loads(tokenizer.to_str())
    return parsed
