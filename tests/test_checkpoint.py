"""train/checkpoint.py: a model is opened from safetensors only, and what cannot be opened is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import pocketvec
from common.errors import UserError
from train.checkpoint import (
    CHECKPOINT_NAME,
    FP16_NAMES,
    check_targets,
    load_sentence_transformer,
    read_checkpoint_info,
    refuse_fp16,
    refuse_pickled_weights,
    resolve_model,
    weights_sha256,
)

STARTER = Path(pocketvec.__file__).parent / "starter"
INFO = {
    "schema": "pocketvec.checkpoint/1",
    "base": "starter",
    "base_revision": None,
    "seed": 1,
    "data": {"name": "a"},
    "eval_data": {"dev": "b"},
    "dims": [96, 32],
    "prompts": {"query": "q: "},
    "before": {"dev": {"96": 0.5}},
    "after": {"dev": {"96": 0.75}},
    "merge_max_abs_difference": 1e-7,
    "sliding_window": None,
    "settings": {"rank": 16},
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub out of reach, also when an earlier test has imported its library already."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def model_folder(folder: Path, *files: str) -> Path:
    for name in ("config.json", "modules.json", *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("dtype", [*FP16_NAMES, "FLOAT16", "Half"])
def test_every_name_of_float16_is_refused_with_the_reason(dtype: str) -> None:
    with pytest.raises(UserError, match=f"'{dtype}': float16 is refused: .* 65504"):
        refuse_fp16(dtype)


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_other_types_are_taken(dtype: str) -> None:
    refuse_fp16(dtype)


def test_a_local_folder_is_taken_as_it_is_without_a_revision(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "model.safetensors")
    assert resolve_model(str(folder)) == (folder, None)


@pytest.mark.parametrize(
    "name", ["./absent", "/absent/model", "absent", "a/b/c", "../x/y", "own er/name", ""]
)
def test_a_name_that_is_neither_a_folder_nor_a_hub_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as refusal:
        resolve_model(name or str(tmp_path / "absent"))
    assert "no such folder, and not a hub id of the form owner/name" in str(refusal.value)
    assert name in str(refusal.value)


@pytest.mark.parametrize("name", ["no-such-owner/no-such-model", "a--b/c..d"])
def test_a_hub_id_that_is_not_there_gives_one_line_with_the_cure(offline: None, name: str) -> None:
    with pytest.raises(UserError) as refusal:
        resolve_model(name)
    assert str(refusal.value).startswith(f"model '{name}': no such folder, and the Hugging Face hub did not")
    assert "HF_TOKEN" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_without_modules_is_not_a_sentence_transformers_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "model.safetensors")
    (folder / "modules.json").unlink()
    with pytest.raises(UserError, match=r"it has no modules\.json"):
        resolve_model(str(folder))


def test_a_folder_without_any_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no safetensors weights"):
        resolve_model(str(model_folder(tmp_path / "model")))


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "2_Dense/pytorch_model.bin", "w.pt", "w.pth"],
)
def test_weights_that_are_only_pickled_are_refused_by_file(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "model", name)
    with pytest.raises(UserError, match="pickled weights only") as refusal:
        resolve_model(str(folder))
    assert str(folder / name) in str(refusal.value)


def test_safetensors_of_another_module_do_not_excuse_a_pickle(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "model.safetensors", "2_Dense/pytorch_model.bin")
    with pytest.raises(UserError, match="2_Dense"):
        refuse_pickled_weights(folder)


def test_a_pickle_beside_safetensors_is_left_alone(tmp_path: Path) -> None:
    refuse_pickled_weights(model_folder(tmp_path / "model", "model.safetensors", "pytorch_model.bin"))


def test_checkpoint_json_is_read_and_its_absence_is_not_an_error(tmp_path: Path) -> None:
    assert read_checkpoint_info(tmp_path) is None
    (tmp_path / CHECKPOINT_NAME).write_text(json.dumps(INFO))
    info = read_checkpoint_info(tmp_path)
    assert info is not None
    assert info.after["dev"]["96"] == 0.75


def test_a_checkpoint_json_with_another_field_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_NAME).write_text(json.dumps({**INFO, "epochs": 3}))
    with pytest.raises(UserError, match=r"checkpoint\.json: unknown field 'epochs'"):
        read_checkpoint_info(tmp_path)


def test_the_hash_of_a_model_changes_with_any_weight_or_configuration(tmp_path: Path) -> None:
    names = ("model.safetensors", "2_Dense/model.safetensors", "2_Dense/config.json", "modules.json")
    folder = model_folder(tmp_path / "model", *names)
    hashes = {weights_sha256(folder)}
    for name in names:
        (folder / name).write_text('{"changed": 1}')
        hashes.add(weights_sha256(folder))
    assert len(hashes) == len(names) + 1


def test_a_model_without_a_transformer_is_refused_by_its_first_module(offline: None, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    model.save_pretrained(str(tmp_path / "static"), create_model_card=False)
    with pytest.raises(UserError, match="its first module is StaticEmbedding"):
        load_sentence_transformer(tmp_path / "static")


def test_the_starter_model_loads_in_float32_for_inference(offline: None) -> None:
    model = load_sentence_transformer(STARTER)
    assert not model.training
    assert {str(weight.dtype) for weight in model.parameters()} == {"torch.float32"}


def test_a_target_the_model_lacks_is_refused_with_those_it_has(offline: None) -> None:
    model = load_sentence_transformer(STARTER)
    check_targets(model, ("q_proj", "embed_tokens"))
    with pytest.raises(UserError, match=r"target 'qproj': .* it has: .*q_proj"):
        check_targets(model, ("q_proj", "qproj"))


@pytest.mark.parametrize(
    "name",
    ["config.json", "modules.json", "tokenizer.json", "model.safetensors", "2_Dense/model.safetensors"],
)
def test_a_truncated_file_of_a_model_gives_one_line_naming_the_folder(
    offline: None, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(STARTER, folder)
    (folder / name).write_bytes((STARTER / name).read_bytes()[:100])
    with pytest.raises(UserError) as refusal:
        load_sentence_transformer(folder)
    assert str(refusal.value).startswith(f"{folder}: cannot be loaded as a Sentence Transformers model")


def test_a_model_without_one_of_its_modules_gives_one_line_naming_the_folder(
    offline: None, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(STARTER, folder, ignore=shutil.ignore_patterns("2_Dense"))
    with pytest.raises(UserError, match="cannot be loaded as a Sentence Transformers model"):
        load_sentence_transformer(folder)
