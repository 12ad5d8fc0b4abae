"""GGUF artifacts in llama.cpp itself: vectors, tokens, what is refused, what is left alone."""

import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import Gemma3TextConfig, Gemma3TextModel

from bench.cost import Plan, measure_cost
from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.gguf_file import read_gguf
from export.gguf_session import GgufSession
from export.golden import golden_parity
from export.head import DenseLayer, truncate_normalise
from export.source import Source, open_source
from export.to_gguf import export_gguf, sliding_period
from export.tokenizer import TokenBatch
from pocketvec import STARTER_MODEL
from pocketvec.cli import main

FULL = 2048
OPTS = Opening(threads=1)


def ids_of(length: int) -> list[int]:
    """`length` random tokens that are none of the special ones."""
    return [int(one) for one in np.random.default_rng(length).integers(300, 16000, length)]


def embed(embedder: Embedder, ids: list[int]) -> np.ndarray:
    return np.asarray(embedder.run(TokenBatch(np.array([ids]), np.ones((1, len(ids)), np.int64)))[0])


def reference(source: Source, ids: list[int], dim: int) -> np.ndarray:
    """Unit vector of a row of ids from the Sentence Transformers modules."""
    features = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    with torch.no_grad():
        vector = source.model(features)["sentence_embedding"].numpy()
    return np.asarray(truncate_normalise(vector, dim)[0])


@pytest.fixture(scope="module")
def fp32(gguf_artifacts: Path) -> Embedder:
    return Embedder.open(gguf_artifacts / "gguf-fp32-768d", OPTS)


@pytest.mark.parametrize("dim", [768, 128])
def test_the_worst_golden_text_agrees_to_six_nines(gguf_artifacts: Path, dim: int) -> None:
    """The empty text and two of 2048 tokens are among them, 32 times the window."""
    parity = golden_parity(Embedder.open(gguf_artifacts / f"gguf-fp32-{dim}d", OPTS))
    assert parity.ids_equal
    assert parity.cosine_min > 0.999999, parity.worst_text


@pytest.mark.parametrize("length", [1, 2, 64, 65, 66, 129, 300])
def test_a_text_of_any_length_gives_the_references_vector(
    fp32: Embedder, starter: Source, length: int
) -> None:
    """A window one key wider or narrower shows from 65 tokens on."""
    ids = ids_of(length)
    assert np.abs(embed(fp32, ids) - reference(starter, ids, 768)).max() < 1e-4


def test_a_batch_of_texts_gives_what_each_gives_alone(fp32: Embedder) -> None:
    texts = ["salt", "A strake is filled at dawn and left to the wind.", ""]
    alone = [fp32.embed([text], "query")[0] for text in texts]
    np.testing.assert_allclose(fp32.embed(texts, "query"), alone, atol=1e-6)


def test_two_models_are_open_at_once_and_do_not_mix(gguf_artifacts: Path, fp32: Embedder) -> None:
    before = fp32.embed(["brine"])
    small = Embedder.open(gguf_artifacts / "gguf-fp32-128d", OPTS)
    np.testing.assert_allclose(small.embed(["brine"])[0], truncate_normalise(before, 128)[0], atol=1e-5)
    del small
    np.testing.assert_array_equal(fp32.embed(["brine"]), before)


def test_a_row_longer_than_the_limit_is_refused(fp32: Embedder) -> None:
    with pytest.raises(UserError, match="2049 tokens: the model takes 2048"):
        embed(fp32, ids_of(FULL + 1))


def build_gemma(folder: Path) -> Path:
    """A two-headed Gemma without Dense layers, its softmax scale not that of its head width."""
    torch.manual_seed(1)
    layers = ["sliding_attention", "full_attention"] * 2
    config = Gemma3TextConfig(
        vocab_size=16400,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=len(layers),
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=100,
        max_position_embeddings=128,
        sliding_window=12,
        layer_types=layers,
        use_bidirectional_attention=True,
    )
    backbone = Gemma3TextModel(config)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            parameter.normal_(0, 0.3 if "norm" in name else 0.1)
    backbone.save_pretrained(folder / "b")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model"):
        shutil.copyfile(STARTER_MODEL / name, folder / "b" / name)
    modules = [Transformer(str(folder / "b"), max_seq_length=128), Pooling(64), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "m"), create_model_card=False)
    return folder / "m"


def test_another_order_of_layers_scale_and_window_is_told_to_llama_cpp(tmp_path: Path) -> None:
    """No Dense either, so that the dimension is cut by a matrix of our own; 16 rows have no token."""
    source = open_source(str(build_gemma(tmp_path)))
    (folder,) = export_gguf(source, [24], tmp_path / "out")
    embedder = Embedder.open(folder, OPTS)
    for length in (1, 30, 100):
        ids = ids_of(length)
        assert embed(embedder, ids) @ reference(source, ids, 24) > 0.999999
    tokens = GGUFReader(folder / "model.gguf").fields["tokenizer.ggml.tokens"].contents()
    assert tokens[16383] == "#"
    assert tokens[16390:] == [f"[PAD{row}]" for row in range(16390, 16400)]


@pytest.mark.parametrize("pattern", ["sff", "s", "f", "fs", "sfss"])
def test_layers_in_an_order_that_llama_cpp_has_no_word_for_are_refused(pattern: str) -> None:
    kinds = {"s": "sliding_attention", "f": "full_attention"}
    with pytest.raises(UserError, match="every n-th layer"):
        sliding_period([kinds[one] for one in pattern])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": torch.nn.Linear(1, 1)}, "only Gemma 3 text encoders"),
        ({"pooling": "cls"}, "pooling 'cls'; of Gemma encoders only mean"),
        ({"include_prompt": False}, "llama.cpp pools every token"),
        ({"layers": [DenseLayer(np.ones((768, 256), np.float32), None, "tanh")]}, "a bias or an activation"),
        ({"layers": [DenseLayer(np.ones((768, 256)), np.ones(768))]}, "a bias or an activation"),
    ],
)
def test_what_llama_cpp_has_no_form_for_is_one_line_and_leaves_nothing(
    starter: Source, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    if "backbone" in change:
        change["backbone"].config = starter.backbone.config
    with pytest.raises(UserError, match=message):
        export_gguf(dataclasses.replace(starter, **change), [128], tmp_path / "new" / "out")
    assert not list(tmp_path.iterdir())


def test_the_command_line_exports_quantises_and_embeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(build_gemma(tmp_path)), "--format", "gguf", "--dims", "64"]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 0
    folder = tmp_path / "a" / "gguf-fp32-64d"
    assert main(["quantize", str(folder), "--precision", "int8,q4_0,mixed"]) == 0
    names = {one.name for one in (tmp_path / "a").iterdir()}
    assert names == {f"gguf-{precision}-64d" for precision in ("fp32", "q8_0", "q4_0", "mixed")}
    capsys.readouterr()
    vectors = []
    for name in ("gguf-fp32-64d", "gguf-q8_0-64d"):
        assert main(["inspect", str(tmp_path / "a" / name), "--text", "brine"]) == 0
        vectors.append(json.loads(capsys.readouterr().out))
    assert np.dot(*vectors) > 0.99
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_the_measuring_process_opens_and_times_it_without_torch(gguf_artifacts: Path) -> None:
    cost = measure_cost(gguf_artifacts / "gguf-q4_0-128d", Plan([8], 30, 1, max_warm_up=10))
    assert cost.latency_ms["8"].runs == 30
    assert cost.ram_mb.peak > cost.ram_mb.baseline > 0


ALONE = """
import os, sys
from pathlib import Path
from export.embedder import Embedder, Opening
embedder = Embedder.open(sys.argv[1], Opening(threads=1))
assert embedder.embed(["brine"]).shape == (1, 128)
links = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.exists() or one.is_symlink()]
own = {link[8:-1] for link in links if link.startswith("socket:")}
for kind in ("tcp", "tcp6", "udp", "udp6"):
    lines = Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
    assert not own & {line.split()[9] for line in lines}, kind
rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
places = [row[7] for row in rows if row[6] in own and len(row) > 7]
assert places and not any(Path(place).exists() for place in places), places
assert "OMP_WAIT_POLICY" not in os.environ
"""


def test_a_session_is_silent_and_nothing_can_connect_to_it(gguf_artifacts: Path) -> None:
    command = [sys.executable, "-c", ALONE, str(gguf_artifacts / "gguf-fp32-128d")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return {**kept, "PYTHONPATH": str(Path(__file__).parent.parent)}


def test_a_temporary_folder_too_deep_for_a_socket_is_one_line(
    gguf_artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(UserError, match="too long for a Unix socket; set TMPDIR"):
        Embedder.open(gguf_artifacts / "gguf-fp32-128d", OPTS)


def test_without_llama_cpp_the_extra_is_named(gguf_artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(UserError, match=r"'xllamacpp'.*\[llamacpp\]"):
        Embedder.open(gguf_artifacts / "gguf-fp32-128d", OPTS)


def test_a_file_that_llama_cpp_cannot_open_is_one_line(
    gguf_artifacts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(gguf_artifacts / "gguf-fp32-128d", folder)
    whole = (folder / "model.gguf").read_bytes()
    (folder / "model.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.gguf: llama\.cpp cannot open it \(.*\)"):
        GgufSession(open_artifact(folder, verify=False), 1)
    assert capfd.readouterr() == ("", "")


def test_a_vector_of_another_length_than_the_profiles_is_refused(gguf_artifacts: Path) -> None:
    """What a llama.cpp does that leaves out a head whose form it does not know."""
    artifact = open_artifact(gguf_artifacts / "gguf-fp32-128d")
    other = dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, dim=64))
    with pytest.raises(UserError, match=r"this llama\.cpp gives 128 dimensions instead of 64"):
        GgufSession(other, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and more", "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 2, 0, 0), "GGUF version 2; only 3 is read"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + b"\x01", "a truncated or damaged GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<QcI", 1, b"k", 99), "a truncated or damaged"),
    ],
)
def test_a_file_that_is_no_gguf_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"model.gguf: {message}"):
        read_gguf(path)
