"""Environment that must be set before a library loads.

onnxruntime 1.29 and later sends usage events unless ORT_DISABLE_TELEMETRY is set before its shared
library initialises (docs/Privacy.md in its repository), so the one place that imports it calls
`silence_telemetry` first. Hugging Face libraries read their variables at import time too.
"""

from __future__ import annotations

import logging
import os


def silence_telemetry() -> None:
    """Turn off usage reporting of every runtime and library used here. Call before importing them.

    Also what torchao says while it is imported: litert-torch brings it along, transformers loads whatever is
    there, and its missing CUDA kernels are nobody's concern here.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
