"""A trimmed vocabulary: what is kept is as it was, what is dropped falls back, nothing is left behind."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tiny_bert import WORDS, build_bert
from tiny_vocabulary import RUSSIAN, SIZE, TEXTS, build_two_scripts, scribbles
from tokenizers import Tokenizer

from common.errors import UserError
from common.files import sha256_file
from export.artifact import open_artifact
from export.embedder import Embedder
from export.source import Source, open_source
from export.trimmed import open_trimmed
from export.vocabulary import parse_trim
from pocketvec import STARTER_MODEL
from pocketvec.cli import main
from quantize.quantize import quantize_artifact

FOREIGN = ["Привет, мир", "你好，世界", "👩‍👩‍👧 🇳🇴", "\x07\t\n\u00a0", "zażółć gęślą jaźń"]
UNKNOWN_ID = 3


@contextmanager
def trimmed(model: Path, out: Path, vocab: str | Path, size: int | None = None) -> Iterator[Source]:
    request = parse_trim(str(vocab), size, None)
    assert request is not None
    with open_trimmed(str(model), request, (128,), out / "artifacts") as source:
        yield source


def names(folder: Path, texts: list[str]) -> list[list[str]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [list(tokenizer.encode(text).tokens) for text in texts]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "questions.txt"
    path.write_text("\n".join(TEXTS))
    return path


@pytest.fixture(scope="module")
def artifact(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter at 128 dimensions with the vocabulary of sixty questions."""
    out = tmp_path_factory.mktemp("trimmed")
    assert (
        main(["export", str(STARTER_MODEL), "--out", str(out), "--dims", "128", "--vocab", str(corpus)]) == 0
    )
    assert [path.name for path in out.parent.glob(".*.tmp")] == []
    return out / "onnx-fp32-128d"


@pytest.fixture(scope="module")
def two_scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_two_scripts(tmp_path_factory.mktemp("model") / "two-scripts")


def test_texts_of_the_corpus_keep_their_pieces_bare_and_behind_every_retrieval_prompt(artifact: Path) -> None:
    prompts = open_artifact(artifact).manifest.prompts
    assert len(Tokenizer.from_file(str(artifact / "tokenizer.json")).get_vocab()) < 2000
    for prompt in ("", prompts["query"], prompts["document"]):
        prompted = [prompt + text for text in TEXTS]
        assert names(artifact, prompted) == names(STARTER_MODEL, prompted)


def test_vectors_of_the_corpus_are_those_of_the_untrimmed_model(artifact: Path, starter: Source) -> None:
    found = Embedder.open(artifact).embed(TEXTS[:12], prompt_name="query")
    expected = starter.model.encode(
        TEXTS[:12], prompt_name="query", truncate_dim=128, normalize_embeddings=True
    )
    assert np.abs(found - np.asarray(expected)).max() < 1e-6


@pytest.mark.parametrize("text", FOREIGN)
def test_what_the_corpus_never_used_becomes_bytes_and_is_read_back_whole(artifact: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert UNKNOWN_ID not in ids
    assert max(ids) < open_artifact(artifact).manifest.tokenizer.vocab_size
    assert tokenizer.decode(ids) == text


def test_manifest_and_inspect_say_what_was_kept_and_what_it_costs(
    artifact: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    quantised = open_artifact(quantize_artifact(open_artifact(artifact).path, "q4_0", tmp_path / "q4_0"))
    trim = quantised.manifest.vocabulary
    assert trim is not None
    assert trim.inflation == 1.0
    assert trim.held_out_inflation is not None
    assert trim.held_out_inflation > 1.0
    assert trim.rows == quantised.manifest.tokenizer.vocab_size < trim.rows_before == 16384
    assert trim.table_bytes["fp32"] == trim.rows * 256 * 4
    assert quantised.manifest.model.name == "starter"
    assert quantised.manifest.model.checkpoint_sha256 != trim.untrimmed_checkpoint_sha256
    assert main(["inspect", str(tmp_path / "q4_0")]) == 0
    assert f"{trim.rows} of 16384 rows, kept for corpus questions.txt" in capsys.readouterr().out


@pytest.mark.parametrize(("vocab", "size"), [("ru", None), ("en", None), ("ru", 500), ("ru,en", 700)])
def test_sentencepiece_agrees_and_every_text_is_read_back_from_its_pieces(
    two_scripts: Path, tmp_path: Path, vocab: str, size: int | None
) -> None:
    with trimmed(two_scripts, tmp_path, vocab, size) as source:
        tokenizer = Tokenizer.from_file(str(source.folder / "tokenizer.json"))
        pieces = SentencePieceProcessor(model_file=str(source.folder / "tokenizer.model"))
        assert pieces.get_piece_size() == source.table_rows
        assert (pieces.pad_id(), pieces.eos_id(), pieces.bos_id(), pieces.unk_id()) == (0, 1, 2, 3)
        for text in [*scribbles(), *TEXTS, *RUSSIAN]:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert ids == pieces.encode(text)
            assert UNKNOWN_ID not in ids
            assert tokenizer.decode(ids) == text


def test_russian_keeps_its_pieces_and_english_drops_them(two_scripts: Path, tmp_path: Path) -> None:
    lengths = {}
    for vocab in ("ru", "en"):
        with trimmed(two_scripts, tmp_path, vocab) as source:
            lengths[vocab] = [len(one) for one in names(source.folder, [RUSSIAN[0], TEXTS[0]])]
            kept = source.tokenizer.get_vocab()
            assert any("й" in name for name in kept) == (vocab == "ru")
            assert ("<table>" in kept) == (vocab == "en")
            assert "<unused0>" not in kept
    before = [len(one) for one in names(two_scripts, [RUSSIAN[0], TEXTS[0]])]
    assert lengths["ru"][0] == before[0] < lengths["en"][0]
    assert lengths["en"][1] == before[1] < lengths["ru"][1]


def test_rows_are_those_of_the_same_pieces_in_the_original_table(two_scripts: Path, tmp_path: Path) -> None:
    old = load_file(two_scripts / "model.safetensors")["embed_tokens.weight"]
    numbers = Tokenizer.from_file(str(two_scripts / "tokenizer.json")).get_vocab()
    with trimmed(two_scripts, tmp_path, "ru") as source:
        new = load_file(source.folder / "model.safetensors")["embed_tokens.weight"]
        kept = Tokenizer.from_file(str(source.folder / "tokenizer.json")).get_vocab()
        assert sorted(kept.values())[: len(new)] == list(range(len(new)))
        for name, id_ in kept.items():
            if name != "<mask>":  # transformers adds it beyond the table, before and after
                assert torch.equal(new[id_], old[numbers[name]])
        config = json.loads((source.folder / "config.json").read_text())
    assert config["vocab_size"] == len(new) < SIZE
    assert (config["pad_token_id"], config["eos_token_id"], config["bos_token_id"]) == (0, 1, 2)


def test_a_size_is_filled_first_by_use_then_in_the_order_of_learning(
    two_scripts: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "ru.txt"
    corpus.write_text("\n".join(RUSSIAN))
    kept: dict[int | None, set[str]] = {}
    for size in (390, None, 880):
        with trimmed(two_scripts, tmp_path, corpus, size) as source:
            kept[size] = set(source.tokenizer.get_vocab())
            assert source.vocabulary is not None
            assert source.table_rows == source.vocabulary.rows == (size or source.table_rows)
            assert (source.vocabulary.inflation == 1.0) == (size != 390)
    assert kept[390] < kept[None] < kept[880]
    assert "▁the" in kept[880] - kept[None]


def test_a_trimmed_bert_keeps_vectors_and_knows_every_word_it_knew(tmp_path: Path) -> None:
    folder = build_bert(tmp_path / "bert", "mean")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the salt of the pan")
    expected = np.asarray(open_source(str(folder)).model.encode(["the salt of the pan"]))
    with trimmed(folder, tmp_path, corpus) as source:
        vocabulary = source.tokenizer.get_vocab()
        assert "salt" in vocabulary
        assert "brine" not in vocabulary
        assert np.abs(np.asarray(source.model.encode(["the salt of the pan"])) - expected).max() < 1e-6
        assert source.table_rows < open_source(str(folder)).table_rows
        for word in WORDS:
            assert source.tokenizer.unk_token not in source.tokenizer.tokenize(word)


def test_ndcg_is_measured_before_and_after_on_the_set_asked_for(small_data: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("salt")
    request = parse_trim(str(corpus), None, small_data)
    assert request is not None
    with open_trimmed(str(STARTER_MODEL), request, (128,), tmp_path / "out") as source:
        trim = source.vocabulary
    assert trim is not None
    assert trim.ndcg_data == "small test"
    assert trim.ndcg_at_10["128"] < trim.ndcg_at_10_before["128"], "nothing but letters is left"


def test_a_tokenizer_model_that_numbers_its_pieces_otherwise_is_refused(
    two_scripts: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(two_scripts, tmp_path / "model"))
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((folder / "tokenizer.model").read_bytes())
    model.pieces[400].piece, model.pieces[401].piece = model.pieces[401].piece, model.pieces[400].piece
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="its id 400 is"), trimmed(folder, tmp_path, "ru"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocab", "en,xx"], "'xx' is neither a file, a folder nor a known language; known: af, am"),
        (["--vocab", "EMPTY"], "empty.txt: a corpus to keep a vocabulary for, but it has no text"),
        (["--vocab", "en", "--vocab-size", "270"], "alone need"),
        (["--vocab", "en", "--vocab-size", "99999"], "table has only 16384 rows"),
        (["--vocab-size", "9000"], "it goes with --vocab"),
        (["--data", "EMPTY"], "it goes with --vocab"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    given = [one.replace("EMPTY", str(tmp_path / "empty.txt")) for one in arguments]
    assert main(["export", str(STARTER_MODEL), "--out", str(tmp_path / "out"), *given]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_a_failure_after_trimming_leaves_neither_temporary_files_nor_a_changed_original(
    two_scripts: Path, tmp_path: Path
) -> None:
    before = {path: sha256_file(path) for path in two_scripts.rglob("*") if path.is_file()}
    taken = tmp_path / "out" / "onnx-fp32-128d" / "mine"
    taken.parent.mkdir(parents=True)
    taken.write_text("")
    command = ["export", str(two_scripts), "--out", str(tmp_path / "out"), "--dims", "128", "--vocab", "ru"]
    assert main(command) == 2
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [taken]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path: sha256_file(path) for path in two_scripts.rglob("*") if path.is_file()} == before
