"""manifest.json: everything a client must know to use an artifact rightly, and nothing it must guess."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.errors import UserError

MANIFEST_SCHEMA = "pocketvec.manifest/1"
MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.json"
FAULTS_NAME = "faults.json"
"""What broken pipelines would give; absent from older artifacts. docs/faults.md."""
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_BIN = "tokenizer.bin"
"""The same tokenizer as a table to map; absent where it has no such form. docs/tokenizer.md."""
SENTENCEPIECE_NAME = "tokenizer.model"
MODEL_FILES = {"onnx": "model.onnx", "litert": "model.tflite", "gguf": "model.gguf"}
"""The graph by runtime; an ONNX graph has its weights in further files whose names begin with it."""
RUNTIMES = tuple(MODEL_FILES)
DEFAULT_RUNTIMES = ("onnx", "litert")
"""What `run` makes unless told otherwise; GGUF is for Gemma encoders alone and needs an extra to run."""
RAG_SDK = "rag-sdk"
CONTRACTS = (RAG_SDK,)
"""Forms that a LiteRT file can take for others than pocketvec's own clients."""
MEDIAPIPE_TASK = "mediapipe-task"
CLIENTS = (RAG_SDK, MEDIAPIPE_TASK)
"""Who loads the rag-sdk form: Google's RAG SDK as a pair of files, MediaPipe wrapped in a .task."""
ANDROID_ASSETS = "android-assets"
PLAY_ASSET_PACK = "play-asset-pack"
DELIVERIES = (ANDROID_ASSETS, PLAY_ASSET_PACK)
"""How an artifact reaches an app of one's own: in its assets, or as a module that Google Play delivers."""
OUTPUT = "sentence_embedding"
POOLED = "pooled"
"""In an ONNX graph, the vector between pooling and head: float32 [batch, hidden]."""

PROMPT_MASK = 2
"""attention_mask value of a prompt token that is attended to but not pooled (include_prompt=False)."""


def model_file(runtime: str) -> str:
    """Name of the graph file. Raises UserError for an unknown runtime."""
    if runtime not in MODEL_FILES:
        raise UserError(f"runtime '{runtime}': unknown; known are {', '.join(MODEL_FILES)}")
    return MODEL_FILES[runtime]


def parse_runtimes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Several runtimes. Raises UserError for one unknown or given twice."""
    for name in names:
        model_file(name)
        if names.count(name) > 1:
            raise UserError(f"runtime '{name}': given twice")
    return names


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
    """fp32 PyTorch NDCG@10 on one retrieval split, by dimension, after tuning and before it.

    by_query: after tuning, each query's in the split's order, so that drops can be taken query by query.
    """

    data: str
    split: str
    data_sha256: str
    query_prompt: str
    ndcg_at_10: dict[str, float]
    before_ndcg_at_10: dict[str, float] | None = None
    by_query: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundingCost:
    """Golden cosine when only the weights are rounded and every operation stays fp32."""

    golden_cosine_mean: float
    golden_cosine_min: float


@dataclass(frozen=True)
class VocabularyTrim:
    """What trimming the vocabulary kept and what it cost.

    Rows and bytes (by precision) are those of the embedding table. Inflation is tokens after over tokens
    before: on the corpus that was selected from, and on text that the selection did not see. NDCG@10 is that
    of the fp32 model by dimension. What was not measured is None or empty.
    """

    selected_by: str
    corpus_sha256: str | None
    untrimmed_checkpoint_sha256: str
    rows: int
    rows_before: int
    table_bytes: dict[str, int]
    table_bytes_before: dict[str, int]
    inflation: float | None = None
    held_out_inflation: float | None = None
    ndcg_data: str | None = None
    ndcg_at_10: dict[str, float] = field(default_factory=dict)
    ndcg_at_10_before: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightTally:
    """How many weights have one codec, how many values they are, and the bytes of their codes and scales."""

    weights: int
    values: int
    bytes: int


@dataclass(frozen=True)
class RecipeRecord:
    """How a quantised profile was made, enough to make it again.

    base: the precision; keep: exceptions from it, precision by pattern, of which the first that matches
    decides; scale_search: whether 4-bit scales were searched; codecs: what came of it, by codec.
    """

    base: str
    keep: dict[str, str]
    scale_search: bool
    codecs: dict[str, WeightTally]


@dataclass(frozen=True)
class EncoderRecord:
    """What a Gemma encoder's graph must hold; the lint reads it back from the graph (docs/lint.md).

    layers: 'sliding' or 'full' by layer; a sliding one lets a query see keys at a distance of up to
    `sliding_window` tokens on either side. rope_bases: by kind of layer. query_scale: what queries are
    multiplied by before the softmax.
    """

    layers: list[str]
    sliding_window: int
    rope_bases: dict[str, float]
    embedding_scale: float
    query_scale: float
    norm_epsilon: float
    hidden: int
    heads: int
    key_heads: int
    head_dim: int


@dataclass(frozen=True)
class Manifest:
    """One profile: a precision and a dimension of one model for one runtime.

    session: how the runtime was set up when it was measured, in its own words. For LiteRT, `lengths` are the
    token counts of the signatures, `further_dims` smaller dimensions that the file has signatures for too,
    `contract` names the client that the file is made for (None: pocketvec's own) and `delegates` says which
    accelerators the profile is known to be right on. `vocabulary` is None for a model with all its tokens,
    `encoder` for one that is no Gemma encoder.
    """

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
    recipe: RecipeRecord | None = None
    session: dict[str, str] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    further_dims: list[int] = field(default_factory=list)
    contract: str | None = None
    delegates: dict[str, str] = field(default_factory=dict)
    vocabulary: VocabularyTrim | None = None
    encoder: EncoderRecord | None = None
