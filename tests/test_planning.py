"""`pocketvec plan` against real artifacts: sizes to 5 %, memory to 15 %, fitted to it or not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cost import Plan as ProbePlan
from bench.cost import measure_cost
from bench.measurements import BYTES_PER_MB, Memory
from common.errors import UserError
from export.artifact import open_artifact
from export.source import open_source
from export.to_gguf import export_gguf
from export.to_litert import LiteRTOptions, export_litert
from export.to_onnx import export_onnx
from pocketvec import STARTER_MODEL
from pocketvec.cli import main
from pocketvec.planning import PlanRequest, Predicted, index_cost, make_plan
from quantize.quantize import quantize_artifact
from quantize.recipes import RECIPES
from train.shapes import EMBEDDINGGEMMA, FULL, SLIDING, STARTER, Shape
from train.synthetic import SyntheticConfig, write_synthetic

SIZE_MARGIN, RAM_MARGIN = 0.05, 0.15
TOKENS = 256
PROBE = ProbePlan([TOKENS], runs=1, threads=2, max_warm_up=1)
BETWEEN = Shape(
    name="between",
    rows=32_768,
    hidden=384,
    intermediate=1024,
    layer_types=(SLIDING, SLIDING, FULL) * 3,
    heads=6,
    kv_heads=2,
    head_dim=64,
    window=256,
    max_tokens=512,
    dense=(768, 384),
)
"""Twice the starter and three signatures for its four; none of the model's constants was measured on it."""


def predict(shape: Shape, folder: Path) -> Predicted:
    manifest = open_artifact(folder, verify=False).manifest
    request = PlanRequest(shape, (manifest.dim,), (manifest.precision,), (manifest.runtime,), tokens=TOKENS)
    (profile,) = make_plan(request).profiles
    assert profile.name == folder.name
    return profile


def file_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("model.*"))


def measured(folder: Path, cache: Path) -> list[Memory]:
    """First and second use."""
    plan = ProbePlan(**vars(PROBE) | {"cache": cache})
    return [measure_cost(folder, plan).ram_mb for _ in range(2)]


def assert_memory_is_as_predicted(shape: Shape, folder: Path, cache: Path) -> None:
    first, second = measured(folder, cache)
    ram = predict(shape, folder).ram
    pairs = {
        "first use": (ram.first_use, first.peak_above_baseline),
        "second use": (ram.second_use, second.peak_above_baseline),
        "anonymous": (ram.anonymous, second.anonymous),
    }
    for what, (predicted, found) in pairs.items():
        assert predicted / BYTES_PER_MB == pytest.approx(found, rel=RAM_MARGIN), what


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of the shape between the starter and the real one, at its width."""
    folder = tmp_path_factory.mktemp("between")
    write_synthetic(BETWEEN, STARTER_MODEL, folder / "checkpoint", SyntheticConfig())
    source, out = open_source(str(folder / "checkpoint")), folder / "artifacts"
    parents = [*export_onnx(source, [384], out), *export_litert(source, [384], out, LiteRTOptions())]
    wanted = {"onnx": ("int8", "q4_0"), "litert": ("int8",), "gguf": ("q4_0",)}
    for parent in [*parents, *export_gguf(source, [384], out)]:
        for precision in wanted[parent.name.split("-")[0]]:
            quantize_artifact(parent, precision, out / parent.name.replace("fp32", precision))
    return out


def test_every_file_of_the_starter_is_as_large_as_predicted(
    artifacts: Path, litert_artifacts: Path, gguf_artifacts: Path
) -> None:
    folders = [one for all_of in (artifacts, litert_artifacts, gguf_artifacts) for one in all_of.iterdir()]
    off = {one.name: predict(STARTER, one).file_bytes / file_bytes(one) - 1 for one in folders}
    assert len(off) == 23
    assert {name: share for name, share in off.items() if abs(share) > SIZE_MARGIN} == {}


def test_every_file_of_a_shape_in_between_is_as_large_as_predicted(between: Path) -> None:
    off = {one.name: predict(BETWEEN, one).file_bytes / file_bytes(one) - 1 for one in between.iterdir()}
    assert len(off) == 7
    assert {name: share for name, share in off.items() if abs(share) > SIZE_MARGIN} == {}


@pytest.mark.parametrize("name", ["onnx-fp32", "onnx-q8_0", "litert-q4_0", "gguf-fp32"])
def test_the_starter_takes_the_memory_that_was_predicted(
    name: str, artifacts: Path, litert_artifacts: Path, gguf_artifacts: Path, tmp_path: Path
) -> None:
    folders = {"onnx": artifacts, "litert": litert_artifacts, "gguf": gguf_artifacts}
    assert_memory_is_as_predicted(STARTER, folders[name.split("-")[0]] / f"{name}-768d", tmp_path)


@pytest.mark.parametrize("name", ["onnx-int8", "onnx-q4_0", "litert-int8", "gguf-q4_0"])
def test_a_shape_in_between_takes_the_memory_that_was_predicted(
    name: str, between: Path, tmp_path: Path
) -> None:
    assert_memory_is_as_predicted(BETWEEN, between / f"{name}-384d", tmp_path)


def test_full_size_agrees_with_the_documented_measurements() -> None:
    """docs/full-size.md: megabytes of files at 768 dimensions; the real model's table trimmed in the last."""
    plan = make_plan(PlanRequest(EMBEDDINGGEMMA, dims=(768,)))
    found = {one.name: one.file_bytes / BYTES_PER_MB for one in plan.profiles}
    documented = {
        "onnx-q8_0": 329.4,
        "onnx-int8": 317.3,
        "onnx-mixed": 192.1,
        "onnx-q4_0": 177.8,
        "gguf-q8_0": 328.9,
        "gguf-mixed": 196.1,
        "gguf-q4_0": 177.2,
        "litert-int8": 318.0,
        "litert-mixed": 188.4,
        "litert-q4_0": 171.6,
    }
    assert {name: found[f"{name}-768d"] for name in documented} == pytest.approx(documented, rel=0.01)


def test_an_index_is_vectors_and_ids() -> None:
    cost = index_cost(dim=100, documents=1000)
    assert (cost.float32, cost.int8, cost.binary) == (408_000, 108_000, 21_000)


def test_every_runtime_precision_and_dimension_is_planned() -> None:
    plan = make_plan(PlanRequest(STARTER))
    kinds = 3 + sum(len(recipes) for recipes in RECIPES.values())
    assert len({one.name for one in plan.profiles}) == len(plan.profiles) == 4 * kinds


def test_a_trimmed_table_a_shorter_text_and_a_smaller_dimension_all_cost_less() -> None:
    def total(**changes: object) -> tuple[float, float]:
        wanted = {"dims": (768,), "precisions": ("int8",), "runtimes": ("litert",), "tokens": 256}
        (one,) = make_plan(PlanRequest(**{"shape": STARTER} | wanted | changes)).profiles  # type: ignore[arg-type]
        return one.file_bytes, one.ram.second_use

    usual = total()
    trimmed = total(shape=Shape(**vars(STARTER) | {"rows": 8192}))
    assert trimmed[0] < usual[0]
    assert total(tokens=64)[1] < usual[1]
    assert all(small < large for small, large in zip(total(dims=(128,)), usual, strict=True))


def test_a_runtime_without_a_precision_shows_its_own() -> None:
    plan = make_plan(PlanRequest(STARTER, (128,), ("q8_0", "int8"), ("litert", "gguf")))
    assert [one.name for one in plan.profiles] == ["litert-int8-128d", "gguf-q8_0-128d"]


def test_the_command_loads_neither_torch_nor_a_runtime_and_stays_within_its_columns() -> None:
    program = (
        "import sys; from pocketvec.cli import main; main(['plan']); "
        "heavy = {'torch', 'transformers', 'onnxruntime', 'onnx', 'sentence_transformers'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert max(map(len, ran.stdout.splitlines())) <= 100
    assert "onnx q4_0" in ran.stdout


def test_json_has_what_the_table_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--shape", str(STARTER_MODEL), "--dims", "128", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["shape"]["rows"] == STARTER.rows
    assert {one["runtime"] for one in answer["profiles"]} == {"onnx", "litert", "gguf"}
    assert all(one["ram_bytes"]["first_use"] > 0 for one in answer["profiles"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shape", "gemma-9"], "shape 'gemma-9': unknown"),
        (["--dims", "769"], "dimension 769"),
        (["--dims", "128,128"], "dimension 128: given twice"),
        (["--precisions", "fp16"], "float16 is refused"),
        (["--precisions", "q2"], "choose from fp32, q8_0, int8, q4_0, mixed"),
        (["--runtimes", "onnx,coreml"], "runtime 'coreml': unknown"),
        (["--documents", "-1"], "documents -1"),
        (["--max-tokens", "4096"], "embeddinggemma-300m takes 1 to 2048"),
        (["--vocab-size", "0"], "rows is 0"),
    ],
)
def test_a_bad_request_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_width_that_blocks_do_not_divide_is_refused_as_by_the_writers() -> None:
    odd = Shape("odd", 5000, 72, 96, (SLIDING, FULL), 1, 1, 64, 64, 512)
    with pytest.raises(UserError, match="72 is not a multiple of 32"):
        make_plan(PlanRequest(odd))
    assert make_plan(PlanRequest(odd, precisions=("fp32",))).profiles
