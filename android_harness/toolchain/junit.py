"""JUnit 4 for the Kotlin modules' own tests: jars out of Debian's packages, which are not installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from android_harness.toolchain.debs import open_packages
from android_harness.toolchain.fetch import downloads, install, run, tools

PACKAGES = {"junit4": "junit4.jar", "libhamcrest-java": "hamcrest.jar"}
"""Jar in /usr/share/java by package. apt checks what it downloads against the archive's signature."""
JAVA = "usr/share/java/"
STAMP = "debian junit4 and libhamcrest-java, 2"


def fetch(folder: Path) -> None:
    """Have both jars in `folder`. Raises UserError where there is no apt or no such package."""
    install(folder, STAMP, _fill)


def jars() -> list[Path]:
    """JUnit and the matchers that it needs, fetched at first use."""
    folder = tools() / "junit"
    fetch(folder)
    return [folder / name for name in PACKAGES.values()]


def _fill(folder: Path) -> None:
    architecture = run(["dpkg", "--print-architecture"]).strip()
    with downloads() as unpacked, open_packages(architecture) as packages:
        packages.unpack(list(PACKAGES), unpacked, only=JAVA)
        for jar in PACKAGES.values():
            shutil.copyfile(unpacked / JAVA / jar, folder / jar)
