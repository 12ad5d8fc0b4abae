"""Artifact in, smaller artifact out: Q8_0 and Q4_0 on every large weight, the embedding table included."""
