"""Texts and tokenizers for the tests of tokenizer.bin."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer

from export.golden import PLAIN_TEXTS
from pocketvec import STARTER_MODEL

Content = dict[str, Any]
STARTER: Content = json.loads((STARTER_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
GROWN_SIZE = 40_000
SCRIPTS = {
    "latin": (0x20, 0x17F),
    "greek": (0x370, 0x3FF),
    "cyrillic": (0x400, 0x4FF),
    "hebrew": (0x590, 0x5F4),
    "arabic": (0x600, 0x6FF),
    "devanagari": (0x900, 0x97F),
    "thai": (0xE00, 0xE5B),
    "georgian": (0x10A0, 0x10FF),
    "ethiopic": (0x1200, 0x137C),
    "kana": (0x3040, 0x30FF),
    "han": (0x4E00, 0x9FFF),
    "hangul": (0xAC00, 0xD7A3),
    "emoji": (0x1F300, 0x1FAFF),
    "combining": (0x300, 0x36F),
    "control": (0x0, 0x1F),
    "private": (0xE000, 0xF8FF),
    "last": (0x10FF00, 0x10FFFF),
}
AWKWARD = (
    *PLAIN_TEXTS,
    " ",
    "\u2581",
    "\u2581\u2581\u2581 \u2581",
    "\0",
    "a\0b\0",
    "\t\t\tx\n\n\n\ny\r\n" + "\n" * 70,
    " " * 500 + "x" + " " * 33,
    "👨‍👩‍👧‍👦👩🏽‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "Z" + "\u0335\u0316\u0301" * 30,
    "<eos><bos>salt<pad><unk>brine<eos",
    "<unused1><unused12><unused1 <unused><table></table><tab",
    "<<bos>> \n<bos>\n\n<bos>\u2581<bos> ",
    "<0x41><0xE2>",
    "\ufffe\uffff\ufeff",
)


def strings(count: int, added: list[str]) -> list[str]:
    """Random texts of one script, of several, of words and of added tokens; then the awkward ones."""
    rng = random.Random(7)  # noqa: S311
    words = [word for text in PLAIN_TEXTS for word in text.split()]

    def character(low: int, high: int) -> str:
        return chr(rng.randint(low, high))

    def part() -> str:
        kind = rng.random()
        if kind < 0.2:
            return rng.choice(words)
        if kind < 0.4:
            return rng.choice(added)
        if kind < 0.6:
            return rng.choice(" \n\t\u2581") * rng.randint(1, 40)
        low, high = rng.choice(list(SCRIPTS.values()))
        return "".join(character(low, high) for _ in range(rng.randint(1, 12)))

    made = list(AWKWARD)
    for low, high in SCRIPTS.values():
        for length in range(1, 41):
            made.append("".join(rng.choice([" ", character(low, high)]) for _ in range(length)))
    while len(made) < count:
        made.append(rng.choice(["", " "]).join(part() for _ in range(rng.randint(1, 12))))
    return made


def library(content: Content) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(content))


def added_texts(content: Content) -> list[str]:
    return [row["content"] for row in content["added_tokens"]]


def changed(change: Callable[[Content], object], base: Content = STARTER) -> Content:
    content = copy.deepcopy(base)
    change(content)
    return content
