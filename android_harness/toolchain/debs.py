"""Debian packages for any architecture, unpacked into a folder of one's own: no root, nothing installed.

apt-get works on a state of its own with the machine's sources, keys and proxies, so that versions and hashes
are the distribution's; dpkg-deb unpacks. No maintainer script runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

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


def unpack_packages(names: Sequence[str], into: Path, architecture: str) -> dict[str, str]:
    """Download these packages, without what they depend on, and unpack them over each other into `into`.

    `architecture` in Debian's words: amd64, arm64. Returns the version of each by name. Raises UserError
    where apt-get or dpkg-deb is missing, or the distribution has no such package.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(f"{tool}: not found; {', '.join(names)} for {architecture} come from Debian packages")
    with tempfile.TemporaryDirectory(prefix="pocketvec.apt.") as state:
        packages = _download(names, Path(state), architecture)
        into.mkdir(parents=True, exist_ok=True)
        for package in packages:
            _run(["dpkg-deb", "-x", str(package), str(into)])
        fields = ("-W", "--showformat=${Package} ${Version}\n")
        shown = [_run(["dpkg-deb", *fields, str(package)]).split() for package in packages]
    return {name: version for name, version in shown}


def _download(names: Sequence[str], state: Path, architecture: str) -> list[Path]:
    packages = state / "packages"
    for folder in (state / "lists/partial", state / "cache/archives/partial", packages):
        folder.mkdir(parents=True)
    (state / "status").touch()
    configuration = state / "apt.conf"
    configuration.write_text(CONFIGURATION.format(architecture=architecture, state=state))
    environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
    _run(["apt-get", "-qq", "update"], environment)
    _run(["apt-get", "-qq", "download", *names], environment, packages)
    return sorted(packages.glob("*.deb"))


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
