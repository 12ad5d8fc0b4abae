"""The endings that pack gives to Gradle are enough for the packaging tool, and none of them too many."""

import re
from pathlib import Path

import pytest
from delivery_samples import sample

from android_harness.toolchain.aapt2 import aapt2, framework
from export.delivery.android_assets import write_android_assets
from export.delivery.check import check_android_assets

pytestmark = pytest.mark.android

MANIFEST = '<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="a.b"/>'


def link(folder: Path, assets: Path, endings: list[str]) -> list[str]:
    """Names of the files that an .apk made with these endings uncompressed is faulted for."""
    manifest = folder / "AndroidManifest.xml"
    manifest.write_text(MANIFEST)
    stored = [word for one in endings for word in ("-0", f".{one}")]
    out = folder / "app.apk"
    aapt2("link", "-o", out, "-I", framework(), "--manifest", manifest, "-A", assets, *stored)
    faults = check_android_assets(out).faults
    return [Path(fault.partition(": compressed")[0]).name for fault in faults if ": compressed" in fault]


@pytest.mark.parametrize("name", ["onnx-q8_0-128d", "litert-q4_0-128d"])
def test_what_is_to_be_stored_is_stored_with_all_endings_and_not_without_one(
    tmp_path: Path, name: str
) -> None:
    write_android_assets(sample(tmp_path / "in", name), tmp_path / "out")
    lines = (tmp_path / "out" / "add-to-build.gradle.kts").read_text()
    endings = re.findall(r'"([^"]+)"', lines)
    assets = tmp_path / "out" / "src" / "main" / "assets"
    assert link(tmp_path, assets, endings) == []
    for missing in endings:
        rest = [one for one in endings if one != missing]
        assert [found.partition(".")[2] for found in link(tmp_path, assets, rest)] == [missing]
