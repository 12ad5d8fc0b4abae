"""LoRA + Matryoshka tuning with Sentence Transformers' trainer.

The loss is MatryoshkaLoss over CachedMultipleNegativesRankingLoss: every other passage of a batch is a
negative, at every dimension at once. The best epoch by dev NDCG@10 (mean over the dimensions) is kept.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType
from safetensors import SafetensorError
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, set_seed
from transformers.integrations import TensorBoardCallback, WandbCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from common.errors import UserError
from common.files import naming_full_disk
from common.progress import Step
from common.prompts import choose_query_prompt, default_document_prompt, split_document
from common.retrieval import Document
from train.config import TrainConfig
from train.evaluate import MatryoshkaEvaluator
from train.pairs import Pair, TrainingData

BEST_TOLERANCE = 1e-3
"""A reloaded best epoch must reproduce its dev score to this; another number means another model."""


@dataclass(frozen=True)
class TuningPlace:
    """Where tuning keeps its epochs' checkpoints, and where a reporter writes."""

    epochs: Path
    logs: Path


def tune(
    model: SentenceTransformer, data: TrainingData, config: TrainConfig, place: TuningPlace, step: Step
) -> SentenceTransformer:
    """Train adapters on `model` in place and leave the best epoch loaded, adapters attached.

    A run that finds epochs of an earlier one continues from the last. `step` is called once per optimiser
    step.
    """
    set_seed(config.seed)
    attach_adapter(model, config)
    query_prompt = choose_query_prompt(model.prompts, config.prompt_name)
    evaluator = MatryoshkaEvaluator(data.splits["dev"], config.dims, query_prompt)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=_arguments(config, place.epochs),
        train_dataset=_dataset(query_prompt, model, data.pairs),
        loss=_loss(model, config),
        evaluator=evaluator,
        callbacks=[EarlyStoppingCallback(config.patience), _Steps(step), *_reporters(config, place.logs)],
    )
    trainer.remove_callback(PrinterCallback)  # stdout belongs to the verdict
    with warnings.catch_warnings():
        # peft says that it stores a tuned embedding table whole, which is what continuing needs
        warnings.filterwarnings("ignore", message=".*save_embedding_layers.*")
        with naming_full_disk(place.epochs, SafetensorError, RuntimeError):
            trainer.train(resume_from_checkpoint=last_whole_checkpoint(place.epochs))
    _check_best(trainer, evaluator)
    remove_autocast(trainer.accelerator, model)
    return model.eval()


def remove_autocast(accelerator: Any, model: SentenceTransformer) -> None:
    """Give back the float32 forward that mixed-precision training wrapped.

    Otherwise the tuned model would go on computing in bfloat16 and differ from what is saved.
    """
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)


def last_whole_checkpoint(work: Path) -> str | None:
    """The newest epoch checkpoint that was written to its end; half-written ones are removed.

    The trainer writes trainer_state.json last.
    """
    for folder in work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if not _is_whole(folder / TRAINER_STATE_NAME):
            shutil.rmtree(folder)
    return get_last_checkpoint(str(work)) if work.is_dir() else None


def _is_whole(state: Path) -> bool:
    try:
        return bool(json.loads(state.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def attach_adapter(model: SentenceTransformer, config: TrainConfig) -> None:
    """Add LoRA to the target projections; everything else is frozen, save the head if it is tuned."""
    lora = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
    )
    model.add_adapter(lora)
    model.model_card_data.widget = [{"text": ""}]  # else the trainer searches the data for examples to show
    for module in list(model)[2:]:
        module.requires_grad_(config.train_head)


def _loss(model: SentenceTransformer, config: TrainConfig) -> MatryoshkaLoss:
    ranking = CachedMultipleNegativesRankingLoss(
        model, scale=config.scale, mini_batch_size=config.mini_batch_size
    )
    smallest = min(config.dims)
    weights = [config.smallest_dim_weight if dim == smallest else 1.0 for dim in config.dims]
    return MatryoshkaLoss(model, ranking, list(config.dims), weights)


def _dataset(query_prompt: str, model: SentenceTransformer, pairs: tuple[Pair, ...]) -> Dataset:
    """Columns query, positive[, negative], each text behind the model's own prompt, titles in place.

    With negatives, which have no title, titles are left out: they would tell the two apart.
    """
    document_prompt = default_document_prompt(model.prompts)

    titled = pairs[0].negative is None

    def passage(text: str, title: str | None) -> str:
        return "".join(split_document(document_prompt, Document("", text, title if titled else None)))

    columns = {
        "query": [query_prompt + pair.query for pair in pairs],
        "positive": [passage(pair.positive, pair.title) for pair in pairs],
    }
    if pairs[0].negative is not None:
        columns["negative"] = [passage(pair.negative or "", None) for pair in pairs]
    return Dataset.from_dict(columns)


def has_bfloat16() -> bool:
    """Whether there is a GPU that computes bfloat16 itself."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def check_dtype(config: TrainConfig) -> None:
    """Raise UserError when bfloat16 is asked for and no GPU has it."""
    if config.dtype == "bfloat16" and not has_bfloat16():
        raise UserError("dtype 'bfloat16': needs a GPU that has it; the CPU trains in float32")


def _arguments(config: TrainConfig, work: Path) -> SentenceTransformerTrainingArguments:
    on_gpu = torch.cuda.is_available()
    return SentenceTransformerTrainingArguments(
        output_dir=str(work.resolve()),  # the trainer stores it, and a restart may come from elsewhere
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.mini_batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        bf16=has_bfloat16() and config.dtype != "float32",
        use_cpu=not on_gpu,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_ndcg_at_10",
        greater_is_better=True,
        logging_steps=5,
        report_to="none",  # _reporters adds them, with logs that outlive the work folder
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
    )


def _reporters(config: TrainConfig, logs: Path) -> list[TrainerCallback]:
    if config.report_to == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        return [TensorBoardCallback(SummaryWriter(str(logs)))]
    return [WandbCallback()] if config.report_to == "wandb" else []


def _check_best(trainer: Any, evaluator: MatryoshkaEvaluator) -> None:
    """The trainer only logs a best epoch that failed to load; here that is an error."""
    kept = trainer.state.best_metric
    reached = evaluator(trainer.model)["ndcg_at_10"]
    if kept is None or abs(kept - reached) > BEST_TOLERANCE:
        raise RuntimeError(f"the best epoch scored {kept} on dev, but the model at hand scores {reached}")


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Forwards optimiser steps and dev scores to the progress display."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Account for the steps of an interrupted run."""
        if state.global_step:
            self._step("resumed", state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One optimiser step."""
        self._step()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A dev score after an epoch."""
        score = kwargs["metrics"]["eval_ndcg_at_10"]
        self._step(f"epoch {state.epoch:.0f}: dev NDCG@10 {score:.3f}", 0)
