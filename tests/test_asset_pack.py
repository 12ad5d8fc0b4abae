"""export/delivery: a Gradle module that Google Play delivers, a folder for each range of RAM."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from delivery_samples import sample

from common.errors import UserError
from common.files import read_json
from export.artifact import Artifact
from export.delivery import play_limits
from export.delivery.asset_pack import PackOptions, write_asset_pack
from export.delivery.check import check_asset_pack
from export.delivery.tiers import assign_tiers, default_ram, parse_ram

NAMESPACE = "{http://schemas.android.com/apk/config}"
SMALL, MIDDLE, LARGE = NAMES = ("litert-q4_0-128d", "litert-int8-128d", "litert-fp32-128d")


@pytest.fixture
def three(tmp_path: Path) -> list[Artifact]:
    return [sample(tmp_path / "in", name, megabytes=n / 100) for n, name in enumerate(NAMES, 1)]


def profiles(pack: Path) -> dict[str, str]:
    """Profile by folder of the pack's assets."""
    assets = pack / "src" / "main" / "assets"
    return {folder.name: read_json(folder / "manifest.json")["name"] for folder in assets.iterdir()}


def groups(pack: Path) -> list[tuple[str, int, int | None]]:
    """Name, smallest RAM and its end by device group, in order."""
    text = (pack / "for-app" / "device_targeting_config.xml").read_text()
    root = ElementTree.fromstring(text)  # noqa: S314  (written a moment ago)
    assert root.tag == f"{NAMESPACE}device-targeting-config"
    found = []
    for group in root:
        (selector,) = group
        assert (group.tag, selector.tag) == (f"{NAMESPACE}device-group", f"{NAMESPACE}device-selector")
        end = selector.get("ram-max-bytes")
        found.append((group.attrib["name"], int(selector.attrib["ram-min-bytes"]), int(end) if end else None))
    return found


def test_one_artifact_goes_to_every_phone(three: list[Artifact], tmp_path: Path) -> None:
    write_asset_pack(three[:1], tmp_path / "out", PackOptions())
    assert profiles(tmp_path / "out") == {"pocketvec": SMALL}
    assert sorted(path.name for path in (tmp_path / "out" / "for-app").iterdir()) == [
        "add-to-build.gradle.kts",
        "add-to-settings.gradle.kts",
    ]
    assert (
        "deviceTargetingConfig" not in (tmp_path / "out" / "for-app" / "add-to-build.gradle.kts").read_text()
    )
    assert check_asset_pack(tmp_path / "out").faults == ()


def test_of_several_each_phone_gets_one_by_its_ram(three: list[Artifact], tmp_path: Path) -> None:
    ram = {LARGE: 7000, MIDDLE: 3500}
    notes = write_asset_pack(three, tmp_path / "out", PackOptions(ram=ram))
    assert profiles(tmp_path / "out") == {
        "pocketvec#group_ram_7000_mb": LARGE,
        "pocketvec#group_ram_3500_mb": MIDDLE,
        "pocketvec#group_other": SMALL,
    }
    assert groups(tmp_path / "out") == [
        ("ram_7000_mb", 7_000_000_000, None),
        ("ram_3500_mb", 3_500_000_000, 7_000_000_000),
    ]
    assert f"{MIDDLE}: phones with 3500 MB of RAM or more, below 7000 MB" in notes
    assert f"{SMALL}: every other phone" in notes
    assert check_asset_pack(tmp_path / "out").faults == ()


def test_the_app_is_told_of_the_pack_and_its_targeting(three: list[Artifact], tmp_path: Path) -> None:
    write_asset_pack(three, tmp_path / "out", PackOptions(name="models", delivery="on-demand"))
    module, app = (tmp_path / "out" / "build.gradle.kts").read_text(), tmp_path / "out" / "for-app"
    assert 'id("com.android.asset-pack")' in module
    assert 'packName.set("models")' in module
    assert 'deliveryType.set("on-demand")' in module
    lines = (app / "add-to-build.gradle.kts").read_text()
    assert 'assetPacks += ":models"' in lines
    assert 'deviceTargetingConfig = file("device_targeting_config.xml")' in lines
    assert re.search(r'deviceGroup \{\s+enableSplit = true\s+defaultGroup = "other"', lines)
    assert "com.google.android.play:asset-delivery" in lines
    assert (app / "add-to-settings.gradle.kts").read_text() == 'include(":models")\n'
    switch = "android.experimental.enableDeviceTargetingConfigApi=true\n"
    assert (app / "add-to-gradle.properties").read_text() == switch


def test_only_a_pack_that_is_installed_with_the_app_has_to_be_copied_out(
    three: list[Artifact], tmp_path: Path
) -> None:
    for delivery, copies in [("install-time", True), ("fast-follow", False), ("on-demand", False)]:
        out = tmp_path / delivery
        write_asset_pack(three[:1], out, PackOptions(delivery=delivery))
        assert [path.name for path in out.rglob("*.kt")] == ["BundledModel.kt"] * copies
        assert ("getPackLocation" in (out / "NOTES.md").read_text()) is not copies
        lines = (out / "for-app" / "add-to-build.gradle.kts").read_text()
        assert ("asset-delivery" in lines) is not copies


def test_without_bounds_the_smallest_file_is_for_the_rest(tmp_path: Path) -> None:
    sizes = {"onnx-fp32-4d": 0.9, "onnx-q4_0-4d": 0.2, "onnx-q8_0-4d": 0.4}
    artifacts = [sample(tmp_path, name, megabytes=size) for name, size in sizes.items()]
    assert default_ram(artifacts) == {"onnx-q8_0-4d": 3500, "onnx-fp32-4d": 5000}
    tiers = assign_tiers(artifacts, {})
    assert [(one.artifact.manifest.name, one.group) for one in tiers] == [
        ("onnx-fp32-4d", "ram_5000_mb"),
        ("onnx-q8_0-4d", "ram_3500_mb"),
        ("onnx-q4_0-4d", "other"),
    ]


@pytest.mark.parametrize(("megabytes", "least"), [(175, 3500), (176, 5000), (500, 10000), (700, 14000)])
def test_a_larger_model_is_at_most_a_twentieth_of_its_phones_ram(
    three: list[Artifact], monkeypatch: pytest.MonkeyPatch, megabytes: int, least: int
) -> None:
    sizes = {SMALL: 1_000_000, MIDDLE: megabytes * 1_000_000}
    monkeypatch.setattr(Artifact, "file_bytes", property(lambda one: sizes[one.manifest.name]))
    assert default_ram(three[:2]) == {MIDDLE: least}


def test_no_class_of_phones_has_room_for_a_model_of_a_gigabyte(
    three: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Artifact, "file_bytes", property(lambda one: 1_000_000_000))
    with pytest.raises(UserError, match="too large for a bound by its size"):
        default_ram(three[:2])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["4096"], "--ram 4096: expected MB=PROFILE"),
        (["4GB=a"], "--ram 4GB=a: expected MB=PROFILE"),
        (["0=a"], "--ram 0=a: expected MB=PROFILE"),
        (["4096="], "--ram 4096=: expected MB=PROFILE"),
        (["-1=a"], "--ram -1=a: expected MB=PROFILE"),
        (["1=a", "2=a"], "--ram 2=a: a has a bound already"),
        (["1=a", "1=b"], "--ram 1=b: another profile begins at 1 MB"),
    ],
)
def test_a_bound_that_says_nothing_is_refused(values: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        parse_ram(values)


def test_bounds_that_leave_a_phone_without_a_model_are_refused(three: list[Artifact], tmp_path: Path) -> None:
    for ram, message in [
        ({SMALL: 1, MIDDLE: 2, LARGE: 3}, "exactly one profile has no bound, .*here: none"),
        ({LARGE: 3}, f"exactly one profile has no bound, .*here: {SMALL}, {MIDDLE}"),
        ({"litert-q4_0-64d": 3}, f"--ram 3=litert-q4_0-64d: given are {SMALL}"),
    ]:
        with pytest.raises(UserError, match=message):
            write_asset_pack(three, tmp_path / "out", PackOptions(ram=ram))
    with pytest.raises(UserError, match="one artifact goes to every phone"):
        write_asset_pack(three[:1], tmp_path / "out", PackOptions(ram={SMALL: 3}))
    assert not (tmp_path / "out").exists()


def test_a_pack_is_of_one_model_and_holds_a_profile_once(three: list[Artifact], tmp_path: Path) -> None:
    stranger = sample(tmp_path / "other", "litert-q8_0-64d", checkpoint="two")
    with pytest.raises(UserError, match="of another model than"):
        write_asset_pack([three[0], stranger], tmp_path / "out", PackOptions())
    again = sample(tmp_path / "again", SMALL)
    with pytest.raises(UserError, match=f"the profile {SMALL} is given twice"):
        write_asset_pack([three[0], again], tmp_path / "out", PackOptions())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "1model", "my-model", "base", "mödel", "a b", ':x"'])
def test_a_name_that_gradle_or_play_refuses_is_refused_at_once(name: str) -> None:
    with pytest.raises(UserError, match="letters, digits and _"):
        PackOptions(name=name)


def test_an_unknown_time_of_delivery_is_refused() -> None:
    with pytest.raises(UserError, match="delivery 'later': one of install-time, fast-follow, on-demand"):
        PackOptions(delivery="later")


def test_more_than_a_pack_holds_is_refused(
    three: list[Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_asset_pack(three, tmp_path / "out", PackOptions())
    monkeypatch.setattr(play_limits, "ASSET_PACK_BYTES", 30_000)
    with pytest.raises(UserError, match=f"{LARGE}: .* in an asset pack"):
        write_asset_pack(three, tmp_path / "again", PackOptions())
    faults = check_asset_pack(tmp_path / "out").faults
    assert [LARGE_FOLDER in fault for fault in faults] == [True]


LARGE_FOLDER = "pocketvec#group_ram_5000_mb"
