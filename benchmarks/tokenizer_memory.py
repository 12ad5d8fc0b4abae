"""What a tokenizer costs a process: memory, opening and speed of three forms at two sizes.

`python benchmarks/tokenizer_memory.py` prints the table of docs/tokenizer.md. Each cell is a fresh process;
growth is above the interpreter with numpy, and includes the library's own code.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.proc import read_status, reset_high_water

FORMS = {"tokenizers": "tokenizer.json", "sentencepiece": "tokenizer.model", "pocketvec": "tokenizer.bin"}
SIZES = (16_384, 262_144)
SEED = 0
TEXTS = 20
OTHER_SCRIPTS = 17
"""Where the golden texts turn to emoji, Arabic, Chinese and others."""
TIMED_TOKENS = 256
ROUNDS = 30
MB = 1e6

Encode = Callable[[str], list[int]]


def main() -> int:
    """Print the table, or in a child process one cell as JSON."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
        return 0
    heads = (
        "pieces",
        "form",
        "file MB",
        "RSS +MB",
        "anonymous +MB",
        "peak +MB",
        "load ms",
        "us/token first",
        "us/token again",
    )
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    with tempfile.TemporaryDirectory() as temporary:
        for size in SIZES:
            folder = Path(temporary) / str(size)
            write_forms(folder, size)
            for form, name in FORMS.items():
                print(row(size, form, folder / name), flush=True)
    return 0


def write_forms(folder: Path, size: int) -> None:
    """One tokenizer of `size` pieces in its three forms, and the texts."""
    from export.bpe_table import build_table
    from export.bpe_tokenizer import BpeTokenizer
    from export.golden import PLAIN_TEXTS
    from pocketvec import BUNDLED_DATA, STARTER_MODEL
    from train.synthetic_tokenizer import grow, sentencepiece_model

    content = json.loads((STARTER_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
    grown = grow(content, size, SEED) if size > len(content["model"]["vocab"]) else content
    template = (STARTER_MODEL / "tokenizer.model").read_bytes()
    folder.mkdir(parents=True)
    text = json.dumps(grown, indent=2, ensure_ascii=False)
    (folder / FORMS["tokenizers"]).write_text(text, encoding="utf-8")
    (folder / FORMS["sentencepiece"]).write_bytes(
        sentencepiece_model(template, grown) if grown is not content else template
    )
    (folder / FORMS["pocketvec"]).write_bytes(build_table(grown))
    passages = [json.loads(line)["text"] for line in (BUNDLED_DATA / "corpus.jsonl").read_text().splitlines()]
    fresh = _cut(" ".join(passages[10:40]), BpeTokenizer(folder / FORMS["pocketvec"]).encode)
    texts = [*passages[: TEXTS // 2], *PLAIN_TEXTS[OTHER_SCRIPTS:][: TEXTS // 2]]
    (folder / "texts.json").write_text(json.dumps({"texts": texts, "fresh": fresh}), encoding="utf-8")


def row(size: int, form: str, path: Path) -> str:
    """One cell of the table, from a fresh process."""
    command = [sys.executable, __file__, form, str(path)]
    cell = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    memory = [f"{cell[name] / MB:.1f}" for name in ("rss", "anonymous", "peak")]
    speed = [f"{cell[name]:.1f}" for name in ("load_ms", "first_us", "us")]
    return f"| {size} | {form} | {path.stat().st_size / MB:.1f} | {' | '.join([*memory, *speed])} |"


def measure(form: str, path: Path) -> dict[str, float]:
    """Open the tokenizer, encode the texts, then time a new text of TIMED_TOKENS tokens, once and again.

    Memory in bytes above the interpreter's, load_ms without the import, microseconds per token.
    """
    content = json.loads((path.parent / "texts.json").read_text(encoding="utf-8"))
    before = read_status()
    reset_high_water()
    started, encode = _open(form, path)
    load_ms = (time.perf_counter() - started) * 1e3
    for text in content["texts"]:
        encode(text)
    after = read_status()
    first_us = _time(encode, content["fresh"])
    return {
        "rss": after["VmRSS"] - before["VmRSS"],
        "anonymous": after["RssAnon"] - before["RssAnon"],
        "peak": after["VmHWM"] - before["VmRSS"],
        "load_ms": load_ms,
        "first_us": first_us,
        "us": statistics.median(_time(encode, content["fresh"]) for _ in range(ROUNDS)),
    }


def _open(form: str, path: Path) -> tuple[float, Encode]:
    """When opening began, its import behind it, and the function that encodes."""
    if form == "tokenizers":
        from tokenizers import Tokenizer

        started = time.perf_counter()
        opened = Tokenizer.from_file(str(path))
        return started, lambda text: opened.encode(text).ids
    if form == "sentencepiece":
        from sentencepiece import SentencePieceProcessor

        started = time.perf_counter()
        processor = SentencePieceProcessor(model_file=str(path))
        return started, lambda text: processor.encode(text, add_bos=True, add_eos=True)
    from export.bpe_tokenizer import BpeTokenizer

    started = time.perf_counter()
    return started, BpeTokenizer(path).encode


def _cut(text: str, encode: Encode) -> str:
    """As many whole words as give TIMED_TOKENS tokens."""
    words = text.split()
    while len(encode(" ".join(words))) > TIMED_TOKENS:
        words.pop()
    return " ".join(words)


def _time(encode: Encode, text: str) -> float:
    started = time.perf_counter()
    tokens = len(encode(text))
    return (time.perf_counter() - started) * 1e6 / tokens


if __name__ == "__main__":
    sys.exit(main())
