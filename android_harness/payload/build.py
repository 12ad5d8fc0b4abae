"""The payload: userland, the project's own packages and a start script in one .tar.gz, always the same."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from android_harness.toolchain import userland
from android_harness.toolchain.fetch import ROOT, tools
from common.files import write_json

PACKAGES = ("common", "train", "export", "bench", "android_harness/payload")
"""export reads a checkpoint's nouns from train; nothing on a phone imports torch."""
MODULES = ("android_harness/__init__.py", "android_harness/protocol.py")
LEFT_OUT = ("__pycache__", "suite", "views")
INFORMATION_NAME = "payload.json"
RUN_NAME = "run"
LEVEL = 6


def build_payload(abi: str, out: Path) -> None:
    """Write the payload for `abi` (arm64-v8a or x86_64) to `out`, a .tar.gz; its userland is fetched first.

    The same sources and versions give the same bytes. Raises UserError for another ABI, or where the userland
    cannot be fetched.
    """
    folder = fetch_userland(abi)
    with tempfile.TemporaryDirectory(prefix="pocketvec.payload.") as name:
        own = Path(name)
        _copy_project(own / "project")
        if any((folder / "lib").glob("python3*/__pycache__")):
            userland.compile_python(own / "project")
        write_json(own / INFORMATION_NAME, {"abi": abi, "versions": userland.wanted()})
        shutil.copyfile(Path(__file__).with_name("run.sh"), own / RUN_NAME)
        (own / RUN_NAME).chmod(0o755)
        _write(out, [folder, own])


def fetch_userland(abi: str) -> Path:
    """The folder of an ABI's userland, fetched at first use."""
    target = userland.abi(abi)
    folder = tools() / target.debian / "userland"
    userland.fetch(folder, target)
    return folder


def _copy_project(into: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, into / package, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for module in MODULES:
        shutil.copyfile(ROOT / module, into / module)


def _write(out: Path, folders: list[Path]) -> None:
    """Files of all folders side by side, in the order of their names, with neither times nor owners.

    In the oldest form of tar, which every phone's toybox reads.
    """
    files = {path.relative_to(one).as_posix(): path for one in folders for path in one.rglob("*")}
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name in sorted(files):
                if files[name].is_file() and not name.startswith("."):
                    _add(archive, name, files[name])
        temporary.replace(out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _add(archive: tarfile.TarFile, name: str, path: Path) -> None:
    entry = tarfile.TarInfo(name)
    content = path.read_bytes()
    entry.size = len(content)
    is_program = name == RUN_NAME or name.startswith(("bin/", "lib/ld-linux"))
    entry.mode = 0o755 if is_program else 0o644
    archive.addfile(entry, io.BytesIO(content))
