"""The command line's words and numbers, apart from the modules they are for, which take long to load."""

from __future__ import annotations

DEFAULT_THREADS = 4
"""What published figures of phones use, and no more than the big cores of most."""
DEFAULT_SECONDS = 1800
BIG, ALL = CORES = ("big", "all")
FIREBASE, AWS = FARMS = ("firebase", "aws")
