"""The one place that loads onnxruntime: usage reporting is off before its library starts.

The model is opened by path, never from bytes, so that external weights are mapped from the file.
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
from export.tokenizer import TokenBatch

if TYPE_CHECKING:
    import onnxruntime

Float32 = npt.NDArray[np.float32]

SESSION_OPTIONS = {"graph_optimization_level": "ORT_ENABLE_ALL", "execution_mode": "ORT_SEQUENTIAL"}
"""Recorded in every manifest, in onnxruntime's names, so that each client opens it as it was measured."""


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

    def __init__(self, model: Path, threads: int | None = None) -> None:
        """`threads` bounds the intra-op threads (None: one per core).

        Raises UserError when onnxruntime cannot read the file.
        """
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        level, mode = SESSION_OPTIONS["graph_optimization_level"], SESSION_OPTIONS["execution_mode"]
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.execution_mode = getattr(ort.ExecutionMode, mode)
        options.log_severity_level = 3  # errors only: warnings about unused initialisers are not the user's
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self.session: onnxruntime.InferenceSession = ort.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except _load_errors(ort) as error:
            raise UserError(f"{model}: onnxruntime cannot open it ({error})") from None

    def run_batch(self, batch: TokenBatch) -> Float32:
        """Unit vectors float32 [batch, dim] of a token batch, in one inference call."""
        feeds = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        vectors: Float32 = self.session.run([OUTPUT], feeds)[0]
        return vectors


def _load_errors(ort: Any) -> tuple[type[Exception], ...]:
    """Onnxruntime's exceptions; they share no base class of their own."""
    state = ort.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    return tuple(getattr(state, name) for name in (*names, "NotImplemented", "RuntimeException"))
