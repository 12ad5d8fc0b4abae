"""Files to a phone, only those that it has not got yet, each checked by its SHA-256 where it arrives.

Beside a folder lies `<folder>.sha256`, in sha256sum's own format, written when all of it has arrived: where
that and the files' sizes are as they should be, nothing is read again. Otherwise the phone hashes what lies
there, and what differs (a push that was cut off, another version) is pushed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from android_harness.driver.phone import TRANSFER_SECONDS, Phone, quoted
from bench.measurements import BYTES_PER_MB
from common.errors import UserError
from common.files import sha256_file
from common.progress import Step, silent
from export.artifact import Artifact
from export.manifest import MANIFEST_NAME

SPARE_BYTES = 20_000_000
"""What must be left on the phone's disk besides, for results and for what a weight cache is larger."""


@dataclass(frozen=True)
class Local:
    """A file here, as it has to arrive."""

    path: Path
    bytes: int
    sha256: str


def local_file(path: Path) -> Local:
    """A file with its size and hash."""
    return Local(path, path.stat().st_size, sha256_file(path))


def artifact_files(artifact: Artifact) -> dict[str, Local]:
    """What the manifest of an opened artifact lists, and itself, by name."""
    entries = artifact.manifest.files.items()
    files = {name: Local(artifact.path / name, one.bytes, one.sha256) for name, one in entries}
    return files | {MANIFEST_NAME: local_file(artifact.path / MANIFEST_NAME)}


def deliver_folder(phone: Phone, files: dict[str, Local], target: str, step: Step = silent) -> int:
    """Have exactly `files` in the folder `target` of the phone; the number of bytes that were pushed.

    Raises UserError when there is no room, and for a file that arrives damaged.
    """
    kept, sizes = _kept(phone, target)
    wanted = "".join(f"{one.sha256}  {name}\n" for name, one in sorted(files.items()))
    if kept.strip() == wanted.strip() and sizes == {name: one.bytes for name, one in files.items()}:
        return 0
    phone.shell(f"rm -f {quoted(target + '.sha256')}; mkdir -p {quoted(target)}", "push")
    found = _hashes(phone, target, sorted(sizes))
    if strays := sorted(set(found) - set(files)):
        phone.shell(f"cd {quoted(target)} && rm -rf {_words(strays)}", "push")
    missing = {name: one for name, one in files.items() if found.get(name) != one.sha256}
    check_room(phone, sum(one.bytes for one in missing.values()))
    if missing:
        step(f"push {target.rsplit('/', 1)[-1]}, {len(missing)} files", 0)
    for name, one in missing.items():
        phone.push([one.path], f"{target}/{name}")
    arrived = _hashes(phone, target, sorted(missing))
    if damaged := [name for name, one in missing.items() if arrived.get(name) != one.sha256]:
        raise UserError(f"{phone.serial}: {target}/{damaged[0]} arrived damaged; start again to push it anew")
    listing = quoted(target + ".sha256")
    lines = " ".join(quoted(line) for line in wanted.splitlines())
    phone.shell(
        f"chmod -R a+rX {quoted(target)} && printf '%s\\n' {lines} > {listing}.new "
        f"&& mv {listing}.new {listing}",
        "push",
    )
    return sum(one.bytes for one in missing.values())


def deliver_file(phone: Phone, local: Local, target: str) -> int:
    """Have one file at `target`; the number of bytes that were pushed, 0 where it was there."""
    if _hash(phone, target) == local.sha256:
        return 0
    check_room(phone, local.bytes)
    phone.push([local.path], target)
    if _hash(phone, target) != local.sha256:
        raise UserError(f"{phone.serial}: {target} arrived damaged; start again to push it anew")
    phone.shell(f"chmod a+r {quoted(target)}", "push")
    return local.bytes


def check_room(phone: Phone, needed: int) -> None:
    """Raise UserError when the phone's disk has no room for so many bytes."""
    said = phone.shell("df -k /data/local/tmp | tail -n 1", "asking for free space").split()
    numbers = [int(one) for one in said if one.isdecimal()]
    free = numbers[2] * 1024 if len(numbers) >= 3 else None
    if needed and free is not None and free < needed + SPARE_BYTES:
        raise UserError(
            f"{phone.serial}: no space left on the device: {needed / BYTES_PER_MB:.0f} MB are to go to "
            f"/data/local/tmp and {SPARE_BYTES / BYTES_PER_MB:.0f} MB kept free, "
            f"{free / BYTES_PER_MB:.0f} MB are free"
        )


def content_key(values: object, length: int = 32) -> str:
    """A short hexadecimal digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:length]


def _kept(phone: Phone, target: str) -> tuple[str, dict[str, int]]:
    """The list of hashes that was kept on the phone, and the sizes of what lies there by name."""
    listing = (
        f"cat {quoted(target + '.sha256')} 2>/dev/null; echo --; cd {quoted(target)} 2>/dev/null && ls -A"
    )
    kept, _, names = phone.ask(listing, "push").out.partition("--\n")
    found = [name for name in names.splitlines() if name]
    if not found:
        return kept, {}
    said = phone.ask(f"cd {quoted(target)} && stat -c '%s %n' {_words(found)}", "push")
    rows = (line.split(" ", 1) for line in said.out.splitlines())
    return kept, {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdecimal()}


def _hashes(phone: Phone, target: str, names: list[str]) -> dict[str, str]:
    """SHA-256 by name, of those of `names` that are files; a folder among them has an empty one."""
    if not names:
        return {}
    said = phone.ask(
        f"cd {quoted(target)} && sha256sum {_words(names)} 2>/dev/null", "push", TRANSFER_SECONDS
    )
    rows = (line.split(maxsplit=1) for line in said.out.splitlines())
    found = {row[1]: row[0] for row in rows if len(row) == 2}
    return dict.fromkeys(names, "") | found


def _hash(phone: Phone, path: str) -> str:
    said = phone.ask(f"sha256sum {quoted(path)} 2>/dev/null", "push", TRANSFER_SECONDS)
    return said.out.split()[0] if said.out.split() else ""


def _words(names: list[str]) -> str:
    return " ".join(quoted(name) for name in names)
