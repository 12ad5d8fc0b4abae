"""The training loop: resumable to the bit, with a constant rate that is brought down only at the end.

A run trains the table and the head without the layers, a bag of words; or everything, the layers growing
louder.
The hidden matrices go with Muon, which makes more of a step than AdamW does where steps are few; the token
table, norms, head and probe with AdamW. Evaluation takes the running average of the weights.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from common.dims import STANDARD_DIMS
from common.errors import UserError
from tools.starter.batches import Batch, Order, Place, Tokens, batches
from tools.starter.loss import Losses, Reading, Sides, losses, spare
from tools.starter.state import Machine, Progress, load_state, save_state
from tools.starter.student import Student, hold_branches, skipped
from tools.starter.teacher import wait_while

WORDY_TABLE_RATE = 1e-3
"""Of a run of words alone."""
BETAS = (0.9, 0.98)
CLIP = 1.0
YOUNG = 10
"""The average forgets faster while a run has not many times so many steps, so as not to hold its start."""
LOGGED_STEPS = 20
NEEDED_EVERY = 2
FEWEST_ROWS = 8


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    wordy: without the layers. With them, each branch grows from `quiet` to `loud` in growing_steps, its root
    mean square beside 1 of a token's vector. Rates are of Muon's matrices, the table and the rest.
    steps, decay: the rate is constant until `steps - decay` and falls to zero at `steps`, so that a run can
    be made longer as long as its decay has not begun. words_decay: over how many last steps the weight of the
    words falls to zero, since in the end it is the texts that count.
    average: share of the average that a step keeps. needed: whether in every second step a layer or,
    in their turn, the prompts are left out for a `needed_share` of the texts; without them the student must
    not do well. bfloat16: autocast, which is half again as fast on processors that have it.
    """

    wordy: bool = False
    growing_steps: int = 400
    quiet: float = 0.1
    loud: float = 0.5
    matrix_rate: float = 3e-3
    table_rate: float = 5e-4
    rate: float = 1e-3
    warmup: int = 100
    steps: int = 1_000_000
    decay: int = 1
    words_decay: int = 1
    average: float = 0.998
    needed: bool = False
    needed_share: float = 0.25
    weight_decay: float = 0.02
    dims: tuple[int, ...] = STANDARD_DIMS
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.decay <= self.steps:
            raise UserError(f"decay {self.decay}: must be above 0 and at most the {self.steps} steps")

    def settings(self) -> dict[str, Any]:
        """What a state cannot change; how long a run is can."""
        values = asdict(dataclasses.replace(self, steps=1, decay=1, words_decay=1))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def gentler(self, share: float) -> FitConfig:
        """The same with a share of each rate."""
        names = ("matrix_rate", "table_rate", "rate")
        return dataclasses.replace(self, **{name: share * getattr(self, name) for name in names})

    def rates(self, step: int) -> tuple[float, float, float]:
        """The rates of a step, counted from 0: of the matrices, the table and the rest."""
        factor = max(0.0, min(1.0, (step + 1) / self.warmup, (self.steps - step) / self.decay))
        return self.matrix_rate * factor, self.table_rate * factor, self.rate * factor

    def words_left(self, step: int) -> float:
        """The share of their weight that the words have at a step counted from 0."""
        return min(1.0, (self.steps - step) / self.words_decay)

    def loudness(self, step: int) -> float:
        """What a branch adds at a step; between `quiet` and `loud` it grows by the same share each step."""
        grown = min(1.0, step / self.growing_steps)
        return float(self.quiet * (self.loud / self.quiet) ** grown)


@dataclass(frozen=True)
class Run:
    """Where a run lives, how long it may go on, and what makes it wait."""

    folder: Path
    save_seconds: float = 240.0
    pause: Path | None = None


def machine_of(student: Student, config: FitConfig) -> Machine:
    """Optimisers and average around a student."""
    layers = [p for p in student.encoder.layers.parameters() if p.ndim == 2]
    table = [student.encoder.embed_tokens.weight]
    known = {id(p) for p in layers + table}
    rest = [p for p in student.parameters() if id(p) not in known]
    groups = [{"params": table, "lr": config.table_rate}, {"params": rest, "lr": config.rate}]
    matrices = torch.optim.Muon(
        layers, lr=config.matrix_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    others = torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.0, fused=True)
    return Machine(student, copy.deepcopy(student), (matrices, others))


def fit(machine: Machine, order: Order, config: FitConfig, run: Run, say: Callable[[str], None]) -> Progress:
    """Train until `config.steps`, from the folder's state where there is one; saves it on the way."""
    settings = config.settings() | {
        "seed": order.seed,
        "tokens": order.tokens,
        "capitals": order.capitals,
        "first": order.first,
        "topics": order.topics,
    }
    progress = load_state(run.folder, machine, settings) or Progress(place=Place(shard=order.first))
    saved, spent = time.monotonic(), time.process_time()
    recent: list[Losses] = []
    following = batches(order, progress.place)
    while progress.step < config.steps:
        wait_while(run.pause)
        batch = next(following)
        _prepare(machine, config, progress.step)
        recent.append(step(machine, batch, config, progress.step))
        if not math.isfinite(float(recent[-1].total())):
            raise UserError(f"step {progress.step}: the loss is not finite; the last state is kept")
        _follow(machine, min(config.average, (progress.step + 1) / (progress.step + YOUNG)))
        progress = Progress(progress.step + 1, progress.tokens + batch.tokens, batch.after)
        if progress.step % LOGGED_STEPS == 0:
            say(_line(progress, recent, time.process_time() - spent))
            recent, spent = [], time.process_time()
        if time.monotonic() - saved > run.save_seconds:
            save_state(run.folder, machine, progress, settings)
            saved = time.monotonic()
    save_state(run.folder, machine, progress, settings)
    return progress


def _prepare(machine: Machine, config: FitConfig, number: int) -> None:
    """Set the rates, and the loudness of the layers, of a step counted from 0."""
    student: Any = machine.student
    for group, rate in zip(_groups(machine), config.rates(number), strict=True):
        group["lr"] = rate
    student.wordy = config.wordy
    hold_branches(student, config.loudness(number))


def step(machine: Machine, batch: Batch, config: FitConfig, number: int) -> Losses:
    """One optimiser step, counted from 0; returns the losses before it."""
    student: Any = machine.student
    device = student.probe.weight.device
    batch = batch.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
        made = [student(side.ids, side.mask) for side in (batch.queries, batch.passages)]
        sides = Sides(made[0][0], made[1][0])
        owners = [batch.queries.words, batch.passages.words]
        words = student.read_words([states for _, states in made], owners, len(batch.words))
        read = Reading(student.probe(sides.both()).float(), *words)
    found = losses(sides, read, batch.teacher, batch.words, config.dims)
    if config.needed and number % NEEDED_EVERY == 0:
        found = dataclasses.replace(found, spared=_spared(student, batch, sides, config, number))
    found.total(config.words_left(number)).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(student.parameters(), CLIP)
    for optimizer in machine.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return found.detached()


def _spared(student: Student, batch: Batch, whole: Sides, config: FitConfig, number: int) -> torch.Tensor:
    """How well the student ranks some texts of the batch without a layer or, in its turn, without prompts."""
    rows = max(int(len(batch.queries.ids) * config.needed_share), min(len(batch.queries.ids), FEWEST_ROWS))
    texts = [side.first(rows) for side in (batch.queries, batch.passages)]
    layers, device = student.encoder.layers, batch.words.device
    bfloat16 = torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16)
    if (part := number // NEEDED_EVERY % (len(layers) + 1)) < len(layers):
        with bfloat16, skipped(layers, part):
            made = [student(side.ids, side.mask)[0] for side in texts]
    else:
        with bfloat16:
            made = [student(side.ids, side.mask)[0] for side in map(Tokens.unprompted, texts)]
    return spare(Sides(*made), whole.first(rows), batch.teacher.first(rows))


@torch.no_grad()
def _follow(machine: Machine, kept: float) -> None:
    """Move the average towards the student."""
    pairs = machine.average.parameters(), machine.student.parameters()
    torch._foreach_lerp_([p.data for p in pairs[0]], [p.data for p in pairs[1]], 1 - kept)


def _groups(machine: Machine) -> Iterator[dict[str, Any]]:
    for optimizer in machine.optimizers:
        yield from optimizer.param_groups


def _line(progress: Progress, recent: list[Losses], seconds: float) -> str:
    means = [
        sum(float(getattr(one, name)) for one in recent) / len(recent)
        for name in ("words", "cosine", "neighbours", "answer", "spared")
    ]
    place = progress.place
    return (
        f"step {progress.step} ({place.epoch}.{place.shard}.{place.batch}), "
        f"{progress.tokens / 1e6:.2f}M tokens: words {means[0]:.4f}, cosine {means[1]:.4f}, "
        f"neighbours {means[2]:.4f}, answer {means[3]:.4f}, spared {means[4]:.3f}; "
        f"{seconds / len(recent):.1f} CPU seconds a step"
    )
