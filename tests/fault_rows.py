"""Rows of the mutation table: prompts, tokens and the encoder. tests/fault_rows_output.py has the others.

Quantised artifacts wherever the fault is visible there.
"""

import artifact_editing as e
import graph_faults as f
import mutations as m
import onnx
import test_diagnosis as d
import test_lint as lint
import test_lint_runtimes as other
from fault_table import Change, Make, Row

FP32, Q8_0, INT8, Q4_0 = d.FP32, d.Q8_0, d.INT8, d.Q4_0
LITERT_INT8, LITERT_Q4_0, GGUF_Q4_0 = "litert-int8-128d", "litert-q4_0-128d", "gguf-q4_0-128d"
OWN = other.OWN


def always(change: Change) -> Make:
    return lambda _: change


def graph(edit: m.Edit) -> Make:
    return always(m.graph_edit(edit))


def weight(edit: e.Edit) -> Make:
    return always(e.in_onnx(edit))


def litert(edit: other.Edit) -> Make:
    return always(other.in_litert(edit))


PROMPTS = [
    Row(
        "no prompts",
        "manifest",
        Q4_0,
        always(m.manifest_edit(prompts={})),
        "prompt-missing",
        lint="prompt-missing",
        running="prompt-missing",
    ),
    Row(
        "prompts doubled",
        "manifest",
        Q4_0,
        always(m.manifest_edit(prompts=d.DOUBLED)),
        "prompt-doubled",
        lint="prompt-doubled prompt-wrong",
        running="prompt-doubled",
    ),
    Row(
        "prompts swapped",
        "manifest",
        Q4_0,
        always(m.manifest_edit(prompts=d.SWAPPED)),
        "prompts-swapped",
        lint="prompt-wrong",
        running="prompts-swapped",
    ),
    Row(
        "BOS missing",
        "tokenizer.json",
        Q4_0,
        always(m.template("text", "eos")),
        "bos-missing",
        lint="bos-missing",
        running="bos-missing",
    ),
    Row(
        "EOS missing",
        "tokenizer.json",
        Q8_0,
        always(m.template("bos", "text")),
        "eos-missing",
        lint="eos-missing",
        running="eos-missing",
    ),
    Row(
        "BOS and EOS swapped",
        "tokenizer.json",
        INT8,
        always(m.template("eos", "text", "bos")),
        "bos-eos-swapped",
        lint="bos-eos-swapped",
        running="bos-eos-swapped",
    ),
    Row(
        "neither BOS nor EOS",
        "tokenizer.json",
        LITERT_Q4_0,
        always(m.template("text")),
        "special-tokens-missing",
        lint="bos-missing eos-missing",
        running="special-tokens-missing",
    ),
    Row(
        "an id too many allowed",
        "manifest",
        Q4_0,
        always(m.tokenizer_spec(vocab_size=16385)),
        "out-of-range-ids-accepted",
        lint="out-of-range-guard",
        running="out-of-range-ids-accepted",
    ),
    Row(
        "zeros for ids beyond the table",
        "graph",
        Q4_0,
        weight(lint.zeros_beyond_table),
        "out-of-range-guard",
        lint="out-of-range-guard",
    ),
    Row("ids shifted by one", "graph", Q4_0, graph(f.ids_shifted), "ids-shifted", running="ids-shifted"),
]
ENCODER = [
    Row(
        "embedding scale missing",
        "graph",
        Q4_0,
        graph(f.embedding_scale),
        "embedding-scale-missing",
        lint="embedding-scale-missing",
        running="embedding-scale-missing",
    ),
    Row(
        "embedding scale missing",
        "graph",
        LITERT_Q4_0,
        litert(other.no_embedding_scale),
        "embedding-scale-missing",
        lint="embedding-scale-missing",
        running="embedding-scale-missing",
    ),
    Row(
        "rotary bases swapped",
        "graph",
        INT8,
        graph(f.rope(sliding=1, full=0)),
        "rope-base-wrong",
        lint="rope-base-wrong",
        running="rope-base-wrong",
    ),
    Row(
        "full rotary base in all layers",
        "GGUF metadata",
        GGUF_Q4_0,
        always(other.metadata(f"{OWN}rope.freq_base_swa", "<f", 1e6)),
        "rope-base-wrong",
        lint="rope-base-wrong",
    ),
    Row(
        "window one wider",
        "graph",
        FP32,
        graph(f.window(lambda right: right + 1)),
        "window-off-by-one",
        lint="window-off-by-one",
        running="window-off-by-one",
    ),
    Row(
        "window one narrower",
        "constants",
        LITERT_INT8,
        litert(lambda file: file.scalars(64, 63)),
        "window-off-by-one",
        lint="window-off-by-one",
    ),
    Row(
        "window one wider",
        "graph",
        Q4_0,
        graph(f.window(lambda right: right + 1)),
        "window-off-by-one",
        lint="window-off-by-one",
    ),
    Row(
        "window halved",
        "graph",
        FP32,
        graph(f.window(lambda right: right // 2 + 1)),
        "window-halved",
        lint="window-halved",
        running="window-halved",
    ),
    Row("causal attention", "graph", Q8_0, graph(f.causal), "causal-attention", running="causal-attention"),
    Row(
        "padding attended to",
        "graph",
        Q8_0,
        graph(f.padding_attended),
        "padding-changes-vector",
        running="padding-changes-vector",
    ),
    Row("last layer missing", "graph", Q4_0, graph(f.last_layer), "layer-missing", running="layer-missing"),
    Row("gate and up swapped", "graph", Q4_0, graph(f.gate_up), "gate-up-swapped", running="gate-up-swapped"),
    Row(
        "a GELU in float16",
        "graph",
        Q4_0,
        weight(lambda one: e.through_half(one, "Gelu", onnx.TensorProto.FLOAT16)),
        "fp16-activations",
        lint="fp16-activations",
    ),
]
