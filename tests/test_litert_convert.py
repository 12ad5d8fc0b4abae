"""Encoders that litert-torch converts: BERT and others with random weights, made here."""

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from ai_edge_litert import schema_py_generated as schema
from safetensors.torch import load_file, save_file
from tiny_bert import build_bert

from common.errors import UserError
from export import litert_convert
from export.artifact import open_artifact
from export.embedder import Embedder
from export.golden import golden_parity, row_cosines
from export.litert_convert import ConvertedEncoder
from export.litert_session import LiteRTSession
from export.source import Source, open_source
from export.tflite_file import read_tflite
from export.tflite_graph import builtin_code
from export.to_litert import LiteRTOptions, export_litert
from quantize.quantize import quantize_artifact

LENGTHS = (8, 32)
DIMS = [192, 64]
SHAPES = {
    "mean": ("mean", True, False),
    "cls": ("cls", True, False),
    "lasttoken": ("lasttoken", True, False),
    "mean, prompt left out": ("mean", False, False),
    "cls, prompt left out": ("cls", False, False),
    "mean, Dense with tanh": ("mean", True, True),
}
PAD, CLS = 0, 2

Exported = tuple[Source, dict[int, Path]]
Export = Callable[[str], Exported]


def open_bert(
    folder: Path, pooling: str = "mean", include_prompt: bool = True, dense: bool = False
) -> Source:
    """A BERT whose biases and norms are not the zeros and ones that it starts with."""
    build_bert(folder, pooling, include_prompt=include_prompt, dense=dense)
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(1)
    for name, tensor in sorted(tensors.items()):
        if tensor.ndim == 1:
            tensors[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return open_source(str(folder))


@pytest.fixture(scope="module")
def converted() -> Iterator[list[ConvertedEncoder]]:
    """The models here differ in what follows the encoder: it is converted once, when first asked for."""
    done: list[ConvertedEncoder] = []

    def once(source: Source, lengths: list[int]) -> ConvertedEncoder:
        if not done:
            done.append(ConvertedEncoder(source, lengths))
        return done[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.to_litert.ConvertedEncoder", once)
        yield done


@pytest.fixture(scope="module")
def export(converted: list[ConvertedEncoder], tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Builds and exports one of SHAPES, once: (source, artifact by dimension)."""
    known: dict[str, Exported] = {}

    def make(shape: str) -> Exported:
        if shape not in known:
            folder = tmp_path_factory.mktemp("shape")
            source = open_bert(folder / "bert", *SHAPES[shape])
            paths = export_litert(source, DIMS, folder / "out", LiteRTOptions(lengths=LENGTHS))
            known[shape] = (source, dict(zip(DIMS, paths, strict=True)))
        return known[shape]

    return make


@pytest.fixture
def small(tmp_path: Path) -> Source:
    """A BERT of one layer, for conversions of its own."""
    source = open_bert(tmp_path / "bert")
    layers: Any = source.backbone.encoder
    layers.layer = layers.layer[:1]
    return source


def test_a_conversion_is_silent_and_leaves_nothing_behind(
    small: Source, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, root.manager.disable)
    attention = small.model[0].model.config._attn_implementation
    assert attention != "eager"
    ConvertedEncoder(small, [8])
    assert capfd.readouterr() == ("", "")
    assert (root.handlers, root.level, root.manager.disable) == before
    assert small.model[0].model.config._attn_implementation == attention


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_model_reproduces_its_golden_vectors(export: Export, shape: str, dim: int) -> None:
    parity = golden_parity(Embedder.open(export(shape)[1][dim]))
    assert parity.ids_equal
    assert parity.cosine_min > 0.99999, parity.worst_text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("the salt of the pan and", 8), ("salt " * 30, 32), ("brine [PAD] and [PAD] salt", 7), ("[PAD]", 3)],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_full_buckets_and_padding_tokens_inside_a_text_count_as_in_python(
    export: Export, shape: str, text: str, tokens: int
) -> None:
    source, folders = export(shape)
    embedder = Embedder.open(folders[DIMS[0]])
    assert len(embedder.tokenizer.ids(text)) == tokens
    assert (PAD in embedder.tokenizer.ids(text)) == ("[PAD]" in text)
    expected = source.model.encode([text], truncate_dim=DIMS[0], normalize_embeddings=True)
    assert row_cosines(embedder.embed([text]), np.asarray(expected)).min() > 0.99999


@pytest.mark.parametrize("ids", [[CLS], [CLS, 60, 70, 3], list(range(90, 98))])
def test_the_same_text_gives_the_references_vector_in_every_bucket(export: Export, ids: list[int]) -> None:
    """One token, a few, and as many as the shortest bucket holds."""
    source, folders = export("mean")
    artifact = open_artifact(folders[DIMS[0]])
    with torch.no_grad():
        hidden = source.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
    pooled = hidden.mean(0).numpy()[: DIMS[0]]
    expected = pooled / np.linalg.norm(pooled)
    vectors = []
    for bucket in LENGTHS:
        session = LiteRTSession(artifact, None, None)
        session._lengths = [bucket if size == bucket else 0 for size in LENGTHS]
        vectors.append(session.run(ids))
        assert np.abs(vectors[-1] - expected).max() < 1e-4
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-4


def test_a_text_of_nothing_but_padding_gives_a_finite_vector(export: Export) -> None:
    session = LiteRTSession(open_artifact(export("cls")[1][DIMS[0]]), None, None)
    assert np.isfinite(session.run([PAD, PAD])).all()


def test_inputs_are_int32_and_matrices_carry_the_names_of_their_modules(export: Export) -> None:
    """The table is read by lookups alone, and the weights are stored once for all lengths."""
    source, folders = export("mean, prompt left out")
    path = folders[DIMS[0]] / "model.tflite"
    model, weights = read_tflite(path)
    readers: dict[str, set[int]] = {}
    for graph in model.subgraphs:
        assert {graph.tensors[index].type for index in graph.inputs} == {schema.TensorType.INT32}
        for one in graph.operators:
            for tensor in (graph.tensors[index] for index in one.inputs if index >= 0):
                if tensor.buffer in weights and len(tensor.shape) == 2 and tensor.name:
                    code = builtin_code(model.operatorCodes[one.opcodeIndex])
                    readers.setdefault(tensor.name.decode(), set()).add(code)
    operators = schema.BuiltinOperator
    linears = [name for name, one in source.backbone.named_modules() if isinstance(one, torch.nn.Linear)]
    used = [name for name in linears if not name.startswith("pooler")]
    assert len(used) == 12
    assert [readers[f"{name}.weight"] for name in used] == [{operators.FULLY_CONNECTED}] * len(used)
    assert readers["embeddings.word_embeddings.weight"] == {operators.EMBEDDING_LOOKUP}
    buffers = {
        (t.name, t.buffer) for g in model.subgraphs for t in g.tensors if t.buffer in weights and t.name
    }
    assert len({name for name, _ in buffers}) == len(buffers)
    matrices = sum(one.numel() * 4 for one in source.backbone.parameters())
    assert path.stat().st_size < 1.05 * matrices


def test_each_copy_of_a_conversion_is_its_own_but_for_the_weights(
    export: Export, converted: list[ConvertedEncoder]
) -> None:
    export("mean")
    one, other = converted[0].fresh(), converted[0].fresh()
    assert list(one) == list(LENGTHS)
    (graph, ids, vectors), (untouched, *_) = one[8], other[8]
    assert (graph.shape(ids), graph.shape(vectors)) == ((1, 8), (8, 384))
    count = len(untouched.graph.tensors)
    graph.input("more", [1, 1], "int32")
    assert len(graph.graph.tensors) == count + 1
    assert len(untouched.graph.tensors) == count
    assert graph.builder is one[32][0].builder
    assert all(untouched.builder.weights[index] is value for index, value in graph.builder.weights.items())


@pytest.mark.parametrize(("precision", "worst"), [("int8", 0.999), ("q4_0", 0.98), ("mixed", 0.98)])
def test_a_converted_encoder_can_be_quantised(
    export: Export, tmp_path: Path, precision: str, worst: float
) -> None:
    fp32 = export("mean, Dense with tanh")[1][64]
    out = quantize_artifact(fp32, precision, tmp_path / f"litert-{precision}-64d")
    size = (out / "model.tflite").stat().st_size
    assert size < 0.5 * (fp32 / "model.tflite").stat().st_size
    assert golden_parity(Embedder.open(out)).cosine_min > worst


class Activation(torch.nn.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Any) -> Any:
        return self.function(value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (torch.lgamma, r"^operator aten\.lgamma\.default of module {}: LiteRT has no form for it$"),
        (lambda x: torch.fft.fft(x).real, r"^operator aten\.view_as_real\.default of module {}: .*complex"),
        (lambda x: x.sort(-1).values, r"^operator STABLEHLO_SORT of module {}: LiteRT has no form for it"),
        (lambda x: x if x.sum().item() > 0 else -x, r"bert: torch\.export cannot trace it \(Could not"),
    ],
    ids=["unknown to the converter", "not of LiteRT's types", "without a kernel", "untraceable"],
)
def test_an_operator_without_a_form_in_litert_is_named_with_its_module(
    small: Source, capfd: pytest.CaptureFixture[str], function: Callable[[Any], Any], message: str
) -> None:
    layer: Any = small.backbone.encoder
    layer.layer[0].intermediate.intermediate_act_fn = Activation(function)
    with pytest.raises(
        UserError, match=message.format(r"encoder\.layer\.0\.intermediate\.intermediate_act_fn")
    ):
        ConvertedEncoder(small, [8])
    assert capfd.readouterr() == ("", "")


def test_without_litert_torch_the_error_names_what_to_install(
    small: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(UserError, match=r"'litert_torch'.*\[litert-torch\]"):
        ConvertedEncoder(small, [8])


def config(**more: Any) -> dict[str, Any]:
    sizes = {"vocab_size": 103, "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 80}
    return {"num_hidden_layers": 1, "num_attention_heads": 2, "pad_token_id": PAD, **sizes, **more}


def single_key_head() -> Any:
    more = {"num_key_value_heads": 1, "head_dim": 32, "layer_types": ["full_attention"]}
    return transformers.Gemma3TextModel(transformers.Gemma3TextConfig(**config(**more)))


OTHERS = {
    "XLM-R": lambda: transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**config())),
    "ALBERT, one layer twice": lambda: transformers.AlbertModel(
        transformers.AlbertConfig(**config(num_hidden_layers=2, embedding_size=32))
    ),
    "causal Gemma with one key head": single_key_head,
}


def with_backbone(source: Source, name: str) -> Source:
    torch.manual_seed(0)
    backbone = OTHERS[name]().eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn(parameter.shape) * (parameter.ndim == 1)
    return dataclasses.replace(source, backbone=backbone)


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_convert_with_a_name_of_its_own_for_each_buffer(small: Source, name: str) -> None:
    """That the vectors are PyTorch's is checked by every conversion."""
    (graph, _, _) = ConvertedEncoder(with_backbone(small, name), [8]).fresh()[8]
    named = {(one.name, one.buffer) for one in graph.graph.tensors if one.name}
    assert len(named) > 5
    assert len({one for one, _ in named}) == len(named)


def test_a_conversion_that_gives_other_vectors_is_refused(
    small: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """litert-torch's default way loses the transposition of a single key head."""
    monkeypatch.setitem(litert_convert.CONVERTER_SETTINGS, "LITERT_TORCH_FULL_TFL_DECOMPS", "0")
    with pytest.raises(UserError, match=r"^length 8: litert-torch converts this encoder wrongly"):
        ConvertedEncoder(with_backbone(small, "causal Gemma with one key head"), [8])
