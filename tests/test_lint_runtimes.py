"""Faults put into real LiteRT and GGUF artifacts are named."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from artifact_editing import damaged

from export.gguf_file import read_gguf
from export.tflite_file import read_tflite, write_tflite
from export.tflite_graph import builtin_code

OPERATORS = schema.BuiltinOperator
DOWN = "layers.{}.mlp.down_proj.weight"


class File:
    """A .tflite taken apart: the graph, buffers by number, their numbers by name."""

    def __init__(self, path: Path) -> None:
        self.model, buffers = read_tflite(path)
        self.buffers = {index: np.array(value) for index, value in buffers.items()}
        self.tensors = [tensor for graph in self.model.subgraphs for tensor in graph.tensors]
        self.number = {self.name(tensor): int(tensor.buffer) for tensor in self.tensors}

    @staticmethod
    def name(tensor: Any) -> str:
        return tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name or ""

    def scalars(self, old: float, new: float) -> None:
        """Another value in every buffer of one float32 with the value `old`."""
        held = [value for value in self.buffers.values() if value.nbytes == 4]
        found = [value for value in held if value.view(np.float32)[0] == np.float32(old)]
        assert found
        for value in found:
            value.view(np.float32)[0] = new

    def operators(self, kind: int, graph: int = 0) -> list[Any]:
        codes = [builtin_code(code) for code in self.model.operatorCodes]
        return [one for one in self.model.subgraphs[graph].operators if codes[one.opcodeIndex] == kind]


Edit = Callable[[File], None]


def in_litert(edit: Edit) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.tflite"
        file = File(path)
        edit(file)
        path.unlink()
        write_tflite(path, file.model, file.buffers)

    return change


def no_embedding_scale(file: File) -> None:
    for graph in range(len(file.model.subgraphs)):
        lookup = file.operators(OPERATORS.EMBEDDING_LOOKUP, graph)[0]
        operators = file.model.subgraphs[graph].operators
        scale = next(one for one in operators if lookup.outputs[0] in one.inputs)
        lookup.outputs = scale.outputs
        operators.remove(scale)


def full_tables_everywhere(file: File) -> None:
    for name, number in file.number.items():
        if name.startswith("rope.sliding"):
            file.buffers[number] = file.buffers[file.number[name.replace("sliding", "full")]]


def lost_signature(file: File) -> None:
    file.model.signatureDefs.pop(1)


def not_normalised(file: File) -> None:
    graph, signature = file.model.subgraphs[2], file.model.signatureDefs[2]
    bare = graph.operators[-1].inputs[0]
    graph.outputs = [bare]
    signature.outputs[0].tensorIndex = bare


def half_gelu(file: File) -> None:
    graph = file.model.subgraphs[0]
    graph.tensors[file.operators(OPERATORS.GELU)[3].outputs[0]].type = schema.TensorType.FLOAT16


def custom_operator(file: File) -> None:
    code = file.model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = OPERATORS.CUSTOM
    code.customCode = "Magic"


def band_too_short(file: File) -> None:
    """The keys of the second band of the longest signature begin later than its window reaches."""
    graph = file.model.subgraphs[-1]
    shapes = {index: tuple(tensor.shape) for index, tensor in enumerate(graph.tensors)}
    positions = [i for i, shape in shapes.items() if shape == (1, 1, 640) and graph.tensors[i].buffer]
    held = [i for i in positions if int(graph.tensors[i].buffer) in file.buffers]
    for index in held[:1]:
        file.buffers[int(graph.tensors[index].buffer)].view(np.float32)[:] += 9


def times_two(name: str) -> Edit:
    def edit(file: File) -> None:
        for tensor in file.tensors:
            if file.name(tensor) == name:
                tensor.quantization.scale = np.asarray(tensor.quantization.scale) * np.float32(2)

    return edit


def rows(file: File, name: str, height: int) -> np.ndarray:
    return file.buffers[file.number[name]].reshape(height, -1)


def shuffled(name: str, height: int) -> Edit:
    def edit(file: File) -> None:
        order = np.random.default_rng(3).permutation(height)
        for part in (name, f"{name}.scales"):
            if part in file.number:
                held = rows(file, part, height)
                held[:] = held[order]
        for tensor in file.tensors:
            scales = tensor.quantization.scale if file.name(tensor) == name and tensor.quantization else None
            if scales is not None and len(scales) == height:
                tensor.quantization.scale = np.asarray(scales)[order]

    return edit


def zeroed(name: str, height: int) -> Edit:
    def edit(file: File) -> None:
        rows(file, name, height)[7, 16:32] = 0  # 32 codes of 4 bits

    return edit


def exchanged(first: str, second: str) -> Edit:
    def edit(file: File) -> None:
        for end in ("", ".scales"):
            one, other = file.number[first + end], file.number[second + end]
            file.buffers[one], file.buffers[other] = file.buffers[other], file.buffers[one]

    return edit


@pytest.mark.parametrize(
    ("name", "evidence", "precision", "edit"),
    [
        ("window-off-by-one", "seq256: window 63, the manifest says 64", "int8", lambda f: f.scalars(64, 63)),
        ("window-halved", "window 32, the manifest says 64", "q4_0", lambda f: f.scalars(64, 32)),
        ("window-wrong", "window 55, the manifest says 64", "q4_0", band_too_short),
        ("norm-epsilon-wrong", "1e-05, the manifest says 1e-06", "q4_0", lambda f: f.scalars(1e-6, 1e-5)),
        ("embedding-scale-wrong", "seq64: 12, the manifest says 16", "int8", lambda f: f.scalars(16, 12)),
        ("embedding-scale-missing", "seq64: rows of the table", "q4_0", no_embedding_scale),
        (
            "rope-base-wrong",
            "seq64: rope base 1e+06, the manifest says 10000",
            "q4_0",
            full_tables_everywhere,
        ),
        ("signature-missing", "'seq256' of the manifest's lengths", "q4_0", lost_signature),
        ("not-normalised", "seq512: the output is not divided", "q4_0", not_normalised),
        ("fp16-activations", "seq64: GELU makes half precision", "q4_0", half_gelu),
        ("operator-unknown", "Magic is none of LiteRT's own", "q4_0", custom_operator),
        ("scale-off", f"'{DOWN.format(2)}' all rows: 2 times", "int8", times_two(DOWN.format(2))),
        ("rows-shuffled", f"'{DOWN.format(2)}' all rows", "int8", shuffled(DOWN.format(2), 256)),
        ("rows-shuffled", "'embed_tokens.weight'", "int8", shuffled("embed_tokens.weight", 16384)),
        ("rows-shuffled", "'embed_tokens.weight'", "q4_0", shuffled("embed_tokens.weight", 16384)),
        ("rows-shuffled", "'head.0.weight'", "int8", shuffled("head.0.weight", 128)),
        ("block-zeroed", "in row 7, from column 32 on", "q4_0", zeroed(DOWN.format(0), 256)),
        ("weights-exchanged", f"holds '{DOWN.format(5)}'", "q4_0", exchanged(DOWN.format(1), DOWN.format(5))),
    ],
)
def test_a_fault_of_a_litert_file_is_named(
    litert_artifacts: Path, tmp_path: Path, name: str, evidence: str, precision: str, edit: Edit
) -> None:
    found = damaged(litert_artifacts / f"litert-{precision}-128d", tmp_path / "a", in_litert(edit))
    assert name in found
    assert evidence in found[name]
    assert list(found) == [name] or name == "operator-unknown"


# ---- GGUF


def metadata(key: str, form: str, value: float) -> Callable[[Path], None]:
    """Another number under a key, written into the file where it stands."""

    def change(folder: Path) -> None:
        path = folder / "model.gguf"
        raw = bytearray(path.read_bytes())
        text = key.encode()
        at = raw.index(struct.pack("<Q", len(text)) + text) + 8 + len(text) + 4
        struct.pack_into(form, raw, at, value)
        path.write_bytes(raw)

    return change


def tensor(name: str, edit: Callable[[np.ndarray], None]) -> Callable[[Path], None]:
    """Damage to a tensor's bytes, given as uint8 [rows, bytes of a row]."""

    def change(folder: Path) -> None:
        path = folder / "model.gguf"
        held = next(one for one in read_gguf(path)[1] if one.name == name)
        raw = np.memmap(path, np.uint8, "r+", held.position, (held.shape[0], held.nbytes // held.shape[0]))
        edit(raw)
        raw.flush()

    return change


def double_scales(raw: np.ndarray) -> None:
    blocks = raw.reshape(len(raw), -1, 18)
    scales = np.ascontiguousarray(blocks[:, :, :2]).view(np.float16) * np.float16(2)
    blocks[:, :, :2] = scales.view(np.uint8)


def zero_codes(raw: np.ndarray) -> None:
    raw[9, 2:18] = 0x88


def shuffle(raw: np.ndarray) -> None:
    raw[:] = raw[np.random.default_rng(4).permutation(len(raw))]


def cut_short(folder: Path) -> None:
    path = folder / "model.gguf"
    path.write_bytes(path.read_bytes()[:-512])


def other_prompt(folder: Path) -> None:
    path = folder / "model.gguf"
    path.write_bytes(path.read_bytes().replace(b"task: search result", b"task: Search result"))


OWN = "gemma-embedding."


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("window-halved", metadata(f"{OWN}attention.sliding_window", "<I", 64)),
        ("window-off-by-one", metadata(f"{OWN}attention.sliding_window", "<I", 130)),
        ("rope-base-wrong", metadata(f"{OWN}rope.freq_base_swa", "<f", 1e6)),
        ("norm-epsilon-wrong", metadata(f"{OWN}attention.layer_norm_rms_epsilon", "<f", 1e-5)),
        ("pooling-wrong", metadata(f"{OWN}pooling_type", "<I", 2)),
        ("dim-wrong", metadata(f"{OWN}embedding_length_out", "<I", 96)),
        ("bos-missing", metadata("tokenizer.ggml.add_bos_token", "<B", 0)),
        ("eos-missing", metadata("tokenizer.ggml.add_eos_token", "<B", 0)),
        ("scale-off", tensor("blk.2.ffn_down.weight", double_scales)),
        ("rows-shuffled", tensor("token_embd.weight", shuffle)),
        ("rows-shuffled", tensor("blk.1.attn_q.weight", shuffle)),
        ("rows-shuffled", tensor("dense_2.weight", shuffle)),
        ("block-zeroed", tensor("blk.0.attn_output.weight", zero_codes)),
        ("data-beyond-file", cut_short),
        ("prompt-wrong", other_prompt),
    ],
)
def test_a_fault_of_a_gguf_file_is_named(
    gguf_artifacts: Path, tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    found = damaged(gguf_artifacts / "gguf-q4_0-128d", tmp_path / "a", change)
    assert name in found
    assert set(found) <= {name, "weight-missing"}
