"""onnxruntime's packed weights in a file: states, damage, builds side by side, alignment."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_bert import build_bert

from bench.cost import Plan, measure_cost
from common.errors import UserError
from common.files import read_json, write_json
from export import weight_cache
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.session import OnnxSession
from export.source import open_source
from export.to_onnx import export_onnx
from export.weight_cache import WeightCache
from quantize.quantize import quantize_artifact

ONNX = ("q8_0", "int8", "q4_0", "mixed")
BRINE = ["brine", "the salt of the pan and the gate " * 12]


@pytest.fixture
def onnx_profile(artifacts: Path) -> Path:
    return artifacts / "onnx-int8-128d"


def onnx_cache(profile: Path, folder: Path) -> WeightCache:
    return WeightCache(folder, open_artifact(profile).model_sha256, "onnx")


def from_cache(profile: Path, folder: Path) -> np.ndarray:
    return Embedder.open(profile, Opening(weight_cache=folder)).embed(BRINE)


def without_cache(profile: Path) -> np.ndarray:
    return Embedder.open(profile, Opening(use_weight_cache=False)).embed(BRINE)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}


def test_onnxruntimes_cache_is_built_at_first_use_and_left_alone_at_the_second(
    onnx_profile: Path, tmp_path: Path
) -> None:
    from_cache(onnx_profile, tmp_path)
    cache = onnx_cache(onnx_profile, tmp_path)
    assert cache.is_valid()
    name = cache.file.name
    before = contents(tmp_path)
    assert set(before) == {name, f"{name}.data", f"{name}.json"}
    from_cache(onnx_profile, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("precision", ONNX)
def test_onnx_vectors_are_the_same_with_and_without_a_cache(
    artifacts: Path, tmp_path: Path, precision: str
) -> None:
    profile = artifacts / f"onnx-{precision}-128d"
    plain = without_cache(profile)
    np.testing.assert_array_equal(from_cache(profile, tmp_path), plain)
    np.testing.assert_array_equal(from_cache(profile, tmp_path), plain)


def test_onnx_in_fp32_takes_no_cache(artifacts: Path, tmp_path: Path) -> None:
    from_cache(artifacts / "onnx-fp32-128d", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["runtime", "processor", "model_sha256"])
def test_an_onnx_cache_of_another_model_version_or_processor_is_rebuilt(
    onnx_profile: Path, tmp_path: Path, field: str
) -> None:
    right = from_cache(onnx_profile, tmp_path)
    cache = onnx_cache(onnx_profile, tmp_path)
    write_json(cache.record, {**read_json(cache.record), field: "another"})
    assert not cache.is_valid()
    np.testing.assert_array_equal(from_cache(onnx_profile, tmp_path), right)
    assert cache.is_valid()


def test_another_models_onnx_cache_under_this_ones_name_is_rebuilt(
    artifacts: Path, onnx_profile: Path, tmp_path: Path
) -> None:
    other = artifacts / "onnx-int8-768d"
    from_cache(other, tmp_path)
    cache, foreign = onnx_cache(onnx_profile, tmp_path), onnx_cache(other, tmp_path)
    for end in ("", ".data", ".json"):
        foreign.file.with_name(foreign.file.name + end).rename(cache.file.with_name(cache.file.name + end))
    np.testing.assert_array_equal(from_cache(onnx_profile, tmp_path), without_cache(onnx_profile))
    assert read_json(cache.record)["model_sha256"] == cache.key.model_sha256


@pytest.mark.parametrize("damage", ["cut data", "no data", "cut graph", "no record"])
def test_a_damaged_onnx_cache_is_rebuilt(onnx_profile: Path, tmp_path: Path, damage: str) -> None:
    right = from_cache(onnx_profile, tmp_path)
    cache = onnx_cache(onnx_profile, tmp_path)
    ends = {"cut data": ".data", "no data": ".data", "cut graph": "", "no record": ".json"}
    file = cache.file.with_name(cache.file.name + ends[damage])
    if damage.startswith("cut"):
        file.write_bytes(file.read_bytes()[:-64])
    else:
        file.unlink()
    assert not cache.is_valid()
    np.testing.assert_array_equal(from_cache(onnx_profile, tmp_path), right)
    assert cache.is_valid()


def test_a_folder_that_cannot_hold_onnxruntimes_cache_is_one_line(onnx_profile: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"file.*: cannot hold the weight cache \(.*\); choose another folder"
    ):
        from_cache(onnx_profile, tmp_path / "file" / "cache")


def test_a_finished_onnx_cache_in_a_read_only_folder_serves(onnx_profile: Path, tmp_path: Path) -> None:
    right = from_cache(onnx_profile, tmp_path)
    tmp_path.chmod(0o500)
    try:
        np.testing.assert_array_equal(from_cache(onnx_profile, tmp_path), right)
    finally:
        tmp_path.chmod(0o700)


def test_onnx_caches_make_room_with_both_their_files(
    artifacts: Path, onnx_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_cache(artifacts / "onnx-q4_0-128d", tmp_path)
    monkeypatch.setattr(weight_cache, "MAX_BYTES", 1000)
    from_cache(onnx_profile, tmp_path)
    name = onnx_cache(onnx_profile, tmp_path).file.name
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.data", f"{name}.json"}


def test_what_a_killed_build_has_left_is_removed_after_an_hour(onnx_profile: Path, tmp_path: Path) -> None:
    name = onnx_cache(onnx_profile, tmp_path).file.stem
    old, new, foreign = tmp_path / f".{name}.old", tmp_path / f".{name}.new", tmp_path / ".git"
    for folder in (old, new, foreign):
        folder.mkdir()
        (folder / "file").write_text("")
    for folder in (old, foreign):
        os.utime(folder, (0, 0))
    from_cache(onnx_profile, tmp_path)
    assert [folder.exists() for folder in (old, new, foreign)] == [False, True, True]


@pytest.mark.parametrize("step", ["_build", "_open"])
@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), OSError("no")])
def test_a_failed_build_leaves_nothing(
    onnx_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    """Interrupted after the packed weights are written, or when they are opened."""
    original = getattr(OnnxSession, step)

    def fail(session: OnnxSession, *arguments: Any) -> None:
        original(session, *arguments)
        raise error

    monkeypatch.setattr(OnnxSession, step, fail)
    with pytest.raises(type(error)):
        from_cache(onnx_profile, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_builds_by_several_processes_at_once_leave_one_valid_cache(
    onnx_profile: Path, tmp_path: Path
) -> None:
    """Each waits for the same moment, builds or finds the cache, and embeds."""
    lines = [
        "import sys, time; from pathlib import Path; from export.embedder import Embedder, Opening",
        "opening = Opening(threads=1, weight_cache=Path(sys.argv[2]))",
        "time.sleep(max(0, float(sys.argv[3]) - time.time()))",
        "print(Embedder.open(sys.argv[1], opening).embed(['brine']).tobytes().hex())",
    ]
    start = str(time.time() + 1.5)
    command = [sys.executable, "-c", "\n".join(lines), str(onnx_profile), str(tmp_path), start]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    finished = [process.communicate() for process in running]
    assert [(process.returncode, said[1]) for process, said in zip(running, finished, strict=True)] == [
        (0, b"")
    ] * 4
    assert len({said[0] for said in finished}) == 1
    cache = onnx_cache(onnx_profile, tmp_path)
    assert cache.is_valid()
    assert len(list(tmp_path.iterdir())) == 3


def test_two_builds_in_one_process_do_not_disturb_each_other(onnx_profile: Path, tmp_path: Path) -> None:
    first, second = (onnx_cache(onnx_profile, tmp_path) for _ in range(2))
    places = [first.prepare(), second.prepare()]
    for place in places:
        place.write_bytes(b"graph")
        place.with_name(f"{place.name}.data").write_bytes(b"data")
    first.seal()
    assert first.is_valid()
    second.seal()
    assert second.is_valid()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("precision", ["q8_0", "q4_0", "mixed", "int8"])
def test_packed_weights_lie_at_multiples_of_64(berts: Path, tmp_path: Path, precision: str) -> None:
    """Of this BERT onnxruntime writes them elsewhere and then misreads them: all its vectors were zero."""
    profile = berts / f"onnx-{precision}-384d"
    plain = without_cache(profile)
    np.testing.assert_array_equal(from_cache(profile, tmp_path), plain)
    np.testing.assert_array_equal(from_cache(profile, tmp_path), plain)
    (file,) = tmp_path.glob("*.prepacked")
    packed = 0
    for tensor in onnx.load(str(file), load_external_data=False).graph.initializer:
        for item in tensor.external_data:
            if item.key.startswith("prepacked"):
                offset, length, _ = item.value.split("|")[1].split(";")
                assert int(offset) % 64 == 0
                assert int(offset) + int(length) <= file.with_name(f"{file.name}.data").stat().st_size
                packed += 1
    assert packed == 2 * 6


@pytest.fixture(scope="module")
def berts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("berts")
    source = open_source(str(build_bert(folder / "bert", "mean")))
    (parent,) = export_onnx(source, [384], folder)
    for precision in ONNX:
        quantize_artifact(parent, precision, folder / f"onnx-{precision}-384d")
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("precision", ["int8", "q4_0"])
def test_packed_onnx_weights_are_mapped_and_no_memory_of_the_apps_own(
    artifacts: Path, tmp_path: Path, precision: str
) -> None:
    profile = artifacts / f"onnx-{precision}-768d"
    none = measure_cost(profile, Plan([16], 30, 1)).ram_mb
    measure_cost(profile, Plan([16], 30, 1, tmp_path))
    warm = measure_cost(profile, Plan([16], 30, 1, tmp_path)).ram_mb
    (data,) = tmp_path.glob("*.data")
    layers = open_artifact(profile).file_bytes - 16384 * 256 * (1 if precision == "int8" else 0.5)
    assert data.stat().st_size > 0.8 * layers
    assert (none.anonymous - warm.anonymous) * 1e6 > 0.6 * layers
