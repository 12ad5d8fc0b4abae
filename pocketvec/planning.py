"""What a shape will weigh before it exists: file size and memory of every profile, bytes of a vector index.

Nothing is loaded or measured: sizes come from the recipes (pocketvec.file_sizes), memory from a model of what
each runtime touches (pocketvec.memory_model).
"""

from __future__ import annotations

from dataclasses import dataclass

from common.dims import choose_dims
from common.errors import UserError
from export.manifest import RUNTIMES, parse_runtimes, profile_name
from export.to_litert import LiteRTOptions
from pocketvec.file_sizes import model_bytes
from pocketvec.memory_model import Ram, predict_ram
from quantize.recipes import RECIPES, choose_precision, known_precisions
from train.checkpoint import refuse_fp16
from train.shapes import Shape

PRECISIONS = ("fp32", *known_precisions())
ID_BYTES = 8
"""Of a document's id beside its vector."""
INDEX_BITS = {"float32": 32, "int8": 8, "binary": 1}
TOKENIZER_PIECE_BYTES = 32
"""Of tokenizer.bin, for each piece of a tokenizer of Gemma's kind."""


@dataclass(frozen=True)
class PlanRequest:
    """What to predict: nothing given means all runtimes, all precisions, the standard dimensions.

    documents: vectors in the index. tokens: of the longest text that is embedded.
    """

    shape: Shape
    dims: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    documents: int = 10_000
    tokens: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= self.shape.max_tokens:
            raise UserError(f"max tokens {self.tokens}: {self.shape.name} takes 1 to {self.shape.max_tokens}")
        if self.documents < 0:
            raise UserError(f"documents {self.documents}: must be 0 or above")
        for name in self.precisions:
            refuse_fp16(name)
            if name not in PRECISIONS:
                raise UserError(f"precision '{name}': unknown; choose from {', '.join(PRECISIONS)}")
        parse_runtimes(self.runtimes)


@dataclass(frozen=True)
class Predicted:
    """One profile: bytes of its model files, and its memory."""

    name: str
    runtime: str
    precision: str
    dim: int
    file_bytes: int
    ram: Ram


@dataclass(frozen=True)
class IndexCost:
    """Bytes of an index of so many vectors, ids included, by the width of a number."""

    dim: int
    float32: int
    int8: int
    binary: int


@dataclass(frozen=True)
class Plan:
    """The answer to a request. tokenizer_bytes: of tokenizer.bin, which a GGUF file does not need."""

    request: PlanRequest
    profiles: list[Predicted]
    index: list[IndexCost]
    tokenizer_bytes: int


def make_plan(request: PlanRequest) -> Plan:
    """Predict every profile of the request, in its order, and the index.

    Raises UserError for a dimension that the shape does not give, and for a width that blocks do not divide.
    """
    shape = request.shape
    dims = choose_dims(request.dims, shape.full_dim)
    lengths = tuple(LiteRTOptions().choose_lengths(shape.max_tokens))
    profiles = [
        _predict(request, runtime, precision, dim, lengths)
        for runtime in request.runtimes or RUNTIMES
        for precision in _precisions(runtime, request.precisions)
        for dim in dims
    ]
    index = [index_cost(dim, request.documents) for dim in dims]
    return Plan(request, profiles, index, shape.rows * TOKENIZER_PIECE_BYTES)


def _precisions(runtime: str, wanted: tuple[str, ...]) -> list[str]:
    """Those of a runtime, under the names that it has for them."""
    if not wanted:
        return ["fp32", *RECIPES[runtime]]
    chosen = [name if name == "fp32" else choose_precision(runtime, name) for name in wanted]
    return list(dict.fromkeys(chosen))


def _predict(
    request: PlanRequest, runtime: str, precision: str, dim: int, lengths: tuple[int, ...]
) -> Predicted:
    shape = request.shape
    return Predicted(
        name=profile_name(runtime, precision, dim),
        runtime=runtime,
        precision=precision,
        dim=dim,
        file_bytes=model_bytes(shape, runtime, precision, dim, lengths),
        ram=predict_ram(shape, runtime, precision, dim, request.tokens, lengths),
    )


def index_cost(dim: int, documents: int) -> IndexCost:
    """Bytes of `documents` vectors of `dim` numbers with an id each."""
    sizes = {name: documents * (-(-dim * bits // 8) + ID_BYTES) for name, bits in INDEX_BITS.items()}
    return IndexCost(dim, **sizes)
