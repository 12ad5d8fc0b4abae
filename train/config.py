"""How to tune: one frozen dataclass, and the two recipes the project ships."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from common.dims import STANDARD_DIMS
from common.errors import UserError
from train.checkpoint import refuse_fp16

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
TARGET_GROUPS = {"attention": ATTENTION, "mlp": MLP, "all": ATTENTION + MLP}
REPORTERS = ("none", "tensorboard", "wandb")
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """LoRA + Matryoshka settings; the defaults are for google/embeddinggemma-300m.

    learning_rate: 2e-5 is what full fine-tuning of the model card's example uses. A LoRA update starts at
    zero and has far fewer weights, so it bears up to ten times as much (2e-4); above that, retrieval on
    unseen passages falls although the loss still does. 1e-4 lies between.

    batch_size: every other pair of a batch is a negative, so the batch is the task's difficulty: 64 to
    128. The loss caches gradients, so that memory depends on `mini_batch_size` alone.

    dims: Matryoshka dimensions; empty for the model's width and the standard ones below it.

    smallest_dim_weight: how often the loss counts the smallest dimension; the others count once.

    prompt_name: the model's prompt for queries, by name; None for its search prompt.

    train_head: also tune the Dense layers (all of their weights). They alone decide how the meaning is
    spread over the Matryoshka dimensions.
    """

    rank: int = 16
    alpha: int = 16
    dropout: float = 0.1
    targets: tuple[str, ...] = ATTENTION + MLP
    train_head: bool = False
    learning_rate: float = 1e-4
    epochs: int = 3
    batch_size: int = 64
    mini_batch_size: int = 32
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    scale: float = 20.0
    dims: tuple[int, ...] = STANDARD_DIMS
    smallest_dim_weight: float = 1.0
    patience: int = 2
    seed: int = 42
    dtype: str = "auto"
    report_to: str = "none"
    prompt_name: str | None = None

    def steps(self, pairs: int) -> int:
        """Optimiser steps of a full run over `pairs` rows."""
        return self.epochs * -(-pairs // self.batch_size)

    def settings(self) -> dict[str, Any]:
        """What decides the outcome, as JSON values: everything but the reporter."""
        values = dataclasses.asdict(dataclasses.replace(self, report_to="none"))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def __post_init__(self) -> None:
        refuse_fp16(self.dtype)
        _require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}")
        _require(self.report_to in REPORTERS, "report-to", self.report_to, f"one of {', '.join(REPORTERS)}")
        for name in ("rank", "alpha", "epochs", "mini_batch_size", "patience"):
            _require(getattr(self, name) >= 1, name.replace("_", "-"), getattr(self, name), "at least 1")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "at least 0 and below 2**32")
        _require(self.batch_size >= 2, "batch-size", self.batch_size, "at least 2, for in-batch negatives")
        _require(0 <= self.warmup_ratio < 1, "warmup-ratio", self.warmup_ratio, "at least 0 and below 1")
        _require(self.weight_decay >= 0, "weight-decay", self.weight_decay, "at least 0")
        _require(self.scale > 0, "scale", self.scale, "above 0")
        weight = self.smallest_dim_weight
        _require(weight > 0, "smallest-dim-weight", weight, "above 0")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")
        _require(0 < self.learning_rate < 1, "learning-rate", self.learning_rate, "above 0 and below 1")
        _require(bool(self.targets), "targets", self.targets, "at least one projection")
        _require(min(self.dims, default=1) >= 1, "dims", self.dims, "positive dimensions")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UserError(f"{name} {value!r}: must be {rule}")


STARTER_RECIPE = TrainConfig(
    targets=(*ATTENTION, "embed_tokens"),
    train_head=True,
    dropout=0.0,
    learning_rate=3e-4,
    epochs=2,
    smallest_dim_weight=4.0,
    mini_batch_size=64,
)
"""For the bundled starter: six small layers that bear a higher rate, and house words that its small table
must learn, so that embedding and head are tuned too. The smallest dimension, the weakest and the one that
phones ship, counts four times. Without dropout a step takes half the time on two cores. Measured on the
bundled set with the first starter (docs/starter.md): a third epoch lowers dev NDCG@10, rates of 1e-3 and
above lower it at once."""


def parse_targets(text: str) -> tuple[str, ...]:
    """Projection names from a group (attention, mlp, all) or a comma-separated list."""
    return TARGET_GROUPS.get(text) or tuple(part.strip() for part in text.split(",") if part.strip())
