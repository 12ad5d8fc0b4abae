"""A checked artifact in words: what it is, what goes in and out, what it weighs, where it came from."""

from __future__ import annotations

from export.artifact import Artifact
from export.manifest import VocabularyTrim

MB = 1_000_000


def describe(artifact: Artifact) -> str:
    """A few aligned lines on one artifact, for a terminal."""
    manifest = artifact.manifest
    rows = [
        ("profile", f"{manifest.name} (all hashes agree)"),
        ("model", f"{manifest.model.architecture}, base {manifest.model.base}"),
        ("checkpoint", manifest.model.checkpoint_sha256[:16]),
        ("precision", f"{manifest.precision}, {manifest.dim} of {manifest.full_dim} dimensions"),
        ("pooling", manifest.pooling + ("" if manifest.include_prompt else ", prompt left out")),
        ("limit", f"{manifest.max_tokens} tokens"),
    ]
    for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for t in tensors:
            rows.append((kind, f"{t.name}: {t.dtype} [{', '.join(t.shape)}], {t.meaning}"))
    rows += [("prompt", f"{name}: {prompt!r}") for name, prompt in manifest.prompts.items()]
    rows += [("file", f"{name}: {entry.bytes / MB:.2f} MB") for name, entry in manifest.files.items()]
    if manifest.recipe:
        kept = [f"{pattern}={precision}" for pattern, precision in manifest.recipe.keep.items()]
        kept += ["scales searched"] * manifest.recipe.scale_search
        rows.append(("recipe", ", ".join([manifest.recipe.base, *kept])))
        rows += [
            ("weights", f"{name}: {one.weights} ({one.values / MB:.2f} M values, {one.bytes / MB:.2f} MB)")
            for name, one in manifest.recipe.codecs.items()
        ]
    if manifest.rounding:
        cost = manifest.rounding
        rows.append(
            ("rounding", f"golden cosine {cost.golden_cosine_mean:.4f}, worst {cost.golden_cosine_min:.4f}")
        )
    if manifest.reference:
        scores = ", ".join(f"{dim}d {score:.4f}" for dim, score in manifest.reference.ndcg_at_10.items())
        rows.append(("reference", f"NDCG@10 on {manifest.reference.data}: {scores}"))
    rows += _vocabulary_rows(manifest.vocabulary)
    rows.append(("made by", ", ".join(f"{tool} {number}" for tool, number in manifest.tools.items())))
    return _aligned(rows)


def vocabulary_lines(trim: VocabularyTrim | None) -> str:
    """What trimming the vocabulary kept and cost, in aligned lines; nothing for a model that kept it."""
    return _aligned(_vocabulary_rows(trim))


def _vocabulary_rows(trim: VocabularyTrim | None) -> list[tuple[str, str]]:
    if trim is None:
        return []
    rows = [("vocabulary", f"{trim.rows} of {trim.rows_before} rows, kept for {trim.selected_by}")]
    for precision, size in trim.table_bytes.items():
        before = trim.table_bytes_before[precision]
        rows.append(("table", f"{precision}: {size / MB:.2f} MB, before {before / MB:.2f} MB"))
    for ratio, what in (
        (trim.inflation, "the corpus it was selected from"),
        (trim.held_out_inflation, "text that the selection did not see"),
    ):
        if ratio is not None:
            rows.append(("tokens", f"{ratio:.4f} times as many on {what}"))
    for dim, score in trim.ndcg_at_10.items():
        before_score = trim.ndcg_at_10_before[dim]
        rows.append(("NDCG@10", f"{dim}d on {trim.ndcg_data}: {score:.4f}, before {before_score:.4f}"))
    return rows


def _aligned(rows: list[tuple[str, str]]) -> str:
    return "".join(f"{label:<11}{text}\n" for label, text in rows)
