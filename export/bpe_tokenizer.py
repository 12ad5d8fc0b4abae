"""Text to token ids from a mapped tokenizer.bin: BPE as `tokenizers` does it, without that library.

Only the pages that a text needs enter memory, and they are clean: the kernel can drop them at any time.
"""

from __future__ import annotations

import mmap
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from pathlib import Path

from common.errors import UserError
from export.bpe_format import FUSE_UNK, ID_BITS, NONE, PAGE_CHARS, Header, parse

WORD_CACHE = 2048
"""Words whose ids are remembered, at most; then it starts anew. A few hundred KB."""
CACHED_WORD_CHARS = 24
_MASK = (1 << ID_BITS) - 1
_RIGHT_SHIFT = 2 * ID_BITS
_VALUE_MASK = (1 << _RIGHT_SHIFT) - 1
_POSITION_BITS = 32
_POSITION_MASK = (1 << _POSITION_BITS) - 1


class _Strings:
    """A string table of the file as a sequence of bytes."""

    def __init__(self, starts: memoryview, content: memoryview) -> None:
        self._starts = starts.cast("I")
        self._content = content

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._content[self._starts[index] : self._starts[index + 1]])

    def texts(self) -> list[str]:
        """All of them."""
        return [self[index].decode() for index in range(len(self))]


class _AddedTokens:
    """One kind of added tokens: finds them in a text, leftmost first, the longest of those."""

    def __init__(self, sections: dict[str, memoryview], name: str, longest: int) -> None:
        self._texts = _Strings(sections[f"{name}_starts"], sections[f"{name}_bytes"])
        self._ids = sections[f"{name}_ids"].cast("I")
        self._parents = sections[f"{name}_parents"].cast("I")
        self._longest = longest
        first = bytes(sections[f"{name}_first"]).decode()
        self._first = re.compile(f"[{re.escape(first)}]") if first else None

    def cut(self, text: str) -> Iterator[str | int]:
        """The stretches of text between added tokens, none of them empty, and the tokens' ids."""
        done = 0
        found = self._first.search(text) if self._first else None
        while found and self._first:
            position = found.start()
            index = self._longest_at(text[position : position + self._longest].encode())
            end = position + 1
            if index != NONE:
                if position > done:
                    yield text[done:position]
                yield self._ids[index]
                done = end = position + len(self._texts[index].decode())
            found = self._first.search(text, end)
        if done < len(text):
            yield text[done:]

    def _longest_at(self, text: bytes) -> int:
        """Index of the longest token that `text` begins with, or NONE.

        The last token at or below `text` in byte order begins with every token that `text` begins with, so
        that the longest of these is it or one of its parents.
        """
        index = bisect_right(self._texts, text) - 1
        if index < 0:
            return NONE
        while index != NONE and not text.startswith(self._texts[index]):
            index = self._parents[index]
        return index


class BpeTokenizer:
    """An open tokenizer.bin.

    special_ids: ids of the added tokens that are special.
    """

    def __init__(self, source: Path | bytes) -> None:
        """Map a file, or look at its content.

        Raises UserError for a file that is absent, foreign, of another version or cut.
        """
        header, sections = _open(source)
        self._header = header
        self._char_pages = sections["char_pages"].cast("H")
        self._char_ids = sections["char_ids"].cast("I")
        self._byte_ids = sections["byte_ids"].cast("I")
        self._merge_starts = sections["merge_starts"].cast("I")
        self._merges = sections["merges"].cast("Q")
        self._pieces = _Strings(sections["piece_starts"], sections["piece_bytes"])
        self._raw = _AddedTokens(sections, "raw", header.raw_longest)
        self._normalised = _AddedTokens(sections, "normalised", header.normalised_longest)
        steps = _Strings(sections["steps_starts"], sections["steps_bytes"]).texts()
        self._steps = list(zip(steps[::2], steps[1::2], strict=True))
        self._split = bytes(sections["split"]).decode()
        self._prefix = sections["prefix"].cast("I").tolist()
        self._suffix = sections["suffix"].cast("I").tolist()
        self.special_ids = frozenset(sections["special"].cast("I").tolist())
        mark = re.escape(chr(header.boundary))
        self._words = re.compile(f"{mark}*[^{mark}]+|{mark}+") if header.boundary else None
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """Token ids with the template's special tokens; of a longer text the first that fit around these.

        Raises UserError for a text with half a surrogate pair, which has no UTF-8 form.
        """
        check_text(text)
        template = len(self._prefix) + len(self._suffix)
        # A limit below the template's own length cuts nothing: so does the library.
        room = None if max_tokens is None or max_tokens < template else max_tokens - template
        ids: list[int] = []
        for word in self._cut(text):
            if isinstance(word, int):
                ids.append(word)
            else:
                ids += self._word(word)
            if room is not None and len(ids) >= room:
                break
        return [*self._prefix, *ids[:room], *self._suffix]

    def piece(self, token_id: int) -> str:
        """The text of a token as the vocabulary has it, empty for an id in a gap."""
        return self._pieces[token_id].decode()

    def _cut(self, text: str) -> Iterator[str | int]:
        """Added tokens' ids and, between them, stretches that are merged on their own."""
        for raw in self._raw.cut(text):
            if isinstance(raw, int):
                yield raw
                continue
            for part in self._normalised.cut(self._normalise(raw)):
                if isinstance(part, int):
                    yield part
                    continue
                for stretch in self._stretches(part):
                    yield from self._words.findall(stretch) if self._words else (stretch,)

    def _normalise(self, text: str) -> str:
        for pattern, content in self._steps:
            if pattern:
                text = text.replace(pattern, content)
            elif text:
                text = content + text
        return text

    def _stretches(self, text: str) -> Iterator[str]:
        """Cut behind every `split`; one that follows another directly stands alone."""
        if not self._split or self._split not in text:
            yield text
            return
        first, *rest = text.split(self._split)
        yield first + self._split
        for part in rest[:-1]:
            yield part + self._split
        if rest[-1]:
            yield rest[-1]

    def _word(self, word: str) -> list[int]:
        known = self._cache.get(word)
        if known is not None:
            return known
        ids = self._merge(self._symbols(word))
        if len(word) <= CACHED_WORD_CHARS:
            if len(self._cache) >= WORD_CACHE:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _symbols(self, word: str) -> list[int]:
        """One id per character, or one per UTF-8 byte of a character that the vocabulary lacks."""
        ids: list[int] = []
        unknown = 0
        for char in word:
            code = ord(char)
            id_ = self._char_ids[self._char_pages[code // PAGE_CHARS] * PAGE_CHARS + code % PAGE_CHARS]
            if id_ != NONE:
                ids += [self._header.unk] * unknown
                unknown = 0
                ids.append(id_)
                continue
            bytes_ = [self._byte_ids[byte] for byte in char.encode()]
            if NONE not in bytes_:
                ids += bytes_  # the library leaves an unknown before them waiting, and so does this
            elif self._header.unk != NONE:
                if unknown and not self._header.flags & FUSE_UNK:
                    ids.append(self._header.unk)
                unknown = 1
        return ids + [self._header.unk] * unknown

    def _find(self, left: int, right: int) -> int:
        """What a merge is worth (rank << ID_BITS | new id), or -1 for no merge."""
        low, high = self._merge_starts[left], self._merge_starts[left + 1]
        index = bisect_left(self._merges, right << _RIGHT_SHIFT, low, high)
        if index < high:
            record: int = self._merges[index]
            if record >> _RIGHT_SHIFT == right:
                return record & _VALUE_MASK
        return -1

    def _merge(self, ids: list[int]) -> list[int]:
        """Merge neighbours, lowest rank first and leftmost among equals, until none can be merged.

        A heap of candidates over a doubly linked list: n log n in the length of the word.
        """
        count = len(ids)
        after = [*range(1, count), -1]
        before = list(range(-1, count - 1))
        heap = []
        for position in range(count - 1):
            value = self._find(ids[position], ids[position + 1])
            if value >= 0:
                heap.append(value << _POSITION_BITS | position)
        heapify(heap)
        while heap:
            top = heappop(heap)
            position = top & _POSITION_MASK
            right = after[position]
            new = top >> _POSITION_BITS & _MASK
            if ids[position] < 0 or right < 0:
                continue
            now = self._find(ids[position], ids[right])
            if now < 0 or now & _MASK != new:  # what was to be merged has been merged otherwise
                continue
            ids[position], ids[right] = new, -1
            after[position] = following = after[right]
            if following >= 0:
                before[following] = position
                self._push(heap, position, self._find(new, ids[following]))
            if before[position] >= 0:
                self._push(heap, before[position], self._find(ids[before[position]], new))
        return [id_ for id_ in ids if id_ >= 0]

    @staticmethod
    def _push(heap: list[int], position: int, value: int) -> None:
        if value >= 0:
            heappush(heap, value << _POSITION_BITS | position)


def check_text(text: str) -> None:
    """Raise UserError for half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"text {text[:40]!r}: character {error.start} is half a surrogate pair, which has no UTF-8 form"
        ) from None


def _open(source: Path | bytes) -> tuple[Header, dict[str, memoryview]]:
    if isinstance(source, bytes):
        return parse(memoryview(source), "tokenizer")
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    if not source.stat().st_size:
        raise UserError(f"{source}: not a tokenizer of pocketvec's, it is empty")
    with source.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return parse(memoryview(mapped), str(source))
