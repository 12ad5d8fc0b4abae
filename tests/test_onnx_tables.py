"""The token table as an input: the graph without it read by the onnx package, its rows read from the file."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from common.errors import UserError
from export.onnx_build import OnnxBuilder
from export.onnx_file import read_onnx, write_onnx
from export.onnx_tables import Table, TableFile, edit_external, split_tables
from export.packed_alignment import align_packed
from export.session import load_onnxruntime
from quantize.onnx_rewrite import write_quantized
from quantize.recipes import RECIPES

PRECISIONS = ("q8_0", "int8", "q4_0", "mixed")
ROWS, WIDTH = 16384, 256
TABLE = "embed_tokens.weight"


def graph_bytes(artifacts: Path, precision: str) -> bytes:
    return (artifacts / f"onnx-{precision}-128d" / "model.onnx").read_bytes()


def names(model: onnx.ModelProto) -> tuple[list[str], list[str], list[str]]:
    """Of nodes, inputs and constants, in order."""
    graph = model.graph
    return [n.name for n in graph.node], [i.name for i in graph.input], [c.name for c in graph.initializer]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_lookups_become_inputs_and_all_else_stays(artifacts: Path, precision: str) -> None:
    whole = onnx.load_from_string(graph_bytes(artifacts, precision))
    split, tables = split_tables(graph_bytes(artifacts, precision))
    found = onnx.load_from_string(split)
    made = {table.rows_name for table in tables}
    assert len(made) == 2
    before, after = names(whole), names(found)
    assert after[0] == [node.name for node in whole.graph.node if not made & {*node.output}]
    assert len(before[0]) - len(after[0]) == 2
    assert sorted(after[1]) == sorted({*before[1], *made})
    gone = {*before[2]} - {*after[2]}
    assert len(gone) == len(before[2]) - len(after[2]) == 2
    assert all(name.startswith(TABLE) for name in gone)
    rest = {tensor.name: tensor for tensor in whole.graph.initializer}
    assert all(tensor == rest[tensor.name] for tensor in found.graph.initializer)
    assert found.opset_import == whole.opset_import
    assert found.graph.output == whole.graph.output


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_onnx_package_checks_the_graph_and_types_its_new_inputs(
    artifacts: Path, tmp_path: Path, precision: str
) -> None:
    split, tables = split_tables(graph_bytes(artifacts, precision))
    folder = artifacts / f"onnx-{precision}-128d"
    for end in ("data", "head"):
        (tmp_path / f"model.onnx.{end}").write_bytes((folder / f"model.onnx.{end}").read_bytes())
    (tmp_path / "model.onnx").write_bytes(split)
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    types = {one.name: one.type.tensor_type for one in onnx.load_from_string(split).graph.input}
    packed = WIDTH if precision in ("q8_0", "int8") else WIDTH // 2
    assert {table.shape for table in tables} == {(ROWS, packed), (ROWS, WIDTH // 32)}
    for table in tables:
        shape = types[table.rows_name].shape.dim
        assert shape[0].dim_param == "tokens"
        assert [size.dim_value for size in shape[1:]] == list(table.shape[1:])
        assert types[table.rows_name].elem_type == table.data_type
        assert table.data_type in (TensorProto.UINT8, TensorProto.FLOAT16)


@pytest.mark.parametrize("precision", ["q8_0", "q4_0"])
def test_rows_are_those_of_the_table(artifacts: Path, precision: str) -> None:
    folder = artifacts / f"onnx-{precision}-128d"
    _, tables = split_tables(graph_bytes(artifacts, precision))
    weights = read_onnx(folder / "model.onnx").weights
    ids = [0, ROWS - 1, 700, 700, 3]
    for table in tables:
        (name,) = [n for n, v in weights.items() if n.startswith(TABLE) and v.shape == table.shape]
        found = TableFile(table, folder).rows(ids)
        assert found.dtype == weights[name].dtype
        np.testing.assert_array_equal(found, weights[name][ids])


def test_rows_of_no_ids_are_none(artifacts: Path) -> None:
    _, tables = split_tables(graph_bytes(artifacts, "q8_0"))
    assert TableFile(tables[0], artifacts / "onnx-q8_0-128d").rows([]).shape == (0, *tables[0].shape[1:])


def test_a_graph_without_a_quantised_token_table_comes_back_byte_for_byte(artifacts: Path) -> None:
    whole = graph_bytes(artifacts, "fp32")
    assert split_tables(whole) == (whole, [])
    split, _ = split_tables(graph_bytes(artifacts, "q8_0"))
    assert split_tables(split) == (split, [])


def test_packed_dimensions_are_read_too(artifacts: Path) -> None:
    """Other writers put the dimensions of a tensor into one field."""
    model = onnx.load_from_string(graph_bytes(artifacts, "q8_0"))
    raw = graph_bytes(artifacts, "q8_0")
    _, expected = split_tables(raw)
    for tensor in model.graph.initializer:
        if tensor.name.startswith(TABLE):
            dims = b"".join(varint(size) for size in tensor.dims)
            with_fields = tensor.SerializeToString()
            del tensor.dims[:]
            packed = b"\x0a" + varint(len(dims)) + dims + tensor.SerializeToString()
            raw = raw.replace(varint(len(with_fields)) + with_fields, varint(len(packed)) + packed)
    rewritten = rewrapped(raw, graph_bytes(artifacts, "q8_0"))
    assert rewritten != graph_bytes(artifacts, "q8_0")
    assert onnx.load_from_string(rewritten) == onnx.load_from_string(graph_bytes(artifacts, "q8_0"))
    assert split_tables(rewritten)[1] == expected


def rewrapped(changed: bytes, original: bytes) -> bytes:
    """`changed` with the length that its graph now has."""
    graph = onnx.load_from_string(original).graph.SerializeToString()
    old = b"\x3a" + varint(len(graph))
    return changed.replace(old, b"\x3a" + varint(len(graph) + len(changed) - len(original)), 1)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.fixture
def two_tables(tmp_path: Path) -> Path:
    """Words looked up by input_ids, positions by a constant range and by another input: a BERT's lookups."""
    graph = OnnxBuilder()
    table = np.random.default_rng(0).standard_normal((128, 64), dtype=np.float32)
    words = graph.op("Gather", [graph.weight("words", table), "input_ids"])
    graph.weight("places", np.arange(4))
    places = graph.op("Gather", [graph.weight("positions", table[::-1].copy()), "places"])
    kinds = graph.op("Gather", [graph.weight("kinds", table + 1), "attention_mask"])
    graph.op("Add", [graph.op("Add", [words, places]), kinds], "y")
    inputs = {
        name: helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", 4])
        for name in ("input_ids", "attention_mask")
    }
    shape: list[str | int | None] = ["batch", 4, 64]
    model = graph.model(inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)])
    write_onnx(tmp_path / "plain.onnx", model.proto, model.weights.items())
    write_quantized(tmp_path / "plain.onnx", tmp_path / "m.onnx", RECIPES["onnx"]["q8_0"])
    return tmp_path / "m.onnx"


def test_only_the_table_that_tokens_are_looked_up_in_leaves_the_graph(two_tables: Path) -> None:
    split, tables = split_tables(two_tables.read_bytes())
    constants = names(onnx.load_from_string(split))[2]
    assert {name.partition(".")[0] for name in constants if name.endswith("_scales")} == {
        "positions",
        "kinds",
    }
    assert {table.rows_name.partition(".")[0] for table in tables} == {"words"}
    ort = load_onnxruntime()
    feeds = {
        "input_ids": np.array([[5, 6, 7, 127], [1, 1, 0, 2]]),
        "attention_mask": np.ones((2, 4), np.int64),
    }
    whole = ort.InferenceSession(str(two_tables)).run(None, feeds)[0]
    (two_tables.parent / "split.onnx").write_bytes(split)
    ids = feeds["input_ids"].ravel().tolist()
    rows = {table.rows_name: TableFile(table, two_tables.parent).rows(ids) for table in tables}
    session = ort.InferenceSession(str(two_tables.parent / "split.onnx"))
    np.testing.assert_array_equal(session.run(None, {**feeds, **rows})[0], whole)


def test_every_cut_of_a_graph_is_refused_in_one_line(artifacts: Path) -> None:
    whole = graph_bytes(artifacts, "q8_0")
    places = [*range(40), *range(40, len(whole) - 40, 997), len(whole) - 20]
    for size in places:
        with pytest.raises(UserError, match=r"^m\.onnx: not an ONNX file \([^\n]*\)$"):
            split_tables(whole[:size], "m.onnx")


def test_damaged_bytes_are_refused_or_read_but_no_fault(artifacts: Path) -> None:
    """A changed byte may leave a file that still reads; it may not end in another error."""
    whole = graph_bytes(artifacts, "q4_0")
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        changed = bytearray(whole)
        for place in generator.integers(0, len(whole), 6):
            changed[place] = generator.integers(256)
        try:
            split_tables(bytes(changed))
        except UserError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    "content", [b"", b"hello world", b'{"a": 1}', b"\0" * 50, b"\xff" * 50, b"\x3a\x00\x0a"]
)
def test_foreign_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="not an ONNX file"):
        split_tables(content)


@pytest.mark.parametrize("location", ["../t", "/etc/passwd", "sub/t", "..", "", "absent"])
def test_a_table_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "sub").mkdir()
    for folder in (tmp_path, tmp_path / "sub"):
        (folder / "t").write_bytes(bytes(100))
    with pytest.raises(UserError, match=r"the token table lies in '.*', which is no file there"):
        TableFile(Table("rows", TensorProto.UINT8, (2, 4), location, 0), tmp_path / "sub")


def test_a_file_too_short_for_its_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(bytes(107))
    with pytest.raises(UserError, match="t: too short for the token table"):
        TableFile(Table("rows", TensorProto.FLOAT16, (2, 4), "t", 92), tmp_path)
    assert TableFile(Table("rows", TensorProto.FLOAT16, (2, 4), "t", 91), tmp_path).rows([1]).shape == (1, 4)


def test_editing_nothing_changes_nothing_that_onnx_reads(artifacts: Path) -> None:
    whole = graph_bytes(artifacts, "q8_0")
    assert onnx.load_from_string(edit_external(whole, dict)) == onnx.load_from_string(whole)


def test_aligning_moves_each_constant_with_its_packed_forms(tmp_path: Path) -> None:
    graph = OnnxBuilder()
    values = {f"w{n}": np.random.default_rng(n).integers(0, 255, 1100 + n).astype(np.uint8) for n in range(3)}
    for name, value in values.items():
        graph.weight(name, value)
    graph.op("Identity", ["x"], "y")
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    proto = graph.model({"x": info[0]}, info[1:]).proto
    data, places, packed = b"", {}, {}
    for name, value in values.items():
        places[name] = len(data), value.nbytes
        data += value.tobytes()
        packed[name] = [(len(data), 7), (len(data) + 7, 5)]
        data += bytes([value[0]]) * 7 + bytes([value[1]]) * 5
        tensor = proto.graph.initializer.add(name=name, dims=value.shape, data_type=TensorProto.UINT8)
        tensor.data_location = TensorProto.EXTERNAL
        parts = "|".join(f"{offset};{size};0" for offset, size in packed[name])
        for key, text in {
            "location": "m.data",
            "offset": str(places[name][0]),
            "length": str(value.nbytes),
            "prepacked_0": f"Kernel+1|{parts}",
        }.items():
            tensor.external_data.add(key=key, value=text)
    file, beside = tmp_path / "m.onnx", tmp_path / "m.data"
    file.write_bytes(proto.SerializeToString())
    beside.write_bytes(data)
    align_packed(file, beside)
    moved = beside.read_bytes()
    for tensor in onnx.load(str(file), load_external_data=False).graph.initializer:
        found = {item.key: item.value for item in tensor.external_data}
        value = values[tensor.name]
        assert int(found["offset"]) % 64 == 0
        assert moved[int(found["offset"]) :][: value.nbytes] == value.tobytes()
        kernel, *parts_found = found["prepacked_0"].split("|")
        assert kernel == "Kernel+1"
        for index, (part, size) in enumerate(zip(parts_found, (7, 5), strict=True)):
            offset, length, _ = part.split(";")
            assert (int(offset) % 64, int(length)) == (0, size)
            assert moved[int(offset) :][:size] == bytes([value[index]]) * size
    aligned = file.stat().st_mtime_ns
    align_packed(file, beside)
    assert file.stat().st_mtime_ns == aligned
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.data"}
