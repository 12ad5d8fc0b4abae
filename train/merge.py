"""Fold the adapter into the weights, and prove that nothing changed but the storage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

from common.errors import UserError
from common.files import naming_full_disk
from train.checkpoint import effective_window, load_sentence_transformer
from train.evaluate import encode_prompted

MERGE_LIMIT = 1e-4
"""Largest difference of any embedding component allowed between adapter and merged weights."""


class MergeError(UserError):
    """The tuned model cannot be kept: its merge or its scores were refused, and would be again."""


@dataclass(frozen=True)
class MergeProof:
    """What the merge was held to: the largest component difference, and the window after a reload."""

    max_abs_difference: float
    sliding_window: int | None


def merge_and_save(
    tuned: SentenceTransformer,
    base_folder: Path,
    base_window: int | None,
    probes: list[tuple[str, str]],
    out: Path,
) -> tuple[SentenceTransformer, MergeProof]:
    """Merge the attached adapter, save to `out`, reload it, and compare on `probes` (prompt, text).

    `out` becomes an ordinary Sentence Transformers folder. Returns the reloaded model. Raises MergeError when
    an embedding moved by more than MERGE_LIMIT or the sliding window changed.
    """
    attached = encode_prompted(tuned, probes)
    unwrap_adapters(tuned)
    out.mkdir(parents=True, exist_ok=True)
    with naming_full_disk(out, SafetensorError):
        tuned.save_pretrained(str(out), create_model_card=False)
    _keep_sentencepiece(base_folder, out)
    reloaded = load_sentence_transformer(out)
    merged = encode_prompted(reloaded, probes)
    difference = float(np.abs(attached - merged).max())
    if not difference <= MERGE_LIMIT:
        raise MergeError(
            f"merging the adapter moved an embedding by {difference:.2e}; the limit is {MERGE_LIMIT:.0e}"
        )
    window = effective_window(reloaded)
    if window != base_window:
        raise MergeError(
            f"merged checkpoint: the sliding window is {window} after saving, {base_window} in the base; "
            "this transformers version rewrites it (5.x keeps it)"
        )
    return reloaded, MergeProof(difference, window)


def unwrap_adapters(model: SentenceTransformer) -> None:
    """Add every LoRA update to its base weight and put the plain layer back in its place."""
    backbone = model[0].model
    adapted = [(name, m) for name, m in backbone.named_modules() if isinstance(m, BaseTunerLayer)]
    if not adapted:
        raise RuntimeError("the model carries no adapter to merge")
    for name, layer in adapted:
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:  # peft found NaN
            raise MergeError(f"layer '{name}': {error}; tune with a lower learning rate") from None
        parent, _, attribute = name.rpartition(".")
        setattr(backbone.get_submodule(parent), attribute, layer.get_base_layer())
    backbone._hf_peft_config_loaded = False
    del backbone.peft_config


def _keep_sentencepiece(base_folder: Path, out: Path) -> None:
    """Carry tokenizer.model along: saving writes tokenizer.json only, and Android clients read the other."""
    source = base_folder / "tokenizer.model"
    if source.is_file() and not (out / source.name).exists():
        shutil.copyfile(source, out / source.name)
