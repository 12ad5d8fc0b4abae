"""What the bundled starter is worth measuring for: every part of it matters, and a wrong pipeline costs."""

import numpy as np
import numpy.typing as npt
import pytest
from sentence_transformers import SentenceTransformer

from common.prompts import default_document_prompt
from pocketvec import BUNDLED_DATA, STARTER_MODEL
from tools.starter.judge import Sample, faults, planets, read_sample, scores
from train.checkpoint import effective_window, load_sentence_transformer
from train.evaluate import encode_prompted
from train.shapes import STARTER

LARGEST_BYTES = 18_000_000
COSTLY = {
    "all layers skipped": 0.05,
    "cls pooling": 0.5,
    "lasttoken pooling": 0.5,
    "max pooling": 0.03,
    "no prompts": 0.01,
    "Dense 1 misread": 0.03,
    "Dense 2 misread": 0.03,
}
"""What a fault costs at least, as a share of NDCG@10 on the bundled test split."""
LAYER_TURNS = 0.03
"""How far a layer turns the vectors at least, 1 - mean cosine: rounding to 8 bits, 0.0003."""

REACH = 64
"""Tokens that a sliding layer sees to either side, itself not counted."""

Float32 = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> SentenceTransformer:
    return load_sentence_transformer(STARTER_MODEL, device="cpu")


def passages(model: SentenceTransformer, texts: list[str]) -> Float32:
    return encode_prompted(model, [(default_document_prompt(model.prompts), text) for text in texts])


def test_its_weights_stay_small() -> None:
    weights = [path.stat().st_size for path in STARTER_MODEL.rglob("*.safetensors")]
    assert len(weights) == 3
    assert sum(weights) <= LARGEST_BYTES


def test_every_layer_turns_the_vectors(model: SentenceTransformer) -> None:
    texts = [one.text for one in read_sample(BUNDLED_DATA, "test", Sample()).documents[:60]]
    right = passages(model, texts)
    turned = {}
    for name, fault in faults(model):
        if name.startswith("layer "):
            with fault:
                turned[name] = 1 - float((passages(model, texts) * right).sum(axis=1).mean())
    assert len(turned) == len(STARTER.layer_types)
    assert {name: far for name, far in turned.items() if far < LAYER_TURNS} == {}


def test_half_a_window_moves_the_texts_beyond_it_alone(model: SentenceTransformer) -> None:
    words = "the keeper writes the height of the tide in the book every morning".split()  # noqa: SIM905
    texts = [" ".join((words * 12)[:count]) for count in (8, 90, 140)]
    right, half = passages(model, texts), dict(faults(model))["window halved"]
    with half:
        moved = np.abs(passages(model, texts) - right).max(axis=1)
    assert effective_window(model) == REACH + 1
    assert moved[0] < 1e-6
    assert moved[1:].min() > 1e-3


def test_wrong_pipelines_cost_ndcg(model: SentenceTransformer) -> None:
    data = read_sample(BUNDLED_DATA, "test", Sample())
    right = scores(model, data, [768])["768"]
    cost = {}
    for name, fault in faults(model):
        if name in COSTLY:
            with fault:
                cost[name] = 1 - scores(model, data, [768])["768"] / right
    assert cost.keys() == COSTLY.keys()
    assert {name: lost for name, lost in cost.items() if lost < COSTLY[name]} == {}


def test_mars_is_the_red_planet_by_a_clear_margin(model: SentenceTransformer) -> None:
    (first, most), (_, next_most) = sorted(planets(model).items(), key=lambda one: -one[1])[:2]
    assert first == "Mars"
    assert most - next_most > 0.02
