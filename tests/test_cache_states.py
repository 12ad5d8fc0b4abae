"""Both runtimes without their weight cache, at first use and warm: three fresh processes, real ones."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.cost import Plan, measure_cache_states, measure_cost, weight_cache
from bench.measure import BenchConfig, measure_all
from bench.measurements import CacheState
from common.errors import UserError
from common.files import sha256_file
from common.progress import silent
from common.retrieval import read_retrieval_set
from export.artifact import open_artifact

PLAN = Plan([16, 100], runs=40, threads=2)


SUFFIXES = {"litert-fp32-768d": ".xnnpack", "onnx-q8_0-768d": ".prepacked"}
PACKED_SHARES = {"litert-fp32-768d": (0.8, 0.5), "onnx-q8_0-768d": (0.3, 1.0)}
"""Of the cache's size: what is anonymous at least without it, and at most at first use, above a warm one.

Onnxruntime's file holds more than what it packs, and first use opens the model twice.
"""


@pytest.fixture(scope="module", params=SUFFIXES)
def profile(request: pytest.FixtureRequest, artifacts: Path, litert_artifacts: Path) -> Path:
    """An artifact of each runtime that is opened from a weight cache."""
    name: str = request.param
    return (litert_artifacts if name.startswith("litert") else artifacts) / name


@pytest.fixture(scope="module")
def cache(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def states(profile: Path, cache: Path) -> dict[str, CacheState]:
    return measure_cache_states(profile, PLAN, cache)


def test_each_state_is_measured_with_the_cache_that_it_names(states: dict[str, CacheState]) -> None:
    assert list(states) == ["none", "build", "warm"]
    assert states["none"].cache_bytes == 0
    assert states["build"].cache_bytes == states["warm"].cache_bytes > 1_000_000


def test_every_figure_is_there_in_every_state(states: dict[str, CacheState]) -> None:
    for state in states.values():
        assert state.load_ms > 0
        assert state.first_ms > 0
        ram = state.ram_mb
        assert 0 < ram.baseline < ram.load_high_water <= ram.peak
        assert 0 < ram.start.anonymous < ram.anonymous < ram.peak
        assert list(ram.run_peak) == list(ram.run_high_water) == ["16", "100"]
    warm = states["warm"].latency_ms
    assert {length: timed.runs for length, timed in warm.items()} == {"16": 40, "100": 40}
    for brief in ("none", "build"):
        found = {length: (one.runs, one.warm_up) for length, one in states[brief].latency_ms.items()}
        assert found == {"100": (30, 10)}


def test_without_a_cache_the_packed_weights_are_memory_of_the_apps_own(
    states: dict[str, CacheState], profile: Path
) -> None:
    (none, build), packed = PACKED_SHARES[profile.name], states["warm"].cache_mb
    assert states["none"].ram_mb.anonymous - states["warm"].ram_mb.anonymous > none * packed
    assert states["build"].ram_mb.anonymous - states["warm"].ram_mb.anonymous < build * packed


def test_the_warm_process_uses_the_file_that_first_use_has_built(
    states: dict[str, CacheState], cache: Path, profile: Path
) -> None:
    suffix = SUFFIXES[profile.name]
    before = {file.name: (file.stat().st_ino, sha256_file(file)) for file in cache.iterdir()}
    assert [name for name in before if name.endswith(suffix)]
    measure_cost(profile, Plan([16], 30, 2, cache))
    assert {file.name: (file.stat().st_ino, sha256_file(file)) for file in cache.iterdir()} == before


def test_memory_counts_every_length_and_latency_only_those_to_be_timed(artifacts: Path) -> None:
    artifact = artifacts / "onnx-fp32-128d"
    cost = measure_cost(artifact, Plan([2000, 16], 1, 1, timed=[16]))
    assert list(cost.latency_ms) == ["16"]
    ram = cost.ram_mb
    assert list(ram.run_high_water) == ["16", "2000"], "the shortest first: runtimes keep what they have got"
    assert ram.run_high_water["2000"] - ram.run_high_water["16"] > 20


@pytest.mark.parametrize(
    ("fixture", "name"), [("litert_artifacts", "litert-q4_0-128d"), ("artifacts", "onnx-int8-128d")]
)
def test_measuring_leaves_the_users_cache_and_the_temporary_folder_as_they_were(
    fixture: str,
    name: str,
    request: pytest.FixtureRequest,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, temporary = tmp_path / "own", tmp_path / "temporary"
    own.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("POCKETVEC_CACHE", str(own))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    artifact = open_artifact(request.getfixturevalue(fixture) / name)
    data = read_retrieval_set(small_data, "test")
    report = measure_all([artifact], data, None, BenchConfig(lengths=(16,), runs=30), silent)
    (measured,) = report.profiles
    warm = measured.cache_states["warm"]
    assert warm.cache_bytes > 0
    main_figures = (measured.load_ms, measured.first_ms, measured.latency_ms, measured.ram_mb)
    assert main_figures == (warm.load_ms, warm.first_ms, warm.latency_ms, warm.ram_mb)
    assert "weight cache" in report.context.cache
    assert list(own.iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_the_weight_cache_starts_empty_and_is_gone_after_use() -> None:
    with weight_cache() as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("fixture", "name", "own", "other"),
    [
        ("litert_artifacts", "litert-q4_0-128d", "ai_edge_litert", "onnxruntime"),
        ("artifacts", "onnx-q4_0-128d", "onnxruntime", "ai_edge_litert"),
    ],
)
def test_the_measured_process_loads_the_one_runtime_that_it_needs(
    fixture: str, name: str, own: str, other: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(fixture) / name
    lines = [
        "import sys; from pathlib import Path; from bench.probe import Probe",
        f"Probe(Path({str(folder)!r})).open(1, None)",
        f"assert {own!r} in sys.modules and {other!r} not in sys.modules",
    ]
    finished = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_a_length_beyond_the_longest_signature_is_refused(litert_artifacts: Path, small_data: Path) -> None:
    artifact = open_artifact(litert_artifacts / "litert-q4_0-128d")
    data = read_retrieval_set(small_data, "test")
    with pytest.raises(UserError, match="litert-q4_0-128d takes at most 2048 tokens"):
        measure_all([artifact], data, None, BenchConfig(lengths=(2049,)), silent)


def test_a_measuring_process_that_dies_is_one_clear_line(litert_artifacts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plan = Plan([16], 30, 1, tmp_path / "file" / "folder")
    with pytest.raises(UserError, match=r"the measuring process ended with 1: .*weight cache") as caught:
        measure_cost(litert_artifacts / "litert-q4_0-128d", plan)
    assert len(str(caught.value).splitlines()) == 1
