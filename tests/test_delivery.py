"""export/delivery: what a phone reads, as assets of an app module."""

import json
import re
from pathlib import Path

import pytest
from delivery_samples import sample

from common.errors import UserError
from common.files import read_json, sha256_file
from common.records import from_dict
from export.artifact import Artifact
from export.delivery import play_limits
from export.delivery.android_assets import write_android_assets
from export.delivery.check import check_android_assets
from export.delivery.phone_folder import self_test_texts
from export.embedder import Embedder
from export.golden import golden_parity, read_golden
from export.manifest import Manifest

NOT_BUILT = ("whether the files stay uncompressed: only an .apk or .aab shows it",)


def written(artifact: Artifact, out: Path) -> Path:
    """The model's folder in the assets that are written to `out`."""
    write_android_assets(artifact, out)
    return out / "src" / "main" / "assets" / "pocketvec" / artifact.manifest.name


def read_manifest(folder: Path) -> Manifest:
    return from_dict(Manifest, read_json(folder / "manifest.json"), str(folder))


def test_the_assets_are_what_a_phone_reads_and_their_manifest_lists_exactly_that(tmp_path: Path) -> None:
    artifact = sample(tmp_path, "onnx-q8_0-128d")
    folder = written(artifact, tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    weights = {"model.onnx", "model.onnx.data", "model.onnx.head"}
    assert names == {*weights, "tokenizer.bin", "golden.json", "manifest.json"}
    manifest = read_manifest(folder)
    assert set(manifest.files) == names - {"manifest.json"}
    assert {n: e.sha256 for n, e in manifest.files.items()} == {
        n: sha256_file(folder / n) for n in manifest.files
    }
    assert {n: sha256_file(folder / n) for n in weights} == {
        n: sha256_file(artifact.path / n) for n in weights
    }


def test_a_word_piece_model_takes_its_tokenizer_json_along(tmp_path: Path) -> None:
    artifact = sample(tmp_path, "onnx-fp32-128d", tokenizer_bin=False)
    assert "tokenizer.json" in read_manifest(written(artifact, tmp_path / "out")).files
    assert not check_android_assets(tmp_path / "out").faults


def test_the_manifest_keeps_its_scores_but_not_query_by_query(tmp_path: Path) -> None:
    reference = read_manifest(written(sample(tmp_path), tmp_path / "out")).reference
    assert reference is not None
    assert reference.ndcg_at_10 == {"4": 0.5}
    assert reference.by_query == {}


def test_the_self_test_has_eight_short_texts_spread_over_the_golden_ones(rag_sdk: Artifact) -> None:
    golden = read_golden(rag_sdk.path)
    kept = self_test_texts(rag_sdk.path)
    assert len(kept) == 8
    assert all(one in golden and one.text and len(one.ids) <= 64 for one in kept)
    assert len({one.prompt for one in kept}) > 2
    assert any(not one.text.isascii() for one in kept)
    assert any(len(one.text) >= 20 for one in kept), "of which the Kotlin library takes the first for its own"


def test_of_long_golden_texts_only_the_shortest_is_kept(tmp_path: Path) -> None:
    path = sample(tmp_path).path / "golden.json"
    content = json.loads(path.read_text())
    content["texts"] = content["texts"][100:103]
    path.write_text(json.dumps(content))
    assert [one.text for one in self_test_texts(path.parent)] == ["text 100"]


def test_what_is_packed_gives_the_golden_vectors_without_tokenizer_json(
    rag_sdk: Artifact, tmp_path: Path
) -> None:
    folder = written(rag_sdk, tmp_path / "out")
    packed = Artifact(folder, read_manifest(folder))
    parity = golden_parity(Embedder(packed))
    assert parity.ids_equal
    assert parity.cosine_min > 0.9999
    assert check_android_assets(tmp_path / "out").faults == ()


def test_gradle_is_told_exactly_the_endings_that_are_there(tmp_path: Path) -> None:
    for name, wanted in [
        ("onnx-q8_0-128d", ["bin", "onnx", "onnx.data", "onnx.head"]),
        ("litert-q4_0-128d", ["bin", "tflite"]),
    ]:
        write_android_assets(sample(tmp_path, name), tmp_path / f"out-{name}")
        lines = (tmp_path / f"out-{name}" / "add-to-build.gradle.kts").read_text()
        found = re.search(r"noCompress \+= listOf\((.*)\)", lines)
        assert found is not None
        assert [one.strip('"') for one in found[1].split(", ")] == wanted


def test_the_installer_names_the_folder_that_is_written(tmp_path: Path) -> None:
    folder = written(sample(tmp_path), tmp_path / "out")
    source = tmp_path / "out" / "src" / "main" / "kotlin" / "dev" / "pocketvec" / "assets" / "BundledModel.kt"
    found = re.search(r'ASSET_FOLDER: String = "(.*)"', source.read_text())
    assert found is not None
    assert tmp_path / "out" / "src" / "main" / "assets" / found[1] == folder
    assert max(len(line) for line in source.read_text().splitlines()) <= 110


def test_the_same_artifact_gives_the_same_files(tmp_path: Path) -> None:
    artifact = sample(tmp_path)
    for out in ("a", "b"):
        write_android_assets(artifact, tmp_path / out)
    a, b = ({p.relative_to(tmp_path / o): p.read_bytes() for p in (tmp_path / o).rglob("*.*")} for o in "ab")
    assert a == b


def test_what_the_kotlin_library_cannot_open_is_not_written(tmp_path: Path) -> None:
    gguf = sample(tmp_path, "gguf-q4_0-128d")
    bpe = sample(tmp_path, "onnx-fp32-128d")
    (bpe.path / "tokenizer.bin").unlink()
    bare = Artifact(bpe.path, bpe.manifest)
    del bare.manifest.files["tokenizer.bin"]
    for artifact, reason in [
        (gguf, "runtime 'gguf'; the Kotlin library runs onnx and litert"),
        (bare, "no tokenizer.bin, and the Kotlin library reads no BPE"),
    ]:
        with pytest.raises(UserError, match=reason):
            write_android_assets(artifact, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_more_than_a_base_module_holds_is_refused_and_a_large_download_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = sample(tmp_path, megabytes=3)
    monkeypatch.setattr(play_limits, "MOBILE_DATA_BYTES", 2_000_000)
    notes = write_android_assets(artifact, tmp_path / "out")
    assert "3 MB; above 2 MB Play asks" in notes[-1]
    assert check_android_assets(tmp_path / "out").notes == (f"the models: {notes[-1].partition(': ')[2]}",)
    monkeypatch.setattr(play_limits, "BASE_MODULE_BYTES", 2_500_000)
    with pytest.raises(UserError, match="3 MB, but Google Play takes 2 MB in the base module; pack it --for"):
        write_android_assets(artifact, tmp_path / "other")
    assert "but Google Play takes 2 MB in the base module" in check_android_assets(tmp_path / "out").faults[0]


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(UserError, match="already exists"):
        write_android_assets(sample(tmp_path), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    artifact = sample(tmp_path)
    artifact.model_path.unlink()
    with pytest.raises(FileNotFoundError):
        write_android_assets(artifact, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [artifact.manifest.name]
