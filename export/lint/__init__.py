"""Structural faults of an artifact, found without running it."""
