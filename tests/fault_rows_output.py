"""Rows of the mutation table: pooling, head and damaged weights. tests/fault_rows.py has the others."""

import graph_faults as f
import mutations as m
import test_diagnosis as d
import test_lint_runtimes as other
import test_lint_weights as weights
from fault_rows import FP32, GGUF_Q4_0, LITERT_INT8, OWN, Q4_0, Q8_0, always, graph, litert, weight
from fault_table import Make, Row

SQUARE = "onnx-fp32-64d"
"""Of the starter with two Dense layers of equal width; tests/test_mutations.py makes it."""
DOWN = weights.DOWN.format(2)


def of_wide(edit: m.Edit | None = None) -> Make:
    return lambda artifacts: m.other_head(d.wide(artifacts), edit)


HEAD = [
    Row(
        "first token's state for the mean",
        "graph",
        Q4_0,
        graph(f.pooling("cls")),
        "cls-pooling",
        lint="pooling-wrong",
        running="cls-pooling",
    ),
    Row(
        "CLS pooling",
        "GGUF metadata",
        GGUF_Q4_0,
        always(other.metadata(f"{OWN}pooling_type", "<I", 2)),
        "cls-pooling",
        lint="pooling-wrong",
        running="cls-pooling",
    ),
    Row(
        "padding in the mean",
        "graph",
        Q4_0,
        graph(f.padding_pooled),
        "padding-changes-vector",
        running="padding-changes-vector",
    ),
    Row(
        "a share of the batch's mean",
        "graph",
        Q4_0,
        graph(f.neighbours),
        "batch-changes-vector",
        running="batch-changes-vector padding-changes-vector",
    ),
    Row(
        "vectors not normalised",
        "graph",
        Q8_0,
        graph(f.not_normalised),
        "not-normalised",
        lint="not-normalised",
        running="not-normalised",
    ),
    Row(
        "a number not finite",
        "graph",
        Q4_0,
        graph(f.not_finite),
        "not-finite",
        lint="not-normalised",
        running="not-finite",
    ),
    Row(
        "Dense layers in the wrong order",
        "head",
        SQUARE,
        weight(weights.dense_swapped),
        "dense-order-swapped",
        lint="dense-order-swapped",
        running="dense-order-swapped",
    ),
    Row(
        "Dense layers missing",
        "graph",
        Q4_0,
        graph(f.dense_missing),
        "dense-missing",
        running="dense-missing",
    ),
    Row(
        "head transposed",
        "head",
        FP32,
        always(m.head_weights(lambda one: one.reshape(128, 256).T)),
        "head-transposed",
        lint="transposed",
        running="head-transposed",
    ),
    Row(
        "last numbers for the first",
        "head",
        FP32,
        d.last_columns,
        "slice-wrong",
        lint="weight-altered",
        running="slice-wrong",
    ),
    Row(
        "slice missing",
        "graph and head",
        Q4_0,
        of_wide(),
        "slice-missing",
        lint="slice-missing weight-shape-wrong",
        running="slice-missing",
    ),
    Row(
        "slice not renormalised",
        "graph and head",
        FP32,
        of_wide(f.cut_last),
        "slice-not-renormalised",
        lint="not-normalised weight-shape-wrong",
        running="slice-not-renormalised",
    ),
]
WEIGHTS = [
    Row(
        "rows of the table shuffled",
        "weights",
        Q4_0,
        weight(weights.shuffled(weights.TABLE)),
        "rows-shuffled",
        lint="rows-shuffled",
        running="unexplained",
    ),
    Row(
        "rows of the table shuffled",
        "weights",
        GGUF_Q4_0,
        always(other.tensor("token_embd.weight", other.shuffle)),
        "rows-shuffled",
        lint="rows-shuffled",
        running="unexplained",
    ),
    Row("a block zeroed", "weights", Q4_0, weight(weights.zeroed(DOWN)), "block-zeroed", lint="block-zeroed"),
    Row(
        "a block zeroed",
        "weights",
        GGUF_Q4_0,
        always(other.tensor("blk.0.attn_output.weight", other.zero_codes)),
        "block-zeroed",
        lint="block-zeroed",
    ),
    Row(
        "scales of a weight doubled",
        "weights",
        LITERT_INT8,
        litert(other.times_two(other.DOWN.format(2))),
        "scale-off",
        lint="scale-off",
    ),
    Row(
        "two weights exchanged",
        "weights",
        Q8_0,
        weight(weights.exchanged(weights.DOWN.format(1), DOWN)),
        "weights-exchanged",
        lint="weights-exchanged",
        running="unexplained",
    ),
    Row(
        "a matrix transposed",
        "weights",
        FP32,
        weight(weights.turned(weights.O_PROJ.format(1))),
        "transposed",
        lint="transposed",
        running="unexplained",
    ),
]
