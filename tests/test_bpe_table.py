"""tokenizer.bin as a file: what has no form, what is not whole, and when an artifact has it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from documented_reader import DocumentedReader
from sentencepiece import SentencePieceProcessor
from tokenizer_samples import GROWN_SIZE, STARTER, Content, added_texts, changed, library, strings

from common.errors import UserError
from export.artifact import open_artifact
from export.bpe_format import MAGIC, SECTIONS
from export.bpe_table import UnsupportedTokenizerError, build_table
from export.bpe_tokenizer import BpeTokenizer
from export.golden import PLAIN_TEXTS, GoldenText
from export.manifest import TOKENIZER_BIN, TOKENIZER_NAME, TensorSpec
from export.profiles import Form, write_profiles
from export.source import Source
from export.tokenizer import TextTokenizer
from pocketvec import STARTER_MODEL
from train.synthetic_tokenizer import grow, sentencepiece_model

SINGLE = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}
REFUSED: dict[str, Callable[[Content], object]] = {
    "only BPE": lambda c: c["model"].update(type="WordPiece"),
    "dropout": lambda c: c["model"].update(dropout=0.1),
    "ignore_merges": lambda c: c["model"].update(ignore_merges=True),
    "continuing_subword_prefix": lambda c: c["model"].update(continuing_subword_prefix="##"),
    "end_of_word_suffix": lambda c: c["model"].update(end_of_word_suffix="</w>"),
    "unk_token": lambda c: c["model"].update(unk_token="nowhere"),  # noqa: S106
    "one id twice": lambda c: c["model"]["vocab"].update(salty=0),
    "not in the vocabulary": lambda c: c["model"]["merges"].append(["x", "qqq"]),
    "not of two pieces": lambda c: c["model"]["merges"].append("x"),
    "normalizer NFKC": lambda c: c.update(normalizer={"type": "NFKC"}),
    "normalizer Replace": lambda c: c["normalizer"].update(pattern={"Regex": " +"}),
    "pre_tokenizer Metaspace": lambda c: c.update(pre_tokenizer={"type": "Metaspace"}),
    "pre_tokenizer Split": lambda c: c["pre_tokenizer"].update(behavior="Isolated"),
    "post_processor ByteLevel": lambda c: c.update(post_processor={"type": "ByteLevel"}),
    "without exactly one text": lambda c: c.update(post_processor=SINGLE),
    "lstrip": lambda c: c["added_tokens"][0].update(lstrip=True),
    "single_word": lambda c: c["added_tokens"][0].update(single_word=True),
    "another id": lambda c: c["added_tokens"][0].update(id=9),
    "empty or alike": lambda c: c["added_tokens"].append(c["added_tokens"][0]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_exact_form_is_refused_with_its_reason(reason: str) -> None:
    with pytest.raises(UnsupportedTokenizerError, match=reason):
        build_table(changed(REFUSED[reason]))


@pytest.fixture(scope="module")
def table() -> bytes:
    return build_table(STARTER)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda whole: b"", "not a tokenizer of pocketvec's"),
        (lambda whole: b"PK\3\4" + whole, "not a tokenizer of pocketvec's"),
        (lambda whole: whole[:-1], r"not whole, \d+ bytes of \d+"),
        (lambda whole: whole[:60], "not whole, 60 bytes of"),
        (lambda whole: whole + bytes(8), "not whole"),
        (lambda whole: MAGIC + b"\2" + whole[len(MAGIC) + 1 :], "version 2"),
        (lambda whole: whole[:56] + b"\xff" * 8 + whole[64:], "'char_pages' lies outside the file"),
        (lambda whole: whole[:56] + bytes(8) + whole[64:], "do not fit each other"),
    ],
)
def test_a_file_that_is_not_a_whole_table_is_refused_in_one_line(
    table: bytes, tmp_path: Path, damage: Callable[[bytes], bytes], rule: str
) -> None:
    path = tmp_path / TOKENIZER_BIN
    path.write_bytes(damage(table))
    with pytest.raises(UserError, match=rule) as refusal:
        BpeTokenizer(path)
    assert str(refusal.value).startswith(str(path))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.bin: no such file"):
        BpeTokenizer(tmp_path / "absent.bin")


def test_the_sections_are_aligned_and_the_file_is_a_third_of_the_json(table: bytes) -> None:
    head = 48
    for index in range(len(SECTIONS)):
        assert int.from_bytes(table[head + 16 * index :][:8], "little") % 8 == 0
    assert len(table) < (STARTER_MODEL / TOKENIZER_NAME).stat().st_size / 3


def export_tokenizer(source: Source, out: Path, ids: list[int]) -> Path:
    """An artifact of the starter that has everything but a graph."""
    golden = [GoldenText("salt", "", ids, [1.0] + [0.0] * 767)]
    inputs = [TensorSpec("input_ids", "int64", ["batch", "tokens"], "ids")]
    form = Form("onnx", 64, inputs, (), {}, ["batch", ""])

    def write_model(folder: Path, dim: int) -> None:
        (folder / "model.onnx").write_bytes(b"graph")

    (folder,) = write_profiles(source, form, [128], out, golden, write_model, lambda name: None)
    return folder


def test_an_artifact_has_the_table_and_uses_it_for_the_same_ids(starter: Source, tmp_path: Path) -> None:
    folder = export_tokenizer(starter, tmp_path, library(STARTER).encode("salt").ids)
    manifest = open_artifact(folder).manifest
    compact = TextTokenizer(folder, manifest)
    files = {name: entry for name, entry in manifest.files.items() if name != TOKENIZER_BIN}
    parsed = TextTokenizer(folder, dataclasses.replace(manifest, files=files))
    (folder / TOKENIZER_NAME).unlink()  # only the parsed one has read it
    for text in (*PLAIN_TEXTS, PLAIN_TEXTS[-1] * 9):
        for prompt in ("", "task: search result | query: "):
            assert compact.ids(text, prompt) == parsed.ids(text, prompt)
    for tokenizer in (compact, parsed):
        tokenizer._include_prompt = False
    assert compact.prompt_tokens("query: ") == parsed.prompt_tokens("query: ") > 1
    assert compact._encoder.special_ids == parsed._encoder.special_ids >= {0, 1, 2, 3}


def test_a_table_that_gives_a_golden_text_other_ids_is_left_out(starter: Source, tmp_path: Path) -> None:
    folder = export_tokenizer(starter, tmp_path, [2, 5, 1])
    manifest = open_artifact(folder).manifest
    assert TOKENIZER_BIN not in manifest.files
    assert not (folder / TOKENIZER_BIN).exists()
    assert TextTokenizer(folder, manifest).ids("salt") == library(STARTER).encode("salt").ids


@pytest.fixture(scope="module")
def grown() -> Content:
    return grow(STARTER, GROWN_SIZE, seed=1)


def test_a_reader_written_from_the_documentation_alone_gives_the_same_ids(grown: Content) -> None:
    whole = build_table(grown)
    documented, ours = DocumentedReader(whole).open(), BpeTokenizer(whole)
    for text in [text for text in strings(900, added_texts(grown)) if len(text) < 100][::3]:
        assert documented.encode(text) == ours.encode(text), text


def test_a_grown_tokenizer_is_the_same_each_time_and_of_the_real_ones_shape(grown: Content) -> None:
    assert grow(STARTER, GROWN_SIZE, seed=1) == grown != grow(STARTER, GROWN_SIZE, seed=2)
    vocab = grown["model"]["vocab"]
    assert list(vocab.values()) == list(range(GROWN_SIZE))
    assert 1.6 < len(grown["model"]["merges"]) / len(vocab) < 2.2
    assert list(vocab)[: len(STARTER["model"]["vocab"])] == list(STARTER["model"]["vocab"])


def test_the_grown_sentencepiece_model_has_the_same_pieces(grown: Content) -> None:
    template = (STARTER_MODEL / "tokenizer.model").read_bytes()
    model = SentencePieceProcessor(model_proto=sentencepiece_model(template, grown))
    tokenizer = BpeTokenizer(build_table(grown))
    assert model.get_piece_size() == GROWN_SIZE
    for text in PLAIN_TEXTS:
        if "  " not in text:  # SentencePiece takes a run of spaces for an added token, the library does not
            assert tokenizer.encode(text)[1:-1] == model.encode(text), text


def test_the_documented_sections_are_those_of_the_file() -> None:
    text = (Path(__file__).parent.parent / "docs" / "tokenizer.md").read_text(encoding="utf-8")
    rows = text.split("| section | content |")[1].split("\n\n")[0].splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(SECTIONS)
