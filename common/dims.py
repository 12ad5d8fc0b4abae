"""Matryoshka dimensions: the ones EmbeddingGemma was trained for, fitted to a model's width."""

from __future__ import annotations

from common.errors import UserError

STANDARD_DIMS = (768, 512, 256, 128)


def choose_dims(wanted: tuple[int, ...], full_dim: int) -> tuple[int, ...]:
    """`wanted`, checked against the model; when empty, its full width and the standard ones below it.

    Raises UserError for a dimension below 1, above `full_dim` or given twice.
    """
    if not wanted:
        return (full_dim, *(dim for dim in STANDARD_DIMS if dim < full_dim))
    for dim in wanted:
        check_dim(dim, full_dim)
        if wanted.count(dim) > 1:
            raise UserError(f"dimension {dim}: given twice")
    return wanted


def check_dim(dim: int, full_dim: int) -> None:
    """Raise UserError unless 1 <= dim <= full_dim."""
    if not 1 <= dim <= full_dim:
        raise UserError(f"dimension {dim}: the model gives {full_dim}; choose 1 to {full_dim}")
