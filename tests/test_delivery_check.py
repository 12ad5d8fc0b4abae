"""pack --check on a source folder, an .apk and an .aab: every way to lose a model on its way to a phone."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from delivery_samples import apk, bundle_config, sample

from common.errors import UserError
from export.contract import ContractCheck
from export.delivery.android_assets import write_android_assets
from export.delivery.asset_pack import PackOptions, write_asset_pack
from export.delivery.check import HOW_TARGETED, NOT_BUILT, check_android_assets, check_asset_pack

NAME = "litert-q4_0-128d"
GLOBS = ("**.[tT][fF][lL][iI][tT][eE]", "**.[bB][iI][nN]")


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """The assets of an app with one LiteRT model."""
    write_android_assets(sample(tmp_path, NAME), tmp_path / "out")
    return tmp_path / "out" / "src" / "main" / "assets"


@pytest.fixture
def onnx_assets(tmp_path: Path) -> Path:
    """The assets of an app with one ONNX model."""
    write_android_assets(sample(tmp_path, "onnx-q8_0-128d"), tmp_path / "onnx")
    return tmp_path / "onnx" / "src" / "main" / "assets"


def aab(out: Path, assets: Path, globs: tuple[str, ...] = GLOBS, packs: int = 0) -> Path:
    """An .aab with the assets in its base; everything in an .aab is compressed, whatever becomes of it."""
    config = {"BundleConfig.pb": bundle_config(globs, packs=packs)}
    return apk(out, assets, prefix="base/assets/", first="base/dex/x", more=config, compressed=("",))


def test_an_apk_with_everything_stored_and_aligned_holds(assets: Path, tmp_path: Path) -> None:
    assert check_android_assets(apk(tmp_path / "a.apk", assets, alignment=16384)) == ContractCheck(())


def test_two_profiles_in_one_apk_hold(assets: Path, onnx_assets: Path, tmp_path: Path) -> None:
    shutil.copytree(onnx_assets, assets, dirs_exist_ok=True)
    assert check_android_assets(apk(tmp_path / "a.apk", assets, alignment=16384)) == ContractCheck(())


@pytest.mark.parametrize("ending", [".tflite", ".bin"])
def test_a_compressed_model_or_tokenizer_is_a_fault(assets: Path, tmp_path: Path, ending: str) -> None:
    (fault,) = check_android_assets(apk(tmp_path / "a.apk", assets, compressed=[ending])).faults
    assert fault.startswith(f"assets/pocketvec/{NAME}/")
    assert fault.endswith(f"{ending}: compressed; add its ending to androidResources.noCompress")


@pytest.mark.parametrize("ending", [".onnx", ".onnx.data", ".onnx.head"])
def test_so_is_any_file_of_an_onnx_graph(onnx_assets: Path, tmp_path: Path, ending: str) -> None:
    (fault,) = check_android_assets(apk(tmp_path / "a.apk", onnx_assets, compressed=[ending])).faults
    assert f"model{ending}: compressed" in fault


def test_json_may_be_compressed(assets: Path, tmp_path: Path) -> None:
    path = apk(tmp_path / "a.apk", assets, compressed=[".json"], alignment=16384)
    assert check_android_assets(path) == ContractCheck(())


def test_a_tflite_model_off_four_bytes_is_a_fault_and_off_a_page_a_note(assets: Path, tmp_path: Path) -> None:
    fault, _ = check_android_assets(apk(tmp_path / "a.apk", assets, shift=6)).faults
    assert re.search(r"model.tflite: begins at byte \d+, not at a multiple of 4: zipalign it", fault)
    beside = check_android_assets(apk(tmp_path / "b.apk", assets, shift=4))
    assert not beside.faults
    assert "model.tflite: begins within a page of 4 KB and 16 KB, at byte" in beside.notes[0]
    small = check_android_assets(apk(tmp_path / "c.apk", assets, alignment=16384, shift=4096))
    assert "begins within a page of 16 KB, at byte" in small.notes[0]


def test_pages_do_not_matter_to_an_onnx_graph_for_it_is_copied(onnx_assets: Path, tmp_path: Path) -> None:
    assert check_android_assets(apk(tmp_path / "a.apk", onnx_assets, shift=4)) == ContractCheck(())
    assert len(check_android_assets(apk(tmp_path / "b.apk", onnx_assets, shift=3)).faults) == 4


def test_the_offset_is_that_of_the_local_header(assets: Path, tmp_path: Path) -> None:
    """The directory at the end may have another extra field, or none."""
    path = apk(tmp_path / "a.apk", assets, shift=6)
    with zipfile.ZipFile(path) as archive:
        entry = next(one for one in archive.infolist() if one.filename.endswith(".tflite"))
        after_central_name = entry.header_offset + 30 + len(entry.filename)
    fault, _ = check_android_assets(path).faults
    found = re.search(r"begins at byte (\d+)", fault)
    assert found is not None
    offset = int(found[1])
    assert offset > after_central_name
    model = (assets / "pocketvec" / NAME / "model.tflite").read_bytes()
    assert path.read_bytes()[offset : offset + len(model)] == model


def alter(folder: Path) -> None:
    path = folder / "model.tflite"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(folder: Path) -> None:
    path = folder / "tokenizer.bin"
    path.write_bytes(path.read_bytes()[:-1])


def unlist(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["golden.json"]
    (folder / "golden.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def strip_tokenizer(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["tokenizer.bin"]
    (folder / "tokenizer.bin").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def schema(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("pocketvec.manifest/1", "pocketvec.manifest/9"))


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (alter, "model.tflite: its SHA-256 differs from the manifest's; the file was altered"),
    (cut, "tokenizer.bin: 2999 bytes, but the manifest says 3000"),
    (
        lambda folder: (folder / "model.tflite").unlink(),
        "model.tflite: missing, though the manifest lists it",
    ),
    (lambda folder: (folder / "faults.json").write_text("{}"), "faults.json: not in the manifest's table"),
    (unlist, "the manifest's table lacks golden.json"),
    (strip_tokenizer, "neither tokenizer.bin nor a WordPiece tokenizer.json"),
    (schema, "manifest.json: schema 'pocketvec.manifest/9' is not 'pocketvec.manifest/1'"),
    (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json: not valid JSON"),
    (lambda folder: (folder / "manifest.json").unlink(), "it holds no model: no assets/.../manifest.json"),
]


@pytest.mark.parametrize("form", ["folder", "apk", "aab"])
@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[message[:40] for _, message in DAMAGE])
def test_a_model_that_a_phone_could_not_open_is_a_fault(
    assets: Path, tmp_path: Path, damage: Callable[[Path], object], message: str, form: str
) -> None:
    damage(assets / "pocketvec" / NAME)
    whole = {"folder": lambda: tmp_path / "out", "apk": lambda: apk(tmp_path / "a.apk", assets)}
    path = whole.get(form, lambda: aab(tmp_path / "a.aab", assets))()
    (fault,) = check_android_assets(path).faults
    assert message in fault


def test_all_that_is_wrong_is_said_at_once(assets: Path, tmp_path: Path) -> None:
    folder = assets / "pocketvec" / NAME
    for damage in (alter, cut):
        damage(folder)
    faults = check_android_assets(apk(tmp_path / "a.apk", assets, compressed=[".tflite"])).faults
    assert len(faults) == 3


def test_an_entry_that_is_there_twice_is_a_fault(assets: Path, tmp_path: Path) -> None:
    path = apk(tmp_path / "a.apk", assets, alignment=16384)
    name = f"assets/pocketvec/{NAME}/golden.json"
    with zipfile.ZipFile(path, "a") as archive:
        content = archive.read(name)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, content)
    (fault,) = check_android_assets(path).faults
    assert fault == f"{name}: listed twice in the archive"


def test_in_an_aab_the_globs_decide_what_will_be_compressed(assets: Path, tmp_path: Path) -> None:
    assert check_android_assets(aab(tmp_path / "a.aab", assets)) == ContractCheck(())
    (fault,) = check_android_assets(aab(tmp_path / "b.aab", assets, globs=GLOBS[:1])).faults
    assert fault.startswith(f"base/assets/pocketvec/{NAME}/tokenizer.bin: no uncompressed_glob")


def test_in_an_aab_assets_of_the_app_and_of_a_pack_are_told_apart(assets: Path, tmp_path: Path) -> None:
    path = aab(tmp_path / "a.aab", assets)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("models/manifest/AndroidManifest.xml", "")
        for file in (assets / "pocketvec" / NAME).iterdir():
            archive.write(file, f"models/assets/pocketvec/{file.name}")
    for check, looked_at, other in [
        (check_android_assets, "base", "models"),
        (check_asset_pack, "models", "base"),
    ]:
        found = check(path)
        assert found.faults == ()
        assert [note.partition("/")[0] for note in found.notes] == [other]
        assert looked_at not in found.notes[0]
    (fault,) = check_asset_pack(aab(tmp_path / "b.aab", assets)).faults
    assert fault.startswith("it holds no model")


def test_a_whole_artifact_among_the_assets_holds_with_a_note_of_what_is_too_much(tmp_path: Path) -> None:
    artifact = sample(tmp_path / "src" / "main" / "assets", "onnx-q8_0-128d")
    check = check_android_assets(tmp_path)
    assert check == ContractCheck((), (NOT_BUILT,), notes=check.notes)
    assert check.notes[0].endswith("that a phone does not read: tokenizer.json, weights.json")
    assert artifact.manifest.name in check.notes[0]


def test_a_manifest_json_of_something_else_is_left_alone(assets: Path, tmp_path: Path) -> None:
    for name, content in {"web": '{"name": "app"}', "list": "[1]", "other": "// no JSON"}.items():
        (assets / name).mkdir()
        (assets / name / "manifest.json").write_text(content)
    assert check_android_assets(apk(tmp_path / "a.apk", assets, alignment=16384)) == ContractCheck(())


def test_a_folder_cannot_show_what_a_build_makes_of_it(assets: Path) -> None:
    assert check_android_assets(assets).unchecked == (NOT_BUILT,)


@pytest.mark.parametrize("check", [check_android_assets, check_asset_pack])
def test_what_is_no_package_is_refused(
    assets: Path, tmp_path: Path, check: Callable[[Path], ContractCheck]
) -> None:
    (tmp_path / "text.apk").write_text("not one")
    apk(tmp_path / "jar.jar", assets, first="META-INF/MANIFEST.MF")
    torn = apk(tmp_path / "torn.apk", assets).read_bytes()
    (tmp_path / "torn.apk").write_bytes(torn[: len(torn) // 2])
    for name, message in [
        ("nowhere.apk", "no such file or folder"),
        ("text.apk", "not a whole .apk or .aab"),
        ("torn.apk", "not a whole .apk or .aab"),
        ("jar.jar", "neither an .apk .* nor an .aab"),
    ]:
        with pytest.raises(UserError, match=f"{name}: {message}"):
            check(tmp_path / name)


def test_damaged_data_in_an_archive_is_refused_by_name(assets: Path, tmp_path: Path) -> None:
    path = apk(tmp_path / "a.apk", assets)
    model = (assets / "pocketvec" / NAME / "model.tflite").read_bytes()
    content = bytearray(path.read_bytes())
    content[content.index(model) + 7] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.tflite: damaged"):
        check_android_assets(path)


def test_an_entry_packed_in_an_unknown_way_is_refused_by_name(assets: Path, tmp_path: Path) -> None:
    path = apk(tmp_path / "a.apk", assets, compressed=[".tflite"])
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(f"assets/pocketvec/{NAME}/model.tflite").header_offset
    central = content.rindex(b"PK\x01\x02", 0, content.rindex(b"model.tflite"))
    for place in (local + 8, central + 10):
        content[place : place + 2] = (93).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.tflite: damaged \(.*compression"):
        check_android_assets(path)


def test_an_apk_made_of_a_pack_holds_and_cannot_show_its_targeting(tmp_path: Path) -> None:
    write_asset_pack([sample(tmp_path, NAME)], tmp_path / "out", PackOptions())
    assets = tmp_path / "out" / "src" / "main" / "assets"
    path = apk(tmp_path / "a.apk", assets, alignment=16384)
    assert check_asset_pack(path) == ContractCheck((), (HOW_TARGETED,))
    (assets / "pocketvec").rename(assets / "pocketvec#group_high")
    (fault,) = check_asset_pack(apk(tmp_path / "b.apk", assets, alignment=16384)).faults
    assert "the suffix #group_high is still there" in fault


def test_a_suffix_in_an_apps_own_assets_is_a_fault(assets: Path) -> None:
    (assets / "pocketvec").rename(assets / "pocketvec#group_high")
    (fault,) = check_android_assets(assets).faults
    assert "'#group_high' is for asset packs only" in fault
