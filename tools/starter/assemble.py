"""A Sentence Transformers folder from a run's state: the donor's settings, the run's averaged weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from common.errors import UserError
from common.files import whole_folder
from tools.starter.state import STATE_NAME

WEIGHTS_NAME = "model.safetensors"
AVERAGE, STUDENT = "average.", "student."
PLACES = {"encoder.": "", "first.": "2_Dense", "second.": "3_Dense"}
"""Where a part of the student goes, by its prefix; the probe goes nowhere."""


def assemble(run: Path, donor: Path, out: Path, weights: str = AVERAGE) -> None:
    """Write the checkpoint folder `out` in bfloat16, whole or not at all: the average or the last student.

    The model card is the donor's and has to be written anew. Raises UserError for a run without a state and
    for an `out` that exists.
    """
    if not (run / STATE_NAME).is_file():
        raise UserError(f"{run}: no {STATE_NAME} in it; run `fit` first")
    with whole_folder(out) as folder:
        shutil.copytree(donor, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WEIGHTS_NAME))
        with safe_open(run / STATE_NAME, framework="pt") as stored:
            names = [name for name in stored.keys() if name.startswith(weights)]  # noqa: SIM118
            for prefix, place in PLACES.items():
                start = weights + prefix
                chosen = {name: stored.get_tensor(name) for name in names if name.startswith(start)}
                _write(folder / place / WEIGHTS_NAME, _renamed(chosen, start, "linear." if place else ""))


def _renamed(tensors: dict[str, torch.Tensor], prefix: str, new: str) -> dict[str, torch.Tensor]:
    return {new + name.removeprefix(prefix): value for name, value in tensors.items()}


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    stored = {name: value.to(torch.bfloat16).contiguous() for name, value in tensors.items()}
    save_file(stored, path, metadata={"format": "pt"})
