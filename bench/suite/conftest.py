"""``pytest bench/suite --artifacts DIR``: one latency case per artifact and token length."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cost import weight_cache
from export.artifact import open_artifact

LENGTHS = (16, 64, 256)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The folder of artifact folders."""
    parser.addoption("--artifacts", type=Path, default=None, help="folder that holds artifact folders")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Cases for every artifact below --artifacts (or for that folder, when it is one)."""
    folder: Path | None = metafunc.config.getoption("--artifacts")
    if folder is None:
        raise pytest.UsageError("say which artifacts: --artifacts runs/default/artifacts")
    found = sorted(path.parent for path in [*folder.glob("manifest.json"), *folder.glob("*/manifest.json")])
    if not found:
        raise pytest.UsageError(f"--artifacts {folder}: no artifact folder there")
    cases = [
        pytest.param(path, length, id=f"{path.name}-{length}t") for path in found for length in lengths(path)
    ]
    metafunc.parametrize(("artifact", "length"), cases)


def lengths(artifact: Path) -> list[int]:
    """The usual lengths, as far as the artifact takes them."""
    limit = open_artifact(artifact, verify=False).manifest.max_tokens
    return sorted({min(length, limit) for length in LENGTHS})


@pytest.fixture(scope="session")
def cache_folder() -> Iterator[Path]:
    """The weight caches of this session: built when a profile is first opened, then warm."""
    with weight_cache() as folder:
        yield folder
