"""Pinned tools, fetched with the package managers' own clients into one folder, whole or not at all.

Everything lies below `tools()`. A part fills a folder of its own there and leaves a stamp in it, which says
what it was filled from; a part with the right stamp is left alone, so that asking again costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import sha256_file, whole_folder

TOOLS_VARIABLE = "POCKETVEC_TOOLS"
ROOT = Path(__file__).resolve().parents[2]
STAMP_NAME = ".stamp"


@dataclass(frozen=True)
class Pin:
    """One published file: name and version in its registry, SHA-256 of the file itself."""

    name: str
    version: str
    sha256: str


def tools() -> Path:
    """The folder of all tools: $POCKETVEC_TOOLS, or .tools at the project's root."""
    chosen = os.environ.get(TOOLS_VARIABLE)
    return Path(chosen).expanduser().resolve() if chosen else ROOT / ".tools"


def run(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """Run a program in `folder` and give what it says on stdout.

    Raises UserError, in one line, when there is no such program or it does not end with 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(f"{words[0]}: not on the PATH, and the toolchain needs it") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        last = next((line for line in reversed(said) if "error" in line.lower()), said[-1] if said else "")
        raise UserError(f"{' '.join(words[:4])} ...: ended with {done.returncode}: {last or 'no message'}")
    return done.stdout


def install(folder: Path, stamp: str, fill: Callable[[Path], None]) -> None:
    """Have `fill` write into an empty folder that becomes `folder`, unless that has this very stamp.

    Several processes may ask at once: one fills, the others wait. What `fill` raises leaves nothing behind.
    """
    if is_installed(folder, stamp):
        return
    with _locked(folder):
        if is_installed(folder, stamp):
            return
        shutil.rmtree(folder, ignore_errors=True)
        with whole_folder(folder) as building:
            fill(building)
            (building / STAMP_NAME).write_text(stamp, encoding="utf-8")


def is_installed(folder: Path, stamp: str) -> bool:
    """Whether `folder` is whole and was filled from what the stamp names."""
    path = folder / STAMP_NAME
    return path.is_file() and path.read_text(encoding="utf-8") == stamp


@contextlib.contextmanager
def downloads() -> Iterator[Path]:
    """A temporary folder for packages on their way into a part, below `tools()`, where there is room."""
    tools().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download.", dir=tools()) as folder:
        yield Path(folder)


def pip_wheel(pin: Pin, folder: Path) -> Path:
    """Download a pure wheel with pip, without what it depends on. Raises UserError for another file."""
    _say(pin)
    command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", folder]
    run([*command, f"{pin.name}=={pin.version}"])
    return _checked(pin, folder, f"{pin.name.replace('-', '_')}-{pin.version}-*.whl")


def npm_package(pin: Pin, folder: Path) -> Path:
    """Download a package's .tgz with npm, running nothing of it. Raises UserError for another file."""
    _say(pin)
    run(["npm", "pack", "--silent", "--ignore-scripts", f"{pin.name}@{pin.version}"], folder)
    return _checked(pin, folder, f"*-{pin.version}.tgz")


def _say(pin: Pin) -> None:
    sys.stderr.write(f"fetching {pin.name} {pin.version}\n")


def _checked(pin: Pin, folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise UserError(f"{pin.name} {pin.version}: the registry gave no file of that version")
    if (digest := sha256_file(found[0])) != pin.sha256:
        raise UserError(f"{found[0].name}: SHA-256 is {digest}, pinned is {pin.sha256}; nothing was unpacked")
    return found[0]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # let go of when the file is closed, or the process ends
        yield
