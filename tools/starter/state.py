"""Everything a run needs to go on, in one safetensors file: weights, their average, optimisers, place."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from common.errors import UserError
from common.records import from_dict
from tools.starter.batches import Place

STATE_NAME = "state.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a run is: optimiser steps done, tokens seen (padding included) and the next batch's place."""

    step: int = 0
    tokens: int = 0
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class Machine:
    """What a step changes: the student, the running average of its weights, the optimisers."""

    student: nn.Module
    average: nn.Module
    optimizers: tuple[torch.optim.Optimizer, ...]


def save_state(folder: Path, machine: Machine, progress: Progress, settings: dict[str, Any]) -> None:
    """Write the state whole or not at all."""
    tensors = {f"student.{name}": value for name, value in machine.student.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in machine.average.state_dict().items()}
    tensors |= dict(_moments(machine))
    notes = {"progress": json.dumps(asdict(progress)), "settings": json.dumps(settings)}
    temporary = folder / f".{STATE_NAME}"
    save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, notes)
    temporary.replace(folder / STATE_NAME)


def load_state(folder: Path, machine: Machine, settings: dict[str, Any]) -> Progress | None:
    """Continue from a state in place, or None where there is none.

    Raises UserError for a state that was made with other settings.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as stored:
        notes = stored.metadata()
        _check(json.loads(notes["settings"]), settings, path)
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    machine.student.load_state_dict(_under("student.", tensors))
    machine.average.load_state_dict(_under("average.", tensors))
    for number, optimizer in enumerate(machine.optimizers):
        _load_moments(optimizer, _under(f"optimizer.{number}.", tensors))
    return from_dict(Progress, json.loads(notes["progress"]), str(path))


def averaged(folders: Sequence[Path], shares: Sequence[float] | None = None) -> dict[str, torch.Tensor]:
    """The averaged weights of a run by name, or of several runs their mean, or their sum with `shares`.

    Runs that came from the same weights lie so near to each other that their mean is a model too, and often a
    better one than each (Wortsman et al. 2022, "Model soups"). With a share below 0, what one run has learned
    beyond another is added to a third (Ilharco et al. 2023, "Editing models with task arithmetic"). Raises
    UserError for a folder without a run and for shares that do not sum to 1, one for each.
    """
    shares = shares or [1 / len(folders)] * len(folders)
    if len(shares) != len(folders) or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise UserError(f"shares {list(shares)}: must be one for each of {len(folders)} runs and sum to 1")
    tables = [_average_of(folder) for folder in folders]
    parts = list(zip(shares, tables, strict=True))
    return {
        name: sum((share * one[name] for share, one in parts[1:]), parts[0][0] * value)
        for name, value in tables[0].items()
    }


def _average_of(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / STATE_NAME
    if not path.is_file():
        raise UserError(f"{folder}: no {STATE_NAME} in it, which a run leaves")
    return _under("average.", load_file(path))


def _check(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    for name in sorted({*stored, *wanted}):
        if (was := stored.get(name)) != (now := wanted.get(name)):
            raise UserError(f"{path}: was made with {name} {was}, not {now}; choose another run folder")


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _moments(machine: Machine) -> list[tuple[str, torch.Tensor]]:
    return [
        (f"optimizer.{number}.{parameter}.{field}", value)
        for number, optimizer in enumerate(machine.optimizers)
        for parameter, fields in optimizer.state_dict()["state"].items()
        for field, value in fields.items()
    ]


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        parameter, _, field = name.partition(".")
        state.setdefault(int(parameter), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
