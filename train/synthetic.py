"""A checkpoint of a real shape with random weights and a tokenizer of the real size.

Size, memory and speed do not depend on what weights say. So gates for them can be set up before anyone has
the licence of the model. The vectors mean nothing, and the checkpoint says so wherever something reads it:
in its model card, in checkpoint.json (from where every artifact's manifest takes it) and in the weight file.

Weights are drawn and written a piece at a time, without torch. Norms are 1, products have a variance of 1
over their inputs and the table one of 1 over its width, so that activations stay near 1 in every layer.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.dims import choose_dims
from common.errors import UserError
from common.files import read_json, whole_folder, write_json, write_text
from train.checkpoint import CHECKPOINT_NAME, CHECKPOINT_SCHEMA, CheckpointInfo, refuse_fp16
from train.shapes import CONFIG_NAME, IDENTITY, MODULES_NAME, Shape
from train.synthetic_tokenizer import grow, sentencepiece_model

STEPS = 3
CHUNK_VALUES = 1 << 22
DTYPES = {"float32": "F32", "bfloat16": "BF16"}
"""safetensors' names."""
MODULES = "sentence_transformers.models"
SETTINGS = ("config_sentence_transformers.json", "special_tokens_map.json")
"""Files of the donor that any shape can have: its prompts and its special tokens."""
WEIGHTS_NAME = "model.safetensors"
WARNING = "random weights: vectors mean nothing"

Step = Callable[[str], None]
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class SyntheticConfig:
    """What to draw. tokenizer_size: pieces (None: one for each row of the table); dtype: of the weights."""

    seed: int = 0
    tokenizer_size: int | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        refuse_fp16(self.dtype)
        if self.dtype not in DTYPES:
            raise UserError(f"dtype '{self.dtype}': weights are written as {' or '.join(DTYPES)}")
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: must be 0 or above")


def write_synthetic(
    shape: Shape, donor: Path, out: Path, config: SyntheticConfig, step: Step = lambda what: None
) -> int:
    """Write the checkpoint folder `out`, whole or not at all, and return how many weights it has.

    `donor` is a checkpoint of the same kind that lends its prompts, settings and the tokenizer that is grown.
    Equal shapes, donors and configs give equal bytes. `step` is called STEPS times. Raises UserError for a
    folder that exists and a tokenizer size that does not fit the shape or the donor.
    """
    size = _tokenizer_size(shape, donor, config)
    with whole_folder(out) as folder:
        _write_settings(shape, donor, folder)
        _write_tokenizer(donor, folder, size, config.seed)
        step(f"tokenizer of {size} pieces")
        encoder = _Draw(config)
        values = encoder.write(folder / WEIGHTS_NAME, dict(shape.encoder_weights()))
        step("encoder")
        for dense in shape.dense_layers:
            sizes = {"linear.weight": (dense.outputs, dense.inputs)}
            values += encoder.write(folder / dense.name / WEIGHTS_NAME, sizes)
        write_json(folder / CHECKPOINT_NAME, asdict(_info(shape, folder, config, size)))
        write_text(folder / "README.md", _card(shape, config, size, values))
        step("head and model card")
    return values


class _Draw:
    """Draws weights from one seed; each weight has a stream of its own, by its place in the checkpoint."""

    def __init__(self, config: SyntheticConfig) -> None:
        self._config = config
        self._drawn = 0

    def write(self, path: Path, sizes: Mapping[str, Sizes]) -> int:
        """Write a safetensors file of these weights and return how many values it has."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt", "pocketvec": WARNING}}
        width, end = (4 if self._config.dtype == "float32" else 2), 0
        for name, size in sizes.items():
            start, end = end, end + math.prod(size) * width
            header[name] = {
                "dtype": DTYPES[self._config.dtype],
                "shape": list(size),
                "data_offsets": [start, end],
            }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for size in sizes.values():
                for values in self._values(size):
                    file.write(values.data)
        return end // width

    def _values(self, size: Sizes) -> Iterator[npt.NDArray[Any]]:
        rng = np.random.default_rng([self._config.seed, self._drawn])
        self._drawn += 1
        count = math.prod(size)
        for start in range(0, count, CHUNK_VALUES):
            wanted = min(CHUNK_VALUES, count - start)
            if len(size) == 1:  # a norm, which stores what its factor is above 1
                values = np.zeros(wanted, np.float32)
            else:
                values = rng.standard_normal(wanted, np.float32)
                values *= np.float32(size[-1] ** -0.5)
            yield values if self._config.dtype == "float32" else _bfloat16(values)


def _bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to the nearest."""
    return ((values.view(np.uint32) + np.uint32(0x8000)) >> 16).astype("<u2")


def _tokenizer_size(shape: Shape, donor: Path, config: SyntheticConfig) -> int:
    """How many pieces, checked against the table's rows and the donor's pieces."""
    size = config.tokenizer_size or shape.rows
    least = len(read_json(donor / "tokenizer.json")["model"]["vocab"])
    if not least <= size <= shape.rows:
        place = f"the {least} pieces of the tokenizer that is grown and the {shape.rows} rows of the table"
        raise UserError(f"tokenizer size {size}: must lie between {place}")
    return size


def _write_settings(shape: Shape, donor: Path, folder: Path) -> None:
    """config.json, prompts and module folders."""
    for name in SETTINGS:
        shutil.copyfile(donor / name, folder / name)
    write_json(folder / CONFIG_NAME, {**read_json(donor / CONFIG_NAME), **_encoder_config(shape)})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": shape.max_tokens})
    pooling = {**read_json(donor / "1_Pooling" / CONFIG_NAME), "word_embedding_dimension": shape.hidden}
    _write_module(folder / "1_Pooling", pooling)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    for dense in shape.dense_layers:
        widths = {"in_features": dense.inputs, "out_features": dense.outputs}
        _write_module(folder / dense.name, {**widths, "bias": False, "activation_function": IDENTITY})
        modules.append((dense.name, "Dense"))
    modules.append((f"{len(modules)}_Normalize", "Normalize"))
    rows = [
        {"idx": index, "name": str(index), "path": place, "type": f"{MODULES}.{kind}"}
        for index, (place, kind) in enumerate(modules)
    ]
    write_json(folder / MODULES_NAME, rows)


def _write_module(folder: Path, settings: dict[str, Any]) -> None:
    folder.mkdir()
    write_json(folder / CONFIG_NAME, settings)


def _encoder_config(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.rows,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "layer_types": list(shape.layer_types),
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "query_pre_attn_scalar": shape.head_dim,
        "sliding_window": shape.window,
        "max_position_embeddings": shape.max_tokens,
    }


def _write_tokenizer(donor: Path, folder: Path, size: int, seed: int) -> None:
    """The donor's tokenizer, grown where more pieces are asked for."""
    names = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
    tokenizer, settings = read_json(donor / names[0]), read_json(donor / names[2])
    if size == len(tokenizer["model"]["vocab"]):
        for name in names:
            shutil.copyfile(donor / name, folder / name)
        return
    try:
        grown = grow(tokenizer, size, seed)
    except ValueError as error:
        raise UserError(f"tokenizer of {error}") from None
    rows = {str(row["id"]): {k: v for k, v in row.items() if k != "id"} for row in grown["added_tokens"]}
    write_text(folder / names[0], json.dumps(grown, ensure_ascii=False))
    (folder / names[1]).write_bytes(sentencepiece_model((donor / names[1]).read_bytes(), grown))
    write_json(folder / names[2], {**settings, "added_tokens_decoder": rows})


def _info(shape: Shape, folder: Path, config: SyntheticConfig, size: int) -> CheckpointInfo:
    """checkpoint.json: what a tuned folder has there, with nothing tuned and nothing scored."""
    return CheckpointInfo(
        schema=CHECKPOINT_SCHEMA,
        base=f"{WARNING} (shape {shape.name})",
        base_revision=None,
        seed=config.seed,
        data={},
        eval_data={},
        dims=list(choose_dims((), shape.full_dim)),
        prompts=read_json(folder / SETTINGS[0])["prompts"],
        before={},
        after={},
        merge_max_abs_difference=0.0,
        sliding_window=shape.window // 2 + 1,  # as transformers 5 has it once loaded
        settings={"dtype": config.dtype, "tokenizer_size": size},
    )


def _card(shape: Shape, config: SyntheticConfig, size: int, values: int) -> str:
    sizes = f"{shape.layers} layers, hidden size {shape.hidden}, {shape.rows} x {shape.hidden} token table"
    return f"""# Random weights in the shape of {shape.name}: not a model

The vectors of this checkpoint mean nothing. It has the sizes of a real model ({sizes}, {values / 1e6:.1f}M
weights, {config.dtype}) and a made-up tokenizer of {size} pieces, so that file size, memory and speed can be
measured, and gates for them set up, before one has the model itself. Do not use it for search.

Made by `pocketvec synth`, seed {config.seed}.
"""
