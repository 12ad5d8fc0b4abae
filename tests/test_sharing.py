"""tests/sharing.py: one process makes a folder, the others wait for it and find it whole."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sharing import shared, too_little_room


def test_who_asks_while_a_folder_is_made_waits_for_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)
        (folder / "file").write_text("whole")

    tmp_path_factory.getbasetemp()  # made here: pytest does not expect threads
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(shared, tmp_path_factory, "waited-for", make) for _ in range(3)]
        folders = {one.result() for one in asked}
    assert len(made) == 1
    assert [(one / "file").read_text() for one in folders] == ["whole"]


def test_what_an_error_has_left_half_made_is_made_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise LookupError("full")

    with pytest.raises(LookupError, match="full"):
        shared(tmp_path_factory, "failed", fail)
    folder = shared(tmp_path_factory, "failed", lambda folder: (folder / "file").write_text("whole"))
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_disk_too_full_for_all_tests_is_named(tmp_path: Path) -> None:
    assert too_little_room(str(tmp_path), needed=0) is None
    lacking = too_little_room(str(tmp_path), needed=10**9)
    assert lacking is not None
    assert lacking.startswith(f"{tmp_path}: the tests need 1000000000 GB of free disk, ")
