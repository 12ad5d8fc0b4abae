"""Which of ARM's matrix instructions a core ran: counted in what the emulator translated.

QEMU logs each block of code as it first meets it, so an instruction counts once, however often it ran. Code
that is not run is not translated: kernels for other cores lie in the libraries as well and do not count.

Source of the encodings: Arm Architecture Reference Manual for A-profile, C7.2 (SIMD&FP instructions).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from android_harness.toolchain.arm64 import command, environment

KINDS = {
    "sdot": ((0xBFE0FC00, 0x0E809400), (0xBFC0F400, 0x0F80E000)),
    "udot": ((0xBFE0FC00, 0x2E809400), (0xBFC0F400, 0x2F80E000)),
    "usdot": ((0xBFE0FC00, 0x0E809C00),),
    "smmla": ((0xFFE0FC00, 0x4E80A400),),
    "ummla": ((0xFFE0FC00, 0x6E80A400),),
    "usmmla": ((0xFFE0FC00, 0x4E80AC00),),
    "fmla": ((0xFFE0FC00, 0x4E20CC00), (0xBF80F400, 0x0F801000)),
}
"""(mask, value) of each instruction's forms: by vector and by element."""
INSTRUCTION = re.compile(rb"^0x([0-9a-f]+):\s+([0-9a-f]{8})\b", re.MULTILINE)
ONE_RUN = """
import sys
from pathlib import Path
from export.embedder import Embedder, Opening
folder, cache = map(Path, sys.argv[1:])
embedder = Embedder.open(folder, Opening(threads=1, weight_cache=cache))
embedder.embed(["The quick brown fox jumps over the lazy dog."])
"""


def count_opcodes(core: str, folder: Path) -> Counter[str]:
    """How many different instructions of each kind an artifact's opening and one inference run on a core.

    Raises RuntimeError with what the program said when it does not end well.
    """
    with tempfile.TemporaryDirectory() as work:
        log = Path(work) / "log"
        words = [*command(core, ["-d", "in_asm", "-D", str(log)]), "-c", ONE_RUN, str(folder.resolve()), work]
        done = subprocess.run(words, env=environment(core), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{core}: ended with {done.returncode}: {done.stderr[-2000:]}")
        with log.open("rb") as file:
            return _count(file.read())


def _count(log: bytes) -> Counter[str]:
    words = {int(address, 16): int(word, 16) for address, word in INSTRUCTION.findall(log)}
    found: Counter[str] = Counter()
    for word in words.values():
        found.update(kind for kind, forms in KINDS.items() if any(word & mask == is_ for mask, is_ in forms))
    return found
