"""Artifact in, report and verdict out: quality, parity, latency and memory per profile."""
