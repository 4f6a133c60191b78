"""What is seen of a training while it runs: a line every few seconds, and troubles that stop it.

The rules are pure and read the trainer's log, which stands in every checkpoint, so a run that goes on from one knows
where it began.
"""

import importlib.util
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stages.core.errors import KormedError, ProofFailed

log = logging.getLogger("kormed")

Row = Mapping[str, Any]  # of the trainer's log: a step's loss, grad_norm, num_tokens and the like

SECONDS_BETWEEN_LINES = 5
RECENT = 20  # steps that speed and time left are taken from; the first ones of a compiled model take minutes

# A loss that stays high: every one of the last 20 steps is above the worst of the first 10 by half of it and by 1.0.
# Minima and maxima, not means: with one row a step an exam question's loss is near 0 and a consult's is 3, so means of
# a few steps differ by a factor in a healthy run, while 20 steps in a row of nothing but worse ones do not come by
# chance. Factor and distance are our choice. DPO's sigmoid begins at 0.69, so it takes 1.7 in every step, which is a
# policy that ranks all pairs the wrong way; ipo begins at 1 / (2 beta) ** 2, where the half counts.
FIRST, LAST = 10, 20
FACTOR, DISTANCE = 1.5, 1.0

# A gradient that is lost: bitsandbytes' repacking for AVX512-BF16 let a norm of 0.29 fall to 5e-6, and nothing but
# slow learning told of it. The limit is twenty times that. A gradient that is small because all is learned comes with a
# small loss.
NO_GRADIENT, STILL_TO_LEARN, IN_A_ROW = 1e-4, 0.1, 10

MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}


def require_reporters(stage: str, report_to: Sequence[str]) -> None:
    """Raises KormedError where the library of one of `report_to` is not installed."""
    missing = [name for name in report_to if not any(importlib.util.find_spec(module) for module in MODULES[name])]
    if missing:
        raise KormedError(
            f"{stage}.report_to wants {', '.join(missing)}, not installed here; run `pip install {' '.join(missing)}`, "
            f"or take {'it' if len(missing) == 1 else 'them'} out of {stage}.report_to"
        )


def trouble(stage: str, rows: Sequence[Row]) -> str | None:
    """What is wrong with a training at its last row, and the setting to change; None where nothing is.

    `rows`: of the steps up to now, in order, each with its loss.
    """
    loss, norm, step = rows[-1]["loss"], rows[-1].get("grad_norm"), rows[-1]["step"]
    if not math.isfinite(loss):
        return f"the loss is {loss} at step {step}; lower {stage}.learning_rate and run again"
    if norm is not None and not math.isfinite(norm):
        return f"the gradient's norm is {norm} at step {step}; lower {stage}.learning_rate and run again"
    return lost_gradient(stage, rows[-IN_A_ROW:]) or divergence(stage, rows)


def lost_gradient(stage: str, rows: Sequence[Row]) -> str | None:
    norms = [row["grad_norm"] for row in rows if row.get("grad_norm") is not None and row["loss"] > STILL_TO_LEARN]
    if len(norms) < IN_A_ROW or max(norms) >= NO_GRADIENT:
        return None
    return (
        f"hardly any gradient reaches the adapter at step {rows[-1]['step']}: in the last {IN_A_ROW} steps its norm "
        f"was at most {max(norms):.1e} with a loss of {rows[-1]['loss']:.3f}, so nothing is learned. A quantised base "
        f"on a CPU did that; set model.quantization=none, or look whether an adapter that is all zeros went in"
    )


def divergence(stage: str, rows: Sequence[Row]) -> str | None:
    losses = [row["loss"] for row in rows[:FIRST]], [row["loss"] for row in rows[-LAST:]]
    if len(rows) < FIRST + LAST:
        return None
    began, now = max(losses[0]), min(losses[1])
    if now <= max(FACTOR * began, began + DISTANCE):
        return None
    return (
        f"the loss has grown and stays so at step {rows[-1]['step']}: at least {now:.3f} in each of the last {LAST} "
        f"steps, at most {began:.3f} in the first {FIRST}; lower {stage}.learning_rate or raise {stage}.warmup_ratio, "
        f"and run again"
    )


def what_stays(out: Path) -> str:
    """Which checkpoints a stopped run leaves in its partial folder, and how to go on or begin anew."""
    steps = sorted(int(folder.name.rpartition("-")[2]) for folder in (out / "checkpoints").glob("checkpoint-*"))
    if not steps:
        return "No checkpoint was written yet, so the next run begins at step 0"
    return (
        f"Step {steps[-1]} stays in {out / 'checkpoints'}: the same command goes on from there, with other settings "
        f"(or --force) it begins anew"
    )


@dataclass(frozen=True)
class Mark:
    """A moment in training: seconds of a clock, steps done, tokens seen (without padding)."""

    seconds: float
    step: int
    tokens: float | None


def pace(marks: Sequence[Mark], steps_left: int) -> tuple[float | None, float | None]:
    """Tokens a second, and the seconds that the steps left will take; None where too few marks tell.

    A step's time is the median of the recent ones: one that compiled or wrote a checkpoint does not count.
    """
    if len(marks) < 3:
        return None, None
    first, last = marks[0], marks[-1]
    each = median((b.seconds - a.seconds) / (b.step - a.step) for a, b in itertools.pairwise(marks))
    if first.tokens is None or last.tokens is None:
        return None, each * steps_left
    return (last.tokens - first.tokens) / (last.seconds - first.seconds), each * steps_left


def line(stage: str, row: Row, steps: int, pace: tuple[float | None, float | None], memory: str) -> str:
    """Where a training stands, for people."""
    tokens_a_second, left = pace
    parts = [f"{stage}: step {row['step']} of {steps}"]
    if row.get("epoch") is not None:
        parts.append(f"epoch {row['epoch']:.2f}")
    parts.append(f"loss {row['loss']:.4f}")
    if "rewards/margins" in row:
        parts.append(f"margin {row['rewards/margins']:.3f}, {100 * row['rewards/accuracies']:.0f} % right")
    if tokens_a_second is not None:
        parts.append(f"{tokens_a_second:,.0f} tokens/s")
    if memory:
        parts.append(memory)
    parts.append("time left not known yet" if left is None else f"{clock(left)} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def memory() -> str:
    """The GPU's, now and at most since the process began, as PyTorch's allocator counts it, without waiting for the
    GPU; empty on a CPU.
    """
    if not torch.cuda.is_available():
        return ""
    now, most = torch.cuda.memory_allocated() / 2**30, torch.cuda.max_memory_allocated() / 2**30
    return f"{now:.1f} GiB (peak {most:.1f})"


class Progress(TrainerCallback):
    """A line every few seconds, and a stop where something is wrong (`trouble`).

    TRL counts the tokens: an attention mask's ones, or a pack's length; what padding_free.py fills up is not in it. The
    trainer writes its log before it saves, so what stopped a run never stands in a checkpoint of that step.
    """

    def __init__(self, stage: str, out: Path) -> None:
        self.stage, self.out = stage, out
        self.rows: list[Row] = []
        self.marks: deque[Mark] = deque(maxlen=RECENT + 1)
        self.said = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.rows = [row for row in state.log_history if "loss" in row]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        row = logs | {"step": state.global_step, "epoch": state.epoch}
        self.rows.append(row)
        if wrong := trouble(self.stage, self.rows):
            raise ProofFailed(f"{self.stage}: {wrong}. {what_stays(self.out)}")
        now = time.monotonic()
        self.marks.append(Mark(now, state.global_step, logs.get("num_tokens")))
        over = state.global_step == state.max_steps
        if state.is_world_process_zero and (over or now - self.said > SECONDS_BETWEEN_LINES):
            self.said = now
            speed = pace(list(self.marks), state.max_steps - state.global_step)
            log.info("%s", line(self.stage, row, state.max_steps, speed, memory()))
