"""Deliberately wrong pipelines: what a broken artifact would give, so that it can be named."""
