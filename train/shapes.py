"""Shapes: all that decides how large a Gemma 3 text encoder is, and how much it computes, but its weights.

A shape is a row of `SHAPES` or is read from a model folder's config.json and modules.json, without torch.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json

SLIDING, FULL = "sliding_attention", "full_attention"
CONFIG_NAME, MODULES_NAME = "config.json", "modules.json"
MODEL_TYPE = "gemma3_text"
PERIOD = 6
"""Of so many layers the last one has full attention, where a config does not list its layers."""
LARGEST = 1 << 31
IDENTITY = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class Matrix:
    """A weight [outputs, inputs] by its name in a checkpoint; of a table, rows and width."""

    name: str
    outputs: int
    inputs: int

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return self.outputs * self.inputs


@dataclass(frozen=True)
class Shape:
    """Sizes of one encoder.

    rows: of the token table. layer_types: SLIDING or FULL, layer by layer. window: as config.json has it.
    dense: widths of the Dense layers' outputs, in order; none for a model that ends in its pooling.
    """

    name: str
    rows: int
    hidden: int
    intermediate: int
    layer_types: tuple[str, ...]
    heads: int
    kv_heads: int
    head_dim: int
    window: int
    max_tokens: int
    dense: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sizes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        sizes |= {f"dense {index}": width for index, width in enumerate(self.dense)}
        for name, size in sizes.items():
            if name not in ("name", "layer_types", "dense") and not _is_size(size):
                raise UserError(f"shape '{self.name}': {name} is {size!r}, not a whole number above 0")
        if not self.layer_types or not set(self.layer_types) <= {SLIDING, FULL}:
            raise UserError(f"shape '{self.name}': its layers are not all {SLIDING} or {FULL}")
        if self.heads % self.kv_heads:
            raise UserError(f"shape '{self.name}': {self.heads} heads cannot share {self.kv_heads}")
        if self.head_dim % 2:
            raise UserError(f"shape '{self.name}': head_dim {self.head_dim} is odd, which no rotation takes")

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len(self.layer_types)

    @property
    def full_dim(self) -> int:
        """Width of the untruncated embedding."""
        return self.dense[-1] if self.dense else self.hidden

    @property
    def table(self) -> Matrix:
        """The token table."""
        return Matrix("embed_tokens", self.rows, self.hidden)

    @property
    def products(self) -> tuple[Matrix, ...]:
        """The matrices of one layer, named as within a layer."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return (
            Matrix("self_attn.q_proj", queries, self.hidden),
            Matrix("self_attn.k_proj", keys, self.hidden),
            Matrix("self_attn.v_proj", keys, self.hidden),
            Matrix("self_attn.o_proj", self.hidden, queries),
            Matrix("mlp.gate_proj", self.intermediate, self.hidden),
            Matrix("mlp.up_proj", self.intermediate, self.hidden),
            Matrix("mlp.down_proj", self.hidden, self.intermediate),
        )

    @property
    def norms(self) -> dict[str, int]:
        """Widths of one layer's norms, named as within a layer."""
        around = ("input", "post_attention", "pre_feedforward", "post_feedforward")
        heads = {"self_attn.q_norm": self.head_dim, "self_attn.k_norm": self.head_dim}
        return heads | {f"{place}_layernorm": self.hidden for place in around}

    @property
    def dense_layers(self) -> list[Matrix]:
        """The Dense layers, named after their folders."""
        widths = (self.hidden, *self.dense)
        pairs = itertools.pairwise(widths)
        return [Matrix(f"{index}_Dense", out, into) for index, (into, out) in enumerate(pairs, 2)]

    def encoder_weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every weight of the encoder, as transformers names them."""
        yield "embed_tokens.weight", (self.rows, self.hidden)
        for index in range(self.layers):
            for product in self.products:
                yield f"layers.{index}.{product.name}.weight", (product.outputs, product.inputs)
            for name, width in self.norms.items():
                yield f"layers.{index}.{name}.weight", (width,)
        yield "norm.weight", (self.hidden,)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < LARGEST


EMBEDDINGGEMMA = Shape(
    name="embeddinggemma-300m",
    rows=262_144,
    hidden=768,
    intermediate=1152,
    layer_types=(*(SLIDING,) * 5, FULL) * 4,
    heads=3,
    kv_heads=1,
    head_dim=256,
    window=512,
    max_tokens=2048,
    dense=(3072, 768),
)
"""Source: model card and config.json of google/embeddinggemma-300m."""
STARTER = Shape(
    name="starter",
    rows=16_384,
    hidden=256,
    intermediate=512,
    layer_types=(*(SLIDING,) * 5, FULL),
    heads=4,
    kv_heads=1,
    head_dim=64,
    window=128,
    max_tokens=2048,
    dense=(1024, 768),
)
"""The embedded model; a test holds it to its config.json."""
SHAPES = {shape.name: shape for shape in (EMBEDDINGGEMMA, STARTER)}


def find_shape(text: str) -> Shape:
    """The shape of that name, or of the model folder or config.json at that path.

    Raises UserError for a name that is unknown, with those that are known, and for a model of another kind.
    """
    if text in SHAPES:
        return SHAPES[text]
    path = Path(text)
    if path.is_dir() or path.is_file():
        return read_shape(path / CONFIG_NAME if path.is_dir() else path)
    known = ", ".join(SHAPES)
    raise UserError(f"shape '{text}': unknown; known are {known}, or a model folder or its config.json")


def read_shape(path: Path) -> Shape:
    """The shape in a config.json and, where they lie beside it, modules.json and what that names.

    Raises UserError, naming the file, for what is not a Gemma 3 text encoder with linear Dense layers.
    """
    config = _object(path)
    if config.get("model_type") != MODEL_TYPE or not config.get("use_bidirectional_attention"):
        found = f"model_type {config.get('model_type')!r}"
        found += ", bidirectional" if config.get("use_bidirectional_attention") else ", not bidirectional"
        raise UserError(f"{path}: {found}; shapes are of bidirectional {MODEL_TYPE} encoders")
    hidden, layers = _size(path, config, "hidden_size"), _size(path, config, "num_hidden_layers")
    sizes = {field: _size(path, config, key) for field, key in _KEYS.items()}
    positions = _size(path, config, "max_position_embeddings")
    return Shape(
        name=path.resolve().parent.name,
        hidden=hidden,
        layer_types=_layer_types(path, config, layers),
        max_tokens=min(positions, _text_limit(path.parent) or positions),
        dense=_dense(path.parent, hidden),
        **sizes,
    )


_KEYS = {
    "rows": "vocab_size",
    "intermediate": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "window": "sliding_window",
}


def _object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a table of fields, found {type(content).__name__}")
    return content


def _size(path: Path, config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not _is_size(value):
        raise UserError(f"{path}: {key} is {value!r}, not a whole number above 0")
    return int(value)  # type: ignore[arg-type]


def _layer_types(path: Path, config: dict[str, Any], layers: int) -> tuple[str, ...]:
    """As listed, or by the period that older files state."""
    listed = config.get("layer_types")
    if listed is None:
        period = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or PERIOD
        return tuple(FULL if (index + 1) % period == 0 else SLIDING for index in range(layers))
    if not isinstance(listed, list) or len(listed) != layers or not {*listed} <= {SLIDING, FULL}:
        raise UserError(f"{path}: layer_types is no list of {layers} times {SLIDING} or {FULL}")
    return tuple(listed)


def _text_limit(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    limit = _object(path).get("max_seq_length") if path.is_file() else None
    return limit if _is_size(limit) else None


def _dense(folder: Path, hidden: int) -> tuple[int, ...]:
    """Widths of the Dense modules; none without a modules.json."""
    if not (folder / MODULES_NAME).is_file():
        return ()
    modules = read_json(folder / MODULES_NAME)
    if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules):
        raise UserError(f"{folder / MODULES_NAME}: not a list of modules")
    paths = [str(one.get("path")) for one in modules if str(one.get("type")).endswith(".Dense")]
    widths: list[int] = []
    for path in (folder / one / CONFIG_NAME for one in paths):
        config = _object(path)
        into, out = _size(path, config, "in_features"), _size(path, config, "out_features")
        if into != (widths[-1] if widths else hidden):
            raise UserError(f"{path}: in_features {into} is not the width of what comes before")
        if config.get("bias", True) or config.get("activation_function") != IDENTITY:
            raise UserError(f"{path}: a bias or an activation; shapes have linear Dense layers alone")
        widths.append(out)
    return tuple(widths)
