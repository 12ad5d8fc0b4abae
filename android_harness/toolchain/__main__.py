"""``python -m android_harness.toolchain [PART...]``: fetch parts that are not there yet, all by default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from android_harness.toolchain import (
    aapt2,
    adb,
    android_api,
    arm64,
    arm64_phone,
    junit,
    kotlin,
    onnxruntime_java,
)
from android_harness.toolchain.fetch import tools
from common.errors import UserError

PARTS: dict[str, Callable[[Path], None]] = {
    "arm64": arm64.fetch,
    "arm64_phone": arm64_phone.fetch,
    "adb": adb.fetch,
    "kotlin": kotlin.fetch,
    "onnxruntime_java": onnxruntime_java.fetch,
    "junit": junit.fetch,
    "android-api": android_api.fetch,
    "aapt2": aapt2.fetch,
}
"""What fetches each part. It is given the part's folder, and does nothing when that is whole already."""


def main(names: list[str]) -> int:
    """Fetch the named parts, or all of them. Exit code 2 for an unknown part or one that does not come."""
    if unknown := sorted(set(names) - set(PARTS)):
        return _fail(f"part '{unknown[0]}': unknown; known are {', '.join(PARTS)}")
    for name in names or PARTS:
        try:
            PARTS[name](tools() / name)
        except UserError as error:
            return _fail(f"{name}: {error}")
    return 0


def _fail(line: str) -> int:
    sys.stderr.write(f"android_harness.toolchain: error: {line}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
