"""Debian packages for any architecture, unpacked into a folder of one's own: no root, nothing installed.

apt-get works on a state of its own with the machine's sources, keys and proxies, so that versions and hashes
are the distribution's; dpkg-deb unpacks. No maintainer script runs, and dependencies are for the caller to
name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UserError

CONFIGURATION = """\
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
"""
"""Sandbox user: what is downloaded belongs to whoever runs this."""
TIMEOUT_S = 600
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""For `extractall`: nothing outside the folder. Python before 3.11.4 has no filters."""


class Packages:
    """The distribution's packages for one architecture; from `open_packages`."""

    def __init__(self, state: Path, environment: dict[str, str]) -> None:
        self._state = state
        self._environment = environment

    def unpack(self, names: Sequence[str], into: Path, only: str = "") -> dict[str, str]:
        """Download packages and unpack them over each other into `into`; of each only what `only` begins.

        Returns the version of each by name. Raises UserError for a package that the distribution lacks.
        """
        into.mkdir(parents=True, exist_ok=True)
        versions = {}
        with tempfile.TemporaryDirectory(dir=self._state) as folder:
            _run(["apt-get", "-qq", "download", *names], self._environment, Path(folder))
            for package in sorted(Path(folder).glob("*.deb")):
                _unpack(package, into, only)
                shown = _run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(package)])
                name, version = shown.split()
                versions[name] = version
        return versions


@contextmanager
def open_packages(architecture: str) -> Iterator[Packages]:
    """The distribution's packages for `architecture` in Debian's words (amd64, arm64), lists fetched anew.

    Raises UserError where apt-get or dpkg-deb is missing, or the sources cannot be reached.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(f"{tool}: not found; packages for {architecture} need Debian's or Ubuntu's tools")
    with tempfile.TemporaryDirectory(prefix="pocketvec.apt.") as name:
        state = Path(name)
        for folder in ("lists/partial", "cache/archives/partial"):
            (state / folder).mkdir(parents=True)
        (state / "status").touch()
        configuration = state / "apt.conf"
        configuration.write_text(CONFIGURATION.format(architecture=architecture, state=state))
        environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
        _run(["apt-get", "-qq", "update"], environment)
        yield Packages(state, environment)


def _unpack(package: Path, into: Path, only: str) -> None:
    if not only:
        _run(["dpkg-deb", "-x", str(package), str(into)])
        return
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
    ):
        wanted = (member for member in archive if member.name.removeprefix("./").startswith(only))
        archive.extractall(into, wanted, **SAFELY)  # noqa: S202


def _run(command: list[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{' '.join(command[:3])}: no end after {TIMEOUT_S} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        reason = said[0] if said else f"exit code {done.returncode}"
        raise UserError(f"{' '.join(command[:4])}: {reason}")
    return done.stdout
