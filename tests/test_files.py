"""common/files.py: files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import (
    HASH_CHUNK_BYTES,
    read_json,
    refuse_existing,
    sha256_file,
    sha256_files,
    whole_folder,
    write_json,
    write_text,
)

WRITE_TEXT = Path.write_text


def disk_full(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_a_write(path: Path, text: str, encoding: str | None = None) -> int:
    WRITE_TEXT(path, text[: len(text) // 2], encoding=encoding)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def build(final: Path, fault: BaseException | None = None) -> None:
    with whole_folder(final) as folder:
        write_text(folder / "weights", "12345678")
        if fault is not None:
            raise fault


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_finished_folder_is_there_with_its_files_and_no_temporary_name(tmp_path: Path) -> None:
    build(tmp_path / "out")
    assert below(tmp_path) == ["out", "out/weights"]


def test_a_finished_folder_is_readable_by_others(tmp_path: Path) -> None:
    build(tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_missing_parents_of_a_folder_are_made(tmp_path: Path) -> None:
    build(tmp_path / "a" / "b" / "out")
    assert (tmp_path / "a" / "b" / "out" / "weights").is_file()


def test_the_final_name_is_absent_while_the_folder_is_built(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as folder:
        (folder / "weights").touch()
        assert not (tmp_path / "out").exists()


def test_an_empty_existing_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    build(tmp_path / "out")
    assert below(tmp_path) == ["out", "out/weights"]


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    build(tmp_path / "out")
    (tmp_path / "out" / "weights").write_text("mine")
    with pytest.raises(UserError, match="already exists") as refusal:
        build(tmp_path / "out")
    assert str(tmp_path / "out") in str(refusal.value)
    assert (tmp_path / "out" / "weights").read_text() == "mine"
    assert below(tmp_path) == ["out", "out/weights"]


def test_an_output_name_taken_by_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        refuse_existing(tmp_path / "out")


@pytest.mark.parametrize("fault", [ValueError("bad"), KeyboardInterrupt(), SystemExit(1)])
def test_a_fault_while_building_leaves_nothing(tmp_path: Path, fault: BaseException) -> None:
    with pytest.raises(type(fault)):
        build(tmp_path / "out", fault)
    assert below(tmp_path) == []


def test_a_disk_that_fills_while_a_file_is_written_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_text", half_a_write)
    with pytest.raises(OSError, match="No space"):
        build(tmp_path / "out")
    assert below(tmp_path) == []


def test_a_folder_that_cannot_be_renamed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", disk_full)
    with pytest.raises(OSError, match="No space"):
        build(tmp_path / "out")
    assert below(tmp_path) == []


@pytest.mark.parametrize(
    ("owner", "name", "failing"), [(Path, "write_text", half_a_write), (os, "replace", disk_full)]
)
def test_a_disk_that_fills_keeps_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, failing: object
) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old text")
    monkeypatch.setattr(owner, name, failing)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new text")
    assert path.read_text(encoding="utf-8") == "old text"
    assert below(tmp_path) == ["report.json"]


def test_json_comes_back_as_written(tmp_path: Path) -> None:
    value = {"name": "größe", "dims": [768, 128], "nested": {"none": None}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_a_number_json_cannot_hold_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert below(tmp_path) == []


def test_an_absent_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe{}"])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("size", [0, 1, HASH_CHUNK_BYTES, HASH_CHUNK_BYTES + 1])
def test_a_file_hashes_as_its_bytes_do(tmp_path: Path, size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_joint_hash_depends_on_names_and_contents_but_not_on_the_order_given(tmp_path: Path) -> None:
    first, second, third = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    first.write_text("1")
    second.write_text("2")
    third.write_text("2")
    assert sha256_files([first, second]) == sha256_files([second, first])
    assert sha256_files([first, second]) != sha256_files([first, third])
    before = sha256_files([first, second])
    second.write_text("3")
    assert sha256_files([first, second]) != before
