"""Both runtimes' ARM kernels on three kinds of core, against fp32 PyTorch: under emulation."""

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from android_harness.toolchain.arm64 import CORES, run_arm64
from bench.limits import CosineLimits, read_gates
from benchmarks.arm_opcodes import count_opcodes
from benchmarks.arm_parity import HERE, Embedded, Parity, embed_on, parity
from export.artifact import open_artifact
from export.session import usable_cores
from pocketvec import DEFAULT_GATES

pytestmark = pytest.mark.android

MADE = Path(__file__).parent.parent / "runs" / "default" / "artifacts"
PRECISIONS = {"onnx": ("fp32", "int8", "q8_0", "q4_0"), "litert": ("fp32", "int8", "q4_0")}
PROFILES = [f"{runtime}-{one}-128d" for runtime, precisions in PRECISIONS.items() for one in precisions]
WIDE = ["onnx-int8-768d", "litert-q4_0-768d"]
"""Another dimension, on one core."""
MEASURED = [(core, name) for core in CORES for name in PROFILES] + [("a76", name) for name in WIDE]
SAME_WITHIN = {"onnx-fp32": 1e-5, "litert-fp32": 1e-5}
"""How far a component may lie from this machine's. Measured: 3e-7; onnxruntime's 4 bits differ by 4e-3."""
APART = 0.02
LIBRARIES = ("onnxruntime", "ai-edge-litert", "numpy")


@pytest.fixture(scope="module")
def folders(request: pytest.FixtureRequest) -> dict[str, Path]:
    """Artifacts by profile: those of `make run` where there are any, else the starter's."""
    wanted = [*PROFILES, *WIDE]
    if all((MADE / name / "manifest.json").is_file() for name in wanted):
        return {name: MADE / name for name in wanted}
    made = {"onnx": "artifacts", "litert": "litert_artifacts"}
    return {name: request.getfixturevalue(made[name.partition("-")[0]]) / name for name in wanted}


@pytest.fixture(scope="module")
def here(folders: dict[str, Path]) -> dict[str, Embedded]:
    return embed_on(HERE, list(folders.values()))


@pytest.fixture(scope="module")
def measured(folders: dict[str, Path], here: dict[str, Embedded]) -> dict[tuple[str, str], Parity]:
    def on(core: str) -> dict[tuple[str, str], Parity]:
        names = [name for one, name in MEASURED if one == core]
        vectors = embed_on(core, [folders[name] for name in names])
        return {(core, name): parity(core, folders[name], vectors[name], here[name]) for name in names}

    with ThreadPoolExecutor(usable_cores()) as pool:
        return {key: one for part in pool.map(on, CORES) for key, one in part.items()}


@pytest.mark.parametrize(("core", "name"), MEASURED)
def test_a_cores_kernels_hold_the_golden_limits_of_the_profile(
    core: str, name: str, measured: dict[tuple[str, str], Parity], folders: dict[str, Path]
) -> None:
    one = measured[core, name]
    limits = _limits(open_artifact(folders[name], verify=False).manifest.precision)
    assert one.texts > 5
    assert one.ids_equal
    assert one.cosine_mean >= limits.mean
    assert one.cosine_min >= limits.min
    assert one.apart <= SAME_WITHIN.get(name.rpartition("-")[0], APART)


def test_a_core_without_dot_products_computes_4_bits_of_onnxruntime_in_another_way(
    measured: dict[tuple[str, str], Parity],
) -> None:
    apart = {core: measured[core, "onnx-q4_0-128d"].apart for core in CORES}
    assert min(apart.values()) > SAME_WITHIN["onnx-fp32"]
    assert apart["a53"] != apart["a76"]


def test_arm_runs_the_versions_of_this_machine_on_the_core_that_was_asked_for() -> None:
    program = (
        "import platform; from importlib.metadata import version; print(platform.machine(), "
        + ", ".join(f"version({name!r})" for name in LIBRARIES)
        + "); print(open('/proc/cpuinfo').read())"
    )
    for name, core in CORES.items():
        said = run_arm64(name, "-c", program).stdout
        first, *information = said.splitlines()
        assert first.split() == ["aarch64", *map(version, LIBRARIES)]
        assert f"CPU part\t: {core.part}" in information


@pytest.mark.parametrize(
    ("core", "name", "ran"),
    [
        ("a53", "onnx-int8-128d", set()),
        ("a53", "litert-int8-128d", set()),
        ("a76", "onnx-int8-128d", {"udot"}),
        ("a76", "onnx-q4_0-128d", {"sdot"}),
        ("a76", "litert-int8-128d", {"sdot"}),
        ("i8mm", "onnx-int8-128d", {"ummla"}),
        ("i8mm", "onnx-q4_0-128d", {"smmla"}),
        ("i8mm", "litert-int8-128d", {"smmla"}),
    ],
)
def test_a_core_runs_the_matrix_instructions_that_it_has_and_no_others(
    core: str, name: str, ran: set[str], folders: dict[str, Path]
) -> None:
    found = {kind for kind, count in count_opcodes(core, folders[name]).items() if count} - {"fmla"}
    assert ran <= found
    allowed = {"a53": set(), "a76": {"sdot", "udot"}}
    assert found <= allowed.get(core, found)


def _limits(precision: str) -> CosineLimits:
    limits = read_gates(DEFAULT_GATES).golden_cosine
    return limits.get(precision, limits["default"])
