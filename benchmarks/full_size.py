"""The promise at full size: EmbeddingGemma's real shape, beside what people use today.

`python -m benchmarks.full_size WORK` makes everything under WORK that is not there yet (a checkpoint with
random weights, artifacts, stock graphs: some 20 GB) and prints the tables of docs/full-size.md. Speed is
measured side by side: every model is open in a process of its own, they take turns, and ratios are of
medians. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.cost import Plan, measure_cost
from train.shapes import find_shape

SHAPE = "embeddinggemma-300m"
DIMS = (768, 512, 256, 128)
PRECISIONS = ("q8_0", "int8", "mixed", "q4_0")
LENGTHS = (16, 64, 256)
ROUNDS, RUNS, PAUSE_S = 7, 5, 0.05
MB = 1e6
GOAL_MB = {"q4_0": (182, 110), "mixed": (205, 130), "q8_0": (348, 175), "int8": (348, 175)}
"""File, and peak above the baseline at second use."""
BASELINE = "import numpy, onnxruntime; print(open('/proc/self/status').read())"


def main() -> int:
    """Make what is missing, then print each table as soon as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything that is made; about 20 GB")
    work: Path = parser.parse_args().work
    os.environ |= {"HF_HUB_OFFLINE": "1", "POCKETVEC_CACHE": str(work / "cache")}
    work.mkdir(parents=True, exist_ok=True)
    prepare(work)
    for table in (files, memory, predictions, latency):
        print(f"\n{table(work)}", flush=True)
    return 0


def prepare(work: Path) -> None:
    """Checkpoint, all artifacts and the stock graphs; says what each step took in CPU seconds and memory."""
    shape, out = work / "checkpoint", work / "artifacts"
    pocketvec = [sys.executable, "-m", "pocketvec"]
    parents = [out / f"onnx-fp32-{dim}d" for dim in DIMS]
    dims = ",".join(map(str, DIMS))
    steps: dict[str, tuple[Path, list[Any]]] = {
        "checkpoint": (shape, [*pocketvec, "synth", "--shape", SHAPE, "--out", shape]),
        "export ONNX fp32, 4 dims": (
            parents[-1],
            [*pocketvec, "export", shape, "--out", out, "--dims", dims],
        ),
        "quantise to 4 precisions x 4 dims": (
            out / "onnx-q4_0-128d",
            [*pocketvec, "quantize", *parents, "--precision", ",".join(PRECISIONS)],
        ),
        "export LiteRT and GGUF": (
            out / "gguf-fp32-768d",
            [*pocketvec, "export", shape, "--out", out, "--dims", "768", "--format", "litert,gguf"],
        ),
        "quantise LiteRT": (
            out / "litert-q4_0-768d",
            [*pocketvec, "quantize", out / "litert-fp32-768d", "--precision", "int8,mixed,q4_0"],
        ),
        "quantise GGUF": (
            out / "gguf-q4_0-768d",
            [*pocketvec, "quantize", out / "gguf-fp32-768d", "--precision", "q8_0,mixed,q4_0"],
        ),
        "export with 64k tokens": (
            work / "small" / "onnx-fp32-768d",
            [
                *(*pocketvec, "export", shape, "--out", work / "small", "--dims", "768"),
                *("--vocab", "en", "--vocab-size", "65536"),
            ],
        ),
        "quantise with 64k tokens": (
            work / "small" / "onnx-q4_0-768d",
            [*pocketvec, "quantize", work / "small" / "onnx-fp32-768d", "--precision", "q4_0"],
        ),
        "stock graphs": (
            work / "stock" / "q4",
            [sys.executable, "-m", "benchmarks.stock", shape, work / "stock"],
        ),
    }
    for what, (made, command) in steps.items():
        if not made.exists():
            run(what, [str(part) for part in command])


def run(what: str, command: list[str]) -> None:
    """Run a command in a process of its own and say what it took."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            raise SystemExit(f"{what}: {log.read()[-2000:]}")
    took = time.perf_counter() - started
    cpu = usage.ru_utime + usage.ru_stime
    print(f"{what}: {cpu:.0f} CPU s, {took:.0f} s, peak {usage.ru_maxrss * 1024 / MB:.0f} MB", flush=True)


def files(work: Path) -> str:
    """Sizes of what an app ships, model without tokenizer."""
    out = work / "artifacts"
    rows = []
    for precision in PRECISIONS:
        goal = f"<= {GOAL_MB[precision][0]}"
        size = _model_mb(out / f"onnx-{precision}-768d")
        rows.append([f"ONNX {precision}", f"{size:.1f}", goal])
    rows.append(["ONNX q4_0, 64k tokens", f"{_model_mb(work / 'small' / 'onnx-q4_0-768d'):.1f}", "<= 100"])
    for precision in ("q8_0", "mixed", "q4_0"):
        goal = "<= 180" if precision == "q4_0" else ""
        rows.append(
            [f"GGUF {precision}, tokenizer inside", f"{_model_mb(out / f'gguf-{precision}-768d'):.1f}", goal]
        )
    for precision in ("int8", "mixed", "q4_0"):
        rows.append([f"LiteRT {precision}", f"{_model_mb(out / f'litert-{precision}-768d'):.1f}", ""])
    for name in ("q8", "q4"):
        size = sum(file.stat().st_size for file in (work / "stock" / name).iterdir()) / MB
        rows.append([f"stock ONNX {name}", f"{size:.1f}", ""])
    return markdown(["file", "MB", "goal"], rows)


def _model_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("model.*")) / MB


def memory(work: Path) -> str:
    """Fresh processes at 256 tokens: first use (the cache is built), second use; tokenizer included."""
    baseline = _baseline_mb()
    rows = []
    for precision in PRECISIONS:
        folder = work / "artifacts" / f"onnx-{precision}-768d"
        with tempfile.TemporaryDirectory() as cache:
            plan = Plan([LENGTHS[-1]], 30, 2, Path(cache), 10)
            first, second = (measure_cost(folder, plan).ram_mb for _ in range(2))
        peaks = [one.peak for one in (first, second)]
        above = peaks[1] - baseline
        anonymous = second.anonymous
        goal = f"<= {GOAL_MB[precision][1]}"
        shown = [f"{value:.0f}" for value in (peaks[0], peaks[1], above)]
        rows.append([precision, *shown, goal, f"{anonymous:.0f}", f"{anonymous - baseline_anonymous():.0f}"])
    heads = ["ONNX", "first use, whole MB", "second use, whole MB"]
    heads += [f"above the baseline of {baseline:.0f}", "goal", "anonymous, whole MB", "above the baseline"]
    return markdown(heads, rows)


def predictions(work: Path) -> str:
    """What `pocketvec plan` says of the same files, beside what they take."""
    from benchmarks.predicted import side_by_side

    names = [f"onnx-{one}" for one in ("fp32", *PRECISIONS)]
    names += [f"litert-{one}" for one in ("fp32", "int8", "mixed", "q4_0")]
    names += [f"gguf-{one}" for one in ("q8_0", "mixed", "q4_0")]
    return side_by_side(find_shape(SHAPE), [work / "artifacts" / f"{name}-768d" for name in names])


def _status_mb(field: str) -> float:
    text = subprocess.run([sys.executable, "-c", BASELINE], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status has no {field}")
    return int(found[1]) * 1024 / MB


def _baseline_mb() -> float:
    """Resident memory of an interpreter that has imported numpy and onnxruntime, and done nothing."""
    return _status_mb("VmRSS")


def baseline_anonymous() -> float:
    """The anonymous part of it."""
    return _status_mb("RssAnon")


def latency(work: Path) -> str:
    """Medians side by side, and how many times faster than fp32 PyTorch, stock graphs and the others."""
    out = work / "artifacts"
    models = {
        "PyTorch fp32": ("torch", work / "checkpoint"),
        "stock q8": ("onnx", work / "stock" / "q8" / "model.onnx"),
        "stock q4": ("onnx", work / "stock" / "q4" / "model.onnx"),
        "llama.cpp q8_0": ("artifact", out / "gguf-q8_0-768d"),
        "llama.cpp q4_0": ("artifact", out / "gguf-q4_0-768d"),
        "LiteRT int8": ("artifact", out / "litert-int8-768d"),
        "LiteRT q4_0": ("artifact", out / "litert-q4_0-768d"),
        "ONNX fp32": ("artifact", out / "onnx-fp32-768d"),
        **{f"ONNX {one}": ("artifact", out / f"onnx-{one}-768d") for one in PRECISIONS},
    }
    medians = {length: side_by_side(models, length) for length in LENGTHS}
    rows = []
    for name in models:
        ours = [f"{medians[length][name]:.1f}" for length in LENGTHS]
        ratios = [f"{medians[length]['PyTorch fp32'] / medians[length][name]:.2f}" for length in LENGTHS]
        rows.append([name, *ours, *ratios])
    heads = ["", *(f"ms, {n} tokens" for n in LENGTHS), *(f"x PyTorch, {n}" for n in LENGTHS)]
    return markdown(heads, rows) + "\n\n" + _against(medians)


def _against(medians: dict[int, dict[str, float]]) -> str:
    """Ratios to the counterpart of each kind: above 1 ours is faster."""
    pairs = [
        ("ONNX q8_0", "stock q8"),
        ("ONNX int8", "stock q8"),
        ("ONNX q4_0", "stock q4"),
        ("ONNX q8_0", "llama.cpp q8_0"),
        ("ONNX q4_0", "llama.cpp q4_0"),
        ("ONNX int8", "LiteRT int8"),
        ("ONNX q4_0", "LiteRT q4_0"),
    ]
    rows = [
        [ours, other, *(f"{medians[n][other] / medians[n][ours]:.2f}" for n in LENGTHS)]
        for ours, other in pairs
    ]
    return markdown(["ours", "against", *(f"times faster, {n} tokens" for n in LENGTHS)], rows)


def side_by_side(models: dict[str, tuple[str, Path]], tokens: int) -> dict[str, float]:
    """Median milliseconds by model; every model takes its turn in every round, the first is not counted."""
    open_models = {name: _start(*what) for name, what in models.items()}
    try:
        taken: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(ROUNDS):
            for name, process in open_models.items():
                measured = _ask(process, f"{tokens} {RUNS}\n")
                time.sleep(PAUSE_S)  # until its threads have stopped to spin
                taken[name] += measured[1:] if turn else []
    finally:
        for process in open_models.values():
            process.terminate()
            process.wait()
    return {name: statistics.median(values) for name, values in taken.items()}


def _start(kind: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.worker", kind, str(path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    if process.stdout is None or process.stdout.readline().strip() != "open":
        raise SystemExit(f"{path}: could not be opened")
    return process


def _ask(process: subprocess.Popen[str], question: str) -> list[float]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a worker has pipes")
    process.stdin.write(question)
    process.stdin.flush()
    answer: list[float] = json.loads(process.stdout.readline())
    return answer


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


if __name__ == "__main__":
    sys.exit(main())
