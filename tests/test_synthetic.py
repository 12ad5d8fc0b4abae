"""Checkpoints of a shape with random weights: real to every stage, meaningless, and saying so."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from transformers import Gemma3TextConfig, Gemma3TextModel

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder
from export.source import open_source
from export.to_onnx import export_onnx
from pocketvec import STARTER_MODEL
from pocketvec.cli import main
from quantize.quantize import quantize_artifact
from train.shapes import FULL, SHAPES, SLIDING, STARTER, Shape, find_shape, read_shape
from train.synthetic import SyntheticConfig, write_synthetic

ROWS = 17_408
"""A little more than the starter's tokenizer has, so that it is grown."""
TINY = Shape("tiny", ROWS, 64, 96, (SLIDING, FULL), 2, 1, 32, 64, 128, (128, 96))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "checkpoint"
    write_synthetic(TINY, STARTER_MODEL, folder, SyntheticConfig(seed=3))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_it_goes_from_export_over_quantize_to_a_vector(tiny: Path, tmp_path: Path) -> None:
    (fp32,) = export_onnx(open_source(str(tiny)), [96], tmp_path)
    q4_0 = quantize_artifact(fp32, "q4_0", tmp_path / "q4_0")
    texts = ["How strong must the brine be?", "x " * 400]
    exact, rounded = (Embedder.open(one).embed(texts, prompt_name="query") for one in (fp32, q4_0))
    assert exact.shape == (2, 96)
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1, atol=1e-5)
    assert (exact * rounded).sum(axis=1).min() > 0.9
    assert "random weights" in open_artifact(q4_0).manifest.model.base


def test_activations_stay_near_one(tiny: Path) -> None:
    import torch

    model = Gemma3TextModel.from_pretrained(tiny).eval()
    with torch.inference_mode():
        states = model(torch.arange(2, 66)[None], output_hidden_states=True).hidden_states
    assert all(0.5 < float(state.std()) < 5 for state in states)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tiny: Path, tmp_path: Path) -> None:
    write_synthetic(TINY, STARTER_MODEL, tmp_path / "same", SyntheticConfig(seed=3))
    write_synthetic(TINY, STARTER_MODEL, tmp_path / "other", SyntheticConfig(seed=4))
    assert hashes(tmp_path / "same") == hashes(tiny)
    differ = {name for name, one in hashes(tmp_path / "other").items() if hashes(tiny)[name] != one}
    assert {"model.safetensors", "2_Dense/model.safetensors", "tokenizer.json"} <= differ


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_the_weights_that_transformers_wants(name: str) -> None:
    import torch

    shape = SHAPES[name]
    config = Gemma3TextConfig(
        vocab_size=shape.rows,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        layer_types=list(shape.layer_types),
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
    )
    with torch.device("meta"):
        wanted = {name: tuple(one.shape) for name, one in Gemma3TextModel(config).named_parameters()}
    assert dict(shape.encoder_weights()) == wanted


def test_embeddinggemma_has_the_parameters_that_its_card_states() -> None:
    shape = SHAPES["embeddinggemma-300m"]
    encoder = sum(int(np.prod(size)) for _, size in shape.encoder_weights())
    assert encoder == 302_863_104
    assert encoder + sum(one.values for one in shape.dense_layers) == 307_581_696


def test_a_shape_comes_from_a_folder_or_its_config(tiny: Path) -> None:
    assert read_shape(STARTER_MODEL / "config.json") == STARTER
    for path in (tiny, tiny / "config.json"):
        found = find_shape(str(path))
        assert found.name == "checkpoint"
        assert found == Shape("checkpoint", *[getattr(TINY, field) for field in list(vars(TINY))[1:]])


def test_the_checkpoint_says_that_it_means_nothing(tiny: Path) -> None:
    assert "mean nothing" in (tiny / "README.md").read_text()
    assert "random weights" in json.loads((tiny / "checkpoint.json").read_text())["base"]
    with safe_open(tiny / "model.safetensors", framework="numpy") as weights:
        assert "mean nothing" in weights.metadata()["pocketvec"]


def test_bfloat16_is_the_same_draw_at_half_the_size(tiny: Path, tmp_path: Path) -> None:
    import torch

    write_synthetic(TINY, STARTER_MODEL, tmp_path / "half", SyntheticConfig(seed=3, dtype="bfloat16"))
    halves, wholes = tmp_path / "half" / "model.safetensors", tiny / "model.safetensors"
    assert halves.stat().st_size < 0.51 * wholes.stat().st_size
    with safe_open(halves, framework="pt") as half, safe_open(wholes, framework="pt") as whole:
        for name in whole.keys():  # noqa: SIM118 - it is no dict
            assert torch.allclose(half.get_tensor(name).float(), whole.get_tensor(name), rtol=2**-8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shape", "gemma-9"], "known are embeddinggemma-300m, starter"),
        (["--shape", "starter", "--tokenizer-size", "9"], "tokenizer size 9: must lie between the 16384"),
        (["--shape", "starter", "--tokenizer-size", "16385"], "tokenizer size 16385"),
        (["--shape", "LARGE"], "tokenizer of 1000000 pieces: more than Unicode has letters for"),
        (["--tokenizer-size", "16400"], "tokenizer of 16400 pieces: too few to grow to from 16384"),
        (["--shape", "starter", "--dtype", "float16"], "float16 is refused"),
        (["--shape", "starter", "--dtype", "int3"], "dtype 'int3'"),
        (["--shape", "starter", "--seed", "-1"], "seed -1"),
    ],
)
def test_a_bad_request_is_one_line_and_writes_nothing(
    options: list[str],
    said: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = json.loads((STARTER_MODEL / "config.json").read_text()) | {"vocab_size": 1_000_000}
    large = tmp_path_factory.mktemp("large") / "config.json"
    large.write_text(json.dumps(config))
    options = [str(large) if one == "LARGE" else one for one in options]
    assert main(["synth", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")
    assert main(["synth", "--shape", "starter", "--out", str(tmp_path)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "bert"}, "model_type 'bert'"),
        ({"use_bidirectional_attention": False}, "not bidirectional"),
        ({"hidden_size": "256"}, "hidden_size is '256'"),
        ({"head_dim": None}, "head_dim is None"),
        ({"num_hidden_layers": 7}, "layer_types"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3"),
    ],
)
def test_a_config_of_another_kind_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    config = json.loads((STARTER_MODEL / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=said):
        find_shape(str(tmp_path))
