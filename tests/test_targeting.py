"""Folders by device group: whether every phone gets exactly one model, from a module's folder and an .aab."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from delivery_samples import (
    BY_LANGUAGE,
    NEGATED,
    SPLIT,
    UNSTRIPPED,
    apk,
    bundle_config,
    group_config,
    sample,
)

from common.errors import UserError
from export.contract import ContractCheck
from export.delivery.asset_pack import PackOptions, write_asset_pack
from export.delivery.bundle_config import GROUPS
from export.delivery.check import check_asset_pack

SMALL, LARGE = "litert-q4_0-128d", "litert-int8-128d"
HIGH = "ram_6000_mb"
GB = 1_000_000_000


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of two profiles, the larger one for phones with 6 GB or more."""
    artifacts = [sample(tmp_path, name) for name in (SMALL, LARGE)]
    write_asset_pack(artifacts, tmp_path / "out", PackOptions(ram={LARGE: 6000}))
    return tmp_path / "out"


def assets(pack: Path) -> Path:
    return pack / "src" / "main" / "assets"


def aab(
    pack: Path,
    groups: bytes | None = None,
    *,
    split: bytes = SPLIT,
    packs: int = 0,
    delivery: bytes = b"fast-follow",
) -> Path:
    """An .aab with the pack as a module, as the Android Gradle Plugin makes it."""
    more = {
        "BundleConfig.pb": bundle_config(["**.tflite"], split=split, packs=packs),
        GROUPS: group_config((HIGH, 6 * GB, 0)) if groups is None else groups,
        "models/manifest/AndroidManifest.xml": b"\x0a\x05dist:" + delivery,
    }
    return apk(pack.parent / "app.aab", assets(pack), prefix="models/assets/", first="base/dex/x", more=more)


def test_what_is_written_holds_as_a_folder_and_in_an_aab(pack: Path) -> None:
    assert check_asset_pack(pack).faults == ()
    assert check_asset_pack(aab(pack)) == ContractCheck(())


def rename(before: str, after: str) -> Callable[[Path], object]:
    return lambda pack: (assets(pack) / f"pocketvec{before}").rename(assets(pack) / f"pocketvec{after}")


def other_model(pack: Path) -> None:
    path = assets(pack) / "pocketvec#group_other" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"]["checkpoint_sha256"] = "two"
    path.write_text(json.dumps(manifest))


def same_profile(pack: Path) -> None:
    path = assets(pack) / "pocketvec#group_other" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["name"] = LARGE
    path.write_text(json.dumps(manifest))


BROKEN: list[tuple[Callable[[Path], object], list[str]]] = [
    (
        rename("#group_other", ""),
        [
            "a folder without a suffix goes to every phone",
            "no folder #group_other, so that phones in no group",
        ],
    ),
    (
        rename("#group_other", "#group_low"),
        ["no folder #group_other", "#group_low is not a group of the device targeting configuration"],
    ),
    (
        rename(f"#group_{HIGH}", "#group_high"),
        ["#group_high is not a group", f"no folder #group_{HIGH}, though the group is defined"],
    ),
    (
        rename(f"#group_{HIGH}", "#ram_high"),
        ["suffix '#ram_high' is neither #group_NAME nor #tier_N", f"no folder #group_{HIGH}"],
    ),
    (rename("#group_other", "#group-other"), ["suffix '#group-other' is neither", "no folder #group_other"]),
    (other_model, ["of more than one model"]),
    (same_profile, [f"the profile {LARGE} is there more than once"]),
]


@pytest.mark.parametrize("form", ["folder", "aab"])
@pytest.mark.parametrize(("damage", "messages"), BROKEN, ids=[messages[0][:40] for _, messages in BROKEN])
def test_folders_that_leave_phones_without_one_model_are_faults(
    pack: Path, damage: Callable[[Path], object], messages: list[str], form: str
) -> None:
    damage(pack)
    faults = check_asset_pack(pack if form == "folder" else aab(pack)).faults
    assert len(faults) == len(messages)
    for message, fault in zip(messages, faults, strict=True):
        assert message in fault


def test_tiers_need_a_tier_0_and_play_alone_knows_their_phones(pack: Path) -> None:
    rename("#group_other", "#tier_1")(pack)
    rename(f"#group_{HIGH}", "#tier_2")(pack)
    check = check_asset_pack(aab(pack, b""))
    assert "no folder #tier_0" in check.faults[0]
    assert len(check.faults) == 1
    assert "which phones are in which tier" in check.unchecked[0]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([("other", 1, 0)], "device group other: Play defines it and refuses another definition"),
        ([(HIGH, 6 * GB, 0)], f"device group {HIGH}: defined more than once"),
        ([("wide", 4 * GB, 0)], f"device group {HIGH}: wide comes first and takes its phones"),
        ([("wide", 0, 0)], f"device group {HIGH}: wide comes first and takes its phones"),
    ],
)
def test_a_configuration_by_which_a_group_never_matches_is_a_fault(
    pack: Path, groups: list[tuple[str, int, int]], message: str
) -> None:
    faults = check_asset_pack(aab(pack, group_config(*groups, (HIGH, 6 * GB, 0)))).faults
    assert any(message in fault for fault in faults)


@pytest.mark.parametrize("first", [("low", 4 * GB, 6 * GB), ("narrow", 6 * GB, 8 * GB), ("more", 8 * GB, 0)])
def test_groups_that_leave_each_other_phones_are_none(pack: Path, first: tuple[str, int, int]) -> None:
    faults = check_asset_pack(aab(pack, group_config(first, (HIGH, 6 * GB, 0)))).faults
    assert [fault for fault in faults if fault.startswith("device group")] == []


@pytest.mark.parametrize("split", [b"", BY_LANGUAGE, NEGATED, UNSTRIPPED])
def test_a_bundle_that_is_not_split_by_group_is_a_fault(pack: Path, split: bytes) -> None:
    (fault,) = check_asset_pack(aab(pack, split=split)).faults
    assert "not split by device group (deviceGroup.enableSplit)" in fault


def test_only_an_installed_pack_can_be_compressed_and_only_if_told_to(pack: Path) -> None:
    unspecified, compressed = 0, 2
    assert not check_asset_pack(aab(pack, packs=unspecified, delivery=b"install-time")).faults
    assert not check_asset_pack(aab(pack, packs=compressed, delivery=b"on-demand")).faults
    faults = check_asset_pack(aab(pack, packs=compressed, delivery=b"install-time")).faults
    assert [re.sub(r".*/", "", fault.partition(":")[0]) for fault in faults] == ["tokenizer.bin"] * 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("com.android.asset-pack", "com.android.library", "does not apply the plugin com.android.asset-pack"),
        ('"pocketvec_model"', '"pocketvec-model"', "packName 'pocketvec-model': letters"),
        ("packName.set", "name.set", "packName '': letters"),
        ('"fast-follow"', '"fast_follow"', "deliveryType 'fast_follow': one of install-time"),
    ],
)
def test_a_build_file_that_makes_no_asset_pack_is_a_fault(
    pack: Path, before: str, after: str, message: str
) -> None:
    path = pack / "build.gradle.kts"
    path.write_text(path.read_text().replace(before, after))
    (fault,) = check_asset_pack(pack).faults
    assert message in fault
    path.unlink()
    assert check_asset_pack(pack).faults == ("build.gradle.kts: missing, so that this is no module",)


def test_the_other_way_to_write_a_build_file_is_understood(pack: Path) -> None:
    path = pack / "build.gradle.kts"
    path.write_text(re.sub(r"\.set\((.*)\)", r" = \1", path.read_text()))
    assert check_asset_pack(pack).faults == ()


@pytest.mark.parametrize("content", ["<config", '<a xmlns:config="http://schemas.android.com/apk/config">'])
def test_a_targeting_configuration_that_cannot_be_read_is_refused(pack: Path, content: str) -> None:
    (pack / "for-app" / "device_targeting_config.xml").write_text(content)
    with pytest.raises(UserError, match="not a device targeting configuration"):
        check_asset_pack(pack)


def test_so_is_a_bundle_configuration_of_other_bytes(pack: Path) -> None:
    with pytest.raises(UserError, match=r"DeviceGroupConfig.pb: not a protocol buffer"):
        check_asset_pack(aab(pack, b"\x0a\xff\xff"))
