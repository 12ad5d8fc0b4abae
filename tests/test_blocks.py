"""quantize/blocks.py: byte for byte what the independent gguf package writes; the rest is refused."""

from __future__ import annotations

from collections.abc import Callable

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from common.errors import UserError
from quantize.blocks import BLOCK, Q4_0, Q8_0, Blocks, Float32, decode_rows, encode_rows

CODECS = {"q8_0": Q8_0, "q4_0": Q4_0}
TYPES = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
BELOW_HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))
"""x + 0.5 rounds to 1 in float32, so adding a half and truncating would code it as 1, not 0."""
HALVES = [0.5, BELOW_HALF, -BELOW_HALF, -0.5, 1.5, -1.5, 2.5, -2.5, 3.5, -3.5, 5.5, -5.5, 7.5, -7.5]


def ggml_bytes(blocks: Blocks, name: str) -> npt.NDArray[np.uint8]:
    """The on-disk layout: an fp16 scale, then codes; for q4_0 elements 0..15 in the low nibbles."""
    scales = blocks.scales.astype(np.float16)[:, None].view(np.uint8)
    if name == "q8_0":
        return np.concatenate([scales, blocks.codes.view(np.uint8)], axis=1)
    codes = (blocks.codes + 8).astype(np.uint8)
    return np.concatenate([scales, codes[:, :16] | (codes[:, 16:] << 4)], axis=1)


def padded(matrix: Float32) -> Float32:
    return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % BLOCK)))


def normal(rows: int, columns: int, scale: float = 1.0) -> Float32:
    drawn = np.random.default_rng(rows * columns).standard_normal((rows, columns))
    return (drawn * scale).astype(np.float32)


def block_of(*values: float) -> Float32:
    block = np.zeros((1, BLOCK), dtype=np.float32)
    block[0, : len(values)] = values
    return block


def noise_with_an_outlier() -> Float32:
    matrix = normal(8, 64, 1e-4)
    matrix[:, 5], matrix[:, 40] = 9, -9
    return matrix


MATRICES: dict[str, Callable[[], Float32]] = {
    "random": lambda: normal(200, 768),
    "random_wide": lambda: normal(3, 3072, 0.02),
    "uniform": lambda: np.random.default_rng(5).uniform(-1, 1, (50, 64)).astype(np.float32),
    "integers": lambda: np.random.default_rng(6).integers(-127, 128, (50, 64)).astype(np.float32),
    "constant": lambda: np.full((2, 64), 0.7, dtype=np.float32),
    "constant_negative": lambda: np.full((2, 64), -0.7, dtype=np.float32),
    "zeros": lambda: np.zeros((2, 64), dtype=np.float32),
    "negative_zeros": lambda: -np.zeros((2, 64), dtype=np.float32),
    "one_value": lambda: block_of(0, 0, -3),
    "outlier_in_noise": noise_with_an_outlier,
    "two_extremes": lambda: block_of(1, -1, 0.5),
    "fp16_subnormal_scale": lambda: normal(4, 64, 1e-5),
    "fp16_zero_scale": lambda: normal(4, 64, 1e-20),
    "smallest_with_a_reciprocal": lambda: normal(4, 64, 1e-35),
    "large": lambda: normal(4, 64, 1e5),
    "largest_scale": lambda: block_of(8 * 65504, -3, 1e5),
    "width_1": lambda: normal(5, 1),
    "width_33": lambda: normal(5, 33),
    "width_95": lambda: normal(5, 95),
    "halves_of_q8_0": lambda: block_of(127, *HALVES),
    "halves_of_q4_0": lambda: block_of(-8, *HALVES),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", MATRICES)
def test_every_byte_is_the_one_gguf_writes(codec: str, kind: str) -> None:
    matrix = MATRICES[kind]()
    expected = gguf.quants.quantize(padded(matrix), TYPES[codec]).reshape(
        -1, 2 + BLOCK * CODECS[codec].bits // 8
    )
    np.testing.assert_array_equal(ggml_bytes(encode_rows(matrix, CODECS[codec], "w"), codec), expected)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", MATRICES)
def test_every_value_decodes_as_gguf_decodes_it(codec: str, kind: str) -> None:
    matrix = MATRICES[kind]()
    stored = gguf.quants.quantize(padded(matrix), TYPES[codec])
    expected = gguf.quants.dequantize(stored, TYPES[codec])[:, : matrix.shape[1]]
    decoded = decode_rows(encode_rows(matrix, CODECS[codec], "w"), *matrix.shape)
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1e-38, 1e-40, 1e-44])
def test_values_whose_scale_has_no_float32_reciprocal_become_zeros(codec: str, size: float) -> None:
    """The codes of gguf are undefined here (inf cast to an integer); its scale, and so each value, is 0."""
    matrix = np.concatenate([block_of(size, -size, 0, size / 2), block_of(-size)])
    encoded = encode_rows(matrix, CODECS[codec], "w")
    assert not encoded.codes.any()
    assert not decode_rows(encoded, 2, BLOCK).any()


@pytest.mark.parametrize(("codec", "limit"), [("q8_0", 1 / 2), ("q4_0", 1.0)])
def test_a_value_is_off_by_no_more_than_its_step(codec: str, limit: float) -> None:
    """q4_0 reaches 7 steps on the side away from its extreme, so a value there may lose a whole one."""
    matrix = normal(100, 96)
    encoded = encode_rows(matrix, CODECS[codec], "w")
    steps = np.abs(encoded.scales).repeat(BLOCK).reshape(matrix.shape)
    assert (np.abs(decode_rows(encoded, *matrix.shape) - matrix) <= steps * (limit + 0.05)).all()


@pytest.mark.parametrize(("codec", "lowest", "highest"), [("q8_0", -127, 127), ("q4_0", -8, 7)])
def test_codes_stay_in_range_and_reach_both_ends(codec: str, lowest: int, highest: int) -> None:
    codes = encode_rows(normal(100, 96), CODECS[codec], "w").codes
    assert (codes.min(), codes.max()) == (lowest, highest)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("columns", [1, 31, 32, 33])
def test_a_row_starts_a_block_and_its_padding_does_not_come_back(codec: str, columns: int) -> None:
    matrix = normal(3, columns)
    encoded = encode_rows(matrix, CODECS[codec], "w")
    assert len(encoded.codes) == 3 * (1 + (columns - 1) // BLOCK)
    decoded = decode_rows(encoded, 3, columns)
    alone = [decode_rows(encode_rows(row[None], CODECS[codec], "w"), 1, columns) for row in matrix]
    np.testing.assert_array_equal(decoded, np.concatenate(alone))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_a_value_that_is_no_number_is_refused_with_tensor_and_index(
    codec: str, value: float, shown: str
) -> None:
    matrix = normal(4, 40)
    matrix[2, 37] = matrix[3, 0] = value
    with pytest.raises(UserError) as refusal:
        encode_rows(matrix, CODECS[codec], "layers.3.up")
    assert str(refusal.value) == f"tensor 'layers.3.up': {shown} at [2, 37] cannot be quantised"


@pytest.mark.parametrize(("codec", "steps"), [("q8_0", 127), ("q4_0", 8)])
def test_a_scale_beyond_fp16_is_refused_with_tensor_and_block(codec: str, steps: int) -> None:
    matrix = np.concatenate([block_of(1), block_of(65504 * steps), block_of(0, 65536 * steps)])
    with pytest.raises(
        UserError, match="tensor 'w': the scale of block 2 exceeds fp16's largest value, 65504"
    ):
        encode_rows(matrix, CODECS[codec], "w")
