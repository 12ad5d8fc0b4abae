"""The Java 17 or later that compiles and runs the Kotlin modules on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError

LEAST_JAVA = 17
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx1g")
"""For programs of a few seconds: their start-up is most of what they take."""


def java() -> str:
    """Path of a `java` that is new enough. Raises UserError where there is none."""
    found = shutil.which("java")
    if found is None:
        raise UserError(f"java: not on the PATH; a JDK {LEAST_JAVA} or later is needed (headless will do)")
    said = subprocess.run([found, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < LEAST_JAVA:
        first = said.splitlines()[0] if said else "no version"
        raise UserError(f"{found}: {first}; the toolchain needs Java {LEAST_JAVA} or later")
    return found


def command(classpath: Sequence[Path], main: str, flags: Sequence[str] = FLAGS) -> list[str]:
    """The command that runs a class with a main function; its arguments go behind it."""
    return [java(), *flags, "-cp", ":".join(map(str, classpath)), main]
