"""Packages and what is kept of them: the rules that need no network."""

import subprocess
from pathlib import Path

import pytest

from android_harness.toolchain import arm64, debs, userland
from common.errors import UserError
from export.session import usable_cores


def make_package(folder: Path) -> Path:
    """A package with two programs."""
    root = folder / "tree"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: two\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: two programs\n"
    )
    for name in ("one", "other"):
        (root / "usr" / "bin" / name).write_text(name)
    path = folder / "two.deb"
    command = ["dpkg-deb", "--build", str(root), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.skipif(not Path("/usr/bin/dpkg-deb").exists(), reason="not a Debian system")
def test_a_part_of_a_package_is_unpacked_alone(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    debs._unpack(package, tmp_path / "all", "")
    assert {one.name for one in (tmp_path / "all").rglob("*") if one.is_file()} == {"one", "other"}
    (tmp_path / "part").mkdir()
    debs._unpack(package, tmp_path / "part", "usr/bin/oth")
    assert {one.name for one in (tmp_path / "part").rglob("*") if one.is_file()} == {"other"}


def test_a_system_without_debians_tools_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(UserError, match="apt-get: not found; packages for arm64"),
        debs.open_packages("arm64"),
    ):
        pass


def test_shared_objects_are_kept_by_the_names_that_programs_ask_for() -> None:
    kept = ("ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2", "libc.so.6", "libstdc++.so.6", "libffi.so.8")
    left = ("libstdc++.so.6.0.30", "libcrypt.so.1", "libc.so", "libz.so.1.2.13")
    assert all(userland.SHARED_OBJECTS.fullmatch(name) for name in kept)
    assert not any(userland.SHARED_OBJECTS.fullmatch(name) for name in left)


def test_unknown_abis_and_cores_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="ABI 'mips': unknown; known are arm64-v8a, x86_64"):
        userland.abi("mips")
    with pytest.raises(UserError, match="core 'a99': unknown; known are a53, a76, i8mm"):
        arm64.command("a99")


def test_a_fake_cpuinfo_has_as_many_processors_as_this_machine(tmp_path: Path) -> None:
    """With fewer, onnxruntime crashes at import on the i8mm core."""
    arm64._write_cpuinfo(tmp_path, arm64.CORES["i8mm"])
    text = (tmp_path / "proc" / "cpuinfo").read_text()
    assert text.count("processor\t:") >= usable_cores()
    assert text.count("CPU part\t: 0xd4d") == text.count("processor\t:")


def test_what_is_compiled_is_trusted_whatever_its_time_and_repeats(tmp_path: Path) -> None:
    compiled = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "one.py").write_text("VALUE = 1\n")
        userland.compile_python(folder)
        (made,) = folder.rglob("*.pyc")
        compiled.append(made.read_bytes())
    assert compiled[0] == compiled[1]
    assert compiled[0][4:8] == b"\x01\x00\x00\x00"  # PEP 552: by hash, and the source is not looked at


def test_a_python_that_the_agent_cannot_run_with_is_refused_before_anything_is_packed() -> None:
    userland.check_python("python3.11")
    userland.check_python("python3.13")
    with pytest.raises(UserError, match=r"python3\.9: this distribution's is too old"):
        userland.check_python("python3.9")
