"""The train stage: data in, tuned and merged checkpoint out, or a clear refusal."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.dims import choose_dims
from common.errors import UserError, missing_extra
from common.files import read_json, refuse_existing, remove_empty, whole_folder, write_json
from common.progress import Step
from common.prompts import choose_query_prompt, default_document_prompt, split_document
from common.retrieval import RetrievalSet
from train.checkpoint import (
    CHECKPOINT_NAME,
    CHECKPOINT_SCHEMA,
    CheckpointInfo,
    check_targets,
    effective_window,
    load_sentence_transformer,
    resolve_model,
    weights_sha256,
)
from train.config import TrainConfig
from train.pairs import TrainingData, read_training_data

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from train.evaluate import MatryoshkaEvaluator
    from train.merge import MergeProof

PROBES_PER_KIND = 16
SETTINGS_NAME = "settings.json"
Scores = dict[str, dict[str, float]]
"""NDCG@10 by split, then by dimension."""


@dataclass(frozen=True)
class TrainJob:
    """What to tune, on what, and where the checkpoint goes."""

    model: str
    data: Path
    out: Path
    config: TrainConfig
    allow_worse: bool = False

    @property
    def work(self) -> Path:
        """Epoch checkpoints of a run that has not finished: a hidden folder beside `out`."""
        return self.out.parent / f".{self.out.name}.training"

    @property
    def logs(self) -> Path:
        """What a reporter writes, kept after training."""
        return self.out.parent / f"{self.out.name}-logs"


@dataclass(frozen=True)
class Prepared:
    """A job whose every input was opened and checked; `config` has the model's dimensions filled in."""

    job: TrainJob
    config: TrainConfig
    data: TrainingData
    folder: Path
    revision: str | None
    model: SentenceTransformer
    query_prompt: str
    full_dim: int


def run_training(job: TrainJob, step: Step) -> Path:
    """Tune, merge, evaluate and write the checkpoint folder; returns it.

    An interrupted run continues when started again with the same settings. Raises UserError before any
    training for bad rows, an unknown model, a dimension too large or an existing output; after it for a
    model that retrieves worse than its base, unless the job allows that.
    """
    ready = _prepare(job)
    from train.merge import MergeError, merge_and_save
    from train.tune import TuningPlace, last_whole_checkpoint, tune

    _claim_work(ready)
    place = TuningPlace(job.work / "epochs", job.logs)
    try:
        window = effective_window(ready.model)
        evaluators = _evaluators(ready)
        before = {name: evaluator.by_dim(ready.model) for name, evaluator in evaluators.items()}
        tuned = tune(ready.model, ready.data, ready.config, place, step)
    except BaseException:
        if last_whole_checkpoint(place.epochs) is None:
            _discard(job)  # nothing to continue from
        raise
    try:
        with whole_folder(job.out) as out:
            merged, proof = merge_and_save(tuned, ready.folder, window, _probes(ready), out)
            after = {name: evaluator.by_dim(merged) for name, evaluator in evaluators.items()}
            if not job.allow_worse and is_worse(before["dev"], after["dev"]):
                raise worse_than_base(before["dev"], after["dev"])
            info = _info(ready, dict(merged.prompts), before, after, proof)
            by_query = evaluators["test"].by_query(merged) if "test" in evaluators else {}
            info = dataclasses.replace(info, test_by_query=by_query)
            write_json(out / CHECKPOINT_NAME, dataclasses.asdict(info))
    except MergeError:
        _discard(job)  # continuing from these epochs would end here again
        raise
    shutil.rmtree(job.work)
    return job.out


def _discard(job: TrainJob) -> None:
    """Remove what training left besides its result."""
    shutil.rmtree(job.work, ignore_errors=True)
    shutil.rmtree(job.logs, ignore_errors=True)


def _prepare(job: TrainJob) -> Prepared:
    """Open everything and raise every UserError that needs no training."""
    refuse_existing(job.out)
    if job.config.report_to != "none" and importlib.util.find_spec(job.config.report_to) is None:
        raise missing_extra(job.config.report_to, job.config.report_to)
    data = read_training_data(job.data, job.config.seed)
    folder, revision = resolve_model(job.model)
    model = load_sentence_transformer(folder)
    full_dim = int(model.get_embedding_dimension() or 0)
    config = dataclasses.replace(job.config, dims=choose_dims(job.config.dims, full_dim))
    check_targets(model, config.targets)
    from train.tune import check_dtype

    check_dtype(config)
    prompt = choose_query_prompt(model.prompts, config.prompt_name)
    return Prepared(job, config, data, folder, revision, model, prompt, full_dim)


def _evaluators(ready: Prepared) -> dict[str, MatryoshkaEvaluator]:
    """One per split, at every trained dimension and at full width, which drops are measured from."""
    from train.evaluate import MatryoshkaEvaluator

    dims = sorted({*ready.config.dims, ready.full_dim}, reverse=True)
    splits = ready.data.splits
    return {name: MatryoshkaEvaluator(splits[name], dims, ready.query_prompt) for name in splits}


def is_worse(before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether NDCG@10 fell, on average over the dimensions: fine-tuning can hurt."""
    return sum(after.values()) / len(after) < sum(before.values()) / len(before)


def worse_than_base(before: dict[str, float], after: dict[str, float]) -> UserError:
    """The refusal of a model worse than its base, with both numbers."""
    from train.merge import MergeError

    was, now = sum(before.values()) / len(before), sum(after.values()) / len(after)
    return MergeError(
        f"tuning lowered dev NDCG@10 from {was:.4f} to {now:.4f} (mean over dimensions); nothing was "
        "kept; tune less or on other data, or pass --allow-worse"
    )


def training_claim(model: Path, data: TrainingData, config: TrainConfig) -> dict[str, Any]:
    """What must be equal for a training to be continued: weights, pairs, splits, settings."""
    splits = {f"{name} split": split.sha256 for name, split in data.splits.items()}
    return {"model": weights_sha256(model), "data": data.sha256, **splits, **config.settings()}


def changed_settings(found: Any, wanted: dict[str, Any]) -> str:
    """Names of the settings that differ between two claims, for a message."""
    if not isinstance(found, dict):
        return "everything: its record is not a table"
    return ", ".join(sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n)))


def _claim_work(ready: Prepared) -> None:
    """Start the work folder, or check that the one found there belongs to the same job."""
    claim = training_claim(ready.folder, ready.data, ready.config)
    work = ready.job.work
    path = work / SETTINGS_NAME
    if not path.is_file():
        new = [work, *(parent for parent in work.parents if not parent.exists())]
        work.mkdir(parents=True, exist_ok=True)
        try:
            write_json(path, claim)
        except OSError:
            remove_empty(new)
            raise
    elif (found := read_json(path)) != claim:
        raise UserError(
            f"{work}: an interrupted training with another {changed_settings(found, claim)} is there; "
            "repeat its settings to continue it or remove the folder"
        )


def _probes(ready: Prepared) -> list[tuple[str, str]]:
    """Queries and passages on which adapter and merged weights are compared."""
    dev: RetrievalSet = ready.data.splits["dev"]
    document = default_document_prompt(ready.model.prompts)
    texts = [(ready.query_prompt, text) for text in list(dev.queries.values())[:PROBES_PER_KIND]]
    return texts + [split_document(document, d) for d in dev.documents[:PROBES_PER_KIND]]


def _info(
    ready: Prepared, prompts: dict[str, str], before: Scores, after: Scores, proof: MergeProof
) -> CheckpointInfo:
    splits = ready.data.splits
    hashes = {f"{name}_sha256": split.sha256 for name, split in splits.items()}
    return CheckpointInfo(
        schema=CHECKPOINT_SCHEMA,
        base=ready.folder.resolve().name if Path(ready.job.model).is_dir() else ready.job.model,
        base_revision=ready.revision,
        seed=ready.config.seed,
        data={"name": ready.data.name, "sha256": ready.data.sha256, "pairs": str(len(ready.data.pairs))},
        eval_data={"name": splits["dev"].name, "query_prompt": ready.query_prompt, **hashes},
        dims=list(ready.config.dims),
        prompts=prompts,
        before=before,
        after=after,
        merge_max_abs_difference=proof.max_abs_difference,
        sliding_window=proof.sliding_window,
        settings=ready.config.settings(),
    )
