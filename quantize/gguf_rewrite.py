"""Replace the large weights of a GGUF file by Q8_0 and Q4_0 blocks in ggml's own layout.

A block is its fp16 scale and then its codes: 32 signed bytes, or 16 bytes that hold the first sixteen codes
in their low halves and the other sixteen in their high ones. The head's columns are equalised as in every
container; the scales go into the norm before the pooling, for a mean is linear. Tensors pass one by one, the
token table in chunks of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from export.gguf_file import F32, Q4_0, Q8_0, Metadata, NewTensor, StoredTensor, read_gguf, uint32, write_gguf
from export.to_gguf import HEAD, OUTPUT_NORM, TABLE
from quantize.blocks import BLOCK, Blocks, Codec, Float32
from quantize.recipes import Recipe
from quantize.weights import LARGE_ELEMENTS, EncodedWeight, encode_weight

HEAD_NAME = "head.0.weight"
"""What a recipe calls the head's matrix, in every container."""
KINDS = {8: Q8_0, 4: Q4_0}
FILE_TYPES = {8: 7, 4: 2}
"""llama.cpp's words for a file (mostly Q8_0, mostly Q4_0), by the bits of the table."""
QUANTIZATION_VERSION = 2
"""ggml's version of its block formats."""


def write_quantized(source: Path, target: Path, recipe: Recipe) -> None:
    """Read the fp32 file `source` and write it to `target` with its weights quantised.

    Raises UserError for a weight that the codec or the container cannot hold, with its name.
    """
    metadata, stored = read_gguf(source)
    head = _encoded_head(stored, recipe)
    tensors = [_quantized(tensor, recipe, head) for tensor in stored]
    write_gguf(target, {**metadata, **_labels(recipe)}, tensors)


def write_rounded(source: Path, target: Path, recipe: Recipe) -> None:
    """Read the fp32 file `source` and write it to `target` with its weights rounded, all of them F32."""
    metadata, stored = read_gguf(source)
    head = _encoded_head(stored, recipe)
    write_gguf(target, metadata, [_rounded(tensor, recipe, head) for tensor in stored])


def _labels(recipe: Recipe) -> Metadata:
    return {
        "general.file_type": uint32(FILE_TYPES[recipe.table.bits]),
        "general.quantization_version": uint32(QUANTIZATION_VERSION),
    }


def _encoded_head(stored: list[StoredTensor], recipe: Recipe) -> EncodedWeight | None:
    """The head's blocks, its columns equalised; None for a model without one."""
    head = next((tensor for tensor in stored if tensor.name == HEAD), None)
    if head is None or not is_large(head):
        return None
    codec = recipe.codec(HEAD_NAME, is_table=False)
    _check_width(head)
    return encode_weight(head.read(), codec, HEAD_NAME, equalised=True)


def is_large(tensor: StoredTensor) -> bool:
    """Whether a tensor is quantised."""
    return len(tensor.shape) == 2 and math.prod(tensor.shape) >= LARGE_ELEMENTS


def _check_width(tensor: StoredTensor) -> None:
    if tensor.shape[1] % BLOCK:
        raise UserError(f"tensor '{tensor.name}': width {tensor.shape[1]} is not a multiple of {BLOCK}")


def recipe_name(tensor: StoredTensor) -> str:
    """What a recipe calls a tensor."""
    return HEAD_NAME if tensor.name == HEAD else tensor.name


def is_table(tensor: StoredTensor) -> bool:
    """Whether rows of it are looked up."""
    return tensor.name == TABLE


def _codec(tensor: StoredTensor, recipe: Recipe) -> Codec:
    return recipe.codec(recipe_name(tensor), is_table(tensor))


def _quantized(tensor: StoredTensor, recipe: Recipe, head: EncodedWeight | None) -> NewTensor:
    if tensor.name == OUTPUT_NORM and head is not None and head.column_scales is not None:
        norm = tensor.read() * head.column_scales
        return NewTensor(tensor.name, tensor.shape, F32, lambda: [norm])
    if not is_large(tensor):
        return NewTensor(tensor.name, tensor.shape, F32, tensor.rows)
    codec = _codec(tensor, recipe)
    _check_width(tensor)

    def pieces() -> Iterator[npt.NDArray[np.uint8]]:
        for encoded in _encoded(tensor, codec, head):
            yield ggml_bytes(encoded.blocks, codec.bits)

    return NewTensor(tensor.name, tensor.shape, KINDS[codec.bits], pieces)


def _rounded(tensor: StoredTensor, recipe: Recipe, head: EncodedWeight | None) -> NewTensor:
    if not is_large(tensor):
        return NewTensor(tensor.name, tensor.shape, F32, tensor.rows)
    codec = _codec(tensor, recipe)
    columns = tensor.shape[1]

    def pieces() -> Iterator[Float32]:
        for encoded in _encoded(tensor, codec, head):
            yield encoded.decode(len(encoded.blocks.scales) * BLOCK // columns, columns)

    return NewTensor(tensor.name, tensor.shape, F32, pieces)


def _encoded(tensor: StoredTensor, codec: Codec, head: EncodedWeight | None) -> Iterator[EncodedWeight]:
    if tensor.name == HEAD and head is not None:
        yield head
    else:
        for rows in tensor.rows():
            yield encode_weight(rows, codec, tensor.name)


def ggml_bytes(blocks: Blocks, bits: int) -> npt.NDArray[np.uint8]:
    """Blocks as ggml stores them, uint8 [n_blocks, 34] at 8 bits and [n_blocks, 18] at 4."""
    scales = blocks.scales.astype("<f2")[:, None].view(np.uint8)
    codes: npt.NDArray[Any] = blocks.codes.view(np.uint8)
    if bits == 4:
        half = BLOCK // 2
        stored = (blocks.codes + np.int8(8)).astype(np.uint8)
        codes = stored[:, :half] | np.left_shift(stored[:, half:], 4)
    return np.concatenate([scales, codes], axis=1)
