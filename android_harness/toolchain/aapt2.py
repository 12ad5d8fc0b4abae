"""Android's resource compiler and linker as Debian builds it, with the framework's resources to link against.

It is of Android 10: newer manifest attributes and resources are unknown to it, and the app uses none.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from android_harness.toolchain.debs import open_packages
from android_harness.toolchain.fetch import install, tools
from common.errors import UserError

PACKAGES = (
    *("aapt", "android-framework-res", "android-libaapt", "android-libandroidfw", "android-libbacktrace"),
    *("android-libbase", "android-libcutils", "android-liblog", "android-libutils", "android-libziparchive"),
    *("libexpat1", "libpng16-16", "libprotobuf-lite32", "p7zip-full"),
)
LIBRARIES = (
    *("usr/lib/x86_64-linux-gnu/android", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
    "usr/lib/p7zip",
)
LAUNCHER = """\
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="{libraries}"
exec "$root/usr/lib/android-sdk/build-tools/debian/aapt2" "$@"
"""


def fetch(folder: Path) -> None:
    """Have aapt2 and framework-res.apk in `folder`. Raises UserError where apt cannot give them."""
    install(folder, f"aapt2 1 {' '.join(PACKAGES)}", _fill)


def aapt2(*arguments: str | Path) -> str:
    """Run aapt2, fetched at first use; gives its output. Raises UserError with its first error."""
    folder = tools() / "aapt2"
    fetch(folder)
    done = subprocess.run([folder / "aapt2", *arguments], capture_output=True, text=True)
    if done.returncode:
        wrong = next((line for line in done.stderr.splitlines() if "error: " in line), "no message")
        raise UserError(f"aapt2 {arguments[0]}: {wrong}")
    return done.stdout


def framework() -> Path:
    """The framework's resources (API 29) that an app's are linked against."""
    return tools() / "aapt2" / "usr" / "share" / "android-framework-res" / "framework-res.apk"


def _fill(folder: Path) -> None:
    with open_packages("amd64") as packages:
        packages.unpack(PACKAGES, folder)
    program = folder / "aapt2"
    program.write_text(LAUNCHER.format(libraries=":".join(f"$root/{path}" for path in LIBRARIES)))
    program.chmod(0o755)
