"""The exported fp32 graph against SentenceTransformer.encode: the same vectors, however texts are batched."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from export.artifact import Artifact, open_artifact
from export.embedder import Embedder
from export.golden import golden_parity, row_cosines
from export.source import Source
from export.tokenizer import TokenBatch

WORDS = ["brine", "rises", "where", "the", "wind", "has", "been", "and", "falls", "rain", "was", "it"]
WINDOW = 64
"""The starter's one-sided attention window, in tokens."""


def text_of(tokens: int, seed: int = 0) -> str:
    """A text of about `tokens` tokens, most words here being one token."""
    generator = np.random.default_rng(seed)
    return " ".join(generator.choice(WORDS, size=max(1, tokens)))


@pytest.fixture(scope="module", params=[768, 128])
def embedder(request: pytest.FixtureRequest, artifacts: Path) -> Embedder:
    return Embedder.open(artifacts / f"onnx-fp32-{request.param}d")


def reference(starter: Source, texts: list[str], prompt: str, dim: int) -> np.ndarray:
    vectors = starter.model.encode(texts, prompt=prompt, truncate_dim=dim, normalize_embeddings=True)
    return np.asarray(vectors)


@pytest.mark.parametrize("tokens", [1, 10, WINDOW, WINDOW + 1, 3 * WINDOW, 500, 2048])
def test_one_text_of_any_length_equals_encode(embedder: Embedder, starter: Source, tokens: int) -> None:
    texts = [text_of(tokens)]
    expected = reference(starter, texts, "", embedder.manifest.dim)
    assert row_cosines(embedder.embed(texts), expected).min() > 0.999999


@pytest.mark.parametrize("prompt_name", ["query", "document", "STS"])
def test_seven_texts_of_mixed_length_equal_encode(
    embedder: Embedder, starter: Source, prompt_name: str
) -> None:
    texts = [text_of(tokens, tokens) for tokens in (1, 3, 9, 40, 70, 200, 600)]
    prompt = embedder.manifest.prompts[prompt_name]
    expected = reference(starter, texts, prompt, embedder.manifest.dim)
    assert row_cosines(embedder.embed(texts, prompt_name), expected).min() > 0.999999


def padded(rows: list[list[int]], length: int, side: str) -> TokenBatch:
    ids, mask = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), np.int64)
    for index, row in enumerate(rows):
        start = length - len(row) if side == "left" else 0
        ids[index, start : start + len(row)] = row
        mask[index, start : start + len(row)] = 1
    return TokenBatch(ids, mask)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [20, 300, 2048])
def test_padding_and_neighbours_do_not_change_a_vector(embedder: Embedder, side: str, length: int) -> None:
    rows = [embedder.tokenizer.ids(text_of(tokens, tokens)) for tokens in (1, 5, 12)]
    alone = np.concatenate([embedder.run(embedder.tokenizer.batch([row])) for row in rows])
    together = embedder.run(padded(rows, length, side))
    assert np.isfinite(together).all()
    assert np.abs(alone - together).max() < 1e-5


def test_vectors_have_exactly_dim_floats_of_unit_norm(embedder: Embedder) -> None:
    vectors = embedder.embed([text_of(n) for n in (1, 30, 100)], "query")
    assert vectors.shape == (3, embedder.manifest.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_golden_texts_agree_to_five_nines(embedder: Embedder) -> None:
    parity = golden_parity(embedder)
    assert parity.ids_equal
    assert parity.cosine_min >= 0.99999, parity.worst_text


def test_a_text_beyond_the_limit_is_cut_as_the_checkpoint_cuts_it(
    embedder: Embedder, starter: Source
) -> None:
    ids = embedder.tokenizer.ids(text_of(5000))
    assert ids == starter.model.preprocess([text_of(5000)])["input_ids"][0].tolist()
    assert len(ids) == embedder.manifest.max_tokens


def test_words_beyond_the_sliding_window_still_reach_the_vector(embedder: Embedder) -> None:
    near = text_of(4 * WINDOW)
    far = near.rsplit(" ", 1)[0] + " zebra"
    assert row_cosines(embedder.embed([near]), embedder.embed([far]))[0] < 0.99999


def test_a_tokenizer_that_pads_left_gives_the_same_vectors(artifacts: Path) -> None:
    artifact = open_artifact(artifacts / "onnx-fp32-128d")
    spec = dataclasses.replace(artifact.manifest.tokenizer, padding_side="left")
    left = Embedder(Artifact(artifact.path, dataclasses.replace(artifact.manifest, tokenizer=spec)))
    texts = [text_of(tokens, tokens) for tokens in (1, 7, 90, 200)]
    batch = left.tokenizer.batch([left.tokenizer.ids(text) for text in texts])
    assert batch.attention_mask[0, 0] == 0
    assert batch.attention_mask[0, -1] == 1
    assert np.abs(left.embed(texts) - Embedder(artifact).embed(texts)).max() < 1e-5
