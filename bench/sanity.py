"""What must hold of any embedding model, whatever its vectors should be: checks that need no reference.

The same ids give the same vector, alone, beside others, and behind more padding; vectors are finite and of
unit length; ids beyond the token table are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from export.embedder import Embedder
from export.fault import Fault
from export.litert_session import LiteRTSession

Float32 = npt.NDArray[np.float32]

UNIT_TOLERANCE = 1e-3
MOVED = {"fp32": 1e-4}
"""Distance by which padding or a neighbour may move a unit vector. Measured: 1e-6."""
MOVED_ROUNDED = 0.03
"""The same for quantised profiles, whose kernels may round activations otherwise when there are more tokens.
Measured: 1e-6 on the starter, 0.013 (int8) and 0.009 (q4_0) at EmbeddingGemma's shape."""


def check_vectors(vectors: Float32, dim: int, full_dim: int) -> Iterator[Fault]:
    """Width, finiteness and norm of the probes' vectors [n, any]."""
    width = vectors.shape[-1]
    if width != dim:
        name = "slice-missing" if width == full_dim else "width-wrong"
        yield Fault(name, f"the model gives {width} numbers, the manifest says {dim}")
    if not np.isfinite(vectors).all():
        rows = int((~np.isfinite(vectors).all(axis=1)).sum())
        yield Fault("not-finite", f"{rows} of {len(vectors)} vectors have a number that is not finite")
        return
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if np.abs(norms - 1).max() > UNIT_TOLERANCE:
        yield Fault("not-normalised", f"norms from {norms.min():.4g} to {norms.max():.4g}, not 1")


def check_invariance(embedder: Embedder, rows: list[list[int]], prompt_tokens: int) -> Iterator[Fault]:
    """What may not move the vector of the first row of ids: time, a neighbour, more padding.

    The second row is longer than the first, the longer the better.
    """
    row, longer = rows
    tokenizer = embedder.tokenizer

    def embedded(*given: list[int]) -> Float32:
        vectors = embedder.run(tokenizer.batch(list(given), prompt_tokens))
        first: Float32 = vectors[0]
        return first

    alone = embedded(row)
    if not np.isfinite(alone).all():
        return
    tolerance = MOVED.get(embedder.manifest.precision, MOVED_ROUNDED)
    neighbour = longer[: len(row)]
    checks: dict[str, tuple[str, float, Callable[[], Float32]]] = {
        "nondeterministic": ("run again", 0.0, lambda: embedded(row)),
        "batch-changes-vector": ("beside another of its length", tolerance, lambda: embedded(row, neighbour)),
        "padding-changes-vector": (
            f"padded to {len(longer)} tokens",
            tolerance,
            lambda: _padded(embedder, row, len(longer), prompt_tokens, lambda: embedded(row, longer)),
        ),
    }
    for name, (how, allowed, run) in checks.items():
        moved = float(np.linalg.norm(run() - alone))
        if not moved <= allowed:
            yield Fault(name, f"a text of {len(row)} tokens moves by {moved:.3g} when {how}")
            if name == "nondeterministic":
                return  # whatever moves it next says nothing


def _padded(
    embedder: Embedder, row: list[int], length: int, prompt_tokens: int, beside: Callable[[], Float32]
) -> Float32:
    """The vector of a row behind padding: beside a longer one, or for LiteRT in a longer signature."""
    session = embedder.session
    if not isinstance(session, LiteRTSession):
        return beside()
    lengths = embedder.manifest.lengths
    first = next(one for one in lengths if len(row) <= one)
    after = next((one for one in lengths if one > max(first, length - 1)), first)
    skip = prompt_tokens if not embedder.manifest.include_prompt else None
    return session.run(row, skip, after)


def check_ids_refused(embedder: Embedder) -> Iterator[Fault]:
    """Ids without a row in the token table must be refused by what embeds texts.

    What the open model behind it would do is not tried here: it reads a zero row or whatever lies behind the
    table, raises, or ends the process (docs/faults.md).
    """
    rows = embedder.manifest.tokenizer.vocab_size
    for wrong in (rows, -1):
        try:
            embedder.run(embedder.tokenizer.batch([[wrong]]))
        except UserError:
            continue
        yield Fault("out-of-range-ids-accepted", f"id {wrong} gives a vector, the table has {rows} rows")
