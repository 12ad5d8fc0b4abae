"""The parts of trimming a vocabulary: pieces and their parts, scripts, corpora, rows of a weight file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_vocabulary import RUSSIAN, TEXTS, scribbles
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from common.errors import UserError
from export.corpus import read_corpus
from export.pieces import Pieces, renumber
from export.scripts import parse_languages, written_in
from export.weight_rows import write_rows


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, *RUSSIAN * 3], trainer)
    return tokenizer


def test_byte_level_bpe_keeps_the_way_to_each_piece_and_all_bytes() -> None:
    whole = byte_level()
    pieces = Pieces(whole.to_str())
    keep = pieces.always().union(*(pieces.with_parts(id_) for id_ in whole.encode(RUSSIAN[0]).ids))
    assert len(keep) < len(pieces.names)
    small = Tokenizer.from_str(json.dumps(pieces.trimmed(renumber(keep))))
    assert small.encode(RUSSIAN[0]).tokens == whole.encode(RUSSIAN[0]).tokens
    for text in scribbles(50):
        assert small.decode(small.encode(text).ids) == text


def test_unigram_is_refused() -> None:
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, False))
    with pytest.raises(UserError, match="Unigram cannot be trimmed"):
        Pieces(unigram.to_str())


@pytest.mark.parametrize(
    ("languages", "text", "kept"),
    [
        ("en", "▁naïve", True),
        ("en", "42!😀\n", True),
        ("en", "соль", False),
        ("ru", "соль", True),
        ("ru", "соль-salt", False),
        ("ru,en", "соль-salt", True),
        ("ja", "塩のカメラー", True),
        ("zh", "塩の", False),
        ("hi", "नमक", True),
    ],
)
def test_a_text_belongs_to_languages_by_its_scripts(languages: str, text: str, kept: bool) -> None:
    assert written_in(parse_languages(languages))(text) == kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_selected_rows_are_copied_bit_for_bit_and_other_tensors_whole(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    tensors = {"a": torch.randn(3, 5), "table": torch.randn(40, 7).to(dtype), "z": torch.arange(4)}
    save_file(tensors, tmp_path / "old.safetensors", metadata={"format": "pt"})
    rows = np.array([0, 3, 17, 39], dtype=np.int64)
    write_rows(tmp_path / "old.safetensors", tmp_path / "new.safetensors", "table", rows)
    found = load_file(tmp_path / "new.safetensors")
    assert torch.equal(found["table"], tensors["table"][rows])
    assert all(torch.equal(found[name], tensors[name]) for name in ("a", "z"))


def test_a_beir_folder_gives_passages_with_titles_queries_and_training_pairs(small_data: Path) -> None:
    texts = {text.text for text in read_corpus(small_data).texts}
    for name, field in (("corpus", "text"), ("queries", "text"), ("train", "positive"), ("train", "query")):
        for line in (small_data / f"{name}.jsonl").read_text().splitlines():
            assert json.loads(line)[field] in texts
