"""The fp32 PyTorch reference on a retrieval set, for artifacts whose manifest does not carry it."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.report import Reference
from common.dims import check_dim
from common.errors import missing_extra
from common.prompts import choose_query_prompt
from common.retrieval import RetrievalSet

DIGITS = 6


def score_reference(
    model_name: str, data: RetrievalSet, dims: list[int], prompt_name: str | None
) -> Reference:
    """Embed the set with the Sentence Transformers model itself. Needs the train extra.

    Raises UserError when torch is not installed or the model lacks a dimension.
    """
    try:
        from train.evaluate import MatryoshkaEvaluator
    except ImportError as error:
        raise missing_extra("train", error.name or "torch") from None
    from export.source import open_source

    source = open_source(model_name)
    for dim in dims:
        check_dim(dim, source.full_dim)
    query_prompt = choose_query_prompt(source.model.prompts, prompt_name)
    evaluator = MatryoshkaEvaluator(data, sorted({*dims, source.full_dim}), query_prompt)
    by_query = evaluator.by_query(source.model)
    scores = {dim: round(statistics.fmean(values), DIGITS) for dim, values in by_query.items()}
    name = source.folder.resolve().name if Path(model_name).is_dir() else model_name
    return Reference(f"fp32 PyTorch, {name} scored beside the artifacts", scores, by_query)
