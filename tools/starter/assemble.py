"""A Sentence Transformers folder from a run's state: the donor's settings, the run's averaged weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from common.files import whole_folder
from tools.starter.state import averaged

WEIGHTS_NAME = "model.safetensors"
PLACES = {"encoder.": "", "first.": "2_Dense", "second.": "3_Dense"}
"""Where a part of the student goes, by its prefix; the probe goes nowhere."""


def assemble(runs: Sequence[Path], donor: Path, out: Path, shares: Sequence[float] | None = None) -> None:
    """Write the checkpoint folder `out` in bfloat16, whole or not at all: what `averaged` makes of the runs.

    The model card is the donor's and has to be written anew. Raises UserError for a run without a state, for
    wrong shares and for an `out` that exists.
    """
    weights = averaged(runs, shares)
    with whole_folder(out) as folder:
        shutil.copytree(donor, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WEIGHTS_NAME))
        for prefix, place in PLACES.items():
            chosen = {name: value for name, value in weights.items() if name.startswith(prefix)}
            _write(folder / place / WEIGHTS_NAME, _renamed(chosen, prefix, "linear." if place else ""))


def _renamed(tensors: dict[str, torch.Tensor], prefix: str, new: str) -> dict[str, torch.Tensor]:
    return {new + name.removeprefix(prefix): value for name, value in tensors.items()}


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    stored = {name: value.to(torch.bfloat16).contiguous() for name, value in tensors.items()}
    save_file(stored, path, metadata={"format": "pt"})
