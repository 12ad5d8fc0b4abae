"""The starter with a small tokenizer of two scripts, trained here: SentencePiece and tokenizer.json alike."""

import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

from export.weight_rows import write_rows
from pocketvec import BUNDLED_DATA, STARTER_MODEL

SIZE = 900
RUSSIAN = (
    "Соль добывают из морской воды: её оставляют на ветру и солнце, пока не останется рассол.",
    "Сторож открывает ворота, когда прилив поднимается выше доски, и закрывает их до отлива.",
    "Сколько дней должна стоять вода в первом пруду после большого прилива?",
    "Мастер соляных прудов каждое утро проверяет крепость рассола и высоту воды.",
)
TEXTS = [json.loads(line)["text"] for line in (BUNDLED_DATA / "queries.jsonl").read_text().splitlines()[:60]]
SYMBOLS = ("<unused0>", "<unused1>", "<table>")


def scribbles(count: int = 300) -> list[str]:
    """Random strings of several scripts, spaces, bytes and pieces that were once merged."""
    chance = random.Random(7)  # noqa: S311
    units = [*"aeinorstbdк о и с т\n\t!?0Ω你😀é", "the", " brine", "tide", " прилив", "  ", "<table>"]
    return ["".join(chance.choices(units, k=chance.randint(1, 24))) for _ in range(count)]


def build_two_scripts(folder: Path) -> Path:
    """A Sentence Transformers folder whose 900 pieces are Latin and Cyrillic, three more its user's."""
    shutil.copytree(STARTER_MODEL, folder)
    model = _train()
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    pieces = [piece.piece for piece in model.pieces]
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"] |= {"vocab": {p: n for n, p in enumerate(pieces)}, "merges": _merges(pieces)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    symbols = {str(pieces.index(symbol)): {"content": symbol, **flags} for symbol in SYMBOLS}
    content["added_tokens"] += [{"id": int(id_), **symbol} for id_, symbol in symbols.items()]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] |= symbols
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(pieces)}))
    rows = np.arange(len(pieces), dtype=np.int64)
    write_rows(STARTER_MODEL / "model.safetensors", folder / "model.safetensors", "embed_tokens.weight", rows)
    return folder


def _train() -> sentencepiece_model_pb2.ModelProto:
    english = (BUNDLED_DATA / "corpus.jsonl").read_text().splitlines()[:60]
    trained = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([json.loads(line)["text"] for line in english] + list(RUSSIAN) * 5),
        model_writer=trained,
        model_type="bpe",
        vocab_size=SIZE,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=list(SYMBOLS),
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(trained.getvalue())
    return model


def _merges(pieces: list[str]) -> list[list[str]]:
    """Every way to join two pieces into one, the joined piece learnt first coming first."""
    known = set(pieces)
    return [
        [piece[:cut], piece[cut:]]
        for piece in pieces
        for cut in range(1, len(piece))
        if {piece[:cut], piece[cut:]} <= known and not piece.startswith("<")
    ]
