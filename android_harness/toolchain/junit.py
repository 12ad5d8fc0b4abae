"""JUnit 4 for the Kotlin modules' own tests: jars out of Debian's packages, which are not installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from android_harness.toolchain.fetch import downloads, install, run, tools

PACKAGES = {"junit4": "junit4.jar", "libhamcrest-java": "hamcrest.jar"}
"""Jar in /usr/share/java by package. apt checks what it downloads against the archive's signature."""
STAMP = "debian junit4 and libhamcrest-java, 1"


def fetch(folder: Path) -> None:
    """Have both jars in `folder`. Raises UserError where there is no apt or no such package."""
    install(folder, STAMP, _fill)


def jars() -> list[Path]:
    """JUnit and the matchers that it needs, fetched at first use."""
    folder = tools() / "junit"
    fetch(folder)
    return [folder / name for name in PACKAGES.values()]


def _fill(folder: Path) -> None:
    with downloads() as packages:
        run(["apt-get", "download", *PACKAGES], packages)
        for package, jar in PACKAGES.items():
            (deb,) = packages.glob(f"{package}_*.deb")
            run(["dpkg-deb", "-x", deb, packages / package])
            shutil.copyfile(packages / package / "usr" / "share" / "java" / jar, folder / jar)
