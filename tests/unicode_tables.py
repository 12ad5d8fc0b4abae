"""What BERT's normaliser does to each code point, asked of `tokenizers`, as the Kotlin tables write it.

`python tests/unicode_tables.py` prints the content of android_harness' UnicodeTables.kt.
"""

import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

CODE_POINTS = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
KOTLIN = (
    Path(__file__).parent.parent
    / "android_harness/core/src/main/kotlin/dev/pocketvec/tokenizer/UnicodeTables.kt"
)
HANGUL = range(0xAC00, 0xD7A4)
IDEOGRAPHS = range(0x3400, 0xA000)
PRE_TOKENIZER = pre_tokenizers.BertPreTokenizer()
OVERLAY = "\u0334"
"""Of the lowest combining class above 0, so that any other mark before it changes place with it."""
COLUMNS = 110 - len('        " " +')
HEAD = """package dev.pocketvec.tokenizer

/**
 * What the `tokenizers` library holds each code point for, asked of it by tests/unicode_tables.py. Its
 * categories are Unicode 8's, its decompositions those of 9, its lower case that of 17.
 */
internal object UnicodeTables {"""
NOTES = {
    "removed": "Control, format and private characters, and U+FFFD: what cleaning removes.",
    "spaces": "White space.",
    "chinese": "Ideographs, which get spaces around them.",
    "marks": "Non-spacing marks, which are stripped as accents.",
    "composed": "Where all that decomposes or combines in Unicode 9 is, and nothing that came later.",
    "punctuation": "Punctuation, and the rest of ASCII's that is no letter or digit.",
    "lower": "From a letter to its lower case; U+0130 gets a dot above behind that.",
}


def tables() -> dict[str, str]:
    """Content by name."""
    clean, space, strip = bert(clean_text=True), bert(handle_chinese_chars=True), bert(strip_accents=True)
    return {
        "removed": ranges(c for c in CODE_POINTS if clean(chr(c)) == ""),
        "spaces": ranges(c for c in CODE_POINTS if words(f"a{chr(c)}b") == ["a", "b"]),
        "chinese": ranges(c for c in CODE_POINTS if space(chr(c)) != chr(c)),
        "marks": ranges(c for c in CODE_POINTS if strip(chr(c)) == ""),
        "composed": composed(),
        "punctuation": ranges(c for c in CODE_POINTS if words(f"a{chr(c)}b") == ["a", chr(c), "b"]),
        "lower": moves(lowered_pairs()),
    }


def bert(**settings: bool) -> Callable[[str], str]:
    names = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    normaliser = normalizers.BertNormalizer(**{name: settings.get(name, False) for name in names})
    normalise: Callable[[str], str] = normaliser.normalize_str
    return normalise


def words(text: str) -> list[str]:
    return [word for word, _ in PRE_TOKENIZER.pre_tokenize_str(text)]


def ranges(codes: Iterable[int]) -> str:
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return " ".join(f"{first:x}-{last:x}" if last > first else f"{first:x}" for first, last in found)


def composed() -> str:
    """Few ranges: what lies between, if it was assigned in Unicode 3.2, never changes either."""
    nfd, strip = normalizers.NFD().normalize_str, bert(strip_accents=True)
    found: set[int] = set()
    gap: list[int] = []
    bridged = False
    for code in CODE_POINTS:
        marked = f"a{chr(code)}{OVERLAY}"
        if code in HANGUL or strip(chr(code)) == "" or nfd(marked) != marked:
            found.update([code, *gap] if bridged else [code])
            gap, bridged = [], True
        elif code in IDEOGRAPHS or unicodedata.ucd_3_2_0.category(chr(code)) == "Cn":
            gap, bridged = [], False
        else:
            gap.append(code)
    return ranges(sorted(found))


def lowered_pairs() -> list[tuple[int, int]]:
    lower = bert(lowercase=True)
    return [(code, ord(lower(chr(code))[0])) for code in CODE_POINTS if lower(chr(code)) != chr(code)]


def moves(pairs: list[tuple[int, int]]) -> str:
    """Runs of code points, every one or every second, that go equally far."""
    found: list[tuple[int, int, int, int]] = []
    for code, target in pairs:
        first, last, step, distance = found[-1] if found else (-9, -9, 1, 0)
        gap = code - last
        if distance == target - code and gap <= 2 and (first == last or gap == step):
            found[-1] = (first, code, gap, distance)
        else:
            found.append((code, code, 1, target - code))
    return " ".join(map(move, found))


def move(run: tuple[int, int, int, int]) -> str:
    first, last, step, distance = run
    end = f"-{last:x}" if last > first else ""
    return f"{first:x}{end}{f'/{step}' if step > 1 else ''}{distance:+x}"


def kotlin() -> str:
    """The content of UnicodeTables.kt."""
    return (
        "\n\n".join([HEAD, *(member(name, content) for name, content in tables().items())]).replace(
            "{\n\n", "{\n", 1
        )
        + "\n}\n"
    )


def member(name: str, content: str) -> str:
    lines = textwrap.wrap(content, COLUMNS, break_on_hyphens=False, break_long_words=False)
    text = " +\n".join(f'        "{line} "' for line in lines[:-1])
    text = f'{text} +\n        "{lines[-1]}"' if text else f'        "{lines[-1]}"'
    kind = "CodePointMoves" if name == "lower" else "CodePointRanges"
    return f"    /** {NOTES[name]} */\n    val {name}: {kind} = {kind}(\n{text},\n    )"


if __name__ == "__main__":
    sys.stdout.write(kotlin())
