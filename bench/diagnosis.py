"""What is wrong with an artifact, by name: ids against the right ones, vectors against wrong pipelines.

Text goes through the artifact as clients send it; the names it can find are in docs/faults.md. Faults of the
tokenizer are read off the ids alone, and the model is then given the right ids, so that the two halves do not
hide each other. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.nearest import Match, is_named, matches, unit
from bench.sanity import check_ids_refused, check_invariance, check_vectors
from common.errors import UserError
from common.prompts import default_document_prompt, default_query_prompt
from export.embedder import Embedder
from export.fault import Fault
from export.golden import GoldenResult, GoldenText, read_golden, row_cosines
from export.wrong.table import QUERY, FaultTable, Probe, read_faults

Float32 = npt.NDArray[np.float32]

UNEXPLAINED = "unexplained"
LOSS_FACTOR, LOSS_FLOOR = 2.0, 0.002
"""What a quantised profile may lose in golden cosine: so many times what rounding alone loses, and a little
for arithmetic in 8 bits. Measured: 1.3 times at most, and 0.0001 more."""
EXACT_COSINE = 0.9999
"""Least golden cosine of an fp32 profile. Measured: 1.0000."""
SHORT = 64
"""Golden texts of up to so many tokens stand in for probes where there are none."""
MEASURED_UP_TO = 256
"""Golden texts of up to so many tokens are what rounding was measured on in every runtime."""


def diagnose(embedder: Embedder, results: Sequence[GoldenResult] = ()) -> list[Fault]:
    """Every fault that the artifact shows; none for a right one.

    `results` are its golden results where they are known already; without them, the golden cosine is that of
    the probes. An artifact without faults.json has its ids, vectors and golden cosine checked, but what is
    wrong with its model stays unexplained. Raises UserError where golden.json or faults.json is none.
    """
    golden = read_golden(embedder.artifact.path)
    table = read_faults(embedder.artifact.path)
    found: list[Fault] = []
    try:
        found += _faults(embedder, golden, table, results)
    except UserError as error:
        found.append(Fault("does-not-run", str(error)))
    return found


def _faults(
    embedder: Embedder, golden: list[GoldenText], table: FaultTable | None, results: Sequence[GoldenResult]
) -> Iterator[Fault]:
    probes = table.probes if table else _stand_ins(golden)
    ids = list(_id_faults(embedder, golden, table))
    yield from ids
    yield from check_ids_refused(embedder)
    vectors = np.concatenate([_embed(embedder, one) for one in probes])
    manifest = embedder.manifest
    plain = list(check_vectors(vectors, manifest.dim, manifest.full_dim))
    if table and vectors.shape[1] == manifest.dim:
        plain = [_cut_instead(fault, table, vectors) for fault in plain]
        yield from _table_rows(embedder, table.table_rows)
    rows = [probes[0].ids, max((one.ids for one in probes), key=len)]
    plain += check_invariance(embedder, rows, embedder.tokenizer.prompt_tokens(probes[0].prompt))
    yield from plain
    if vectors.shape[1] == manifest.dim and np.isfinite(vectors).all():
        found = matches(table, vectors) if table else []
        named = _named(embedder, found)
        yield from named
        if not (ids or plain or named):
            yield from _unexplained(embedder, _cosines(probes, vectors, results), found)


def _embed(embedder: Embedder, probe: Probe) -> Float32:
    """The vector [1, dim] of the right ids, the prompt marked as the artifact does it."""
    tokenizer = embedder.tokenizer
    return embedder.run(tokenizer.batch([probe.ids], tokenizer.prompt_tokens(probe.prompt)))


def _stand_ins(golden: list[GoldenText]) -> list[Probe]:
    """Golden texts as probes, for artifacts without a fault table: the first behind its prompt, by length."""
    prompt = golden[0].prompt
    short = [one for one in golden if len(one.ids) <= SHORT and one.prompt == prompt] or golden[:1]
    vectors = [np.array(one.vector, dtype=np.float32) for one in short]
    probes = [Probe(QUERY, prompt, g.text, g.ids, v) for g, v in zip(short, vectors, strict=True)]
    return sorted(probes, key=lambda one: len(one.ids))


def _id_faults(embedder: Embedder, golden: list[GoldenText], table: FaultTable | None) -> Iterator[Fault]:
    """What is wrong with the ids of the probes; where that has no name, how the first text differs."""
    differing = list(_differing_probes(embedder, table)) if table else []
    known = {name: evidence for one, ids in differing for name, evidence in _known(table, one, ids)}
    yield from (Fault(name, evidence) for name, evidence in known.items())
    if known:
        return
    made = [(one, embedder.tokenizer.ids(one.text, one.prompt)) for one in golden]
    wrong: list[tuple[Probe | GoldenText, list[int]]] = [*differing]
    wrong += [(one, ids) for one, ids in made if ids != one.ids]
    if wrong:
        yield Fault("ids-differ", f"{len(wrong)} texts; {_first_difference(*wrong[0])}")


def _differing_probes(embedder: Embedder, table: FaultTable) -> Iterator[tuple[Probe, list[int]]]:
    """Probes whose ids, behind the prompt that the manifest has for them, are not the right ones."""
    prompts = embedder.manifest.prompts
    for probe in table.probes:
        prompt = default_query_prompt(prompts) if probe.role == QUERY else default_document_prompt(prompts)
        ids = embedder.tokenizer.ids(probe.text, prompt)
        if ids != probe.ids:
            yield probe, ids


def _known(table: FaultTable | None, probe: Probe, ids: list[int]) -> Iterator[tuple[str, str]]:
    """(name, evidence) of the wrong pipeline that gives a probe these ids."""
    for name, wrong in table.wrong.items() if table else ():
        if any(one.ids == ids and table and table.probes[one.probe] is probe for one in wrong):
            what = f"the {probe.role} {probe.text[:40]!r} gives {len(ids)} ids, the right ones are"
            yield _plain(name), f"{what} {len(probe.ids)}; {_beginnings(ids, probe.ids)}"


def _beginnings(ids: list[int], right: list[int]) -> str:
    return f"{ids[:3]}...{ids[-2:]} in place of {right[:3]}...{right[-2:]}"


def _first_difference(right: Probe | GoldenText, ids: list[int]) -> str:
    pairs = zip(ids, right.ids, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(right.ids)))
    return (
        f"{(right.prompt + right.text)[:60]!r}: {len(ids)} ids, right are {len(right.ids)}, "
        f"they part at place {place}: {ids[place : place + 3]} in place of {right.ids[place : place + 3]}"
    )


def _cut_instead(fault: Fault, table: FaultTable, vectors: Float32) -> Fault:
    """Of vectors whose norms are those of a slice that nobody normalised, say so."""
    norms = np.linalg.norm(vectors, axis=1)
    if fault.name == "not-normalised" and np.allclose(norms, table.cut_norms, atol=0.02):
        return Fault("slice-not-renormalised", f"{fault.evidence}, as of unit vectors cut to {table.dim}")
    return fault


def _table_rows(embedder: Embedder, rows: int) -> Iterator[Fault]:
    """The manifest must allow the ids that the model has rows for, neither more nor fewer."""
    allowed = embedder.manifest.tokenizer.vocab_size
    if allowed != rows:
        name = "out-of-range-ids-accepted" if allowed > rows else "vocab-size-wrong"
        yield Fault(name, f"the manifest allows ids below {allowed}, the model has {rows} rows")


def _named(embedder: Embedder, found: list[Match]) -> list[Fault]:
    """The best explanation of the vectors, if it is one."""
    if not found or not is_named(found[0], _rounding(embedder)):
        return []
    best, other = found[0], next((one for one in found if _plain(one.name) != _plain(found[0].name)), None)
    _, _, form = best.name.partition("/")
    second = f"; next is {_plain(other.name)} with {other.explained:.3f}" if other else ""
    evidence = (
        f"{form + ': ' if form else ''}explains {best.explained:.4f} of a distance of {best.moved:.3g} "
        f"from the right vectors{second}"
    )
    return [Fault(_plain(best.name), evidence)]


def _unexplained(embedder: Embedder, cosines: _Cosines, found: list[Match]) -> Iterator[Fault]:
    """Golden cosines that are too low, where nothing else was found."""
    rounding = embedder.manifest.rounding
    mean = _allowed(rounding.golden_cosine_mean) if rounding else EXACT_COSINE
    least = _allowed(rounding.golden_cosine_min) if rounding else EXACT_COSINE
    if cosines.mean < (mean if cosines.many else least) or cosines.least < least:
        nearest = f"; nearest is {_plain(found[0].name)}, {found[0].explained:.3f} explained" if found else ""
        evidence = (
            f"cosine to {cosines.what}: mean {cosines.mean:.5f}, least {cosines.least:.5f}; "
            f"right are {mean:.5f} and {least:.5f} or more{nearest}"
        )
        yield Fault(UNEXPLAINED, evidence)


def _allowed(rounding_cosine: float) -> float:
    return 1 - LOSS_FACTOR * (1 - rounding_cosine) - LOSS_FLOOR


def _rounding(embedder: Embedder) -> float | None:
    """Mean golden cosine that rounding leaves, by the manifest; None for fp32."""
    rounding = embedder.manifest.rounding
    return rounding.golden_cosine_mean if rounding else None


@dataclass(frozen=True)
class _Cosines:
    """Cosines to golden vectors: mean and least, of what, and whether of enough texts for a sure mean."""

    mean: float
    least: float
    what: str
    many: bool


def _cosines(probes: list[Probe], vectors: Float32, results: Sequence[GoldenResult]) -> _Cosines:
    short = np.array([one.cosine for one in results if one.tokens <= MEASURED_UP_TO])
    if len(short):
        return _Cosines(float(short.mean()), float(short.min()), f"{len(short)} golden texts", many=True)
    right = np.stack([one.vector for one in probes])
    found = row_cosines(unit(vectors), right)
    return _Cosines(float(found.mean()), float(found.min()), f"{len(probes)} probes", many=False)


def _plain(name: str) -> str:
    """The name of a fault without its form."""
    return name.partition("/")[0]
