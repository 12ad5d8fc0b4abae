"""A Python with both runtimes that brings everything it needs, down to the C library, for one ABI.

`bin/python3`, its libraries and its standard library in `lib/`, wheels in `site/`: it runs from any folder,
started through its own loader, so on a phone (android_harness.payload) and under emulation (arm64.py). Python
and C library are the distribution's packages, the wheels have the versions that are installed here, so that a
phone runs what the computer runs. What the agent never imports is left out.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from android_harness.toolchain.debs import open_packages
from android_harness.toolchain.fetch import downloads, install, run
from common.errors import UserError

WHEELS = (
    "onnxruntime", "ai-edge-litert", "ml-dtypes", "tokenizers", "numpy",
)  # fmt: skip
"""The runtimes, what they import to run a model (half of what they name as needed), and the tokenizers'."""
LIBRARIES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8")
SHARED_OBJECTS = re.compile(
    r"(ld-linux-[\w-]+|lib(c|m|dl|rt|pthread|util|stdc\+\+|gcc_s|z|expat|ffi))\.so\.\d+"
)
"""What is kept of them, by the names that programs ask for."""
OLDEST_GLIBC, NEWEST_GLIBC = 17, 36
"""Wheels for glibc 2.17 to 2.36 run: the userland has 2.36 or later."""
OLDEST_PYTHON = (3, 11)
STDLIB_LEFT_OUT = (
    "asyncio", "config-*", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "sqlite3", "test", "tkinter", "turtle.py", "unittest", "venv", "wsgiref", "xmlrpc", "sitecustomize.py",
    "lib-dynload/_codecs_*", "lib-dynload/_test*", "lib-dynload/xx*", "lib-dynload/_ssl.*",
    "lib-dynload/_hashlib.*", "lib-dynload/_sqlite3.*", "lib-dynload/_curses*", "lib-dynload/_dbm.*",
    "lib-dynload/readline.*", "lib-dynload/nis.*", "lib-dynload/ossaudiodev.*", "lib-dynload/audioop.*",
    "lib-dynload/_uuid.*", "lib-dynload/_crypt.*", "lib-dynload/_bz2.*", "lib-dynload/_lzma.*",
    "lib-dynload/_ctypes_test.*", "lib-dynload/_multibytecodec.*", "lib-dynload/_tkinter.*",
)  # fmt: skip
"""Needs libraries that are not there, or is nothing that measures."""
SITE_LEFT_OUT = (
    "*.dist-info/licenses", "**/*.pyi", "**/*.h", "**/*.a", "numpy/**/tests", "numpy/distutils", "numpy/f2py",
    "numpy/random/lib", "numpy/_core/lib", "numpy/_core/include", "numpy/_core/_*_tests.*",
    "numpy/_core/_simd.*",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so", "ai_edge_litert/aot", "ai_edge_litert/tools",
    "ai_edge_litert/schema_py_generated.py",
    "onnxruntime/capi/libonnxruntime.so*", "onnxruntime/transformers", "onnxruntime/quantization",
    "onnxruntime/tools", "onnxruntime/datasets", "onnxruntime/backend", "onnxruntime/ThirdPartyNotices.txt",
)  # fmt: skip
"""GPU library, tools and tests. libonnxruntime.so is for C programs: Python's module has it inside."""


@dataclass(frozen=True)
class Abi:
    """A phone's ABI: its name in Android's words, Debian's architecture, and the machine's name in files."""

    name: str
    debian: str
    machine: str


ABIS = {one.name: one for one in (Abi("arm64-v8a", "arm64", "aarch64"), Abi("x86_64", "amd64", "x86_64"))}


def abi(name: str) -> Abi:
    """Raises UserError for an unknown one."""
    if name not in ABIS:
        raise UserError(f"ABI '{name}': unknown; known are {', '.join(ABIS)}")
    return ABIS[name]


def fetch(folder: Path, target: Abi) -> None:
    """Have the whole userland in `folder`. Raises UserError where apt or pip cannot give a part of it."""
    install(folder, f"userland 1 {target.name} {wanted()}", lambda building: _fill(building, target))


def wanted() -> dict[str, str]:
    """The wheels and their versions: what is installed here."""
    return {name: version(name) for name in WHEELS}


def loader(folder: Path) -> Path:
    """The program that starts the others of a userland, with its libraries instead of the system's."""
    return next((folder / "lib").glob("ld-linux-*"))


def _fill(folder: Path, target: Abi) -> None:
    with downloads() as work:
        root, wheels = work / "root", work / "wheels"
        python = _unpack_debian(root, target)
        _copy_python(root, folder, python)
        _download(wheels, target, python)
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder / "site")
    _leave_out(folder / "lib" / python, STDLIB_LEFT_OUT)
    _leave_out(folder / "site", SITE_LEFT_OUT)
    if python == f"python{sys.version_info[0]}.{sys.version_info[1]}":
        compile_python(folder)


def _unpack_debian(root: Path, target: Abi) -> str:
    """Unpack Python and its libraries; returns its name with the version, such as python3.11."""
    sys.stderr.write(f"fetching Python and C library for {target.name}\n")
    with open_packages(target.debian) as packages:
        found = packages.unpack(["python3-minimal"], root, "usr/bin/")
        python = "python" + ".".join(found["python3-minimal"].split(".")[:2])
        check_python(python)
        names = (f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib", *LIBRARIES)
        packages.unpack(names, root)
    return python


def check_python(python: str) -> None:
    """Raise UserError for a distribution's Python (as python3.10) that is too old for this project."""
    if tuple(map(int, python.removeprefix("python").split("."))) < OLDEST_PYTHON:
        raise UserError(
            f"{python}: this distribution's is too old; Debian 12, Ubuntu 24.04 or later have one"
        )


def _copy_python(root: Path, folder: Path, python: str) -> None:
    (folder / "bin").mkdir()
    shutil.copy(root / "usr" / "bin" / python, folder / "bin" / "python3")
    shutil.copytree(root / "usr" / "lib" / python, folder / "lib" / python, ignore_dangling_symlinks=True)
    for place in _shared_objects(root):
        shutil.copy(
            place, folder / "lib" / place.name
        )  # links are followed: one file by the name that is asked for


def _shared_objects(root: Path) -> Iterator[Path]:
    for place in sorted(root.rglob("*.so.*")):
        if SHARED_OBJECTS.fullmatch(place.name) and place.parent.name != "gconv":
            yield place


def _download(into: Path, target: Abi, python: str) -> None:
    sys.stderr.write(f"fetching {len(WHEELS)} wheels for {target.name}\n")
    tags = [f"manylinux_2_{minor}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", into]
    command += ["--implementation", "cp", "--python-version", python.removeprefix("python")]
    for tag in (*tags, "manylinux2014"):
        command += ["--platform", f"{tag}_{target.machine}"]
    run([*command, *(f"{name}=={number}" for name, number in wanted().items())])


def _leave_out(folder: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in list(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def compile_python(folder: Path) -> None:
    """Compile all sources below `folder`, to be trusted whatever their times, so that no phone need."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(
        folder, quiet=2, stripdir=str(folder), force=True, invalidation_mode=unchecked, workers=1
    )
