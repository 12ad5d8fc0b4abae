"""``python -m pocketvec``."""

from pocketvec.cli import entry

entry()
