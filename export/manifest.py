"""manifest.json: everything a client must know to use an artifact rightly, and nothing it must guess."""

from __future__ import annotations

from dataclasses import dataclass, field

MANIFEST_SCHEMA = "pocketvec.manifest/1"
MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.json"
TOKENIZER_NAME = "tokenizer.json"
MODEL_NAME = "model.onnx"

PROMPT_MASK = 2
"""attention_mask value of a prompt token that is attended to but not pooled (include_prompt=False)."""


def profile_name(runtime: str, precision: str, dim: int) -> str:
    """Name of a profile and of its folder, for instance onnx-q8_0-256d."""
    return f"{runtime}-{precision}-{dim}d"


@dataclass(frozen=True)
class TensorSpec:
    """One graph input or output: name, element type, shape (names are dynamic axes), meaning."""

    name: str
    dtype: str
    shape: list[str]
    meaning: str


@dataclass(frozen=True)
class FileEntry:
    """Size and content hash of one file of the artifact."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelIdentity:
    """Where the weights came from.

    `base` is the hub id or folder name that was tuned; `checkpoint_sha256` covers every safetensors and
    JSON file of the exported folder; `data` names the training data and its hash, or is None for an
    untuned model.
    """

    name: str
    architecture: str
    base: str
    base_revision: str | None
    checkpoint_sha256: str
    data: dict[str, str] | None


@dataclass(frozen=True)
class TokenizerSpec:
    """How text becomes ids: file hash, padding id and side, rows of the embedding table, lower-casing."""

    sha256: str
    pad_id: int
    padding_side: str
    vocab_size: int
    lower_case: bool


@dataclass(frozen=True)
class ReferenceScores:
    """fp32 PyTorch NDCG@10 on one retrieval split, by dimension, after tuning and before it."""

    data: str
    split: str
    data_sha256: str
    query_prompt: str
    ndcg_at_10: dict[str, float]
    before_ndcg_at_10: dict[str, float] | None = None


@dataclass(frozen=True)
class RoundingCost:
    """Golden cosine when only the weights are rounded and every operation stays fp32."""

    golden_cosine_mean: float
    golden_cosine_min: float


@dataclass(frozen=True)
class Manifest:
    """One profile: a precision and a dimension of one model for one runtime."""

    schema: str
    name: str
    runtime: str
    precision: str
    dim: int
    full_dim: int
    max_tokens: int
    model: ModelIdentity
    prompts: dict[str, str]
    pooling: str
    include_prompt: bool
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    tokenizer: TokenizerSpec
    files: dict[str, FileEntry]
    tools: dict[str, str]
    parent: str | None = None
    reference: ReferenceScores | None = None
    rounding: RoundingCost | None = None
    session: dict[str, str] = field(default_factory=dict)
