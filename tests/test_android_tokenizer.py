"""The Kotlin tokenizers against the `tokenizers` library: equal ids for thousands of texts, or a refusal."""

import dataclasses
import json
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import unicode_tables
from bert_samples import CHANGES, REFUSED, bert, content
from kotlin_tokenizer import Answer, Job, Texts, run
from many_scripts import PROMPTS, long_texts, texts
from test_bpe_table import export_tokenizer
from test_bpe_tokenizer import VARIANTS
from tokenizer_samples import STARTER, Content, added_texts, changed, library
from tokenizers import Tokenizer, normalizers

from export.artifact import open_artifact, write_manifest
from export.bpe_format import MAGIC, SECTIONS
from export.bpe_table import build_table
from export.manifest import TOKENIZER_BIN, TOKENIZER_NAME
from export.source import Source
from export.tokenizer import TextTokenizer
from train.synthetic_tokenizer import grow

pytestmark = pytest.mark.android

COUNT = 6000
FULL_SIZE = 262_144
FEW = 700
UNLIMITED = 1_000_000
LIMITS = (0, 1, 2, 3, 4, 7, 16, 64)
HALVES = ("\ud800", "salt \udc00 brine", "a\udc00\ud800", "👍\ud83d")
"""Each with half a surrogate pair."""
LOWERED = ("ΠΡΟΣ ΤΟΥΣ ΣΑΚΟΥΣ", "ΑΣ.", "Α.Σ", "ΑΣ'Β", "Σ", "aΣb", "ΑΣ\u0301 Σ", "İI ı", "ǅ Ǆ ǆ", "ẞß ﬁ", "ⅧⒶ")


def known_alike(char: str) -> bool:
    """Whether today's Unicode calls the character what that of 2002 did."""
    then = unicodedata.ucd_3_2_0.category(char)
    return then != "Cn" and then == unicodedata.category(char)


BLOCKS = [
    unicode_tables.CODE_POINTS[start:][:1024] for start in range(0, len(unicode_tables.CODE_POINTS), 1024)
]
EVERY_CODE_POINT = tuple("".join(f"a{chr(code)}b " for code in codes) for codes in BLOCKS)
SIGMAS = tuple(
    " ".join(f"A{char}Σ AΣ{char} AΣ{char}B {char}" for char in map(chr, codes) if known_alike(char))
    for codes in BLOCKS
)
"""Whether a sigma ends a word, with each character about it that every Unicode knows alike."""
FIRST_PAGE = 48 + 16 * len(SECTIONS)
DAMAGES: tuple[tuple[Callable[[bytes], bytes], str], ...] = (
    (lambda whole: b"", "not a tokenizer of pocketvec's"),
    (lambda whole: b"PK\3\4" + whole, "not a tokenizer of pocketvec's"),
    (lambda whole: whole[:60], "not whole, 60 bytes of"),
    (lambda whole: whole + bytes(8), "not whole"),
    (lambda whole: MAGIC + b"\2" + whole[len(MAGIC) + 1 :], "version 2 with 23 sections"),
    (lambda whole: whole[:12] + b"\7" + whole[13:], "version 1 with 7 sections"),
    (lambda whole: whole[:56] + b"\xff" * 8 + whole[64:], "'char_pages' lies outside the file"),
    (lambda whole: whole[:48] + b"\xf8" + b"\xff" * 7 + whole[56:], "'char_pages' lies outside the file"),
    (lambda whole: whole[:56] + bytes(8) + whole[64:], "do not fit each other"),
    (lambda whole: whole[:24] + b"\7" + whole[25:], "do not fit each other"),
    (lambda whole: whole[:FIRST_PAGE] + b"\xff\x7f" + whole[FIRST_PAGE + 2 :], "do not fit each other"),
)
"""What is done to a whole file, and what the refusal says."""
EMPTY_REFUSED = "an empty text gives no token with this tokenizer"


@dataclass
class Proof:
    """Jobs for one process of Kotlin, what the library says to each, and what Kotlin said."""

    folder: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    expected: dict[str, list[list[int]]] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def bpe(self, name: str, parsed: Content) -> Path:
        path = self.folder / f"{name}-{TOKENIZER_BIN}"
        path.write_bytes(build_table(parsed))
        return path

    def json(self, name: str, parsed: Content) -> Path:
        path = self.folder / f"{name}-{TOKENIZER_NAME}"
        path.write_text(json.dumps(parsed), encoding="utf-8")
        return path

    def compare(self, name: str, job: Job, tokenizer: Tokenizer) -> None:
        tokenizer.enable_truncation(job.max_tokens)
        whole = ["".join(pair) for pair in job.texts]
        whole = [text.lower() for text in whole] if job.lower_case else whole
        self.jobs[name] = job
        self.expected[name] = [tokenizer.encode(text).ids for text in whole]

    def first_difference(self, name: str) -> tuple[str, ...] | None:
        """Prompt and text to which Kotlin gives other ids than the library."""
        rows = zip(self.jobs[name].texts, self.answers[name], self.expected[name], strict=True)
        return next((pair for pair, ours, theirs in rows if not _same(ours, theirs)), None)


def _same(ours: Answer, theirs: list[int]) -> bool:
    return ours == theirs if theirs else isinstance(ours, str) and ours.startswith(EMPTY_REFUSED)


def plain(chosen: list[str]) -> Texts:
    return [("", text) for text in chosen]


def prompted(chosen: list[str]) -> Texts:
    return [(PROMPTS[index % len(PROMPTS)], text) for index, text in enumerate(chosen)]


def add_whole(proof: Proof, name: str, job: Job, tokenizer: Tokenizer) -> None:
    """All texts, as they are, behind prompts, at small limits, lowered, and long ones."""
    chosen = [text for _, text in job.texts]

    def add(case: str, pairs: Texts, limit: int = UNLIMITED, *, lower: bool = False) -> None:
        proof.compare(f"{name} {case}", Job(job.kind, job.tokenizer, pairs, limit, lower), tokenizer)

    add("plain", job.texts)
    add("prompted", prompted(chosen), 2048)
    add("lowered", plain([*LOWERED, *chosen[::10]]), lower=True)
    add("long", plain(long_texts()))
    for limit in LIMITS:
        add(f"limit {limit}", prompted(chosen[limit :: len(LIMITS) * 3]), limit)


WHOLE = ("starter", "full size", "uncased", "cased")
CASES = ("plain", "prompted", "lowered", "long", *(f"limit {limit}" for limit in LIMITS))


@pytest.fixture(scope="module")
def proof(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Proof:
    made = Proof(tmp_path_factory.mktemp("kotlin-tokenizer"))
    for name, parsed in (("starter", STARTER), ("full size", grow(STARTER, FULL_SIZE, seed=0))):
        job = Job("bpe", made.bpe(name, parsed), plain(texts(COUNT, added_texts(parsed))))
        add_whole(made, name, job, library(parsed))
    many = texts(COUNT, added_texts(STARTER))
    for name in ("uncased", "cased"):
        tokenizer = bert(many, lowercase=name == "uncased")
        path = made.json(name, content(tokenizer))
        made.jobs[f"{name} normalised"] = Job("normalise", path, plain([*many, *EVERY_CODE_POINT]))
        added = added_texts(content(tokenizer)) * 40
        add_whole(made, name, Job("wordpiece", path, plain(texts(COUNT, added))), tokenizer)
    made.jobs["lower"] = Job("lower", path, plain(list(SIGMAS)))
    add_artifacts(made, starter, many)
    add_variants(made, many)
    add_refusals(made)
    made.answers = run(made.jobs, made.folder)
    return made


def add_artifacts(made: Proof, starter: Source, many: list[str]) -> None:
    """One with the table, one of BERT's kind that lowers; neither pools its prompt."""
    compact = export_tokenizer(starter, made.folder, library(STARTER).encode("salt").ids)
    manifest = open_artifact(compact).manifest
    write_manifest(compact, dataclasses.replace(manifest, include_prompt=False))
    parsed = made.folder / "bert"
    shutil.copytree(compact, parsed)
    shutil.copyfile(made.jobs["cased plain"].tokenizer, parsed / TOKENIZER_NAME)
    (parsed / TOKENIZER_BIN).unlink()
    spec = dataclasses.replace(manifest.tokenizer, lower_case=True)
    write_manifest(parsed, dataclasses.replace(manifest, tokenizer=spec, max_tokens=12, include_prompt=False))
    for folder in (compact, parsed):
        job = Job("artifact", folder, prompted(many[::6]))
        tokenizer = TextTokenizer(folder, open_artifact(folder).manifest)
        made.jobs[f"artifact {folder.name}"] = job
        made.expected[f"artifact {folder.name}"] = [
            [*tokenizer.ids(text, prompt), tokenizer.prompt_tokens(prompt)] for prompt, text in job.texts
        ]


def add_variants(made: Proof, many: list[str]) -> None:
    for name, change in VARIANTS.items():
        parsed = changed(change)
        job = Job("bpe", made.bpe(name, parsed), plain(texts(FEW, added_texts(parsed))), UNLIMITED)
        made.compare(name, job, library(parsed))
    uncased = content(bert(many, lowercase=True))
    for name, change in CHANGES.items():
        parsed = changed(change, uncased)
        job = Job(
            "wordpiece", made.json(name, parsed), plain(texts(FEW, added_texts(parsed) * 40)), UNLIMITED
        )
        made.compare(name, job, library(parsed))
    for index, (name, change) in enumerate(REFUSED.items()):
        path = made.json(f"refused-{index}", changed(change, uncased))
        made.jobs[name] = Job("wordpiece", path, plain(["salt"]))


def add_refusals(made: Proof) -> None:
    whole = build_table(STARTER)
    for index, (damage, _) in enumerate(DAMAGES):
        path = made.folder / f"damaged-{index}-{TOKENIZER_BIN}"
        path.write_bytes(damage(whole))
        made.jobs[f"damage {index}"] = Job("bpe", path, plain(["salt"]))
    made.jobs["absent"] = Job("bpe", made.folder / "absent.bin", plain(["salt"]))
    for name, kind in (("starter plain", "bpe"), ("uncased plain", "wordpiece")):
        made.jobs[f"halves {kind}"] = Job(kind, made.jobs[name].tokenizer, plain(list(HALVES)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tokenizer", WHOLE)
def test_every_text_gets_the_librarys_ids(proof: Proof, tokenizer: str, case: str) -> None:
    assert proof.first_difference(f"{tokenizer} {case}") is None


@pytest.mark.parametrize("artifact", ["artifact onnx-fp32-128d", "artifact bert"])
def test_an_artifact_gets_the_ids_and_prompt_lengths_of_the_host(proof: Proof, artifact: str) -> None:
    assert len({answer[-1] for answer in proof.answers[artifact]}) > 3
    assert proof.first_difference(artifact) is None


@pytest.mark.parametrize("name", [*VARIANTS, *CHANGES])
def test_a_relative_gives_the_librarys_ids(proof: Proof, name: str) -> None:
    assert proof.first_difference(name) is None


def test_text_is_lowered_as_python_does(proof: Proof) -> None:
    rows = zip(SIGMAS, proof.answers["lower"], strict=True)
    assert next((text for text, ours in rows if ours != list(map(ord, text.lower()))), None) is None


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_bert_sees_every_code_point_as_the_library_does(proof: Proof, name: str) -> None:
    settings = json.loads(proof.jobs[f"{name} normalised"].tokenizer.read_text(encoding="utf-8"))[
        "normalizer"
    ]
    assert settings.pop("type") == "BertNormalizer"
    normalise = normalizers.BertNormalizer(**settings).normalize_str
    rows = zip(proof.jobs[f"{name} normalised"].texts, proof.answers[f"{name} normalised"], strict=True)
    assert next((text for (_, text), ours in rows if ours != list(map(ord, normalise(text)))), None) is None


def test_the_tables_of_characters_are_what_the_library_says() -> None:
    assert unicode_tables.KOTLIN.read_text(encoding="utf-8") == unicode_tables.kotlin()


@pytest.mark.parametrize("rule", REFUSED)
def test_what_is_no_bert_is_refused_by_its_name(proof: Proof, rule: str) -> None:
    (said,) = proof.answers[rule]
    assert isinstance(said, str)
    assert rule in said
    assert said.startswith(str(proof.jobs[rule].tokenizer))
    assert "\n" not in said


@pytest.mark.parametrize("index", range(len(DAMAGES)))
def test_a_file_that_is_not_a_whole_table_is_refused_in_one_line(proof: Proof, index: int) -> None:
    (said,) = proof.answers[f"damage {index}"]
    assert isinstance(said, str)
    assert said.startswith(f"{proof.jobs[f'damage {index}'].tokenizer}: ")
    assert DAMAGES[index][1] in said


def test_an_absent_file_is_named(proof: Proof) -> None:
    assert proof.answers["absent"] == [f"{proof.folder / 'absent.bin'}: no such file"]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_half_a_surrogate_pair_is_refused_in_one_line(proof: Proof, kind: str) -> None:
    said = proof.answers[f"halves {kind}"]
    places = (0, 5, 1, 2)  # in UTF-16
    for answer, place in zip(said, places, strict=True):
        assert f"character {place} is half a surrogate pair, which has no UTF-8 form" in str(answer)


def test_the_texts_are_thousands_in_many_scripts(proof: Proof) -> None:
    chosen = {text for _, text in proof.jobs["starter plain"].texts}
    assert len(chosen) > 5000
    letters = {
        unicodedata.name(char, "NONE").split()[0] for text in chosen for char in text if char.isalpha()
    }
    assert letters >= {"LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC", "DEVANAGARI", "THAI", "GEORGIAN"}
    assert letters >= {
        "ETHIOPIC",
        "HIRAGANA",
        "KATAKANA",
        "CJK",
        "HANGUL",
        "ARMENIAN",
        "BENGALI",
        "TAMIL",
        "KHMER",
    }
