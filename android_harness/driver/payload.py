"""The shell payload on the phone: an archive that unpacks into a folder with a program `run`."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from android_harness.driver.delivery import check_room, content_key, deliver_file, local_file
from android_harness.driver.phone import ROOT, TRANSFER_SECONDS, Phone, quoted
from android_harness.payload.build import MODULES, PACKAGES, build_payload
from android_harness.toolchain.fetch import ROOT as SOURCES
from android_harness.toolchain.fetch import tools
from android_harness.toolchain.userland import wanted
from common.errors import UserError
from common.files import sha256_file

KEY_CHARACTERS = 16
MACHINES = {183: "arm64-v8a", 62: "x86_64"}
"""ABI by e_machine of an ELF header."""
NO_BUILDER = (
    "no payload: it is built on Debian 12, Ubuntu 24.04 or later, or in a container of one (python -m "
    "android_harness.payload --abi {abi} --out FILE); give its file with --payload, or use --mode app"
)
UNPACK = "tar -xzo -f"
"""o: the tar of Android 8 and 9 (toybox until 0.8.0) would else give each file the archive's owner, which the
shell user may not, and end with 1."""
ELF_MAGIC = b"\x7fELF"
MACHINE_AT = 18


@dataclass(frozen=True)
class Payload:
    """An archive: its hash, the bytes that it takes unpacked, and the ABI of the programs in it, if any."""

    path: Path
    sha256: str
    unpacked_bytes: int
    abi: str | None

    @property
    def folder(self) -> str:
        """Where it lies on the phone."""
        return f"{ROOT}/payload-{self.sha256[:KEY_CHARACTERS]}"


def read_payload(path: Path) -> Payload:
    """Look into a .tar.gz. Raises UserError for a file that is none or holds no program `run`."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            unpacked, abi, names = 0, None, set()
            for member in archive:
                unpacked += member.size
                names.add(member.name.removeprefix("./"))
                if abi is None and member.isfile() and (file := archive.extractfile(member)):
                    head = file.read(MACHINE_AT + 2)
                    if head.startswith(ELF_MAGIC):
                        abi = MACHINES.get(int.from_bytes(head[MACHINE_AT:], "little"), "another")
    except FileNotFoundError:
        raise UserError(f"{path}: no such payload") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a payload, a .tar.gz ({error})") from None
    if "run" not in names:
        raise UserError(f"{path}: not a payload, it holds no program 'run'")
    return Payload(path, local_file(path).sha256, unpacked, abi)


def kept_payload(abi: str) -> Path:
    """The payload that this version of pocketvec makes for an ABI: built once, then kept among the tools.

    Raises UserError for an unknown ABI, on a computer that cannot build it (a Mac), and where its parts
    cannot be fetched.
    """
    sources = [path for name in (*PACKAGES, *MODULES) for path in _files(SOURCES / name)]
    hashes = [(str(path.relative_to(SOURCES)), sha256_file(path)) for path in sorted(sources)]
    folder = tools() / "payload"
    path = folder / f"{abi}-{content_key([hashes, wanted()])}.tar.gz"
    if not path.is_file():
        if shutil.which("apt-get") is None:
            raise UserError(NO_BUILDER.format(abi=abi))
        folder.mkdir(parents=True, exist_ok=True)
        build_payload(abi, path)
        for older in set(folder.glob(f"{abi}-*.tar.gz")) - {path}:
            older.unlink()
    return path


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts]


def deliver_payload(phone: Phone, payload: Payload, abi: str) -> int:
    """Have the payload unpacked on the phone, older ones removed; the number of bytes that were pushed.

    Raises UserError for a payload of another ABI, when there is no room, and when it does not unpack.
    """
    if payload.abi not in (None, abi):
        raise UserError(f"{phone.serial}: ABI {abi}, but {payload.path} is built for {payload.abi}")
    folder = payload.folder
    if phone.ask(f"[ -x {quoted(folder, 'run')} ]", "push").code == 0:
        return 0
    phone.shell(f"rm -rf {ROOT}/payload-*/ {ROOT}/unpacking", "push", TRANSFER_SECONDS)
    archive = f"{folder}.tar.gz"
    local = local_file(payload.path)
    check_room(phone, local.bytes + payload.unpacked_bytes)
    pushed = deliver_file(phone, local, archive)
    phone.shell(
        f"mkdir -p {ROOT}/unpacking && {UNPACK} {quoted(archive)} -C {ROOT}/unpacking "
        f"&& mv {ROOT}/unpacking {quoted(folder)} && rm -f {ROOT}/payload-*.tar.gz",
        "unpacking the payload",
        TRANSFER_SECONDS,
    )
    return pushed
