"""Q4_0 with searched scales: other numbers in the same format, so that any Q4_0 reader reads them.

The rules in quantize.blocks take a block's scale from its extreme value alone. Here several around that one
are tried, the best is refitted by least squares, and the one with the least weighted squared error stays,
each value counting by its own square. Products keep scales that are positive and of bfloat16 precision (see
`encode_q4_0_portable`); a table takes either sign in fp16, like ggml's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantize.blocks import SMALLEST_NORMAL_FP16, Blocks, Codec, Float32, round_to_bf16

CHUNK = 4096
"""Blocks encoded at a time: half a MB of float32, which stays in a core's cache."""
SHRINKS = np.linspace(0.76, 1.06, 11, dtype=np.float32)
"""Candidate scales, as multiples of the one that just holds the extreme value."""
WEIGHT_FLOOR = np.float32(1e-30)

Floats = Callable[[Float32], Float32]


def encode_q4_0_searched(blocks: Float32) -> Blocks:
    """Q4_0 blocks with the best positive scale of bfloat16 precision that was tried."""
    return _chunked(blocks, _upward, _portable)


def encode_q4_0_table_searched(blocks: Float32) -> Blocks:
    """Q4_0 blocks with the best fp16 scale of either sign that was tried."""
    return _chunked(blocks, _both_ways, _half)


def _upward(blocks: Float32) -> Float32:
    """Candidate scales [n, k] above 0: codes reach from -8 to 7, rounding takes 7 half a step further."""
    exact = np.maximum(blocks.max(axis=1) / np.float32(7.5), blocks.min(axis=1) / np.float32(-8))
    scales: Float32 = exact[:, None] * SHRINKS
    return scales


def _both_ways(blocks: Float32) -> Float32:
    return np.concatenate([_upward(blocks), -_upward(-blocks)], axis=1)


Q4_0_SEARCHED = Codec("q4_0", 4, encode_q4_0_searched)
Q4_0_TABLE_SEARCHED = Codec("q4_0", 4, encode_q4_0_table_searched)


def _chunked(blocks: Float32, candidates: Floats, rounding: Floats) -> Blocks:
    """Codes int8 [n, 32] and scales [n], chunk by chunk: nothing but the result is as long as `blocks`."""
    codes, scales = np.empty(blocks.shape, dtype=np.int8), np.empty(len(blocks), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # encode_rows refuses scales beyond fp16
        for start in range(0, len(blocks), CHUNK):
            part = slice(start, start + CHUNK)
            codes[part], scales[part] = _search(blocks[part], candidates(blocks[part]), rounding)
    return Blocks(codes, scales)


def _search(blocks: Float32, candidates: Float32, rounding: Floats) -> tuple[Float32, Float32]:
    """Codes and scales of the least weighted error over the candidates and a refit of the best."""
    weights = blocks * blocks + WEIGHT_FLOOR
    best = rounding(candidates[:, 0])
    codes = _codes(blocks, best)
    error = _error(blocks, codes, best, weights)
    for column in range(1, candidates.shape[1] + 1):
        refit = column == candidates.shape[1]
        scales = rounding(_least_squares(blocks, codes, weights) if refit else candidates[:, column])
        tried = _codes(blocks, scales)
        found = _error(blocks, tried, scales, weights)
        better = found < error
        codes[better], best[better], error[better] = tried[better], scales[better], found[better]
    return codes, best


def _codes(blocks: Float32, scales: Float32) -> Float32:
    codes = blocks * (np.float32(1) / scales)[:, None]
    np.rint(codes, out=codes)
    np.clip(codes, -8, 7, out=codes)
    return codes


def _error(blocks: Float32, codes: Float32, scales: Float32, weights: Float32) -> Float32:
    """Weighted squared error [n]; NaN, which is no better than anything, for a scale beyond fp16."""
    apart = blocks - codes * scales[:, None]
    apart *= apart
    error: Float32 = np.einsum("ij,ij->i", apart, weights)
    return error


def _least_squares(blocks: Float32, codes: Float32, weights: Float32) -> Float32:
    """The scales that fit given codes best; 0 for blocks whose codes are all 0."""
    weighted = codes * weights
    size = np.einsum("ij,ij->i", weighted, codes)
    fitted: Float32 = np.einsum("ij,ij->i", weighted, blocks) / np.where(size > 0, size, np.float32(1))
    return fitted


def _portable(scales: Float32) -> Float32:
    return _within_fp16(np.maximum(round_to_bf16(scales), SMALLEST_NORMAL_FP16))


def _half(scales: Float32) -> Float32:
    size = np.maximum(np.abs(scales), SMALLEST_NORMAL_FP16)
    return _within_fp16(np.where(scales < 0, -size, size))


def _within_fp16(scales: Float32) -> Float32:
    with np.errstate(over="ignore"):
        return scales.astype(np.float16).astype(np.float32)
