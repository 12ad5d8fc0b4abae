"""The weight cache: built once, trusted only when it is this model's, one line when it cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from export import weight_cache
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.weight_cache import WeightCache, default_cache_folder


@pytest.fixture
def profile(litert_artifacts: Path) -> Path:
    return litert_artifacts / "litert-q4_0-128d"


def embed(profile: Path, folder: Path) -> np.ndarray:
    return Embedder.open(profile, Opening(weight_cache=folder)).embed(["brine"])


def cache_of(profile: Path, folder: Path) -> WeightCache:
    artifact = open_artifact(profile)
    return WeightCache(folder, artifact.manifest.files["model.tflite"].sha256)


def test_the_first_use_builds_the_cache_and_the_second_leaves_it_as_it_is(
    profile: Path, tmp_path: Path
) -> None:
    first = embed(profile, tmp_path)
    cache = cache_of(profile, tmp_path)
    assert cache.is_valid()
    assert {path.suffix for path in tmp_path.iterdir()} == {".xnnpack", ".json"}
    before = cache.file.read_bytes()
    np.testing.assert_array_equal(embed(profile, tmp_path), first)
    assert cache.file.read_bytes() == before


def test_with_and_without_a_cache_the_vector_is_the_same(profile: Path, tmp_path: Path) -> None:
    plain = Embedder.open(profile, Opening(use_weight_cache=False)).embed(["brine"])
    np.testing.assert_array_equal(embed(profile, tmp_path), plain)
    np.testing.assert_array_equal(embed(profile, tmp_path), plain)


def test_each_model_has_a_cache_of_its_own(litert_artifacts: Path, tmp_path: Path) -> None:
    for name in ("litert-q4_0-128d", "litert-mixed-128d"):
        embed(litert_artifacts / name, tmp_path)
    assert len(list(tmp_path.glob("*.xnnpack"))) == 2


def test_a_cache_of_another_model_under_this_ones_name_is_rebuilt(
    litert_artifacts: Path, profile: Path, tmp_path: Path
) -> None:
    """XNNPACK itself would take it and give wrong vectors; the last line shows that it would."""
    right = embed(profile, tmp_path / "right")
    other = litert_artifacts / "litert-mixed-128d"
    embed(other, tmp_path / "wrong")
    cache = cache_of(profile, tmp_path / "wrong")
    foreign = cache_of(other, tmp_path / "wrong")
    foreign.file.rename(cache.file)
    foreign.record.rename(cache.record)
    np.testing.assert_array_equal(embed(profile, tmp_path / "wrong"), right)
    assert read_json(cache.record)["model_sha256"] == cache.key.model_sha256


@pytest.mark.parametrize("field", ["runtime", "processor"])
def test_a_cache_of_another_runtime_version_or_processor_is_rebuilt(
    profile: Path, tmp_path: Path, field: str
) -> None:
    embed(profile, tmp_path)
    cache = cache_of(profile, tmp_path)
    write_json(cache.record, {**read_json(cache.record), field: "another"})
    assert not cache.is_valid()
    embed(profile, tmp_path)
    assert cache.is_valid()


def test_a_cut_cache_is_rebuilt(profile: Path, tmp_path: Path) -> None:
    right = embed(profile, tmp_path)
    cache = cache_of(profile, tmp_path)
    cache.file.write_bytes(cache.file.read_bytes()[:-4096])
    np.testing.assert_array_equal(embed(profile, tmp_path), right)
    assert cache.is_valid()


def test_a_folder_that_cannot_hold_the_cache_is_one_line(profile: Path, tmp_path: Path) -> None:
    """A file in the folder's place: a test that runs as root may write anywhere else."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"file.*: cannot hold the weight cache \(.*\); choose another folder"
    ):
        embed(profile, tmp_path / "file" / "cache")


def test_a_finished_cache_in_a_read_only_folder_serves(profile: Path, tmp_path: Path) -> None:
    right = embed(profile, tmp_path)
    tmp_path.chmod(0o500)
    try:
        np.testing.assert_array_equal(embed(profile, tmp_path), right)
    finally:
        tmp_path.chmod(0o700)


def test_the_longest_unused_caches_make_room(
    litert_artifacts: Path, profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(litert_artifacts / "litert-mixed-128d", tmp_path)
    monkeypatch.setattr(weight_cache, "MAX_BYTES", 1000)
    embed(profile, tmp_path)
    assert list(tmp_path.glob("*.xnnpack")) == [cache_of(profile, tmp_path).file]


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETVEC_CACHE", str(tmp_path / "chosen"))
    assert default_cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("POCKETVEC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_folder() == tmp_path / "xdg" / "pocketvec"


def test_the_runtimes_log_stays_off_the_terminal(profile: Path, tmp_path: Path) -> None:
    code = "import sys; from export.embedder import Embedder; Embedder.open(sys.argv[1]).embed(['brine'])"
    environment = {**os.environ, "POCKETVEC_CACHE": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", code, str(profile)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert (finished.stdout, finished.stderr) == ("", "")
