"""Is an artifact the model it says it is: golden parity text by text, and structural faults by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.diagnosis import diagnose
from bench.measurements import Golden, WorstText
from common.errors import UserError
from export.embedder import Embedder
from export.fault import Fault
from export.golden import GoldenResult, GoldenText, golden_result, read_golden
from export.lint.examine import lint

WORST_TEXTS = 5
SHOWN_CHARACTERS = 120
DIGITS = 9
FATAL = ("does-not-run", "width-wrong")
"""Faults after which there is nothing left to measure."""


def examine_structure(embedder: Embedder) -> tuple[Golden, list[Fault]]:
    """Golden parity of an open artifact and its faults, those that need no inference first, each name once.

    Raises UserError naming the fault when no vector of the right width comes out.
    """
    results = [_result(embedder, text) for text in read_golden(embedder.artifact.path)]
    found = [*lint(embedder.artifact), *diagnose(embedder, results)]
    faults = [one for index, one in enumerate(found) if one.name not in {f.name for f in found[:index]}]
    for fault in faults:
        if fault.name in FATAL:
            raise UserError(f"{embedder.artifact.path}: {fault.name}: {fault.evidence}")
    return summarise_golden(results), faults


def _result(embedder: Embedder, text: GoldenText) -> GoldenResult:
    """A text that cannot be embedded is wrong in everything, so that lint and diagnosis can still say why."""
    try:
        return golden_result(embedder, text)
    except UserError:
        tokens = len(text.ids)
        return GoldenResult(text.prompt, text.text, tokens, ids_equal=False, cosine=-1, norm=0, finite=False)


def summarise_golden(results: Sequence[GoldenResult]) -> Golden:
    """Parity over all golden texts, with the worst of them; the norm of a vector that is not finite is 0."""
    ordered = sorted(results, key=lambda one: (one.ids_equal, one.cosine))
    norms = [one.norm if math.isfinite(one.norm) else 0.0 for one in results]
    cosines = [one.cosine for one in results]
    return Golden(
        texts=len(results),
        cosine_mean=round(sum(cosines) / len(cosines), DIGITS),
        cosine_min=round(min(cosines), DIGITS),
        norm_error=round(max(abs(norm - 1) for norm in norms), DIGITS),
        ids_equal=all(one.ids_equal for one in results),
        finite=all(one.finite for one in results),
        worst=[_worst(one) for one in ordered[:WORST_TEXTS]],
    )


def _worst(result: GoldenResult) -> WorstText:
    text = (result.prompt + result.text)[:SHOWN_CHARACTERS]
    norm = round(result.norm, 6) if math.isfinite(result.norm) else 0.0
    return WorstText(text, round(result.cosine, 6), norm, result.ids_equal)
