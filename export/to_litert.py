"""Checkpoint to fp32 LiteRT artifacts: one .tflite per dimension, a signature per sequence length.

Gemma encoders are written operator by operator (export.gemma_litert), which takes seconds at full size;
any other encoder is converted by litert-torch (export.litert_convert). Pooling, head, truncation and
normalisation are the same for both.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from export.gemma import is_supported
from export.gemma_litert import GemmaEncoder
from export.golden import make_golden
from export.head import fold_head
from export.litert_convert import ConvertedEncoder
from export.litert_graph import (
    IDS,
    PROMPT_TOKENS,
    Span,
    add_dense,
    finish,
    pool,
    signature_name,
    token_span,
    truncate_normalise,
)
from export.litert_session import DELEGATES, SESSION_OPTIONS
from export.manifest import CONTRACTS, OUTPUT, RAG_SDK, SENTENCEPIECE_NAME, TensorSpec, model_file
from export.profiles import Form, check_profiles, write_profiles
from export.source import Source
from export.tflite_file import write_tflite
from export.tflite_graph import GraphBuilder, ModelBuilder

RUNTIME = "litert"
DEFAULT_LENGTHS = (64, 256, 512, 2048)
"""Each signature costs 4 to 6 MB of RAM at full size once the file is open, so there are no more of them."""
RAG_SDK_LENGTH = 256
RAG_SDK_NAMES = ("serving_default", "args_0", "output_0")


@dataclass(frozen=True)
class LiteRTOptions:
    """Token counts of the signatures (none given: chosen by the model's limit) and the client's contract.

    further_dims: smaller dimensions that every file has signatures for as well, over the same weights.
    """

    lengths: tuple[int, ...] = ()
    contract: str | None = None
    further_dims: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.contract not in (None, *CONTRACTS):
            raise UserError(f"contract '{self.contract}': unknown; known is {', '.join(CONTRACTS)}")
        if self.contract == RAG_SDK and (len(self.lengths) > 1 or self.further_dims):
            raise UserError(
                f"contract {RAG_SDK}: its file has one signature, so give one length and dimension"
            )

    def choose_lengths(self, limit: int) -> list[int]:
        """Ascending lengths for a model of `limit` tokens. Raises UserError for one that it cannot take."""
        if not self.lengths:
            wanted = (RAG_SDK_LENGTH,) if self.contract == RAG_SDK else DEFAULT_LENGTHS
            longest = min(limit, wanted[-1])
            return [*(length for length in wanted if length < longest), longest]
        for length in self.lengths:
            if not 1 <= length <= limit:
                raise UserError(f"length {length}: the model takes 1 to {limit} tokens")
        return sorted(set(self.lengths))


@dataclass(frozen=True)
class Begun:
    """A signature up to its token vectors: graph, ids, tokens found, vectors [seq, hidden]."""

    graph: GraphBuilder
    ids: int
    span: Span
    vectors: int


def export_litert(
    source: Source,
    dims: list[int],
    out: Path,
    options: LiteRTOptions,
    step: Callable[[str], None] = lambda what: None,
) -> list[Path]:
    """Write one fp32 artifact per dimension under `out` and return their folders.

    `step` is called with a word on each finished piece (two more times than there are dimensions). Raises
    UserError before any work for a dimension, length or contract that the model cannot meet or an artifact
    that exists, and for an operator that LiteRT does not hold, with the module that it came from.
    """
    check_profiles(source, RUNTIME, dims, out)
    further = _further_dims(options, min(dims))
    lengths = options.choose_lengths(source.max_tokens)
    _check_contract(source, options)
    begin = _encoder(source, lengths)
    step("encoder")
    golden = make_golden(source, max(lengths))
    step("golden vectors")

    def write_model(folder: Path, dim: int) -> None:
        builder = build_model(source, begin(), (dim, *further), options.contract)
        write_tflite(folder / model_file(RUNTIME), builder.model, builder.weights)

    form = _form(source, lengths, further, options.contract)
    return write_profiles(source, form, dims, out, golden, write_model, step)


def _further_dims(options: LiteRTOptions, smallest: int) -> tuple[int, ...]:
    """The further dimensions, largest first. Raises UserError for one that is not below every profile's."""
    for dim in options.further_dims:
        if not 1 <= dim < smallest:
            raise UserError(f"further dimension {dim}: must lie between 1 and {smallest - 1}, below --dims")
    return tuple(sorted(set(options.further_dims), reverse=True))


def _check_contract(source: Source, options: LiteRTOptions) -> None:
    if options.contract != RAG_SDK:
        return
    if source.pad_id != 0:
        raise UserError(f"contract {RAG_SDK}: it pads with 0, but this model with {source.pad_id}")
    if not source.include_prompt:
        raise UserError(f"contract {RAG_SDK}: it has one input, but this model's pooling skips the prompt")
    if not (source.folder / SENTENCEPIECE_NAME).is_file():
        raise UserError(f"contract {RAG_SDK}: {source.folder} has no {SENTENCEPIECE_NAME} for the app")


def _encoder(source: Source, lengths: list[int]) -> Callable[[], dict[int, Begun]]:
    """What begins a fresh model: all its signatures, by length, up to the token vectors."""
    if not is_supported(source.backbone):
        converted = ConvertedEncoder(source, lengths)
        return lambda: _begin_converted(source, converted)
    return lambda: _begin_gemma(source, lengths)


def _begin_gemma(source: Source, lengths: list[int]) -> dict[int, Begun]:
    builder = ModelBuilder("pocketvec")
    begun = {}
    for length in lengths:
        graph = GraphBuilder(builder, signature_name(length))
        ids = graph.input(IDS, [1, length], "int32")
        span = token_span(graph, ids, source.pad_id)
        encoder = GemmaEncoder(graph, source.backbone, length)
        begun[length] = Begun(graph, ids, span, encoder.token_vectors(ids, span.valid))
    return begun


def _begin_converted(source: Source, converted: ConvertedEncoder) -> dict[int, Begun]:
    begun = {}
    for length, (graph, ids, vectors) in converted.fresh().items():
        begun[length] = Begun(graph, ids, token_span(graph, ids, source.pad_id), vectors)
    return begun


def build_model(
    source: Source, begun: dict[int, Begun], dims: tuple[int, ...], contract: str | None
) -> ModelBuilder:
    """Complete every signature with pooling and the head; one more for each dimension after the first."""
    builder = next(iter(begun.values())).graph.builder
    layers = fold_head(source.layers, dims[0])
    work = [(length, one, dims[0]) for length, one in begun.items()]
    work += [(length, _copy(one), dim) for dim in dims[1:] for length, one in begun.items()]
    for length, one, dim in work:
        graph = one.graph
        name = signature_name(length, dim if dim != dims[0] else None)
        names = RAG_SDK_NAMES if contract == RAG_SDK else (name, IDS, OUTPUT)
        graph.graph.tensors[one.ids].name = names[1]
        skip = None if source.include_prompt else graph.input(PROMPT_TOKENS, [1, 1], "int32")
        pooled = pool(graph, one.vectors, one.span, source.pooling, skip)
        finish(graph, names[0], names[2], truncate_normalise(graph, add_dense(graph, pooled, layers), dim))
    return builder


def _copy(one: Begun) -> Begun:
    """The same subgraph once more; tensors name the buffers of the first, so that no weight is doubled.

    LiteRT wants a subgraph per signature, or a second dimension could be a second output.
    """
    builder = one.graph.builder
    twin = copy.deepcopy(one.graph.graph)
    builder.model.subgraphs.append(twin)
    return dataclasses.replace(one, graph=GraphBuilder(builder, "", twin))


def _form(source: Source, lengths: list[int], further: tuple[int, ...], contract: str | None) -> Form:
    meaning = f"token ids padded on the right with {source.pad_id}, special tokens included"
    inputs = [TensorSpec(IDS, "int32", ["1", "|".join(map(str, lengths))], meaning)]
    if not source.include_prompt:
        inputs.append(TensorSpec(PROMPT_TOKENS, "int32", ["1", "1"], "leading tokens that are not pooled"))
    return Form(
        runtime=RUNTIME,
        max_tokens=max(lengths),
        inputs=inputs,
        output_shape=["1", ""],
        tools=("ai-edge-litert",),
        session=SESSION_OPTIONS,
        lengths=lengths,
        further_dims=list(further),
        contract=contract,
        delegates=DELEGATES,
    )
