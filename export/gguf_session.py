"""How an artifact is run with llama.cpp: the engine of its server, in this process, opened by path.

The engine listens, as llama-server does. Its socket is a Unix one in a folder of this user that is removed as
soon as the model is open, so that nothing can connect to it; texts go in and vectors come out by calls.
"""

from __future__ import annotations

import base64
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UserError, missing_extra
from export.artifact import Artifact
from export.litert_session import quiet
from export.session import usable_cores
from export.tokenizer import TokenBatch

Float32 = npt.NDArray[np.float32]

SESSION_OPTIONS = {
    "api": "llama.cpp server, called in the process",
    "pooling": "mean, from the file",
    "embd_normalize": "2",
    "n_parallel": "1",
    "n_ctx": "max_tokens",
    "n_ubatch": "max_tokens",
}
"""Recorded in every manifest, so that each client opens the file as it was measured."""
WAIT_POLICY = "OMP_WAIT_POLICY"
LONGEST_SOCKET = 103
"""Bytes of a Unix socket's path, on the system that allows fewest (macOS)."""
EUCLIDEAN = 2
ERRORS_ONLY = 1


def load_llamacpp() -> Any:
    """Import llama.cpp's binding. Raises UserError with the extra that holds it when it is missing.

    Its threads wait for each other several times per layer, and OpenMP lets them spin. Beside other work on
    the same cores that took the starter's 16 tokens from 5 ms to 1860. OpenMP reads the setting when it is
    loaded.
    """
    chosen = os.environ.get(WAIT_POLICY)
    os.environ.setdefault(WAIT_POLICY, "passive")
    try:
        import xllamacpp
    except ImportError:
        raise missing_extra("llamacpp", "xllamacpp") from None
    finally:
        if chosen is None:
            del os.environ[WAIT_POLICY]
    return xllamacpp


class GgufSession:
    """An open .gguf: embeds rows of token ids, one after the other."""

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        """Open the artifact's file by path with `threads` threads (None: one per core).

        One token is embedded at once: a server that is closed before its loop has begun would wait for ever,
        and a llama.cpp that does not know the head's form shows itself by the vector's length. Raises
        UserError when llama.cpp cannot read the file, gives another dimension or is not installed.
        """
        self._limit = artifact.manifest.max_tokens
        dim = artifact.manifest.dim
        llama = load_llamacpp()
        model = artifact.model_path
        with quiet() as said, _OPENING, tempfile.TemporaryDirectory(prefix="pv.") as folder:
            options = _options(llama, model, self._limit, threads or usable_cores())
            place = Path(folder) / "s.sock"
            if len(bytes(place)) > LONGEST_SOCKET:
                raise UserError(f"{place}: too long for a Unix socket; set TMPDIR to a shorter folder")
            options.hostnames = [str(place)]
            try:
                self._server = llama.Server(options)
            except RuntimeError as error:
                reason = next((line for line in said if "error" in line.lower()), str(error))
                raise UserError(f"{model}: llama.cpp cannot open it ({reason})") from None
            (first,) = self._embed([[0]])
        if len(first) != dim:
            raise UserError(f"{model}: this llama.cpp gives {len(first)} dimensions instead of {dim}")

    def run_batch(self, batch: TokenBatch) -> Float32:
        """Unit vectors float32 [batch, dim] of a token batch. Raises UserError for a row that is too long."""
        rows = [
            ids[mask > 0].tolist() for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        longest = max(map(len, rows))
        if longest > self._limit:
            raise UserError(f"{longest} tokens: the model takes {self._limit}")
        return np.stack(self._embed(rows))

    def _embed(self, rows: list[list[int]]) -> list[Float32]:
        answer = self._server.handle_embeddings({"input": rows, "encoding_format": "base64"})
        if "data" not in answer:
            raise RuntimeError(f"llama.cpp refused a batch: {answer}")
        return [_vector(one["embedding"]) for one in answer["data"]]


def _options(llama: Any, model: Path, limit: int, threads: int) -> Any:
    """An embedding server for one text at a time, without anything that reaches out or fills memory."""
    options = llama.CommonParams()
    options.model.path = str(model)
    options.embedding = True
    options.embd_normalize = EUCLIDEAN
    options.n_parallel = options.n_threads_http = 1
    options.n_ctx = options.n_batch = options.n_ubatch = limit
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    options.cache_ram_mib = 0
    options.fit_params = options.warmup = options.ui = False
    options.offline = True
    options.verbosity = ERRORS_ONLY
    return options


def _vector(encoded: str) -> Float32:
    return np.frombuffer(base64.b64decode(encoded), dtype="<f4").astype(np.float32)


_OPENING = threading.Lock()
"""Held while a model is opened: llama.cpp's server sets up globals then."""
