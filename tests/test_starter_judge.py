"""What a checkpoint's parts are worth, measured on checkpoints of which it is known."""

from pathlib import Path
from typing import Any

import pytest
import tiny_starter
import torch

from common.errors import UserError
from pocketvec import BUNDLED_DATA
from tools.starter.assemble import assemble
from tools.starter.fit import FitConfig, machine_of
from tools.starter.judge import Sample, faults, judge, read_sample
from tools.starter.state import Progress, save_state
from train.checkpoint import load_sentence_transformer

FEW = Sample(queries=6, others=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose student is at its beginning but for a second layer that adds nothing."""
    folder = tmp_path_factory.mktemp("run")
    student = tiny_starter.new_student(tiny_starter.write_donor(folder / "donor"))
    last = student.encoder.layers[1]
    for norm in (last.post_attention_layernorm, last.post_feedforward_layernorm):
        torch.nn.init.constant_(norm.weight, -1)
    save_state(folder, machine_of(student, FitConfig()), Progress(), {})
    return folder


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Path:
    assemble([run], run / "donor", run / "checkpoint")
    return run / "checkpoint"


def test_a_layer_that_adds_nothing_is_worth_nothing_and_the_other_something(checkpoint: Path) -> None:
    found = dict(judge(checkpoint, read_sample(BUNDLED_DATA, "test", FEW), 40))
    assert found["layer 1 skipped"] == found["as it is"]
    assert found["layer 0 skipped"] == found["all layers skipped"]


def test_every_fault_moves_the_vectors_and_is_mended_again(checkpoint: Path) -> None:
    model = load_sentence_transformer(checkpoint, device="cpu")
    text = "the tide book gives the height and the board gives the truth " * 4

    def vector() -> Any:
        return model.encode(text, prompt_name="query", normalize_embeddings=True)

    right, moved = vector(), {}
    for name, fault in faults(model):
        with fault:
            moved[name] = float(abs(vector() - right).max())
        assert abs(vector() - right).max() == 0, name
    assert {name for name, distance in moved.items() if distance == 0} == {"layer 1 skipped"}
    assert len(moved) == 10


def test_a_sample_has_every_answer_of_its_queries_and_so_many_other_passages() -> None:
    whole, part = (read_sample(BUNDLED_DATA, "test", one) for one in (Sample(), FEW))
    answers = {document for grades in part.qrels.values() for document in grades}
    assert list(part.queries) == list(whole.queries)[:6]
    assert len(part.documents) == len(answers) + 20
    assert answers <= {document.id for document in part.documents}
    untitled = read_sample(BUNDLED_DATA, "test", Sample(titles=False))
    assert not any(document.title for document in untitled.documents)


def test_an_assembled_checkpoint_gives_the_averaged_student_s_vectors(run: Path, checkpoint: Path) -> None:
    model = load_sentence_transformer(checkpoint, device="cpu")
    student = tiny_starter.new_student(run / "donor")
    student.encoder.layers = student.encoder.layers[:1]  # the second adds nothing
    student.encoder.config.num_hidden_layers = 1
    ids = model.tokenizer("salt and brine", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = torch.nn.functional.normalize(student(ids, torch.ones_like(ids))[0], dim=1)
    found = model.encode("salt and brine", convert_to_tensor=True)
    assert float(expected[0] @ found) > 0.999


def test_a_run_without_a_state_cannot_be_assembled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no state.safetensors in it, which a run leaves"):
        assemble([tmp_path], tmp_path, tmp_path / "out")
