"""What the stock tools make of a model: the traced graph through onnxruntime's own quantiser."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common.offline import silence_telemetry

BLOCK = 32


def write_stock(checkpoint: Path, out: Path) -> None:
    """Write model.onnx in `out`/fp32, /q8 and /q4, weights beside it: torch.onnx, then MatMulNBitsQuantizer.

    Block size 32 and symmetric, as Q8_0 and Q4_0 are; everything else as it comes.
    """
    silence_telemetry()
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    from export.head import fold_head
    from export.onnx_file import write_onnx
    from export.onnx_graph import attach_head
    from export.source import open_source
    from export.trunk import trace_trunk

    source = open_source(str(checkpoint))
    model = attach_head(trace_trunk(source), fold_head(source.layers, source.full_dim), source.full_dim)
    (out / "fp32").mkdir(parents=True)
    write_onnx(out / "fp32" / "model.onnx", model.proto, model.weights.items())
    del model, source
    for bits in (8, 4):
        whole = onnx.load(str(out / "fp32" / "model.onnx"))
        quantizer = MatMulNBitsQuantizer(whole, bits=bits, block_size=BLOCK, is_symmetric=True)
        quantizer.process()
        (out / f"q{bits}").mkdir()
        quantizer.model.save_model_to_file(str(out / f"q{bits}" / "model.onnx"), True)


def main() -> int:
    """`python -m benchmarks.stock CHECKPOINT OUT`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    write_stock(given.checkpoint, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
