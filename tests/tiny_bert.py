"""A Sentence Transformers folder around a small BERT with random weights: a model that is not Gemma."""

import shutil
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel, BertTokenizerFast

WIDTH = 384
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!':-"
WORDS = ["brine", "salt", "the", "of", "and", "pan", "gate", "tide", "title", "text", "none", "query"]


def build_bert(folder: Path, pooling: str, *, include_prompt: bool = True, dense: bool = False) -> Path:
    """A Sentence Transformers folder around a two-layer BERT of 384 dimensions."""
    torch.manual_seed(0)
    backbone = folder.parent / f"{folder.name}-backbone"
    backbone.mkdir(parents=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), *WORDS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    BertTokenizerFast(vocab=vocabulary, model_max_length=128).save_pretrained(backbone)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=6,
        intermediate_size=512,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(backbone)
    modules = [
        Transformer(str(backbone), max_seq_length=128),
        Pooling(WIDTH, pooling_mode=pooling, include_prompt=include_prompt),
    ]
    if dense:
        modules += [Dense(WIDTH, 256, activation_function=torch.nn.Tanh()), Dense(256, 192, bias=False)]
    model = SentenceTransformer(modules=[*modules, Normalize()], prompts={"query": "query: "}, device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(backbone)
    return folder
