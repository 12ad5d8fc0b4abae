"""train/config.py: settings that cannot work are refused by name before anything loads."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import UserError
from train.config import ATTENTION, MLP, STARTER_RECIPE, TrainConfig, parse_targets


def test_the_defaults_are_valid_and_tune_every_projection() -> None:
    assert set(TrainConfig().targets) == set(ATTENTION + MLP)


def test_the_starter_recipe_weighs_every_dimension_and_tunes_the_embedding() -> None:
    assert STARTER_RECIPE.smallest_dim_weight > TrainConfig().smallest_dim_weight
    assert "embed_tokens" in STARTER_RECIPE.targets


def test_weights_without_dimensions_wait_for_the_models_own() -> None:
    assert TrainConfig(dims=()).dims == ()


@pytest.mark.parametrize("dtype", ["fp16", "float16", "half", "f16", "FP16", "Float16"])
def test_fp16_is_refused_with_the_reason_and_what_to_use(dtype: str) -> None:
    with pytest.raises(UserError) as refusal:
        TrainConfig(dtype=dtype)
    for part in (f"'{dtype}'", "65504", "float32", "bfloat16"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dtype", "int8", "dtype 'int8': must be one of auto, float32, bfloat16"),
        ("report_to", "email", "report-to 'email': must be one of none, tensorboard, wandb"),
        ("rank", 0, "rank 0: must be at least 1"),
        ("seed", -1, "seed -1: must be at least 0 and below 2**32"),
        ("alpha", 0, "alpha 0: must be at least 1"),
        ("epochs", 0, "epochs 0: must be at least 1"),
        ("mini_batch_size", 0, "mini-batch-size 0: must be at least 1"),
        ("patience", -1, "patience -1: must be at least 1"),
        ("batch_size", 1, "batch-size 1: must be at least 2, for in-batch negatives"),
        ("dropout", -0.1, "dropout -0.1: must be at least 0 and below 1"),
        ("dropout", 1.0, "dropout 1.0: must be at least 0 and below 1"),
        ("learning_rate", 0.0, "learning-rate 0.0: must be above 0 and below 1"),
        ("learning_rate", 1.0, "learning-rate 1.0: must be above 0 and below 1"),
        ("learning_rate", float("nan"), "learning-rate nan: must be above 0 and below 1"),
        ("targets", (), "targets (): must be at least one projection"),
        ("smallest_dim_weight", 0.0, "smallest-dim-weight 0.0: must be above 0"),
        ("dims", (768, 0), "dims (768, 0): must be positive dimensions"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_rule(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        TrainConfig(**{name: value})
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dtype", "bfloat16"),
        ("report_to", "wandb"),
        ("rank", 1),
        ("batch_size", 2),
        ("dropout", 0.0),
        ("learning_rate", 0.999),
        ("dims", (1,)),
        ("dims", ()),
        ("smallest_dim_weight", 2.0),
    ],
)
def test_a_value_at_the_edge_is_taken(name: str, value: Any) -> None:
    assert getattr(TrainConfig(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("attention", ("q_proj", "k_proj", "v_proj", "o_proj")),
        ("mlp", ("gate_proj", "up_proj", "down_proj")),
        ("all", ATTENTION + MLP),
        ("q_proj", ("q_proj",)),
        ("q_proj, v_proj ,", ("q_proj", "v_proj")),
        ("", ()),
    ],
)
def test_targets_are_a_group_or_a_list(text: str, targets: tuple[str, ...]) -> None:
    assert parse_targets(text) == targets
