"""Golden vectors: texts, their token ids and the fp32 PyTorch embedding a right client must reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from common.files import read_json, write_json
from common.prompts import default_document_prompt, default_query_prompt
from common.records import from_dict
from export.embedder import Embedder
from export.head import truncate_normalise
from export.manifest import GOLDEN_NAME
from export.source import Source

Float32 = npt.NDArray[np.float32]
STORED_DIGITS = 9
"""Significant digits of a stored component: enough to give the float32 back exactly."""

PLAIN_TEXTS = (
    "",
    "a",
    "salt",
    "Salt, brine",
    "ten chars!",
    "Which planet is known as the Red Planet?",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "What is the capital of France?",
    "3.14159 and 2.71828 are not 42",
    "UPPER lower MiXeD",
    "don't, won't; it's -- (really) [yes]",
    "https://example.org/path?query=1#part",
    "def add(a, b):\n    return a + b",
    "line one\nline two\n\n\tindented",
    "   leading and   inner    spaces   ",
    "😀",
    "👩‍👩‍👧‍👦 a family and a flag 🇳🇴",
    "مرحبا بالعالم، كيف حالك؟",
    "שלום עולם, מה שלומך היום?",
    "你好,世界。今天天气怎么样?",
    "こんにちは世界、お元気ですか",
    "안녕하세요 세계",
    "Привет, мир! Как дела?",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "Größe, façade, naïve, señor, smørbrød, łódź",
    "e\u0301 is not \u00e9 before normalisation",
    "zero\u200bwidth and soft\u00adhyphen",
    "x" * 60,
    "the quick brown fox " * 12,
    "A strake is filled at dawn and left to the wind until the first bloom shows at its lee edge. " * 8,
)
LONG_TEXT_UNIT = "The tide book gives the height, the board gives the truth, and the reeve decides. "


@dataclass(frozen=True)
class GoldenText:
    """One text behind its literal prompt, with its token ids and unit-norm reference vector."""

    text: str
    prompt: str
    ids: list[int]
    vector: list[float]


@dataclass(frozen=True)
class GoldenResult:
    """How an artifact does on one golden text of `tokens` ids.

    ids_equal: whether its tokenizer gives those ids; cosine: to the reference, -1 for a vector that is not
    finite or of another length; norm: of the vector as it came out.
    """

    prompt: str
    text: str
    tokens: int
    ids_equal: bool
    cosine: float
    norm: float
    finite: bool


@dataclass(frozen=True)
class Parity:
    """Cosine to the golden vectors: mean, worst, the worst text, and whether all ids agree."""

    cosine_mean: float
    cosine_min: float
    worst_text: str
    ids_equal: bool


def golden_texts(model_prompts: dict[str, str], max_tokens: int) -> list[tuple[str, str]]:
    """(prompt, text) pairs to store.

    Every plain text behind the query and the document prompt in turn; one text behind each other prompt
    and behind none; texts at and beyond the token limit.
    """
    prompts = list(
        dict.fromkeys((default_query_prompt(model_prompts), default_document_prompt(model_prompts)))
    )
    pairs = [(prompts[index % len(prompts)], text) for index, text in enumerate(PLAIN_TEXTS)]
    pairs += [(prompt, PLAIN_TEXTS[5]) for prompt in (*prompts, *model_prompts.values(), "")]
    pairs.append(("", ""))
    words = len(LONG_TEXT_UNIT.split())
    pairs += [(prompts[0], LONG_TEXT_UNIT * (share * max_tokens // words)) for share in (1, 2)]
    return list(dict.fromkeys(pairs))


def make_golden(source: Source, max_tokens: int) -> list[GoldenText]:
    """Reference ids and full-dimension vectors from plain Sentence Transformers, one text at a time.

    Texts are cut to `max_tokens`, at most the model's own limit. A text that gives no token (possible
    without special tokens) is left out. Vectors stay with the source, for its next runtime.
    """
    golden: list[GoldenText] = []
    known: dict[tuple[str, tuple[int, ...]], list[float]] = source.known.setdefault(GOLDEN_NAME, {})
    limit, source.model.max_seq_length = source.model.max_seq_length, max_tokens
    try:
        for prompt, text in golden_texts(source.model.prompts, max_tokens):
            ids = source.model.preprocess([prompt + text])["input_ids"][0].tolist()
            key = (prompt, tuple(ids))  # two long texts are the same once they are cut
            if ids and key not in known:
                vector = source.model.encode(text, prompt=prompt, normalize_embeddings=True)
                known[key] = [float(x) for x in vector]
            if ids:
                golden.append(GoldenText(text, prompt, ids, known[key]))
    finally:
        source.model.max_seq_length = limit
    return golden


def write_golden(path: Path, golden: list[GoldenText], dim: int) -> None:
    """Store golden.json at one dimension, its vectors truncated and renormalised."""
    vectors = truncate_normalise(np.array([g.vector for g in golden], dtype=np.float32), dim)
    rows = [
        {**vars(text), "vector": [float(f"{x:.{STORED_DIGITS}g}") for x in vector]}
        for text, vector in zip(golden, vectors, strict=True)
    ]
    write_json(path, {"dim": dim, "texts": rows})


def read_golden(folder: Path, longest: int | None = None) -> list[GoldenText]:
    """The golden texts of an artifact folder, of up to `longest` tokens."""
    path = folder / GOLDEN_NAME
    content = read_json(path)
    if not isinstance(content, dict) or not content.get("texts"):
        raise UserError(f"{path}: it holds no golden texts")
    golden = [from_dict(GoldenText, row, str(path)) for row in content["texts"]]
    return [text for text in golden if len(text.ids) <= (longest or len(text.ids))]


def golden_results(embedder: Embedder, longest: int | None = None) -> list[GoldenResult]:
    """Embed an artifact's golden texts of up to `longest` tokens, one at a time; compare ids and vectors."""
    return [golden_result(embedder, text) for text in read_golden(embedder.artifact.path, longest)]


def golden_result(embedder: Embedder, golden: GoldenText) -> GoldenResult:
    """One golden text embedded. Raises UserError where the artifact gives no vector for it."""
    tokenizer = embedder.tokenizer
    ids = tokenizer.ids(golden.text, golden.prompt)
    vectors = embedder.run(tokenizer.batch([ids], tokenizer.prompt_tokens(golden.prompt)))
    return compare_vector(golden, vectors[0], ids == golden.ids)


def compare_vector(golden: GoldenText, vector: Float32, ids_equal: bool) -> GoldenResult:
    """A golden text beside the vector [n] that a client made of it, and whether its ids were right."""
    right = np.array(golden.vector, dtype=np.float32)
    same_length = vector.shape == right.shape
    return GoldenResult(
        prompt=golden.prompt,
        text=golden.text,
        tokens=len(golden.ids),
        ids_equal=ids_equal,
        cosine=float(row_cosines(vector[None], right[None])[0]) if same_length else -1.0,
        norm=float(np.linalg.norm(vector.astype(np.float64))),
        finite=bool(np.isfinite(vector).all()),
    )


def golden_parity(embedder: Embedder, longest: int | None = None) -> Parity:
    """The golden results of an artifact in four figures."""
    return summarise(golden_results(embedder, longest))


def summarise(results: Sequence[GoldenResult]) -> Parity:
    """Mean and worst of golden results. At least one is given."""
    worst = min(results, key=lambda one: one.cosine)
    return Parity(
        cosine_mean=float(np.mean([one.cosine for one in results])),
        cosine_min=worst.cosine,
        worst_text=(worst.prompt + worst.text)[:60],
        ids_equal=all(one.ids_equal for one in results),
    )


def row_cosines(left: Float32, right: Float32) -> npt.NDArray[np.float64]:
    """Cosine of corresponding rows of two [n, d] arrays; a non-finite row counts as -1."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity over infinity, and times zero
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines: npt.NDArray[np.float64] = np.sum(a * b, axis=1) / np.where(norms > 0, norms, 1)
    return np.where(np.isfinite(cosines), cosines, -1.0)
