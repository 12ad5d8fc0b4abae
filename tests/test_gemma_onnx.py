"""The written Gemma encoder against the traced one and transformers: the same vectors, fewer operators."""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma3TextConfig, Gemma3TextModel

from export.gemma import is_supported
from export.manifest import PROMPT_MASK
from export.onnx_file import OnnxModel, read_onnx, write_onnx
from export.session import OnnxSession, load_onnxruntime
from export.source import Source
from export.tokenizer import TokenBatch
from export.trunk import _trunk_module, make_trunk, trace_trunk, write_gemma

WINDOW = 64
LENGTHS = (1, 10, WINDOW, WINDOW + 1, 3 * WINDOW, 500)
Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


def runner(model: OnnxModel, path: Path) -> Run:
    """Pooled vectors of a trunk in onnxruntime, by ids and mask."""
    write_onnx(path, model.proto, model.weights.items())
    options = load_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = load_onnxruntime().InferenceSession(str(path), options)
    return lambda ids, mask: np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def in_torch(source: Source, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pooled vectors from transformers' own model and the pooling that is traced for other encoders."""
    with torch.no_grad():
        pooled: np.ndarray = _trunk_module(source)(torch.tensor(ids), torch.tensor(mask)).numpy()
    return pooled


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def ids_of(length: int, rows: int = 1, vocabulary: int = 16000) -> np.ndarray:
    return np.random.default_rng(length).integers(300 if vocabulary > 300 else 3, vocabulary, (rows, length))


def padded(lengths: tuple[int, ...], width: int, side: str) -> tuple[np.ndarray, np.ndarray]:
    ids, mask = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.int64)
    for row, length in enumerate(lengths):
        place = slice(width - length, width) if side == "left" else slice(0, length)
        ids[row, place], mask[row, place] = ids_of(length)[0], 1
    return ids, mask


@pytest.fixture(scope="module")
def written(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runner(write_gemma(starter), tmp_path_factory.mktemp("written") / "trunk.onnx")


@pytest.fixture(scope="module")
def traced_and_written(starter: Source, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Both graphs of the starter's last two layers, one of each kind: tracing all six takes longer."""
    folder = tmp_path_factory.mktemp("traced")
    backbone: Any = starter.backbone
    layers, kinds = backbone.layers, backbone.config.layer_types
    try:
        backbone.layers, backbone.config.layer_types = layers[-2:], kinds[-2:]
        models = trace_trunk(starter), write_gemma(starter)
    finally:
        backbone.layers, backbone.config.layer_types = layers, kinds
    return runner(models[0], folder / "traced.onnx"), runner(models[1], folder / "written.onnx")


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_of_any_length_gives_the_traced_graphs_vector(
    traced_and_written: tuple[Run, Run], length: int
) -> None:
    ids = ids_of(length)
    traced, written = (run(ids, np.ones_like(ids)) for run in traced_and_written)
    assert error(written, traced) < 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [200, 400])
def test_a_padded_batch_gives_the_traced_graphs_vectors(
    traced_and_written: tuple[Run, Run], width: int, side: str
) -> None:
    """The longest row is full; behind the shortest lie padding tokens that see nothing but padding."""
    ids, mask = padded((1, 10, WINDOW + 1, 200), width, side)
    traced, written = (run(ids, mask) for run in traced_and_written)
    assert error(written, traced) < 1e-5


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_of_any_length_gives_the_vector_of_transformers(
    written: Run, starter: Source, length: int
) -> None:
    ids = ids_of(length)
    mask = np.ones_like(ids)
    assert error(written(ids, mask), in_torch(starter, ids, mask)) < 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [200, 400])
def test_rows_of_a_padded_batch_are_those_of_each_text_alone(written: Run, width: int, side: str) -> None:
    ids, mask = padded((1, 10, WINDOW + 1, 200), width, side)
    found = written(ids, mask)
    alone = [
        written(row[seen > 0][None], np.ones((1, int(seen.sum())), np.int64))[0]
        for row, seen in zip(ids, mask, strict=True)
    ]
    assert error(found, np.stack(alone)) < 1e-5


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_every_pooling_gives_the_vectors_of_torch(
    starter: Source, tmp_path: Path, pooling: str, include_prompt: bool
) -> None:
    source = dataclasses.replace(starter, pooling=pooling, include_prompt=include_prompt)
    run = runner(write_gemma(source), tmp_path / "trunk.onnx")
    for side in ("left", "right"):
        ids, mask = padded((3, 20, 90), 100, side)
        if not include_prompt:
            for row in mask:
                row[np.flatnonzero(row)[:2]] = PROMPT_MASK
        found, expected = run(ids, mask), in_torch(source, ids, mask)
        assert all(error(one, two) < 1e-5 for one, two in zip(found, expected, strict=True))


def test_prompt_tokens_left_out_of_the_pooling_are_attended_to(starter: Source, tmp_path: Path) -> None:
    run = runner(write_gemma(dataclasses.replace(starter, include_prompt=False)), tmp_path / "trunk.onnx")
    ids = ids_of(8)
    prompt = np.array([[PROMPT_MASK] * 3 + [1] * 5])
    vectors = [run(ids, mask) for mask in (prompt, np.ones_like(ids), (prompt == 1).astype(np.int64))]
    assert error(vectors[0], vectors[1]) > 1e-3
    assert error(vectors[0], vectors[2]) > 1e-3


VARIANTS: dict[str, dict[str, Any]] = {
    "two groups of heads": {"num_key_value_heads": 2},
    "a key head for each query head": {"num_key_value_heads": 4},
    "one key head": {"num_key_value_heads": 1},
    "heads wider together than the model": {"num_key_value_heads": 2, "head_dim": 40},
    "another softmax scale": {"num_key_value_heads": 2, "query_pre_attn_scalar": 7},
    "one kind of layer": {"num_key_value_heads": 1, "layer_types": ["full_attention"] * 2},
    "a coarse epsilon": {"num_key_value_heads": 2, "rms_norm_eps": 1e-3},
    "a limit that is no multiple of 32": {"num_key_value_heads": 2, "max_position_embeddings": 90},
}


def random_gemma(settings: dict[str, Any]) -> Gemma3TextModel:
    """Two layers of random weights whose norms are not the identity that transformers starts with."""
    torch.manual_seed(0)
    defaults = {
        "vocab_size": 300,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "max_position_embeddings": 128,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        "use_bidirectional_attention": True,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    }
    model = Gemma3TextModel(Gemma3TextConfig(**{**defaults, **settings})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += torch.randn(parameter.shape) * (0.3 if "norm" in name else 0.1)
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gemma_of_other_settings_gives_the_vectors_of_transformers(
    starter: Source, tmp_path: Path, variant: str
) -> None:
    model = random_gemma(VARIANTS[variant])
    source = dataclasses.replace(starter, backbone=model, hidden_dim=48)
    assert is_supported(model)
    run = runner(make_trunk(source), tmp_path / "trunk.onnx")
    for length in (1, 9, 33, 90):
        ids = ids_of(length, rows=2, vocabulary=300)
        mask = np.ones_like(ids)
        mask[1, length // 2 + 1 :] = 0
        assert error(run(ids, mask), in_torch(source, ids, mask)) < 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        {"use_bidirectional_attention": False},
        {"hidden_activation": "gelu"},
        {"attention_bias": True},
        {"attn_logit_softcapping": 50.0},
    ],
)
def test_a_gemma_that_is_not_written_is_left_to_the_tracer(settings: dict[str, Any]) -> None:
    assert not is_supported(random_gemma({"num_key_value_heads": 1, **settings}))


def test_half_the_window_shows_in_the_vector(starter: Source, tmp_path: Path, written: Run) -> None:
    """Else the lengths beyond it would prove nothing about the mask."""
    config: Any = starter.backbone.config
    window = config.sliding_window
    try:
        config.sliding_window = window // 2
        run = runner(write_gemma(starter), tmp_path / "trunk.onnx")
    finally:
        config.sliding_window = window
    ids = ids_of(200)
    assert error(run(ids, np.ones_like(ids)), written(ids, np.ones_like(ids))) > 1e-3


def test_tokens_beyond_the_models_positions_are_an_error_and_no_vector(written: Run) -> None:
    ids = np.full((1, 2049), 300)
    with pytest.raises(Exception, match="RotaryEmbedding"):
        written(ids, np.ones_like(ids))


def test_an_id_outside_the_table_is_an_error_of_the_graph_itself(artifacts: Path) -> None:
    """The embedder refuses it before (tests/test_quantize.py); a client of the bare graph has this."""
    for precision in ("fp32", "int8", "q4_0"):
        session = OnnxSession(artifacts / f"onnx-{precision}-128d" / "model.onnx")
        rows = 16384
        for bad in (rows, rows + 5, -rows - 1):
            batch = TokenBatch(np.array([[2, bad, 1]]), np.ones((1, 3), np.int64))
            with pytest.raises(Exception, match="indices element out of data bounds"):
                session.run_batch(batch)


@pytest.fixture(scope="module")
def nodes(artifacts: Path) -> list[Any]:
    return list(read_onnx(artifacts / "onnx-fp32-128d" / "model.onnx").proto.graph.node)


def test_a_layer_takes_few_operators(starter: Source) -> None:
    """Nodes of a layer: those that one more layer adds."""
    counts = []
    for layers in (4, 5):
        backbone = starter.backbone
        shortened: Any = Shortened(backbone, layers)
        counts.append(len(write_gemma(dataclasses.replace(starter, backbone=shortened)).proto.graph.node))
    assert counts[1] - counts[0] <= 42


class Shortened:
    """The first layers of an encoder."""

    def __init__(self, backbone: Any, layers: int) -> None:
        import copy

        self.config = copy.copy(backbone.config)
        self.config.layer_types = backbone.config.layer_types[:layers]
        self.layers = backbone.layers[:layers]
        self.embed_tokens, self.norm = backbone.embed_tokens, backbone.norm


def test_norms_and_rotations_are_one_operator_each(nodes: list[Any]) -> None:
    """Six norms a layer, those of queries and keys among them, and the last one; two rotations a layer."""
    operators = Counter(node.op_type for node in nodes)
    assert operators["RMSNormalization"] == 6 * 6 + 1
    assert operators["RotaryEmbedding"] == 6 * 2
    assert operators["Softmax"] == operators["Gelu"] == 6
    assert not {"Pow", "Sqrt", "ReduceMean", "Reciprocal", "Tanh", "Neg", "Erf", "Where"} & set(operators)


def test_masks_and_rotary_tables_are_made_once_for_each_kind_of_layer(nodes: list[Any]) -> None:
    by_output = {output: node for node in nodes for output in node.output}
    scores = [by_output[node.input[0]] for node in nodes if node.op_type == "Softmax"]
    assert Counter(Counter(node.input[1] for node in scores).values()) == {5: 1, 1: 1}
    rotations = [tuple(node.input[1:3]) for node in nodes if node.op_type == "RotaryEmbedding"]
    assert sorted(Counter(rotations).values()) == [2, 10]
    assert len({node.input[3] for node in nodes if node.op_type == "RotaryEmbedding"}) == 1


def test_one_key_head_takes_no_copy_but_the_turned_keys(nodes: list[Any]) -> None:
    operators = Counter(node.op_type for node in nodes)
    assert operators["Transpose"] == 6
    assert not {"Tile", "Concat"} & {node.op_type for node in nodes if re.search(r"layers\.", node.name)}


def test_every_weight_of_the_layers_is_named_after_its_module(nodes: list[Any], starter: Source) -> None:
    products = {node.input[1] for node in nodes if node.op_type == "MatMul" and "layers." in node.input[1]}
    modules = {name for name, one in starter.backbone.named_modules() if isinstance(one, torch.nn.Linear)}
    assert products == {f"{name}.weight_t" for name in modules}
