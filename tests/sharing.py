"""Folders that are made once a run, whichever of pytest's worker processes comes first; room for them."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.files import whole_folder

NEEDED_GB = 4
"""Of free disk: all tests in two processes have 2.4 GB of it at once."""


def too_little_room(folder: str, needed: float = NEEDED_GB) -> str | None:
    """Why a run of all tests has to fail for want of disk in `folder`, or None."""
    free = shutil.disk_usage(folder).free / 1e9
    return (
        None if free >= needed else f"{folder}: the tests need {needed} GB of free disk, {free:.1f} are left"
    )


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
