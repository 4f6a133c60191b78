"""What a training says of itself, and what stops it. The rules are tested on logs written by hand."""

import logging
import random
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from stages.core import watching
from stages.core.errors import KormedError, ProofFailed
from stages.core.watching import Mark, Progress, line, pace, trouble


def rows(losses: list[float], norms: list[float] | None = None) -> list[dict[str, Any]]:
    norms = norms or [1.0] * len(losses)
    return [
        {"step": step, "loss": loss, "grad_norm": norm}
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), start=1)
    ]


def ever(stage: str, log: list[dict[str, Any]]) -> str | None:
    """The first trouble at any step of a log."""
    return next((found for end in range(1, len(log) + 1) if (found := trouble(stage, log[:end]))), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_or_gradient_that_is_no_number_is_trouble(value: float) -> None:
    assert f"the loss is {value} at step 2; lower sft.learning_rate" in (ever("sft", rows([1, value, 1])) or "")
    found = ever("dpo", rows([1, 1, 1], [1, 1, value])) or ""
    assert f"the gradient's norm is {value} at step 3; lower dpo.learning_rate" in found


def test_a_loss_that_grows_and_stays_is_trouble() -> None:
    found = ever("sft", rows([2.5] * 12 + [4.5] * 20)) or ""
    assert "the loss has grown and stays so at step 32: at least 4.500 in each of the last 20 steps" in found
    assert "at most 2.500 in the first 10; lower sft.learning_rate" in found
    assert "stays so" in (ever("dpo", rows([0.69] * 10 + [2.0] * 20)) or "")


def test_one_row_a_step_with_easy_and_hard_rows_is_no_trouble() -> None:
    """An exam question's answer is a letter, a consult's a text: with one row a step the loss jumps for ever."""
    for seed in range(5):
        rng = random.Random(seed)
        losses = [3 + rng.random() if rng.random() < 0.3 else 0.4 * rng.random() for _ in range(1000)]
        assert ever("sft", rows(losses)) is None


def test_a_spike_that_goes_away_is_no_trouble() -> None:
    assert ever("sft", rows([2.5] * 30 + [11.0] * 19 + [2.5] * 30)) is None


def test_high_losses_of_random_weights_and_ipo_are_no_trouble() -> None:
    rng = random.Random(0)
    assert ever("sft", rows([7.3 + rng.gauss(0, 0.4) for _ in range(500)])) is None
    assert ever("dpo", rows([2500 + rng.gauss(0, 200) for _ in range(500)])) is None


def test_a_gradient_that_is_gone_while_there_is_much_to_learn_is_trouble() -> None:
    """bitsandbytes on AVX512-BF16: 0.29 fell to 5e-6."""
    found = ever("sft", rows([2.5] * 20, [0.29] * 5 + [5e-6] * 15)) or ""
    assert "hardly any gradient reaches the adapter at step 15" in found
    assert "at most 5.0e-06 with a loss of 2.500" in found


def test_a_small_gradient_where_all_is_learned_is_no_trouble() -> None:
    assert ever("dpo", rows([0.002] * 40, [1e-6] * 40)) is None
    assert ever("sft", rows([2.5] * 40, [1e-6, 0.3] * 20)) is None


def test_time_left_goes_by_the_recent_steps_and_not_by_one_that_compiled() -> None:
    marks = [Mark(0, 1, 0), Mark(300, 2, 1000), Mark(302, 3, 2000), Mark(304, 4, 3000), Mark(306, 5, 4000)]
    assert pace(marks, 50)[1] == 100
    assert pace(marks[1:], 50) == (500, 100)
    assert pace(marks[:2], 50) == (None, None)


def test_a_line_says_what_sft_and_dpo_know() -> None:
    sft = {"step": 5, "epoch": 0.5, "loss": 1.25}
    assert line("sft", sft, 20, (1500, 3700), "3.1 GiB (peak 4.0)") == (
        "sft: step 5 of 20, epoch 0.50, loss 1.2500, 1,500 tokens/s, 3.1 GiB (peak 4.0), 1:01:40 left"
    )
    dpo = sft | {"rewards/margins": 0.12, "rewards/accuracies": 0.75}
    assert line("dpo", dpo, 20, (None, None), "") == (
        "dpo: step 5 of 20, epoch 0.50, loss 1.2500, margin 0.120, 75 % right, time left not known yet"
    )


def test_a_missing_reporter_is_an_error_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(watching.MODULES, "wandb", ("no_such_module_here",))
    with pytest.raises(KormedError, match=r"sft.report_to wants wandb, .* run `pip install wandb`, or take it out of"):
        watching.require_reporters("sft", ("tensorboard", "wandb"))
    watching.require_reporters("sft", ("tensorboard",))


def see(progress: Progress, folder: Path, log: list[dict[str, Any]]) -> None:
    arguments, state = TrainingArguments(output_dir=str(folder), use_cpu=True), TrainerState(max_steps=100)
    progress.on_train_begin(arguments, state, TrainerControl())
    for row in log:
        state.global_step = row["step"]
        progress.on_log(arguments, state, TrainerControl(), logs={k: v for k, v in row.items() if k != "step"})


def test_a_run_that_is_stopped_says_what_stays_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(ProofFailed, match="No checkpoint was written yet"):
        see(Progress("sft", tmp_path), tmp_path, rows([1, float("nan")]))
    for step in (50, 100):
        (tmp_path / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
    with pytest.raises(
        ProofFailed, match=r"Step 100 stays in .*checkpoints: the same command goes on from there, with"
    ):
        see(Progress("sft", tmp_path), tmp_path, rows([1, float("nan")]))


def test_the_last_step_has_a_line_and_the_first_one_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kormed"):
        see(Progress("sft", tmp_path), tmp_path, rows([2.0] * 100))
    said = [record.message for record in caplog.records]
    assert said[0].startswith("sft: step 1 of 100, epoch 0.00, loss 2.0000")
    assert said[-1].startswith("sft: step 100 of 100") and said[-1].endswith("0:00 left")
