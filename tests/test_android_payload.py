"""The payload for a phone's shell: what is in it, that it needs nothing of the system, that it repeats."""

import dataclasses
import json
import shutil
import struct
import subprocess
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from android_harness.payload.__main__ import main
from android_harness.payload.build import build_payload
from android_harness.protocol import JOB_SCHEMA, Job, Result
from android_harness.toolchain.debs import SAFELY
from bench.measurements import NO_CACHE
from common.files import read_json, sha256_file
from common.records import from_dict

pytestmark = pytest.mark.android

MOST_MB = {"arm64-v8a": 50, "x86_64": 55}
LOADED = 1
"""p_type of a segment that is mapped."""
JOB = Job(JOB_SCHEMA, "0a", "host", "artifacts/one", [NO_CACHE], [16], 3, 1, 3)


@pytest.fixture(scope="module", params=MOST_MB)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """ABI and archive."""
    path = tmp_path_factory.mktemp("payload") / "payload.tar.gz"
    assert main(["--abi", request.param, "--out", str(path)]) == 0
    return request.param, path


def test_a_payload_is_small_and_holds_no_tests_and_nothing_but_plain_files(built: tuple[str, Path]) -> None:
    abi, path = built
    assert path.stat().st_size < MOST_MB[abi] * 1e6
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    names = {one.name for one in members}
    assert all(one.isfile() and (one.mtime, one.uid, one.gid) == (0, 0, 0) for one in members)
    assert {"run", "payload.json", "bin/python3", "project/bench/probe.py"} <= names
    assert next(one for one in members if one.name == "run").mode == 0o755
    assert not [name for name in names if "/tests/" in name or "WebGpu" in name or "torch" in name]


def test_every_program_and_library_can_be_mapped_where_pages_are_16_kb(built: tuple[str, Path]) -> None:
    """As on phones with Android 15 and later; x86 phones have pages of 4 KB."""
    abi, path = built
    found = {}
    with tarfile.open(path) as archive:
        for one in archive:
            file = archive.extractfile(one)
            content = file.read() if file else b""
            if content.startswith(b"\x7fELF"):
                found[one.name] = alignment(content)
    assert len(found) > 30
    page = 0x4000 if abi == "arm64-v8a" else 0x1000
    assert {name: size for name, size in found.items() if size % page} == {}


def alignment(program: bytes) -> int:
    """The least alignment of an ELF file's loaded segments, in bytes."""
    (start,) = struct.unpack_from("<Q", program, 0x20)
    size, count = struct.unpack_from("<HH", program, 0x36)
    headers = [struct.unpack_from("<IIQQQQQQ", program, start + size * index) for index in range(count)]
    return min(int(header[7]) for header in headers if header[0] == LOADED)


@pytest.mark.parametrize("built", ["x86_64"], indirect=True)
def test_the_same_sources_give_the_same_bytes(built: tuple[str, Path], tmp_path: Path) -> None:
    abi, path = built
    build_payload(abi, tmp_path / "again.tar.gz")
    assert sha256_file(tmp_path / "again.tar.gz") == sha256_file(path)


@pytest.mark.parametrize("built", ["x86_64"], indirect=True)
def test_a_payload_runs_in_a_bare_environment_and_writes_below_its_root_alone(
    built: tuple[str, Path], artifacts: Path, tmp_path: Path
) -> None:
    """On this machine, so the one for x86; the other one runs in test_android_arm_phone.py."""
    _, path = built
    payload, root = tmp_path / "pay load", tmp_path / "root"
    with tarfile.open(path) as archive:
        archive.extractall(payload, **SAFELY)  # noqa: S202
    shutil.copytree(artifacts / "onnx-fp32-128d", root / JOB.artifact)
    (root / "jobs").mkdir()
    (root / "jobs/0a.json").write_text(json.dumps(dataclasses.asdict(JOB)))
    before = {one for one in payload.rglob("*") if one.is_file()}
    words = [
        "env",
        "-i",
        "PATH=/usr/bin:/bin",
        "sh",
        str(payload / "run"),
        str(root),
        "jobs/0a.json",
        "results",
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    result = from_dict(Result, read_json(root / "results/0a/result.json"), "result")
    assert result.versions["onnxruntime"] == version("onnxruntime")
    assert all(result.golden_ids_equal)
    assert result.faults == []
    assert set(result.costs) == {NO_CACHE}
    assert {one for one in payload.rglob("*") if one.is_file()} == before
    assert not list((root / "tmp").iterdir())


def test_an_unknown_abi_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--abi", "armeabi-v7a", "--out", str(tmp_path / "payload.tar.gz")])
    assert stopped.value.code == 2
    assert "armeabi-v7a" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
