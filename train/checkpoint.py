"""Checkpoint: an ordinary Sentence Transformers folder, and how one is opened safely.

A model is named by a hub id (``google/embeddinggemma-300m``) or a local folder. Weights come from
safetensors only: unpickling a weight file can run code. Everything runs in float32; EmbeddingGemma's
activations overflow float16.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, missing_extra
from common.files import read_json, sha256_files
from common.offline import silence_telemetry
from common.records import from_dict

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CHECKPOINT_SCHEMA = "pocketvec.checkpoint/1"
CHECKPOINT_NAME = "checkpoint.json"
UNUSED_WEIGHTS = ("pooler.",)
"""Weights that a Sentence Transformers backbone may lack: no sentence embedding goes through them."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FP16_NAMES = ("fp16", "float16", "half", "f16")
FP16_REASON = (
    "float16 is refused: EmbeddingGemma's activations exceed its largest value, 65504; "
    "use float32, or bfloat16 on a GPU that has it"
)


@dataclass(frozen=True)
class CheckpointInfo:
    """checkpoint.json: what a tuned folder is and what tuning did.

    NDCG@10 tables are keyed by split, then by dimension: ``after["test"]["256"]``. test_by_query: by
    dimension, the tuned model's on each test query, in the split's order.
    """

    schema: str
    base: str
    base_revision: str | None
    seed: int
    data: dict[str, str]
    eval_data: dict[str, str]
    dims: list[int]
    prompts: dict[str, str]
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    merge_max_abs_difference: float
    sliding_window: int | None
    settings: dict[str, Any]
    test_by_query: dict[str, list[float]] = field(default_factory=dict)


def read_checkpoint_info(folder: Path) -> CheckpointInfo | None:
    """checkpoint.json of a folder that pocketvec tuned, or None for any other model folder."""
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return None
    raw = read_json(path)
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != CHECKPOINT_SCHEMA:
        raise UserError(f"{path}: schema '{found}' is not '{CHECKPOINT_SCHEMA}'")
    return from_dict(CheckpointInfo, raw, str(path))


def refuse_fp16(dtype: str) -> None:
    """Raise UserError with the reason when `dtype` is a name of float16."""
    if dtype.lower() in FP16_NAMES:
        raise UserError(f"'{dtype}': {FP16_REASON}")


def resolve_model(name: str) -> tuple[Path, str | None]:
    """The local folder of a model and its hub revision (None for a local folder).

    Raises UserError for a name that is neither a folder nor on the hub, and for pickled weights.
    """
    folder, revision = Path(name), None
    if not folder.is_dir():
        folder, revision = _download(name)
    refuse_pickled_weights(folder)
    if not (folder / "modules.json").is_file():
        raise UserError(f"{folder}: not a Sentence Transformers folder, it has no modules.json")
    return folder, revision


def _download(name: str) -> tuple[Path, str]:
    if not HUB_ID.fullmatch(name):
        raise UserError(f"model '{name}': no such folder, and not a hub id of the form owner/name")
    silence_telemetry()
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]
    except ImportError:
        raise missing_extra("train", "huggingface_hub") from None
    try:
        folder = Path(snapshot_download(name, ignore_patterns=["*.bin", "*.onnx*", "*.h5", "*.msgpack"]))
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"model '{name}': no such folder, and the Hugging Face hub did not give it ({reason}); "
            "a gated model needs its licence accepted and HF_TOKEN set"
        ) from None
    return folder, folder.name


def refuse_pickled_weights(folder: Path) -> None:
    """Raise UserError when a module of the folder has weights only as a pickle."""
    for pickled in sorted(
        [*folder.rglob("pytorch_model*.bin"), *folder.rglob("*.pt"), *folder.rglob("*.pth")]
    ):
        if not any(pickled.parent.glob("*.safetensors")):
            raise UserError(
                f"{pickled}: pickled weights only; loading a pickle can run code, so safetensors is "
                "required (save the model again with safe_serialization)"
            )
    if not any(folder.rglob("*.safetensors")):
        raise UserError(f"{folder}: it has no safetensors weights")


def load_sentence_transformer(folder: Path, device: str | None = None) -> SentenceTransformer:
    """Load a model folder in float32 on `device` (None: the GPU where there is one, else the CPU).

    Raises UserError naming the folder when its parts are missing or do not fit together.
    """
    silence_telemetry()
    try:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise missing_extra("train", error.name or "sentence-transformers") from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder), device=device, model_kwargs={"dtype": torch.float32, "use_safetensors": True}
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be loaded as a Sentence Transformers model ({error})") from None
    if not hasattr(model[0], "model"):
        kind = type(model[0]).__name__
        raise UserError(f"{folder}: its first module is {kind}; only a Transformer can be used")
    _refuse_missing_weights(folder, model)
    return model.eval()


def _refuse_missing_weights(folder: Path, model: SentenceTransformer) -> None:
    """Transformers fills in a weight that the files lack with random numbers; here that is an error."""
    from safetensors import safe_open

    stored: set[str] = set()
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            stored.update(tensors.keys())
    suffixes = {name[start:] for name in stored for start in _part_starts(name)}
    for name, _ in model[0].model.named_parameters():
        if name not in suffixes and not name.startswith(UNUSED_WEIGHTS):
            raise UserError(f"{folder}: the weight '{name}' is missing from its safetensors files")


def _part_starts(name: str) -> list[int]:
    """Where the dotted parts of a name begin: stored names may carry a prefix."""
    return [0, *(index + 1 for index, character in enumerate(name) if character == ".")]


def effective_window(model: SentenceTransformer) -> int | None:
    """The sliding window that the loaded model applies; None for a model without one.

    transformers 5 turns the stored window of a bidirectional Gemma into the one-sided reach at load time;
    4.x halved it again at every save.
    """
    window = getattr(model[0].model.config, "sliding_window", None)
    return None if window is None else int(window)


def check_targets(model: SentenceTransformer, targets: tuple[str, ...]) -> None:
    """Raise UserError naming a LoRA target that no projection or embedding of the model is called."""
    import torch

    kinds = (torch.nn.Linear, torch.nn.Embedding)
    names = {name.rpartition(".")[2] for name, m in model[0].model.named_modules() if isinstance(m, kinds)}
    if unknown := sorted(set(targets) - names):
        known = ", ".join(sorted(names))
        raise UserError(f"target '{unknown[0]}': the model has no such projection; it has: {known}")


def weights_sha256(folder: Path) -> str:
    """One hash over every safetensors and JSON file of a model folder: weights, settings, tokenizer."""
    found = {path for pattern in ("*.safetensors", "*.json") for path in folder.rglob(pattern)}
    return sha256_files(sorted(path for path in found if path.name != CHECKPOINT_NAME))
