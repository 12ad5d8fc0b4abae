"""The training of the starter on a tiny student: what it minimises, its order, and resuming to the bit."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_starter
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import tools.starter.texts
from common.errors import UserError
from tools.starter.batches import Order, Place, batches, training_shards
from tools.starter.encoding import encode_shard
from tools.starter.fit import FitConfig, Run, fit, machine_of
from tools.starter.loss import Reading, Sides, losses, spare
from tools.starter.state import STATE_NAME, averaged
from tools.starter.words import NONE

CONFIG = FitConfig(steps=2, dims=tiny_starter.DIMS, bfloat16=False, warmup=1)


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    folder = tmp_path_factory.mktemp("order")
    return tiny_starter.write_order(folder, tiny_starter.write_donor(folder / "donor"))


def trained(order: Order, folder: Path, config: FitConfig) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    machine = machine_of(tiny_starter.new_student(order.donor), config)
    fit(machine, order, config, Run(folder), print)
    return load_file(folder / STATE_NAME)


def test_an_interrupted_run_reaches_the_same_weights_to_the_bit(order: Order, tmp_path: Path) -> None:
    whole = trained(order, tmp_path / "whole", CONFIG)
    trained(order, tmp_path / "parts", dataclasses.replace(CONFIG, steps=1))
    parts = trained(order, tmp_path / "parts", CONFIG)
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


def test_a_step_moves_the_table_the_layers_the_head_and_the_probes(order: Order, tmp_path: Path) -> None:
    before = tiny_starter.new_student(order.donor).state_dict()
    after = trained(order, tmp_path, CONFIG)
    still = [name for name, value in before.items() if torch.equal(after[f"student.{name}"], value)]
    assert still == []


def test_a_state_of_other_settings_is_refused(order: Order, tmp_path: Path) -> None:
    trained(order, tmp_path, CONFIG)
    with pytest.raises(UserError, match=r"was made with rate 0.001, not 0.1; choose another run folder"):
        trained(order, tmp_path, dataclasses.replace(CONFIG, rate=0.1))


def test_the_rate_rises_stays_and_falls_to_zero_at_the_end() -> None:
    config = FitConfig(warmup=4, steps=100, decay=20, matrix_rate=1.0, table_rate=0.5, rate=0.25)
    found = [config.rates(step) for step in (0, 3, 80, 90, 100)]
    assert [matrix for matrix, _, _ in found] == [0.25, 1, 1, 0.5, 0]
    assert all((table, rest) == (matrix / 2, matrix / 4) for matrix, table, rest in found)


def test_words_keep_their_weight_until_it_falls_to_nothing_at_the_end() -> None:
    config = FitConfig(steps=100, decay=20, words_decay=10)
    assert [config.words_left(step) for step in (0, 90, 95, 100)] == [1, 1, 0.5, 0]
    teacher = Sides(*torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=2))
    words, read = torch.randn(2, 10, 8)
    seen = torch.ones(10, dtype=torch.bool)
    found = losses(teacher, Reading(teacher.both(), read, seen), teacher, words, [8])
    assert float(found.total() - found.total(0.5)) == pytest.approx(2 * float(found.words), rel=1e-4)


def test_the_order_can_be_entered_anywhere_and_goes_on_for_ever(order: Order) -> None:
    run = batches(order, Place())
    first = [next(run) for _ in range(9)]
    places = [Place(), *(batch.after for batch in first)]
    assert max(place.epoch for place in places) >= 1
    for place, batch in zip(places, first, strict=False):
        assert torch.equal(next(batches(order, place)).passages.ids, batch.passages.ids)


def test_an_epoch_has_every_row_once_and_epochs_differ(order: Order) -> None:
    epochs: list[list[torch.Tensor]] = [[], []]
    place = Place()
    for batch in batches(order, place):
        if place.epoch > 1:
            break
        epochs[place.epoch] += list(batch.teacher.queries)
        place = batch.after
    sums = [sorted(float(vector.sum()) for vector in epoch) for epoch in epochs]
    assert len(sums[0]) == 60
    assert sums[0] == sums[1]
    assert not all(torch.equal(a, b) for a, b in zip(*epochs, strict=True))


def test_words_get_capitals_in_some_rows_and_stay_the_teachers_words(order: Order) -> None:
    shard = training_shards(order)[0]
    plain, some = encode_shard(shard, order.donor), encode_shard(shard, order.donor, 0.5)
    tokenizer = Tokenizer.from_file(str(order.donor / "tokenizer.json"))
    changed = 0
    for before, after in zip(plain.passages, some.passages, strict=True):
        texts = [tokenizer.decode(one.ids.tolist()) for one in (before, after)]
        assert texts[0].lower() == texts[1].lower()
        assert set(before.words.tolist()) == set(after.words.tolist())
        changed += texts[0] != texts[1]
    assert 10 < changed < 50


def test_batches_stay_below_their_tokens(order: Order) -> None:
    run = batches(order, Place())
    sizes = [(b.queries.ids.numel() + b.passages.ids.numel()) for b in (next(run) for _ in range(6))]
    assert max(sizes) <= order.tokens


def reading(sides: Sides, words: torch.Tensor) -> Reading:
    return Reading(sides.both(), words, torch.ones(len(words), dtype=torch.bool))


def test_a_student_that_has_become_the_teacher_has_nothing_to_learn_of_it() -> None:
    teacher = Sides(*torch.nn.functional.normalize(torch.randn(2, 8, 24), dim=2))
    words = torch.randn(30, 24)
    found = losses(teacher, reading(teacher, words), teacher, words, [24])
    assert float(found.cosine) == pytest.approx(0, abs=1e-6)
    assert float(found.neighbours) == pytest.approx(0, abs=1e-5)
    assert float(found.words) == 0
    assert float(losses(teacher, reading(teacher, words), teacher, words, [12]).neighbours) > 0.1


def test_words_are_missed_by_their_share_of_the_squares_and_only_where_they_were_seen() -> None:
    teacher = Sides(*torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=2))
    words, read = torch.randn(2, 10, 8)
    seen = torch.arange(10) < 6
    found = losses(teacher, Reading(teacher.both(), read, seen), teacher, words, [8])
    expected = (read - words)[:6].square().sum() / words[:6].square().sum()
    assert float(found.words) == pytest.approx(float(expected))


def test_a_word_is_read_from_the_mean_of_its_tokens(order: Order) -> None:
    student = tiny_starter.new_student(order.donor)
    states = torch.randn(2, 3, 16)
    words = torch.tensor([[NONE, 0, 0], [2, NONE, 3]])
    read, seen = student.read_words([states[:1], states[1:]], [words[:1], words[1:]], 4)
    means = torch.stack([states[0, 1:].mean(0), torch.zeros(16), states[1, 0], states[1, 2]])
    torch.testing.assert_close(read, student.word_probe(means))
    assert seen.tolist() == [True, False, True, True]


def test_a_passage_that_the_teacher_prefers_to_the_answer_is_no_wrong_answer() -> None:
    queries, passages = torch.eye(3)[[0, 1]], torch.eye(3)[[1, 0]]
    student, words = Sides(queries, passages), torch.randn(2, 3)
    same = Sides(queries, queries)
    assert float(losses(student, reading(student, words), student, words, [3]).answer) == pytest.approx(0)
    assert float(losses(student, reading(student, words), same, words, [3]).answer) > 10


def test_ranking_is_judged_by_its_order_not_by_the_scale_of_its_scores() -> None:
    teacher = Sides(*torch.nn.functional.normalize(torch.randn(2, 12, 24), dim=2))
    offset = torch.ones(12, 1)  # one more number, the same in all texts, brings all of them nearer
    shifted = Sides(torch.cat([teacher.queries, offset], 1), torch.cat([teacher.passages, offset], 1))
    other = Sides(*torch.randn(2, 12, 24))
    assert float(spare(shifted, other, teacher)) > 3
    assert float(spare(other, shifted, teacher)) == 0


def test_a_part_that_makes_the_ranking_twice_as_wrong_is_spared_nothing() -> None:
    teacher, student = (Sides(*torch.randn(2, 12, 24)) for _ in range(2))
    assert float(spare(student, student, teacher)) == pytest.approx(math.log(2))
    student.queries.requires_grad_()
    without = Sides(torch.randn(12, 24, requires_grad=True), teacher.passages)
    spare(without, student, without).backward()  # type: ignore[no-untyped-call]
    assert student.queries.grad is None


def test_passages_that_are_all_the_same_or_ranked_exactly_right_give_no_infinite_loss() -> None:
    teacher = Sides(torch.eye(4)[:2], torch.eye(4)[[0, 0]])
    same, right = Sides(torch.eye(4)[:2], torch.eye(4)[[2, 2]]), Sides(torch.eye(4)[:2], torch.eye(4)[:2])
    for without, whole, order in ((same, right, teacher), (right, same, right), (right, right, right)):
        assert math.isfinite(float(spare(without, whole, order)))


def test_a_run_whose_loss_is_no_number_stops_and_keeps_its_state(order: Order, tmp_path: Path) -> None:
    trained(order, tmp_path, dataclasses.replace(CONFIG, steps=1))
    kept = (tmp_path / STATE_NAME).read_bytes()
    machine = machine_of(tiny_starter.new_student(order.donor), CONFIG)
    with torch.no_grad():
        machine.student.get_parameter("probe.weight").fill_(math.nan)
    with pytest.raises(UserError, match=r"step 0: the loss is not finite; the last state is kept"):
        fit(machine, order, CONFIG, Run(tmp_path / "other"), print)
    assert (tmp_path / STATE_NAME).read_bytes() == kept
    assert not (tmp_path / "other").exists()


def test_without_prompts_texts_keep_their_first_token_and_all_from_the_first_word_on(order: Order) -> None:
    batch = next(batches(order, Place()))
    tokens = batch.passages.first(3)
    bare = tokens.unprompted()
    for row in range(3):
        kept = tokens.ids[row][tokens.mask[row] > 0]
        start = int((tokens.words[row] != NONE).int().argmax())
        assert start > 3
        assert bare.ids[row][bare.mask[row] > 0].tolist() == [int(kept[0]), *kept[start:].tolist()]
        assert bare.ids[row][bare.mask[row] == 0].sum() == 0


def test_the_first_texts_come_without_padding_that_others_need(order: Order) -> None:
    batch = next(batches(order, Place()))
    tokens = dataclasses.replace(batch.queries, mask=batch.queries.mask.clone())
    tokens.mask[:2, 5:] = 0
    assert tokens.first(2).ids.shape == (2, 5)


def test_where_parts_are_needed_the_layers_learn_otherwise_in_every_second_step(
    order: Order, tmp_path: Path
) -> None:
    needed = dataclasses.replace(CONFIG, needed=True, steps=1)
    before, after = (
        trained(order, tmp_path / name, config)
        for name, config in (("a", dataclasses.replace(CONFIG, steps=1)), ("b", needed))
    )
    table = "student.encoder.embed_tokens.weight"
    assert not torch.equal(before[table], after[table])


def test_a_run_of_words_leaves_the_layers_alone_and_the_next_begins_from_it(
    order: Order, tmp_path: Path
) -> None:
    before = tiny_starter.new_student(order.donor).state_dict()
    after = trained(order, tmp_path, dataclasses.replace(CONFIG, wordy=True))
    layer, table = "encoder.layers.0.mlp.up_proj.weight", "encoder.embed_tokens.weight"
    assert torch.equal(after[f"student.{layer}"], before[layer])
    student = tiny_starter.new_student(order.donor)
    student.load_state_dict(averaged([tmp_path]))
    assert torch.equal(student.state_dict()[table], after[f"average.{table}"])
    assert not torch.equal(student.state_dict()[table], before[table])


def test_several_runs_give_the_mean_of_their_weights_or_what_one_learned_beyond_another(
    order: Order, tmp_path: Path
) -> None:
    first = trained(order, tmp_path / "a", dataclasses.replace(CONFIG, steps=1))
    second = trained(order, tmp_path / "b", dataclasses.replace(CONFIG, steps=3))
    name = "encoder.embed_tokens.weight"
    expected = (first[f"average.{name}"] + second[f"average.{name}"]) / 2
    assert torch.allclose(averaged([tmp_path / "a", tmp_path / "b"])[name], expected)
    assert torch.equal(averaged([tmp_path / "a"])[name], first[f"average.{name}"])
    runs = [tmp_path / "a", tmp_path / "b", tmp_path / "a"]
    beyond = 1.5 * second[f"average.{name}"] - 0.5 * first[f"average.{name}"]  # 1 + -1.5 of the first
    assert torch.allclose(averaged(runs, [1, 1.5, -1.5])[name], beyond, atol=1e-6)
    with pytest.raises(UserError, match=r"shares \[1, 1\]: must be one for each of 2 runs and sum to 1"):
        averaged(runs[:2], [1, 1])


def test_a_run_may_begin_with_a_later_shard(order: Order, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tools.starter.texts, "SHARD_ROWS", 20)
    shards = tiny_starter.write_order(tmp_path, order.donor)
    machine = machine_of(tiny_starter.new_student(order.donor), CONFIG)
    progress = fit(machine, dataclasses.replace(shards, first=2), CONFIG, Run(tmp_path), print)
    assert progress.place == Place(1, 0, 0)
    with pytest.raises(UserError, match=r"first shard 3: .* has 3 to train on, from 0"):
        next(batches(shards, Place(shard=3)))


def test_a_gentler_run_has_a_share_of_every_rate() -> None:
    config = FitConfig(steps=100, decay=20)
    assert config.gentler(0.25).rates(50) == tuple(0.25 * rate for rate in config.rates(50))


def test_batches_by_topic_are_of_passages_that_the_teacher_finds_alike(order: Order) -> None:
    def likeness(topics: int) -> float:
        run = batches(dataclasses.replace(order, topics=topics, tokens=150), Place())
        drawn = [batch for batch in itertools.islice(run, 30) if batch.after.epoch == 0]
        assert len(drawn) > 8
        return float(np.mean([one.teacher.passages.mean(0).norm() for one in drawn]))

    assert likeness(8) > likeness(1) + 0.05


def test_words_of_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no state.safetensors in it, which a run leaves"):
        averaged([tmp_path])


def test_the_layers_grow_as_loud_as_they_shall(order: Order, tmp_path: Path) -> None:
    grown = trained(order, tmp_path, dataclasses.replace(CONFIG, growing_steps=1, steps=4))
    factor = 1 + grown["student.encoder.layers.0.post_attention_layernorm.weight"]
    assert float(factor.square().mean().sqrt()) == pytest.approx(CONFIG.loud, rel=0.02)


def test_loudness_grows_by_the_same_share_each_step() -> None:
    config = FitConfig(growing_steps=4, quiet=0.1, loud=0.5)
    found = [config.loudness(step) for step in (0, 2, 4, 99)]
    assert found == pytest.approx([0.1, (0.1 * 0.5) ** 0.5, 0.5, 0.5])
