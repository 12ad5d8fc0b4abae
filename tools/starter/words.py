"""Words that two tokenizers see in the same text, so that tokens of one can be compared with the other's.

A word is a run of letters and digits, or a single other sign; a token belongs to the word that its last
character is in, since some tokenizers give a word the space before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]

WORD = re.compile(r"\w+|[^\w\s]")
NONE = -1
"""The word of a token that belongs to none: a special one, or one of a prompt."""


def owners(offsets: Sequence[tuple[int, int]], parts: Iterable[tuple[int, str]]) -> Int32:
    """The word that each token of a text belongs to, counted over its parts, or NONE: int32 [tokens].

    offsets: characters of each token, an end that is not above its start for special ones; parts: the pieces
    of the text whose words count, each with its offset.
    """
    known: dict[int, int] = {}
    number = 0
    for begin, part in parts:
        for found in WORD.finditer(part):
            known.update(dict.fromkeys(range(begin + found.start(), begin + found.end()), number))
            number += 1
    words = [known.get(end - 1, NONE) if end > start else NONE for start, end in offsets]
    return np.array(words, np.int32)
