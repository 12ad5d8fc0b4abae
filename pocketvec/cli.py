"""The command line. The exit code is the verdict: 0 pass, 1 a gate failed, 2 bad input, 70 our own fault."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from common.offline import silence_telemetry
from export.manifest import CLIENTS, CONTRACTS, DEFAULT_RUNTIMES, RUNTIMES
from export.session import usable_cores
from pocketvec import BUNDLED_DATA, DEFAULT_GATES, HERE, STARTER_MODEL, commands, quantizing

BAD_INPUT = 2
FORMATS = f"{', '.join(RUNTIMES)}, or several of them, comma-separated"
INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every error a user can cause becomes one line on stderr and exit code 2."""
    silence_telemetry()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn about their own internals; -W shows them
    given = build_parser().parse_args(arguments)
    try:
        return given.handler(given)  # type: ignore[no-any-return]
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        again = "; start it again to continue" if given.command in ("run", "train") else ""
        return _complain(f"interrupted, and what was half written is removed{again}")
    except OSError as error:
        if error.errno is None:
            raise
        return _complain(f"{error.filename or given.command}: {os.strerror(error.errno).lower()}")


def entry() -> None:
    """Console-script entry point: SIGTERM ends a command as Ctrl-C does, a fault of ours exits with 70."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except Exception:  # not 1, which says that a gate failed
        traceback.print_exc()
        code = INTERNAL_ERROR
    sys.exit(code)


def _complain(message: str) -> int:
    sys.stderr.write(f"pocketvec: error: {message}\n")
    return BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pocketvec",
        description="Fine-tune, export, quantise, benchmark and gate sentence-embedding models for phones.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(subparsers)
    return parser


Subparsers = argparse._SubParsersAction


class _Help(argparse.HelpFormatter):
    """Shows defaults as one would type them, and the bundled files by name."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default = action.default
        if default in (None, (), [], False, argparse.SUPPRESS):
            return action.help or ""
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        if shown.startswith(str(HERE)):
            shown = f"the bundled {Path(shown).name}"
        return f"{action.help} (default: {shown})"


def _command(subparsers: Subparsers, name: str, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=text, formatter_class=_Help
    )
    parser.set_defaults(handler=getattr(commands, name))
    return parser


def _add_run(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "run", "train, merge, export, quantise, bench and gate in one go")
    parser.add_argument("--name", default="default", help="folder under --runs for everything that is made")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--runtimes", type=_words, default=DEFAULT_RUNTIMES, help=FORMATS)
    parser.add_argument(
        "--precisions", type=_words, default=("q8_0", "int8", "q4_0"), help="quantised profiles besides fp32"
    )
    _add_signatures(parser)
    _add_training(parser)
    _add_measuring(parser)


def _add_signatures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--signature-lengths",
        type=_integers,
        default=(),
        help="LiteRT: token counts of the signatures (default: 64,256,512,2048, as far as the model goes)",
    )


def _add_train(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "train", "LoRA + Matryoshka tuning, merged into a checkpoint folder")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    _add_training(parser)
    _add_prompt(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=str(STARTER_MODEL), help="hub id or Sentence Transformers folder")
    parser.add_argument("--data", type=Path, default=BUNDLED_DATA, help="JSONL of pairs, or a BEIR folder")
    parser.add_argument(
        "--dims",
        type=_integers,
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


def _add_export(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "export", "a model folder to fp32 artifacts, one per dimension")
    parser.add_argument("model", help="hub id or Sentence Transformers folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets <runtime>-fp32-<dim>d folders"
    )
    parser.add_argument("--format", type=_words, default=("onnx",), help=FORMATS)
    parser.add_argument(
        "--dims",
        type=_integers,
        default=(),
        help="dimensions, comma-separated (default: the width, and 768,512,256,128 below it)",
    )
    parser.add_argument("--precision", default="fp32", help="fp32; quantise afterwards")
    parser.add_argument(
        "--lengths",
        dest="signature_lengths",
        type=_integers,
        default=(),
        help="LiteRT: token counts of the signatures (default: 64,256,512,2048, as far as the model goes)",
    )
    parser.add_argument(
        "--further-dims",
        type=_integers,
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


def _add_quantize(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "quantize", "fp32 artifacts to smaller ones")
    parser.add_argument("artifacts", type=Path, nargs="+", help="fp32 artifact folders")
    parser.add_argument(
        "--precision",
        type=_words,
        default=(),
        help="q8_0 (int8 on LiteRT, which has no 8-bit blocks), int8, q4_0, mixed, comma-separated "
        "(default: q8_0,q4_0)",
    )
    parser.add_argument("--out", type=Path, default=None, help="parent folder (beside the artifact)")
    quantizing.add_options(parser)


def _add_bench(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "bench", "measure artifacts and gate them: report.json, .md, .html")
    parser.add_argument("artifacts", type=Path, nargs="+", help="artifact folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--data", type=Path, default=BUNDLED_DATA, help="retrieval set, a BEIR folder")
    parser.add_argument("--split", default="test", help="qrels to score")
    parser.add_argument(
        "--reference", default=None, help="model to score as the fp32 reference (needs torch)"
    )
    _add_measuring(parser)


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=_integers, default=(16, 64, 256), help="tokens, comma-separated")
    parser.add_argument("--bench-runs", type=int, default=50, help="timed inferences per length")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of the runtime")
    parser.add_argument("--gates", type=Path, default=DEFAULT_GATES, help="limits")
    _add_prompt(parser)


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", default=None, help="the model's prompt for queries, by name")


def _add_gate(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "gate", "hold a report against limits; exit 0, 1 or 2")
    parser.add_argument("report", type=Path, help="report.json")
    parser.add_argument("--gates", type=Path, default=DEFAULT_GATES, help="limits")


def _add_inspect(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "inspect", "check an artifact's files and show what it is; embed a text")
    parser.add_argument("artifact", type=Path, help="artifact folder")
    parser.add_argument("--text", default=None, help="print the embedding of this text as JSON")
    _add_prompt(parser)


def _add_lint(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(subparsers, "lint", "name structural faults of artifacts without running them")
    parser.add_argument("artifacts", type=Path, nargs="+", help="artifact folders")


def _add_pack(subparsers: Subparsers) -> None:  # type: ignore[type-arg]
    parser = _command(
        subparsers, "pack", "wrap a rag-sdk artifact for Google's clients, or check such a file"
    )
    parser.add_argument("path", type=Path, help="artifact folder; with --check a .tflite or .task file")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument(
        "--for", dest="client", choices=CLIENTS, default=None, help="write what this client loads"
    )
    task.add_argument(
        "--check", choices=CLIENTS, default=None, help="exit 1 and say why if it would not load"
    )
    parser.add_argument("--out", type=Path, default=None, help="file (mediapipe-task) or folder (rag-sdk)")


COMMANDS = (
    *(_add_run, _add_train, _add_export, _add_quantize, _add_bench, _add_gate, _add_inspect),
    _add_pack,
    _add_lint,
)


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a comma-separated list of integers") from None


def _words(text: str) -> tuple[str, ...]:
    words = tuple(part.strip() for part in text.split(",") if part.strip())
    if not words:
        raise argparse.ArgumentTypeError(f"'{text}' names nothing")
    return words
