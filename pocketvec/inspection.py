"""A checked artifact in words: what it is, what goes in and out, what it weighs, where it came from."""

from __future__ import annotations

from export.artifact import Artifact

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
    rows.append(("made by", ", ".join(f"{tool} {number}" for tool, number in manifest.tools.items())))
    return "".join(f"{label:<11}{text}\n" for label, text in rows)
