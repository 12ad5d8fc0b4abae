"""How the bundled starter was made, a stage at a time: `python -m tools.starter STAGE --help`.

    texts     pairs.jsonl to shards of texts
    teach     the teacher's vectors of every shard's texts, and its states of their words
    words     train the token table and the head, without the layers
    fit       train everything; interrupted, this and `words` go on where they were
    sharpen   train on, so that no layer can be done without, and with more capitals
    assemble  a Sentence Transformers folder from a run, or from the mean of several
    judge     what each layer of a checkpoint is worth

Every stage continues what an earlier call left and refuses to overwrite what is whole.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from common.errors import UserError
from pocketvec import STARTER_MODEL
from tools.starter.assemble import assemble
from tools.starter.batches import Order
from tools.starter.beginning import new_student
from tools.starter.fit import WORDY_TABLE_RATE, FitConfig, Run, fit, machine_of
from tools.starter.judge import Sample, judge, planets, read_sample, scores
from tools.starter.state import averaged
from tools.starter.student import Student, fuse_norms
from tools.starter.teacher import read_lesson, teach_shards
from tools.starter.texts import shard_paths, write_shards
from train.checkpoint import load_sentence_transformer

SEED = 7
WORDY_TOKENS = 65_536
TOKENS = 16_384
SHARPENING: dict[str, Any] = {"quiet": FitConfig.loud, "needed": True, "warmup": 20}
"""What differs in `sharpen`: layers are loud from the first step on, and needed."""


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; 0 when it is done, 2 for bad input."""
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        STAGES[given.stage](given)
    except UserError as error:
        sys.stderr.write(f"tools.starter: error: {error}\n")
        return 2
    return 0


def _texts(given: argparse.Namespace) -> None:
    _say(f"{write_shards(given.pairs, given.texts, SEED)} shards")


def _teach(given: argparse.Namespace) -> None:
    for line in teach_shards(given.teacher, given.texts, given.pause):
        _say(line)


def _words(given: argparse.Namespace) -> None:
    order = Order(given.texts, given.donor, SEED, given.tokens)
    config = FitConfig(wordy=True, table_rate=WORDY_TABLE_RATE, **_length(given))
    _train(new_student(order, given.teacher), order, config, given)


def _fit(given: argparse.Namespace) -> None:
    order = Order(given.texts, given.donor, SEED, given.tokens)
    _train(_after([given.words], given), order, FitConfig(**_length(given)), given)


def _sharpen(given: argparse.Namespace) -> None:
    drawn = {name: getattr(given, name) for name in ("capitals", "first", "topics")}
    order = Order(given.texts, given.donor, SEED + 1, given.tokens, **drawn)
    config = FitConfig(**SHARPENING, **_length(given)).gentler(given.rates)
    _train(_after(given.fitted, given), order, config, given)


def _after(runs: list[Path], given: argparse.Namespace) -> Student:
    """A student with the averaged weights of a run, or the mean of several runs' ones."""
    student = Student(given.donor, read_lesson(shard_paths(given.texts)[0]).vectors.shape[1])
    student.load_state_dict(averaged(runs))
    return student


def _length(given: argparse.Namespace) -> dict[str, Any]:
    names = ("steps", "decay", "words_decay", "bfloat16")
    return {name: getattr(given, name) for name in names}


def _train(student: Student, order: Order, config: FitConfig, given: argparse.Namespace) -> None:
    given.run.mkdir(parents=True, exist_ok=True)
    machine = machine_of(student.to(given.device), config)
    if given.fuse:
        fuse_norms(student)
    fit(machine, order, config, Run(given.run, pause=given.pause), _say)


def _assemble(given: argparse.Namespace) -> None:
    assemble(given.run, given.donor, given.out, given.shares)


def _judge(given: argparse.Namespace) -> None:
    sample = Sample(given.queries, given.others, not given.no_titles)
    data = read_sample(given.data, given.split, sample)
    if given.dims:
        model = load_sentence_transformer(given.model, device="cpu")
        _say(f"NDCG@10 {scores(model, data, [int(dim) for dim in given.dims.split(',')])}")
        _say(f"Red Planet {planets(model)}")
        return
    whole = 0.0
    for name, score in judge(given.model, data, given.dim):
        whole = whole or score
        _say(f"{name:<20} {score:.4f} {score / whole - 1:+8.1%}")


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


STAGES = {
    "texts": _texts,
    "teach": _teach,
    "words": _words,
    "fit": _fit,
    "sharpen": _sharpen,
    "assemble": _assemble,
    "judge": _judge,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.starter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=1)
    stages = parser.add_subparsers(dest="stage", required=True)
    texts, teach, wordy, fitting, sharpening, assembling, judging = map(stages.add_parser, STAGES)
    texts.add_argument("--pairs", type=Path, required=True)
    for one in (texts, teach, wordy, fitting, sharpening):
        one.add_argument("--texts", type=Path, required=True)
    for one in (teach, wordy):
        one.add_argument("--teacher", type=Path, required=True, help="a Sentence Transformers folder")
    fitting.add_argument("--words", type=Path, required=True, help="the run of `words` to begin from")
    sharpening.add_argument(
        "--fitted",
        type=Path,
        action="append",
        required=True,
        help="a run to begin from; of several, their mean",
    )
    sharpening.add_argument(
        "--topics", type=int, default=1, help="batches of one topic each, so many a shard"
    )
    sharpening.add_argument("--first", type=int, default=0, help="the shard to begin with")
    sharpening.add_argument("--rates", type=float, default=1.0, help="share of the rates of `fit`")
    sharpening.add_argument("--capitals", type=float, default=0.3, help="share of rows whose words get some")
    for one in (teach, wordy, fitting, sharpening):
        one.add_argument("--pause", type=Path, help="nothing is done while this file exists")
    for one in (wordy, fitting, sharpening):
        one.add_argument("--run", type=Path, required=True)
    assembling.add_argument("--run", type=Path, action="append", required=True, help="of several, their mean")
    assembling.add_argument(
        "--shares", type=_numbers, help="1,0.5,-0.5: other parts of the runs than the same"
    )
    for one in (wordy, fitting, sharpening, assembling):
        one.add_argument("--donor", type=Path, default=STARTER_MODEL, help="lends shape and tokenizer")
    for one, tokens in ((wordy, WORDY_TOKENS), (fitting, TOKENS), (sharpening, TOKENS)):
        one.add_argument("--steps", type=int, required=True, help="of the whole run")
        one.add_argument("--decay", type=int, default=1, help="over how many last steps the rate falls to 0")
        one.add_argument("--words-decay", type=int, default=1, help="the same for the weight of the words")
        one.add_argument("--tokens", type=int, default=tokens, help="of a batch, padding included")
        one.add_argument("--device", default="cpu")
        one.add_argument("--fuse", action=argparse.BooleanOptionalAction, default=True)
        one.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    assembling.add_argument("--out", type=Path, required=True)
    judging.add_argument("model", type=Path)
    judging.add_argument("--data", type=Path, required=True, help="a folder in BEIR layout")
    judging.add_argument("--split", default="test")
    judging.add_argument("--queries", type=int, help="only the first ones")
    judging.add_argument("--others", type=int, help="passages beside those that answer them")
    judging.add_argument("--no-titles", action="store_true")
    judging.add_argument("--dim", type=int, default=768)
    judging.add_argument("--dims", help="only score these dimensions, break nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
