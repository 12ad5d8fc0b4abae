"""A checkpoint of EmbeddingGemma's real shape with random weights, and a tokenizer of its size.

For sizes, memory and speed, which do not depend on what weights say. Source of the numbers: the model card
and config.json of google/embeddinggemma-300m.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.synthetic_tokenizer import grow, sentencepiece_model
from common.files import read_json, whole_folder, write_json, write_text
from pocketvec import STARTER_MODEL

SEED = 0
ROWS, HIDDEN, DENSE = 262_144, 768, 3072
SHAPE: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": HIDDEN,
    "intermediate_size": 1152,
    "num_hidden_layers": 24,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 512,
    "max_position_embeddings": 2048,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 4,
}


def write_checkpoint(folder: Path) -> None:
    """Write the checkpoint: 1.2 GB in float32. The starter lends its prompts and the form of its modules."""
    with whole_folder(folder) as building:
        shutil.copytree(STARTER_MODEL, building, dirs_exist_ok=True)
        write_json(building / "config.json", {**read_json(building / "config.json"), **SHAPE})
        _write_weights(building)
        _write_tokenizer(building)


def _write_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import Gemma3TextConfig, Gemma3TextModel

    torch.manual_seed(SEED)
    config = Gemma3TextConfig.from_pretrained(folder)
    config.dtype = "float32"
    Gemma3TextModel(config).save_pretrained(folder)
    pooling = folder / "1_Pooling" / "config.json"
    starter_width = json.loads((STARTER_MODEL / "config.json").read_text())["hidden_size"]
    write_text(pooling, pooling.read_text().replace(str(starter_width), str(HIDDEN)))
    for name, (inputs, outputs) in {"2_Dense": (HIDDEN, DENSE), "3_Dense": (DENSE, HIDDEN)}.items():
        settings = read_json(folder / name / "config.json")
        settings |= {"in_features": inputs, "out_features": outputs}
        write_json(folder / name / "config.json", settings)
        weight = torch.randn(outputs, inputs) / inputs**0.5
        save_file({"linear.weight": weight}, folder / name / "model.safetensors")


def _write_tokenizer(folder: Path) -> None:
    grown = grow(read_json(folder / "tokenizer.json"), ROWS, SEED)
    model = sentencepiece_model((folder / "tokenizer.model").read_bytes(), grown)
    write_text(folder / "tokenizer.json", json.dumps(grown, ensure_ascii=False))
    (folder / "tokenizer.model").write_bytes(model)
    settings = read_json(folder / "tokenizer_config.json")
    rows = {str(row["id"]): {k: v for k, v in row.items() if k != "id"} for row in grown["added_tokens"]}
    write_json(folder / "tokenizer_config.json", {**settings, "added_tokens_decoder": rows})
