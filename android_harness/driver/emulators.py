"""Whether what answers is an emulator: its times and memory are another machine's."""

from __future__ import annotations

import re

HARDWARE = (
    *("ranchu", "goldfish", "cutf_cvm", "vsoc_x86_64", "vsoc_arm64"),
    *("vbox86", "redroid", "android_x86", "android_x86_64"),
)
"""ro.hardware of Android's emulator, Cuttlefish, Genymotion, redroid and Android-x86."""
FINGERPRINT = re.compile(r"(^|/)(sdk_|emu64|vsoc_|cf_|aosp_cf_|vbox86|redroid|waydroid|android_x86)")
"""brand/product/device of the same, and of the virtual phones of device farms."""
CHROMEBOOK = re.compile(r"cheets|bertha")


def is_emulator(abi: str, hardware: str, fingerprint: str) -> bool:
    """By ro.product.cpu.abi, ro.hardware (empty where it is not known) and ro.build.fingerprint.

    Since Android 8 the only x86 machines that are what they seem are Chromebooks.
    """
    if hardware in HARDWARE or FINGERPRINT.search(fingerprint):
        return True
    return abi.startswith("x86") and not CHROMEBOOK.search(f"{hardware} {fingerprint}")
