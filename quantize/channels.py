"""Codecs without blocks: int8 with a scale per row, float16, and float32 for weights that are left alone."""

from __future__ import annotations

import numpy as np

from quantize.blocks import Blocks, Codec, Float32


def encode_int8(rows: Float32) -> Blocks:
    """Scale = absmax / 127 of a row (1 for a row of zeros); code = round(x / scale), in [-127, 127].

    One block is one row: float32 [rows, columns] in, codes int8 of that shape and scales [rows] out.
    """
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    return Blocks(np.rint(rows / scales[:, None]).astype(np.int8), scales)


def encode_f16(rows: Float32) -> Blocks:
    """The nearest float16 values as codes, every scale 1; infinite scales mark a row beyond float16."""
    with np.errstate(over="ignore"):
        codes = rows.astype(np.float16)
    return Blocks(codes, np.where(np.isfinite(codes).all(axis=1), np.float32(1), np.float32(np.inf)))


def encode_fp32(rows: Float32) -> Blocks:
    """The values themselves as codes, every scale 1."""
    return Blocks(rows, np.ones(len(rows), dtype=np.float32))


INT8 = Codec("int8", 8, encode_int8, block=None)
F16 = Codec("f16", 16, encode_f16, block=None)
FP32 = Codec("fp32", 32, encode_fp32, block=None)
"""A weight that a recipe keeps as it is; no precision gives it to one unasked."""
