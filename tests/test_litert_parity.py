"""The fp32 LiteRT graph against Sentence Transformers: every length, every bucket, every kind of padding."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.golden import golden_parity
from export.head import truncate_normalise
from export.litert_session import LiteRTSession
from export.source import Source
from export.to_litert import DEFAULT_LENGTHS, LiteRTOptions, export_litert
from export.tokenizer import TokenBatch

BUCKETS = DEFAULT_LENGTHS
FULL = 2048


@pytest.fixture(scope="module")
def embedder(litert_artifacts: Path) -> Embedder:
    return Embedder.open(litert_artifacts / "litert-fp32-768d")


@pytest.fixture(scope="module")
def folder(litert_artifacts: Path) -> Path:
    return litert_artifacts / "litert-fp32-768d"


def ids_of(length: int) -> list[int]:
    """`length` random tokens that are none of the special ones."""
    return [int(one) for one in np.random.default_rng(length).integers(300, 16000, length)]


def reference(starter: Source, ids: list[int]) -> np.ndarray:
    """Unit vector of a row of ids from the Sentence Transformers modules, without any padding."""
    features = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    with torch.no_grad():
        vector = starter.model(features)["sentence_embedding"][0]
    unit: np.ndarray = torch.nn.functional.normalize(vector, dim=0).numpy()
    return unit


def embed(embedder: Embedder, ids: list[int]) -> np.ndarray:
    vectors: np.ndarray = embedder.run(TokenBatch(np.array([ids]), np.ones((1, len(ids)), np.int64)))
    return np.asarray(vectors[0])


@pytest.mark.parametrize("dim", [768, 128])
def test_the_worst_golden_text_agrees_to_five_nines(litert_artifacts: Path, dim: int) -> None:
    parity = golden_parity(Embedder.open(litert_artifacts / f"litert-fp32-{dim}d"))
    assert parity.ids_equal
    assert parity.cosine_min > 0.99999, parity.worst_text


@pytest.mark.parametrize("length", [1, 2, 63, *BUCKETS, 65, 129, 257, 300, 513, 2047])
def test_a_text_of_any_length_gives_the_references_vector(
    embedder: Embedder, starter: Source, length: int
) -> None:
    """Some fill a bucket exactly, some leave one token or hundreds of padding, most pass the window of 64."""
    ids = ids_of(length)
    assert np.abs(embed(embedder, ids) - reference(starter, ids)).max() < 1e-5


@pytest.mark.parametrize("length", [1, 40, 64])
def test_the_same_text_gives_the_same_vector_in_every_bucket(folder: Path, length: int) -> None:
    artifact = open_artifact(folder)
    ids = ids_of(length)
    vectors = []
    for bucket in BUCKETS:
        session = LiteRTSession(artifact, None, None)
        session._lengths = [bucket if size == bucket else 0 for size in artifact.manifest.lengths]
        vectors.append(session.run(ids))
    assert np.abs(np.diff(vectors, axis=0)).max() < 1e-4


def test_a_padding_token_inside_a_text_counts_as_in_python(embedder: Embedder, starter: Source) -> None:
    pad = starter.pad_id
    ids = [*ids_of(5), pad, pad, *ids_of(4), 1]
    assert np.abs(embed(embedder, ids) - reference(starter, ids)).max() < 1e-5
    assert embedder.tokenizer.ids("salt <pad> brine").count(pad) == 1


def test_the_runtime_takes_the_shortest_signature_that_fits(embedder: Embedder) -> None:
    session = embedder._session
    assert isinstance(session, LiteRTSession)
    session._buffers.clear()
    embed(embedder, ids_of(64))
    assert list(session._buffers) == [0]
    embed(embedder, ids_of(65))
    assert list(session._buffers) == [0, 1]


def test_a_row_longer_than_every_signature_is_refused(embedder: Embedder) -> None:
    with pytest.raises(UserError, match="2049 tokens: the longest signature takes 2048"):
        embed(embedder, ids_of(FULL + 1))


def test_lengths_share_one_copy_of_the_weights(
    litert_artifacts: Path, starter: Source, tmp_path: Path
) -> None:
    (one,) = export_litert(starter, [128], tmp_path, LiteRTOptions(lengths=(64,)))
    many = open_artifact(litert_artifacts / "litert-fp32-128d")
    assert many.file_bytes - open_artifact(one).file_bytes < 0.02 * many.file_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": (64, 4096)}, "length 4096: the model takes 1 to 2048 tokens"),
        ({"lengths": (0,)}, "length 0: the model takes 1 to 2048 tokens"),
        ({"lengths": (64, 128), "contract": "rag-sdk"}, "one signature, so give one length and dimension"),
        ({"further_dims": (128,)}, "further dimension 128: must lie between 1 and 127"),
        ({"contract": "mlkit"}, "contract 'mlkit': unknown; known is rag-sdk"),
    ],
)
def test_a_signature_that_cannot_be_is_refused_before_any_work(
    starter: Source, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        export_litert(starter, [128], tmp_path / "out", LiteRTOptions(**options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("limit", "lengths"),
    [
        (2048, [64, 256, 512, 2048]),
        (8192, [64, 256, 512, 2048]),
        (512, [64, 256, 512]),
        (300, [64, 256, 300]),
    ],
)
def test_default_lengths_end_with_the_models_limit_or_2048(limit: int, lengths: list[int]) -> None:
    """A signature of 8192 would hold score matrices of gigabytes; who needs one asks for it."""
    assert LiteRTOptions().choose_lengths(limit) == lengths
    assert LiteRTOptions(contract="rag-sdk").choose_lengths(limit) == [256]


def test_a_truncating_export_stores_golden_vectors_of_the_cut_texts(starter: Source, tmp_path: Path) -> None:
    (folder,) = export_litert(starter, [128], tmp_path, LiteRTOptions(lengths=(32,)))
    embedder = Embedder.open(folder)
    assert embedder.manifest.max_tokens == 32
    assert golden_parity(embedder).cosine_min > 0.99999


def test_the_sliding_window_is_part_of_the_graph(starter: Source, tmp_path: Path, embedder: Embedder) -> None:
    """Half the window must show, or the test of texts beyond it would prove nothing."""
    config: Any = starter.backbone.config
    window = config.sliding_window
    try:
        config.sliding_window = window // 2
        (folder,) = export_litert(starter, [768], tmp_path, LiteRTOptions(lengths=(256,)))
    finally:
        config.sliding_window = window
    ids = ids_of(256)
    assert np.abs(embed(Embedder.open(folder), ids) - embed(embedder, ids)).max() > 1e-4


def test_the_manifest_says_what_was_measured_where(embedder: Embedder) -> None:
    manifest = embedder.manifest
    assert manifest.lengths == list(BUCKETS)
    assert manifest.delegates["cpu-xnnpack"].startswith("measured")
    assert all(manifest.delegates[name].startswith("not measured") for name in ("gpu", "npu"))
    assert [(spec.name, spec.dtype) for spec in manifest.inputs] == [("token_ids", "int32")]
    assert dataclasses.asdict(manifest.outputs[0])["shape"] == ["1", "768"]


def test_one_file_serves_several_dimensions_over_one_copy_of_the_weights(
    starter: Source, tmp_path: Path, embedder: Embedder
) -> None:
    options = LiteRTOptions(lengths=(64, 256), further_dims=(128, 256))
    (folder,) = export_litert(starter, [768], tmp_path, options)
    full = embedder.embed_queries(["how strong is the brine?"])
    for dim in (768, 256, 128):
        found = Embedder.open(folder, Opening(dim=dim)).embed_queries(["how strong is the brine?"])
        np.testing.assert_allclose(found, truncate_normalise(full, dim), atol=1e-6)
    assert open_artifact(folder).file_bytes < 1.02 * embedder.artifact.file_bytes
    with pytest.raises(UserError, match="dimension 512: litert-fp32-768d has 768, 256, 128"):
        Embedder.open(folder, Opening(dim=512))
