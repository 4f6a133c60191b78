"""What SFT and DPO share: the trainer's settings, progress, resuming, and keeping only rows that fit whole."""

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer import utils as trl_utils

from stages.core.errors import KormedError, ProofFailed
from stages.core.recipe import Training
from stages.core.records import Dropped, Message

log = logging.getLogger("kormed")

Row = TypeVar("Row")
CHECKPOINTS = "checkpoints"
SECONDS_BETWEEN_LINES = 5


def arguments(config: Training, out: Path) -> dict[str, Any]:
    """Keyword arguments that SFTConfig and DPOConfig have in common."""
    on_gpu = torch.cuda.is_available()
    if config.optimizer.startswith("paged") and not on_gpu:
        raise KormedError(f"optimizer {config.optimizer} needs a GPU and none is here; set it to adamw_torch")
    if on_gpu and config.model.dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
        raise KormedError(
            f"{torch.cuda.get_device_name()} has no bfloat16, which Gemma 2 needs; set model.dtype=float32"
        )
    if "tensorboard" in config.report_to:  # beside the adapter; the checkpoints' own folder goes when the run is over
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "tensorboard")
    return {
        "output_dir": str(out / CHECKPOINTS),
        "num_train_epochs": config.epochs,
        "max_steps": -1 if config.max_steps is None else config.max_steps,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup_ratio,  # below 1 it is a share of all steps
        "optim": config.optimizer,
        "max_length": config.max_length,
        "bf16": on_gpu and config.model.dtype == "bfloat16",
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a NaN is to be seen, and to stop the run
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "report_to": list(config.report_to) or "none",
        "disable_tqdm": True,
    }


def score_answers_only() -> None:
    """Let TRL project only the answer's positions on the vocabulary on a CPU too, as it does on a GPU.

    On 2 cores an SFT step of Gemma 3 270M falls from 6.5 to 2.0 s. The switch is private to TRL (it asks whether the
    device runs Triton): where it is gone, training is slower and no different.
    """
    if not torch.cuda.is_available() and hasattr(trl_utils, "_use_triton"):
        trl_utils._use_triton = lambda device: True


def rows_that_fit(
    rows: Sequence[Row],
    texts: Callable[[Row], Sequence[tuple[Sequence[Message], Sequence[Message]]]],
    id: Callable[[Row], str],
    tokenizer: Tokenizer,
    max_length: int,
) -> tuple[list[Row], list[Dropped]]:
    """The rows of which every (prompt, answer) is at most `max_length` tokens, and the others with their length.

    A row that is cut teaches the model to stop nowhere, so nothing is ever cut.
    """
    kept, dropped = [], []
    for row in rows:
        longest = max(count_tokens(tokenizer, (*prompt, *answer)) for prompt, answer in texts(row))
        if longest <= max_length:
            kept.append(row)
        else:
            dropped.append(Dropped(id=id(row), reason=f"longer than max_length {max_length}", text=f"{longest} tokens"))
    return kept, dropped


def count_tokens(tokenizer: Tokenizer, messages: Sequence[Message]) -> int:
    ids: Any = tokenizer.apply_chat_template([m.model_dump() for m in messages], return_dict=True)
    return len(ids["input_ids"])


def train_in_float32(trainer: Trainer) -> None:
    """Undo TRL's cast of a quantised model's trainable adapter to bf16.

    DPO's updates (learning rate 5e-6) are below bf16's resolution and would be rounded away, and DPO's frozen copy of
    the adapter is not cast, so policy and reference would differ before the first step: margins of 0.0016 and a loss of
    0.69237 instead of ln 2 were seen with NF4 on an H100 (trl 1.16). The products still run in bf16 under autocast.
    """
    for parameter in trainer.model.parameters():  # type: ignore[union-attr]
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


class Progress(TrainerCallback):
    """A line every few seconds: step, loss, time left. Stops the run when the loss is no number any more."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.started = time.monotonic()
        self.said = 0.0
        self.first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise ProofFailed(
                f"{self.stage}: the loss is {loss} at step {state.global_step}; lower {self.stage}.learning_rate and "
                f"run again"
            )
        now = time.monotonic()
        steps = state.global_step - self.first_step
        if steps and (now - self.said > SECONDS_BETWEEN_LINES or state.global_step == state.max_steps):
            left = (now - self.started) / steps * (state.max_steps - state.global_step)
            log.info(
                "%s: step %d of %d, loss %.4f, %d:%02d left",
                self.stage,
                state.global_step,
                state.max_steps,
                loss,
                *divmod(round(left), 60),
            )
            self.said = now


def train(trainer: Trainer, stage: str, out: Path) -> dict[str, float]:
    """Run a trainer from its last whole checkpoint to the end and write `log.jsonl`. Returns the mean loss of the
    last tenth of the steps, and how many there were.

    Raises:
        KormedError: out of memory (with the setting to change); the loss became NaN.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress(stage))
    checkpoint = last_checkpoint(out)
    if checkpoint is not None:
        log.info("%s: going on from %s", stage, checkpoint.name)
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json")) if checkpoint else None
    try:
        if state is not None and state.global_step >= state.max_steps:  # transformers would train one step more
            trainer._load_from_checkpoint(str(checkpoint))
            trainer.state = state
        else:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except torch.OutOfMemoryError:
        raise KormedError(
            f"{stage}: out of GPU memory; lower {stage}.batch_size (and raise {stage}.gradient_accumulation as much), "
            f"set {stage}.gradient_checkpointing=true, or lower {stage}.max_length"
        ) from None
    history = trainer.state.log_history
    with (out / "log.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in history)
    losses = [row["loss"] for row in history if "loss" in row]
    tail = losses[-max(1, len(losses) // 10) :]
    return {"loss": sum(tail) / len(tail), "steps": trainer.state.global_step}


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint that was written to its end: the trainer writes `trainer_state.json` last."""
    whole = []
    for folder in (out / CHECKPOINTS).glob("checkpoint-*"):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            shutil.rmtree(folder)  # a kill cut it off; the trainer would stumble over it
            continue
        whole.append(folder)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def drop_checkpoints(out: Path) -> None:
    """The finished adapter stands beside them, so they are only weight now."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
