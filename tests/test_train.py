"""Tuning the starter on a few pairs, end to end: seeds, resuming, merging, refusing."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from common.errors import UserError
from common.progress import silent
from pocketvec import STARTER_MODEL
from train.checkpoint import effective_window, load_sentence_transformer, read_checkpoint_info
from train.config import TrainConfig
from train.evaluate import MatryoshkaEvaluator, encode_prompted
from train.job import TrainJob, is_worse, run_training, worse_than_base
from train.merge import MERGE_LIMIT, merge_and_save
from train.pairs import read_training_data
from train.tune import attach_adapter, last_whole_checkpoint, remove_autocast

CONFIG = TrainConfig(
    rank=4,
    targets=("q_proj", "v_proj", "embed_tokens"),
    train_head=True,
    epochs=2,
    batch_size=8,
    mini_batch_size=8,
    dims=(768, 128),
)
PROBES = [("task: search result | query: ", "how strong is it"), ("", "a bank that leaks")]


def job(small_data: Path, out: Path, **changes: object) -> TrainJob:
    config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]
    return TrainJob(str(STARTER_MODEL), small_data, out, config, allow_worse=True)


@pytest.fixture(scope="module")
def checkpoint(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_training(job(small_data, tmp_path_factory.mktemp("train") / "checkpoint"), silent)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{file.parent.name}/{key}": tensor for file in files for key, tensor in load_file(file).items()}


def test_the_checkpoint_loads_with_plain_sentence_transformers(checkpoint: Path) -> None:
    model = SentenceTransformer(str(checkpoint), device="cpu")
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert model.encode("salt").shape == (768,)
    assert (checkpoint / "tokenizer.model").is_file()


def test_the_checkpoint_says_what_it_was_made_of(checkpoint: Path) -> None:
    info = read_checkpoint_info(checkpoint)
    assert info is not None
    assert info.merge_max_abs_difference <= MERGE_LIMIT
    assert info.base == "starter"
    assert set(info.before) == set(info.after) == {"dev", "test"}
    assert set(info.after["test"]) == {"768", "128"}
    assert info.prompts["query"] == "task: search result | query: "
    assert not list(checkpoint.parent.glob(".*"))


def test_every_tuned_part_moved_and_nothing_else(checkpoint: Path) -> None:
    before, after = weights(STARTER_MODEL), weights(checkpoint)
    moved = {key for key, tensor in after.items() if not torch.equal(tensor.float(), before_of(key, before))}
    assert any("embed_tokens" in key for key in moved)
    assert any("q_proj" in key for key in moved)
    assert any("2_Dense" in key for key in moved)
    assert not any(name in key for key in moved for name in ("k_proj", "norm", "gate_proj"))


def before_of(key: str, before: dict[str, torch.Tensor]) -> torch.Tensor:
    name = key.partition("/")[2]
    folder = key.partition("/")[0] if "Dense" in key else STARTER_MODEL.name
    return before[f"{folder}/{name}"].float()


def test_a_seed_makes_two_runs_equal(checkpoint: Path, small_data: Path, tmp_path: Path) -> None:
    again = run_training(job(small_data, tmp_path / "again"), silent)
    first, second = weights(checkpoint), weights(again)
    assert all(torch.equal(first[k], second[k.replace(checkpoint.name, again.name)]) for k in first)


def test_another_seed_gives_another_model(checkpoint: Path, small_data: Path, tmp_path: Path) -> None:
    other = run_training(job(small_data, tmp_path / "other", seed=1, epochs=1), silent)
    first, second = weights(checkpoint), weights(other)
    assert not all(torch.equal(first[k], second[k.replace(checkpoint.name, other.name)]) for k in first)


class InterruptedTestError(Exception):
    """Stands for whatever ends a process in the middle of training."""


class StopInSecondEpoch:
    """A Step that interrupts training after its fourth optimiser step, the first of the second epoch."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, note: str = "", amount: int = 1) -> None:
        self.steps += amount
        if self.steps == 4:
            raise InterruptedTestError


def test_an_interrupted_training_continues_to_the_same_weights(
    checkpoint: Path, small_data: Path, tmp_path: Path
) -> None:
    wanted = job(small_data, tmp_path / "resumed")
    with pytest.raises(InterruptedTestError):
        run_training(wanted, StopInSecondEpoch())
    assert not wanted.out.exists()
    resumed_from = 0

    def count(note: str = "", amount: int = 1) -> None:
        nonlocal resumed_from
        resumed_from += amount if note == "resumed" else 0

    run_training(wanted, count)
    assert resumed_from == 3
    first, second = weights(checkpoint), weights(wanted.out)
    for key, tensor in first.items():
        assert torch.allclose(tensor, second[key.replace(checkpoint.name, wanted.out.name)], atol=1e-6)


def test_an_interrupted_training_refuses_other_settings(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedTestError):
        run_training(job(small_data, tmp_path / "out"), StopInSecondEpoch())
    with pytest.raises(UserError, match="another learning_rate"):
        run_training(job(small_data, tmp_path / "out", learning_rate=1e-3), silent)


def test_an_interruption_before_the_first_whole_epoch_leaves_nothing(
    small_data: Path, tmp_path: Path
) -> None:
    def stop(note: str = "", amount: int = 1) -> None:
        raise InterruptedTestError

    with pytest.raises(InterruptedTestError):
        run_training(job(small_data, tmp_path / "out"), stop)
    assert not list(tmp_path.iterdir())


def test_a_half_written_epoch_is_never_continued_from(tmp_path: Path) -> None:
    for name, files in (("checkpoint-3", ["trainer_state.json"]), ("checkpoint-6", ["model.safetensors"])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text('{"epoch": 1}')
    (tmp_path / "checkpoint-9").mkdir()
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text('{"epo')
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-3")
    assert not (tmp_path / "checkpoint-6").exists()


def tuned_by_hand() -> SentenceTransformer:
    """The starter with an adapter whose updates are far from zero."""
    torch.manual_seed(0)
    model = load_sentence_transformer(STARTER_MODEL)
    attach_adapter(model, CONFIG)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def test_merging_changes_no_embedding(tmp_path: Path) -> None:
    model = tuned_by_hand()
    plain = encode_prompted(load_sentence_transformer(STARTER_MODEL), PROBES)
    attached = encode_prompted(model, PROBES)
    merged, proof = merge_and_save(model, STARTER_MODEL, effective_window(model), PROBES, tmp_path / "out")
    assert np.abs(attached - plain).max() > 100 * MERGE_LIMIT, "the adapter must do something"
    assert np.abs(encode_prompted(merged, PROBES) - attached).max() <= MERGE_LIMIT
    assert proof.max_abs_difference <= MERGE_LIMIT


def test_a_merge_that_moves_an_embedding_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora import Linear

    model = tuned_by_hand()
    monkeypatch.setattr(Linear, "merge", lambda self, **kwargs: None)  # forgets the update
    with pytest.raises(UserError, match=r"moved an embedding by .*; the limit is 1e-04"):
        merge_and_save(model, STARTER_MODEL, effective_window(model), PROBES, tmp_path / "out")


def test_a_checkpoint_whose_sliding_window_changed_is_refused(tmp_path: Path) -> None:
    model = tuned_by_hand()
    window = effective_window(model)
    assert window is not None
    with pytest.raises(UserError, match="the sliding window is"):
        merge_and_save(model, STARTER_MODEL, 2 * window, PROBES, tmp_path / "out")


def test_a_model_worse_than_its_base_is_refused_with_both_numbers() -> None:
    before = {"768": 0.5, "128": 0.5}
    assert is_worse(before, {"768": 0.5, "128": 0.4})
    assert not is_worse(before, {"768": 0.6, "128": 0.4})
    assert "from 0.5000 to 0.4500" in str(worse_than_base(before, {"768": 0.5, "128": 0.4}))


def test_a_worse_model_leaves_nothing_behind(small_data: Path, tmp_path: Path) -> None:
    ruinous = dataclasses.replace(job(small_data, tmp_path / "out", learning_rate=0.5), allow_worse=False)
    with pytest.raises(UserError, match=r"tuning lowered dev NDCG@10 .*--allow-worse"):
        run_training(ruinous, silent)
    assert not list(tmp_path.iterdir())


def test_mixed_precision_leaves_no_trace_in_the_tuned_model() -> None:
    model = load_sentence_transformer(STARTER_MODEL)
    plain = encode_prompted(model, PROBES)
    AcceleratorState._reset_state(reset_partial_state=True)  # left by the trainings above
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    try:
        accelerator.prepare_model(model)
        assert np.abs(encode_prompted(model, PROBES) - plain).max() > MERGE_LIMIT, (
            "the control: bfloat16 shows"
        )
        remove_autocast(accelerator, model)
        assert np.array_equal(encode_prompted(model, PROBES), plain)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_weight_missing_from_the_files_is_named_instead_of_made_up(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(STARTER_MODEL, broken)
    tensors = load_file(broken / "model.safetensors")
    gone = next(name for name in tensors if name.endswith("layers.2.mlp.down_proj.weight"))
    del tensors[gone]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"layers\.2\.mlp\.down_proj\.weight' is missing"):
        load_sentence_transformer(broken)


def test_a_default_prompt_of_the_model_is_not_applied_twice(tmp_path: Path) -> None:
    model = load_sentence_transformer(STARTER_MODEL)
    expected = encode_prompted(model, PROBES)
    model.default_prompt_name = "query"
    assert np.array_equal(encode_prompted(model, PROBES), expected)


def test_the_evaluator_agrees_with_embedding_at_each_dimension(small_data: Path) -> None:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    data = read_training_data(small_data, seed=0).splits["test"]
    model = load_sentence_transformer(STARTER_MODEL)
    ours = MatryoshkaEvaluator(data, (128,), model.prompts["query"]).by_dim(model)["128"]
    theirs = InformationRetrievalEvaluator(
        queries=data.queries,
        corpus={d.id: f"title: {d.title} | text: {d.text}" for d in data.documents},
        relevant_docs={query: set(grades) for query, grades in data.qrels.items()},
        query_prompt=model.prompts["query"],
        corpus_prompt="",  # it is in the texts; with None theirs puts the document prompt before it
        truncate_dim=128,
        write_csv=False,
    )(model)
    assert ours == pytest.approx(theirs["cosine_ndcg@10"], abs=1e-5)
