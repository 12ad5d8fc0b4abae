"""ONNX files: whole, shared between dimensions, streamed, refused in one line."""

import gc
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from common.errors import UserError
from export.manifest import POOLED
from export.onnx_build import OnnxBuilder
from export.onnx_file import (
    ALIGNMENT,
    EXTERNAL_FROM_BYTES,
    LARGE_BYTES,
    PAGE,
    OnnxModel,
    head_file,
    read_onnx,
    trunk_file,
    write_onnx,
)
from export.session import load_onnxruntime
from quantize.onnx_rewrite import write_quantized, write_rounded
from quantize.recipes import RECIPES

INT8 = RECIPES["onnx"]["int8"]
MEGABYTE = 1_000_000


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def chain(matrices: list[np.ndarray], scale_free: bool = False) -> OnnxModel:
    """A graph that multiplies `x`, a row a token, by one matrix [out, in] after the other."""
    graph = OnnxBuilder()
    value = graph.op("Identity", ["x"], POOLED)  # all of it is head, where roundings are measured apart
    for index, matrix in enumerate(matrices):
        value = graph.product(value, f"layers.{index}", matrix, scale_free)
    return finished(graph, value, ["n", matrices[0].shape[1]], ["n", len(matrices[-1])])


def finished(graph: OnnxBuilder, result: str, taken: list[Any], given: list[Any]) -> OnnxModel:
    inputs = {"x": helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)}
    return graph.model(inputs, [helper.make_tensor_value_info(result, TensorProto.FLOAT, given)])


def write(path: Path, model: OnnxModel) -> Path:
    write_onnx(path, model.proto, model.weights.items())
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    session = load_onnxruntime().InferenceSession(str(path))
    return np.asarray(session.run(None, {"x": x})[0])


def entries(path: Path) -> dict[str, tuple[str, int, int]]:
    """Location, offset and length of each external constant."""
    found = {}
    for tensor in onnx.load(str(path), load_external_data=False).graph.initializer:
        place = {item.key: item.value for item in tensor.external_data}
        if place:
            found[tensor.name] = place["location"], int(place["offset"]), int(place["length"])
    return found


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A graph with constants of many types and sizes, and what they are."""
    graph = OnnxBuilder()
    values: dict[str, np.ndarray] = {
        "small": random(3, 5),
        "limit": random(EXTERNAL_FROM_BYTES // 4),
        "below": random(EXTERNAL_FROM_BYTES // 4 - 1),
        "turned": random(300, 70).T,
        "large": random(LARGE_BYTES // 4),
        "many_rows": random(9000, 40).T.copy().T,
        "halves": random(40, 40).astype(np.float16),
        "codes": np.arange(5000, dtype=np.int64).astype(np.int8).reshape(50, 100),
        "bytes": np.arange(2000, dtype=np.int64).astype(np.uint8),
        "numbers": np.arange(500, dtype=np.int64),
        "head.0.weight_t": random(64, 32),
        "scalar": np.array(3.5, np.float32),
    }
    for name, value in values.items():
        graph.weight(name, value)
    graph.op("Identity", ["x"], "y")
    return write(tmp_path / "m.onnx", finished(graph, "y", ["n"], ["n"])), values


def test_every_constant_comes_back_as_it_was_written(mixed: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, values = mixed
    model = read_onnx(path)
    inline = {one.name: onnx.numpy_helper.to_array(one) for one in model.proto.graph.initializer}
    assert set(inline) | set(model.weights) == set(values)
    for name, value in {**inline, **model.weights}.items():
        assert value.dtype == values[name].dtype
        np.testing.assert_array_equal(value, values[name])


def test_the_onnx_package_reads_the_same_constants(mixed: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, values = mixed
    for tensor in onnx.load(str(path)).graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), values[tensor.name])


def test_small_constants_are_inline_and_large_ones_aligned(
    mixed: tuple[Path, dict[str, np.ndarray]],
) -> None:
    path, values = mixed
    places = entries(path)
    assert set(values) - set(places) == {"small", "below", "scalar"}
    for name, (location, offset, length) in places.items():
        assert location == ("m.onnx.head" if name.startswith("head.") else "m.onnx.data")
        assert offset % (PAGE if values[name].nbytes >= LARGE_BYTES else ALIGNMENT) == 0
        assert length == values[name].nbytes
    assert places["large"][1] % PAGE == 0


def test_a_second_round_trip_gives_the_same_files(
    mixed: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path, _ = mixed
    (tmp_path / "again").mkdir()
    copy = write(tmp_path / "again" / path.name, read_onnx(path))
    assert trunk_file(copy).read_bytes() == trunk_file(path).read_bytes()
    assert head_file(copy).read_bytes() == head_file(path).read_bytes()
    assert entries(copy) == entries(path)


def test_weights_are_views_of_the_mapped_file(mixed: tuple[Path, dict[str, np.ndarray]]) -> None:
    weights = read_onnx(mixed[0]).weights
    assert not any(value.flags.owndata or value.flags.writeable for value in weights.values())


def test_a_graph_written_twice_to_a_place_is_the_second_one(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", chain([random(64, 64), random(64, 64)]))
    write(path, chain([random(64, 64, seed=1)]))
    assert trunk_file(path).stat().st_size == 64 * 64 * 4
    x = random(2, 64)
    np.testing.assert_allclose(run(path, x), x @ random(64, 64, seed=1).T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8", "q4_0", "mixed"])
def test_dimensions_of_a_model_have_the_same_trunk_file(artifacts: Path, precision: str) -> None:
    files = [artifacts / f"onnx-{precision}-{dim}d" / "model.onnx" for dim in (768, 128)]
    assert trunk_file(files[0]).read_bytes() == trunk_file(files[1]).read_bytes()
    assert head_file(files[0]).stat().st_size > 5 * head_file(files[1]).stat().st_size


@pytest.mark.parametrize("precision", ["q8_0", "int8", "q4_0", "mixed"])
def test_a_dimension_written_with_a_donor_equals_one_written_alone(
    artifacts: Path, tmp_path: Path, precision: str
) -> None:
    donor = artifacts / f"onnx-{precision}-768d" / "model.onnx"
    alone = artifacts / f"onnx-{precision}-128d" / "model.onnx"
    made = tmp_path / "model.onnx"
    recipe = RECIPES["onnx"][precision]
    write_quantized(artifacts / "onnx-fp32-128d" / "model.onnx", made, recipe, donor)
    assert trunk_file(made).read_bytes() == trunk_file(donor).read_bytes()
    assert trunk_file(made).stat().st_nlink == 1
    assert head_file(made).read_bytes() == head_file(alone).read_bytes()
    feeds = {"input_ids": np.array([[2, 700, 800, 1]]), "attention_mask": np.ones((1, 4), np.int64)}
    vectors = [load_onnxruntime().InferenceSession(str(path)).run(None, feeds)[0] for path in (made, alone)]
    np.testing.assert_array_equal(*vectors)


@pytest.mark.parametrize("location", ["../m.onnx.data", "sub/m.onnx.data", "/etc/passwd", "..", ".", ""])
def test_a_constant_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    path = write(tmp_path / "m.onnx", chain([random(64, 32)]))
    (tmp_path / "sub").mkdir()
    shutil.copyfile(trunk_file(path), tmp_path / "sub" / "m.onnx.data")
    place(path, "location", location)
    refuse(path, f"tensor 'layers.0.weight_t' lies in '{location}', which does not hold it")


@pytest.mark.parametrize("offset", ["-64", "x", "64", "99999999999999999999"])
def test_a_constant_at_an_impossible_place_is_refused(tmp_path: Path, offset: str) -> None:
    path = write(tmp_path / "m.onnx", chain([random(64, 32)]))
    place(path, "offset", offset)
    refuse(path, "tensor 'layers.0.weight_t' lies in 'm.onnx.data', which does not hold it")


def place(path: Path, key: str, value: str) -> None:
    """Change where the first constant is said to lie."""
    proto = onnx.load(str(path), load_external_data=False)
    next(item for item in proto.graph.initializer[0].external_data if item.key == key).value = value
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("change", ["missing", "short"])
def test_a_missing_or_short_data_file_is_refused(tmp_path: Path, change: str) -> None:
    path = write(tmp_path / "m.onnx", chain([random(64, 32)]))
    if change == "missing":
        trunk_file(path).unlink()
    else:
        trunk_file(path).write_bytes(trunk_file(path).read_bytes()[:-1])
    refuse(path, "tensor 'layers.0.weight_t' lies in 'm.onnx.data', which does not hold it")


@pytest.mark.parametrize("content", [b"", b"hello world", b'{"a": 1}', b"\0" * 50, "cut"])
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes | str) -> None:
    path = write(tmp_path / "m.onnx", chain([random(64, 32)]))
    path.write_bytes(path.read_bytes()[:40] if isinstance(content, str) else content)
    refuse(path, "not an ONNX file")


def refuse(path: Path, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_onnx(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.fixture
def big(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A graph of 20 products, 126 MB of float32; its files are gone after the test."""
    block = random(1024, 1536)
    path = write(tmp_path / "big.onnx", chain([block, block.T] * 10))
    yield path, trunk_file(path).stat().st_size
    for file in tmp_path.glob("*.onnx*"):
        file.unlink()


@pytest.mark.parametrize("work", ["int8", "q8_0", "q4_0", "rounded"])
def test_quantising_holds_one_weight_at_a_time(big: tuple[Path, int], tmp_path: Path, work: str) -> None:
    """Memory that Python and numpy allocate; mapped pages of the source are the kernel's to drop."""
    source, size = big
    assert size > 120 * MEGABYTE
    target = tmp_path / "target.onnx"
    gc.collect()
    tracemalloc.start()
    try:
        if work == "rounded":
            write_rounded(source, INT8, target)
        else:
            write_quantized(source, target, RECIPES["onnx"][work])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert trunk_file(target).stat().st_size > size / 8
    assert peak < 10 * 1024 * 1536 * 4 < size / 1.9
