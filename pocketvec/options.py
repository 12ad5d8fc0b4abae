"""What each stage's command takes. Commands with a file of their own keep their options there."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.manifest import CONTRACTS, DEFAULT_RUNTIMES, RUNTIMES
from export.session import usable_cores
from pocketvec import BUNDLED_DATA, DEFAULT_GATES, STARTER_MODEL, quantizing

FORMATS = f"{', '.join(RUNTIMES)}, or several of them, comma-separated"


def integers(text: str) -> tuple[int, ...]:
    """A comma-separated list of integers, as an argument's type."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a comma-separated list of integers") from None


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list of words, as an argument's type."""
    words = tuple(part.strip() for part in text.split(",") if part.strip())
    if not words:
        raise argparse.ArgumentTypeError(f"'{text}' names nothing")
    return words


def run(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("--name", default="default", help="folder under --runs for everything that is made")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--runtimes", type=words, default=DEFAULT_RUNTIMES, help=FORMATS)
    parser.add_argument(
        "--precisions", type=words, default=("q8_0", "int8", "q4_0"), help="quantised profiles besides fp32"
    )
    _add_signatures(parser)
    _add_training(parser)
    _add_measuring(parser)


def _add_signatures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--signature-lengths",
        type=integers,
        default=(),
        help="LiteRT: token counts of the signatures (default: 64,256,512,2048, as far as the model goes)",
    )


def train(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    _add_training(parser)
    _add_prompt(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=str(STARTER_MODEL), help="hub id or Sentence Transformers folder")
    parser.add_argument("--data", type=Path, default=BUNDLED_DATA, help="JSONL of pairs, or a BEIR folder")
    parser.add_argument(
        "--dims",
        type=integers,
        default=(),
        help="Matryoshka dimensions, comma-separated (default: the width, and 768,512,256,128 below it)",
    )
    parser.add_argument(
        "--recipe",
        choices=("auto", "starter", "embeddinggemma"),
        default="auto",
        help="default settings; auto takes starter for the bundled model",
    )
    settings = parser.add_argument_group("settings in place of the recipe's (train/config.py)")
    settings.add_argument("--rank", type=int, default=None, help="LoRA rank")
    settings.add_argument("--alpha", type=int, default=None, help="LoRA alpha")
    settings.add_argument("--dropout", type=float, default=None, help="LoRA dropout")
    settings.add_argument("--targets", default=None, help="attention, mlp, all, or names, comma-separated")
    settings.add_argument(
        "--train-head", action=argparse.BooleanOptionalAction, default=None, help="tune the Dense layers too"
    )
    settings.add_argument("--learning-rate", type=float, default=None, help="peak rate after warm-up")
    settings.add_argument("--epochs", type=int, default=None, help="passes over the pairs, at most")
    settings.add_argument("--batch-size", type=int, default=None, help="pairs per step: the negatives")
    settings.add_argument("--mini-batch-size", type=int, default=None, help="pairs in memory at once")
    settings.add_argument("--dtype", default=None, help="auto, float32 or bfloat16")
    settings.add_argument(
        "--seed", type=int, default=None, help="equal seeds give equal models on one machine"
    )
    settings.add_argument("--report-to", default=None, help="tensorboard, wandb or none")
    parser.add_argument("--allow-worse", action="store_true", help="keep a model worse than its base")


def export(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    parser.add_argument("model", help="hub id or Sentence Transformers folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets <runtime>-fp32-<dim>d folders"
    )
    parser.add_argument("--format", type=words, default=("onnx",), help=FORMATS)
    parser.add_argument(
        "--dims",
        type=integers,
        default=(),
        help="dimensions, comma-separated (default: the width, and 768,512,256,128 below it)",
    )
    parser.add_argument("--precision", default="fp32", help="fp32; quantise afterwards")
    parser.add_argument(
        "--lengths",
        dest="signature_lengths",
        type=integers,
        default=(),
        help="LiteRT: token counts of the signatures (default: 64,256,512,2048, as far as the model goes)",
    )
    parser.add_argument(
        "--further-dims",
        type=integers,
        default=(),
        help="LiteRT: smaller dimensions that each file has signatures for as well",
    )
    parser.add_argument(
        "--contract", choices=CONTRACTS, default=None, help="LiteRT: write the form that this client loads"
    )
    parser.add_argument(
        "--vocab",
        default=None,
        help="keep only the tokens of a corpus (text, JSONL, BEIR folder) or of languages: en,de",
    )
    parser.add_argument("--vocab-size", type=int, default=None, help="with --vocab: rows of the table")
    parser.add_argument("--data", type=Path, default=None, help="with --vocab: BEIR folder for its NDCG@10")


def quantize(parser: argparse.ArgumentParser) -> None:
    """Options of `quantize`."""
    parser.add_argument("artifacts", type=Path, nargs="+", help="fp32 artifact folders")
    parser.add_argument(
        "--precision",
        type=words,
        default=(),
        help="q8_0 (int8 on LiteRT, which has no 8-bit blocks), int8, q4_0, mixed, comma-separated "
        "(default: q8_0,q4_0)",
    )
    parser.add_argument("--out", type=Path, default=None, help="parent folder (beside the artifact)")
    quantizing.add_options(parser)


def bench(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`."""
    parser.add_argument("artifacts", type=Path, nargs="+", help="artifact folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--data", type=Path, default=BUNDLED_DATA, help="retrieval set, a BEIR folder")
    parser.add_argument("--split", default="test", help="qrels to score")
    parser.add_argument(
        "--reference", default=None, help="model to score as the fp32 reference (needs torch)"
    )
    _add_measuring(parser)


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=integers, default=(16, 64, 256), help="tokens, comma-separated")
    parser.add_argument("--bench-runs", type=int, default=50, help="timed inferences per length")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of the runtime")
    parser.add_argument("--gates", type=Path, default=DEFAULT_GATES, help="limits")
    _add_prompt(parser)


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", default=None, help="the model's prompt for queries, by name")


def gate(parser: argparse.ArgumentParser) -> None:
    """Options of `gate`."""
    parser.add_argument("report", type=Path, help="report.json")
    parser.add_argument("--gates", type=Path, default=DEFAULT_GATES, help="limits")
    parser.add_argument("--out", type=Path, default=None, help="folder for the report, judged anew")


def inspect(parser: argparse.ArgumentParser) -> None:
    """Options of `inspect`."""
    parser.add_argument("artifact", type=Path, help="artifact folder")
    parser.add_argument("--text", default=None, help="print the embedding of this text as JSON")
    _add_prompt(parser)


def lint(parser: argparse.ArgumentParser) -> None:
    """Options of `lint`."""
    parser.add_argument("artifacts", type=Path, nargs="+", help="artifact folders")
