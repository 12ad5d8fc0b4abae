"""``python -m android_harness.payload --abi arm64-v8a --out payload.tar.gz``: build the payload."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from android_harness.payload.build import build_payload
from android_harness.toolchain.userland import ABIS
from bench.measurements import BYTES_PER_MB
from common.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Build it and say how large it is. Exit code 2 where its parts cannot be fetched."""
    parser = argparse.ArgumentParser(prog="python -m android_harness.payload", description=__doc__)
    parser.add_argument("--abi", default="arm64-v8a", choices=ABIS, help="the phone's ABI")
    parser.add_argument("--out", type=Path, required=True, help="the .tar.gz to write")
    options = parser.parse_args(arguments)
    try:
        build_payload(options.abi, options.out)
    except UserError as error:
        sys.stderr.write(f"android_harness.payload: error: {error}\n")
        return 2
    sys.stdout.write(f"{options.out}: {options.out.stat().st_size / BYTES_PER_MB:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
