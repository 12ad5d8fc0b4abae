"""Checkpoint in, fp32 artifact out: the whole embedding pipeline in one graph."""
