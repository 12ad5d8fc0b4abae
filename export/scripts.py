"""Languages to scripts, and which texts are written in them.

A script tells Russian from English but not English from Finnish: every language in Latin script keeps the
same pieces. Characters of no script of their own (digits, punctuation, symbols, most emoji) always pass.
Script names are Unicode's (UAX #24); the languages are ISO 639-1 codes.
"""

from __future__ import annotations

from collections.abc import Callable

from common.errors import UserError, missing_extra

LATIN = (
    "af az bs ca cs cy da de en eo es et eu fi fil fr ga gl ha hr hu id ig is it la lb lt lv mi ms mt nb nl "
    "nn no om pl pt ro rw sk sl sm sn so sq st su sv sw tk tl tr uz vi wo xh yo zu"
)
CYRILLIC = "ba be bg ce kk ky mk mn ru sr tg tt uk"
OTHERS = {
    "Arabic": "ar ckb fa ps sd ug ur",
    "Devanagari": "hi mr ne sa",
    "Bengali": "as bn",
    "Hebrew": "he yi",
    "Ethiopic": "am ti",
    "Greek": "el",
    "Armenian": "hy",
    "Georgian": "ka",
    "Gurmukhi": "pa",
    "Gujarati": "gu",
    "Oriya": "or",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Thai": "th",
    "Lao": "lo",
    "Myanmar": "my",
    "Khmer": "km",
    "Tibetan": "bo",
    "Thaana": "dv",
}
SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LATIN.split(), ("Latin",)),
    **dict.fromkeys(CYRILLIC.split(), ("Cyrillic",)),
    **{code: (script,) for script, codes in OTHERS.items() for code in codes.split()},
    "sr": ("Cyrillic", "Latin"),
    "zh": ("Han", "Bopomofo"),
    "ja": ("Han", "Hiragana", "Katakana"),
    "ko": ("Hangul", "Han"),
}
"""Unicode script names by language code; a language that is written in two has both."""
SHARED = ("Common", "Inherited")


def parse_languages(text: str) -> tuple[str, ...]:
    """Comma-separated language codes. Raises UserError naming an unknown one and those that are known."""
    codes = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for code in codes:
        if code not in SCRIPTS:
            raise UserError(
                f"vocab '{text}': '{code}' is neither a file, a folder nor a known language; "
                f"known: {', '.join(sorted(SCRIPTS))}"
            )
    if not codes:
        raise UserError(f"vocab '{text}': names neither a corpus nor a language")
    return codes


def written_in(codes: tuple[str, ...]) -> Callable[[str], bool]:
    """A test whether all characters of a text belong to the scripts of `codes` or to every script."""
    try:
        import regex
    except ImportError:
        raise missing_extra("export", "regex") from None
    names = dict.fromkeys([script for code in codes for script in SCRIPTS[code]] + list(SHARED))
    pattern = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in names) + "]*")
    return lambda text: pattern.fullmatch(text) is not None
