"""What a phone says of itself: ABI, emulator or not, big cores, room."""

from pathlib import Path

import pytest

from android_harness.driver.emulators import is_emulator
from android_harness.driver.facts import parse_facts
from android_harness.driver.payload import Payload
from android_harness.driver.shell_client import ShellClient

ARM = """\
ro.product.brand=Example
ro.product.model=Phone 9
ro.product.device=nine
ro.build.fingerprint=example/nine:15
ro.build.version.release=15
ro.build.version.sdk=35
ro.product.cpu.abi=arm64-v8a
ro.product.cpu.abilist=arm64-v8a,armeabi-v7a
ro.soc.manufacturer=Chips
ro.soc.model=C1
ro.kernel.qemu=
ro.boot.qemu=
ro.hardware=nine
core 0=250 1800000
core 1=250 1800000
core 10=1024 3000000
core 9=1024 3000000
memory=MemTotal:        7900000 kB
page=4096
"""


def test_a_phones_own_words_become_the_reports_device() -> None:
    facts = parse_facts(ARM)
    device = facts.device()
    assert (device.model, device.sdk, device.soc, device.page_size_bytes) == ("Phone 9", 35, "Chips C1", 4096)
    assert device.mem_total_bytes == 7_900_000 * 1024
    assert device.cpu_max_freq_khz == [1_800_000, 1_800_000, 3_000_000, 3_000_000]
    assert (facts.abi, facts.kind, facts.big_cores(2)) == ("arm64-v8a", "device", [9, 10])


@pytest.mark.parametrize(
    "line",
    [
        "ro.kernel.qemu=1",
        "ro.boot.qemu=1",
        "ro.hardware=ranchu",
        "ro.hardware=vbox86",
        "ro.product.cpu.abi=x86_64",
        "ro.build.fingerprint=google/sdk_gphone64_arm64/emu64a:15/A/1:user/release-keys",
        "ro.build.fingerprint=google/cf_arm64_phone/vsoc_arm64:15/A/1:userdebug/test-keys",
    ],
)
def test_an_emulator_gives_itself_away(line: str) -> None:
    name = line.split("=")[0]
    assert (
        parse_facts("\n".join(line if one.startswith(name) else one for one in ARM.splitlines())).kind
        == "emulated"
    )


def test_a_chromebook_and_a_generic_system_image_on_a_phone_are_what_they_seem() -> None:
    arc = "google/volteer/volteer_cheets:13/R1/1:user/release-keys"
    assert not is_emulator("x86_64", "bertha", arc)
    assert not is_emulator("arm64-v8a", "qcom", "Android/aosp_arm64/generic_arm64:15/A/1:user/test-keys")


def test_an_abi_of_32_bits_alone_is_none_of_ours() -> None:
    assert parse_facts(ARM.replace("arm64-v8a,", "").replace("=arm64-v8a", "=armeabi-v7a")).abi == ""


def test_what_a_phone_does_not_tell_is_not_made_up() -> None:
    facts = parse_facts("")
    device = facts.device()
    assert (device.sdk, device.soc, device.mem_total_bytes, facts.abi) == (None, None, None, "")


def test_cores_are_bound_only_where_some_are_bigger() -> None:
    client = ShellClient(Payload(Path("payload.tar.gz"), "0" * 64, 0, None), "big", 2)
    assert client.affinity(parse_facts(ARM)) == "cores 9, 10, the ones of highest capacity (1024)"
    assert client.affinity(parse_facts(ARM.replace("=1024", "=250"))) is None


@pytest.mark.parametrize(
    ("threads", "cores"),
    [(1, [7]), (2, [4, 5, 6, 7]), (4, [4, 5, 6, 7]), (5, list(range(8))), (9, list(range(8)))],
)
def test_threads_never_share_the_one_biggest_core(threads: int, cores: list[int]) -> None:
    """One prime core, three large ones and four small ones, as many chips have since 2019."""
    capacities = [250] * 4 + [800] * 3 + [1024]
    prime = "".join(f"core {core}={capacity} 1\n" for core, capacity in enumerate(capacities))
    assert parse_facts(prime).big_cores(threads) == cores
