"""Folders that are made once a run, whichever of pytest's worker processes comes first."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.files import whole_folder


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this run, which `make` fills; whole, or made again by the next who asks.

    Who comes second waits for the first. pytest-xdist gives its workers folders side by side in the run's.
    """
    own = factory.getbasetemp()
    run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = run / name
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with whole_folder(folder) as building:
                make(building)
    return folder
