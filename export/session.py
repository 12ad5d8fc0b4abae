"""The one place that loads onnxruntime: usage reporting is off before its library starts.

An artifact is opened by path, so that external weights are mapped from the file. A quantised one is opened
from a cache of packed weights (export.weight_cache): onnxruntime packs them once, writes them out, and maps
the file from then on; without that they are memory of the app's own. The token table stays in the artifact's
file, from which the rows of each text are read (export.onnx_tables).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from common.offline import silence_telemetry
from export.manifest import OUTPUT
from export.onnx_tables import TableFile, split_tables
from export.packed_alignment import align_packed
from export.resident import hand_back, hand_back_code, hand_back_heap, mapped
from export.tokenizer import TokenBatch
from export.weight_cache import DATA_SUFFIX, WeightCache

if TYPE_CHECKING:
    import onnxruntime

Float32 = npt.NDArray[np.float32]

SESSION_OPTIONS = {
    "graph_optimization_level": "ORT_ENABLE_ALL",
    "execution_mode": "ORT_SEQUENTIAL",
    "enable_mem_pattern": "false",
    "weight_cache": "session.save_external_prepacked_constant_initializers, at first use",
    "token_table": "rows are read from the artifact's file for each text, none of it is mapped",
}
"""Recorded in every manifest, in onnxruntime's names, so that each client opens it as it was measured.

Without memory patterns the peak of a 256-token run of the full-size shape is 6 MB lower and no slower.
"""
PREPACKED_FROM_BYTES = "2048"
"""Constants from this size on go to the cache's data file."""


def usable_cores() -> int:
    """Cores that this process may run on, which a container or taskset can make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off. The only import of it in the project."""
    silence_telemetry()
    import onnxruntime

    return onnxruntime


class OnnxSession:
    """An open .onnx on the CPU provider."""

    def __init__(
        self,
        model: Path,
        threads: int | None = None,
        cache: WeightCache | None = None,
        output: str = OUTPUT,
    ) -> None:
        """`threads` bounds the intra-op threads (None: one per core); no cache means packing anew.

        Raises UserError when onnxruntime cannot read the file or the cache folder cannot be written.
        """
        self._model = model
        self._output = output
        self._threads = threads
        self._tables: dict[str, TableFile] = {}
        if cache is None:
            self.session = self._open(str(self._model), self._options())
        else:
            self.session = self._open_cached(cache)
        _let_go_of_code()

    def run_batch(self, batch: TokenBatch) -> Float32:
        """Unit vectors float32 [batch, dim], or another output asked for, in one inference call.

        Raises UserError for what onnxruntime cannot run.
        """
        feeds = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        ids = batch.input_ids.ravel().tolist()
        feeds |= {name: table.rows(ids) for name, table in self._tables.items()}
        try:
            vectors: Float32 = self.session.run([self._output], feeds)[0]
        except _errors(load_onnxruntime()) as error:
            raise UserError(f"{self._model}: onnxruntime cannot run it ({error})") from None
        return vectors

    def _options(self) -> Any:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        level, mode = SESSION_OPTIONS["graph_optimization_level"], SESSION_OPTIONS["execution_mode"]
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.execution_mode = getattr(ort.ExecutionMode, mode)
        options.enable_mem_pattern = False
        options.log_severity_level = 3  # errors only: warnings about unused initialisers are not the user's
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        return options

    def _open(self, model: str | bytes, options: Any) -> onnxruntime.InferenceSession:
        ort = load_onnxruntime()
        try:
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _errors(ort) as error:
            raise UserError(f"{self._model}: onnxruntime cannot open it ({error})") from None

    def _open_cached(self, cache: WeightCache) -> onnxruntime.InferenceSession:
        """Map the finished cache, which was optimised already; at first use, build it before."""
        graph, tables = split_tables(self._model.read_bytes(), str(self._model))
        self._tables = {table.rows_name: TableFile(table, self._model.parent) for table in tables}
        options = self._options()
        options.graph_optimization_level = load_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
        target = cache.prepare()
        try:
            if target != cache.file:
                self._build(graph, target)
                hand_back_heap()
            session = self._open(str(target), options)  # before others can see it, or replace it
            hand_back(mapped(_data_file(target)))  # opening reads the scales, which are in the packed weights
        except BaseException:
            cache.discard()
            raise
        cache.seal()
        return session

    def _build(self, graph: bytes, target: Path) -> None:
        """Optimise and pack, and write the result to `target` and its data file."""
        options = self._options()
        options.optimized_model_filepath = str(target)
        entries = {
            "save_external_prepacked_constant_initializers": "1",
            "optimized_model_external_initializers_file_name": _data_file(target).name,
            "optimized_model_external_initializers_min_size_in_bytes": PREPACKED_FROM_BYTES,
            "model_external_initializers_file_folder_path": str(self._model.parent),
        }
        for key, value in entries.items():
            options.add_session_config_entry(f"session.{key}", value)
        self._open(graph, options)
        align_packed(target, _data_file(target))


def _data_file(graph: Path) -> Path:
    return graph.with_name(f"{graph.name}{DATA_SUFFIX}")


def _let_go_of_code() -> None:
    """Opening a graph runs 10 MB of the library's code that inference does not, and frees what it parsed."""
    hand_back_heap()
    hand_back_code(Path(load_onnxruntime().capi.onnxruntime_pybind11_state.__file__))


def _errors(ort: Any) -> tuple[type[Exception], ...]:
    """Onnxruntime's exceptions; they share no base class of their own."""
    state = ort.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    return tuple(getattr(state, name) for name in (*names, "NotImplemented", "RuntimeException"))
