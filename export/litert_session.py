"""How an artifact is run with LiteRT: CompiledModel on the CPU, opened by path, with XNNPACK's weight cache.

XNNPACK repacks every weight when a model is opened. With a cache file it does so once and maps the result
from then on; without one the packed weights are anonymous memory. Pages of the model file that a run has
touched (rows of the embedding table, mostly) are handed back after it: they are clean, the page cache still
has them, and what stays resident is the cache file and the activations.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError
from export.artifact import Artifact
from export.manifest import PROMPT_MASK
from export.resident import hand_back, mapped, read_singly
from export.session import usable_cores
from export.tokenizer import TokenBatch
from export.weight_cache import WeightCache

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

SESSION_OPTIONS = {
    "api": "CompiledModel",
    "accelerator": "CPU",
    "weight_cache": "one file per model, runtime version and processor, built at first use",
    "model_pages": "MADV_RANDOM; MADV_DONTNEED after opening and after each run",
}
"""Recorded in every manifest, so that each client opens the file as it was measured."""
DELEGATES = {
    "cpu-xnnpack": "measured: golden vectors and NDCG of this profile come from it",
    "gpu": "not measured; admitted only where the start-up self-test against golden.json passes",
    "npu": "not measured; admitted only where the start-up self-test against golden.json passes",
}
"""On which delegates a profile is known to be right."""


def load_litert() -> Any:
    """Import ai-edge-litert's compiled-model API. Nothing else runs artifacts with LiteRT."""
    from ai_edge_litert import compiled_model

    atexit.unregister(_mute_last_words)
    atexit.register(_mute_last_words)
    return compiled_model


class LiteRTSession:
    """An open .tflite: runs one text at a time in the shortest signature that holds it."""

    def __init__(
        self, artifact: Artifact, threads: int | None, cache: WeightCache | None, dim: int | None = None
    ) -> None:
        """Open the artifact's .tflite by path; without a cache every weight is packed anew in memory.

        `dim` is one of the profile's further dimensions (None: its own).

        Raises UserError when LiteRT cannot read the file or the cache folder cannot be written.
        """
        model, manifest = artifact.model_path, artifact.manifest
        self._path = model
        wanted = (manifest.dim, *manifest.further_dims).index(dim or manifest.dim)
        self._first = wanted * len(manifest.lengths)
        self._lengths = manifest.lengths
        self._pad_id = manifest.tokenizer.pad_id
        self._skips_prompt = not manifest.include_prompt
        cache_file = cache.prepare() if cache else None
        with quiet() as said, _OPENING:
            before = mapped(model)
            try:
                self._model = _open(model, threads or usable_cores(), cache_file)
            except RuntimeError as error:
                if cache:
                    cache.discard()
                raise UserError(f"{model}: LiteRT cannot open it ({_reason(said, error)})") from None
        if cache:
            cache.seal()
        self._buffers: dict[int, tuple[Any, Any, int]] = {}
        self._pages = mapped(model) - before
        read_singly(self._pages)
        hand_back(self._pages)

    def run_batch(self, batch: TokenBatch) -> Float32:
        """Embed the rows of a batch one by one: float32 [batch, dim]."""
        rows = []
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            skip = int(np.count_nonzero(mask == PROMPT_MASK)) if self._skips_prompt else None
            rows.append(self.run(ids[mask > 0].tolist(), skip))
        return np.stack(rows)

    def run(self, row: list[int], prompt_tokens: int | None = None, at_least: int = 0) -> Float32:
        """Embed one row of ids: float32 [dim], in a signature of `at_least` tokens.

        Raises UserError for a row longer than every signature, or one that LiteRT cannot run.
        """
        needed = max(len(row), at_least)
        index = next((i for i, length in enumerate(self._lengths) if needed <= length), None)
        if index is None:
            raise UserError(f"{len(row)} tokens: the longest signature takes {self._lengths[-1]}")
        signature = self._first + index
        fresh = signature not in self._buffers
        inputs, outputs, dim = self._signature(signature)
        ids = np.full((1, self._lengths[index]), self._pad_id, dtype=np.int32)
        ids[0, : len(row)] = row
        with quiet() if fresh else nullcontext():  # the first write of a process logs a page
            inputs[0].write(ids)
        if prompt_tokens is not None:
            inputs[1].write(np.array([[prompt_tokens]], dtype=np.int32))
        try:
            self._model.run_by_index(signature, inputs, outputs)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self._path}: LiteRT cannot run it ({reason})") from None
        vector: Float32 = np.array(outputs[0].read(dim, np.float32))
        hand_back(self._pages)
        return vector

    def _signature(self, index: int) -> tuple[Any, Any, int]:
        if index not in self._buffers:
            name = list(self._model.get_signature_list())[index]
            (output,) = self._model.get_output_tensor_details(name).values()
            with quiet():
                inputs = self._model.create_input_buffers(index)
                outputs = self._model.create_output_buffers(index)
            self._buffers[index] = (inputs, outputs, int(output["shape"][-1]))
        return self._buffers[index]


def _mute_last_words() -> None:
    """The runtime logs once more while its globals are destroyed, after Python's own end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@functools.cache
def _environment() -> Any:
    """The runtime's environment, one per process, as its own default is.

    Its paths are empty folders: else it loads GPU and NPU libraries, several MB of them.
    """
    from ai_edge_litert.environment import Environment, EnvironmentOptions

    with tempfile.TemporaryDirectory() as nothing:
        options = EnvironmentOptions(nothing, compiler_plugin_path=nothing, dispatch_library_path=nothing)
        return Environment.create(options=options)


def _open(model: Path, threads: int, cache: Path | None) -> Any:
    from ai_edge_litert.options import CpuOptions, HardwareAccelerator, Options

    cpu = CpuOptions(num_threads=threads, xnnpack_weight_cache_path=str(cache) if cache else "")
    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
    compiled = load_litert().CompiledModel
    return compiled.from_file(str(model), environment=_environment(), options=options)


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep the runtime's log from the user's terminal; yields the list that gets its lines at the end."""
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            log.seek(0)
            said += log.read().decode(errors="replace").splitlines()


def _reason(said: list[str], error: RuntimeError) -> str:
    return next((line for line in said if "ERROR" in line), str(error).splitlines()[0])


_OPENING = threading.Lock()
"""Held while a file is opened, so that a new mapping belongs to the session that opens it.

A session may only give advice on its own mappings: that of another session may be gone by then, and what lies
at its address now would lose its contents.
"""
