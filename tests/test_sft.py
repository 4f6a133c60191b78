import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from trl import SFTConfig, SFTTrainer

from stages import sft
from stages.cli import disk_trouble
from stages.core import models, training
from stages.core.artifacts import read_manifest
from stages.core.errors import KormedError, ProofFailed
from stages.core.pipeline import Run
from stages.core.recipe import Recipe
from stages.core.records import Dropped, Example, read_jsonl


def test_the_loss_counts_the_answer_and_its_end_of_turn_and_nothing_else(tiny_run: Run, tmp_path: Path) -> None:
    config = tiny_run.recipe.sft
    tokenizer = models.load_tokenizer(config.model)
    examples = read_jsonl(tiny_run.path("prepare") / "train.jsonl", Example)
    exam = next(e for e in examples if e.source.startswith("kormedmcqa"))
    consult = next(e for e in examples if e.source == "consult")
    trainer = SFTTrainer(
        model=models.load_base(config.model),
        args=SFTConfig(**training.arguments(config, tmp_path), completion_only_loss=True),
        train_dataset=Dataset.from_list([sft.row(exam), sft.row(consult)]),
        processing_class=tokenizer,
    )
    for example, row in zip((exam, consult), trainer.train_dataset, strict=True):
        batch = trainer.data_collator([row])
        labels = [token for token in batch["labels"][0].tolist() if token != -100]
        assert tokenizer.decode(labels) == f"{example.answer}<end_of_turn>\n"
        assert batch["input_ids"][0].tolist().count(tokenizer.bos_token_id) == 1


def test_the_adapter_is_trained_and_the_log_has_a_row_a_step(tiny_run: Run) -> None:
    folder = tiny_run.path("sft")
    weights = load_file(folder / "adapter_model.safetensors")
    moved = [name for name, value in weights.items() if "lora_B" in name and value.abs().sum() > 0]
    assert len(moved) == 14  # seven linear layers in each of two blocks; LoRA's B starts at zero
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 6
    assert min(losses[3:]) < losses[0]
    assert not (folder / "checkpoints").exists()


def test_a_cpu_run_says_that_it_is_not_quantised(
    tiny_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="kormed"):
        models.load_base(tiny_recipe.model.model_copy(update={"quantization": "auto"}))
    assert "no GPU here, so the base stays in float32 instead of NF4" in caplog.text


def test_rows_that_do_not_fit_are_dropped_whole_and_written_down(tiny_run: Run, tmp_path: Path) -> None:
    short = tiny_run.recipe.sft.model_copy(update={"max_length": 120, "max_steps": 1})
    metrics = sft.run(short, tmp_path, prepare=tiny_run.path("prepare"))
    dropped = read_jsonl(tmp_path / "dropped.jsonl", Dropped)
    assert metrics["dropped"] == len(dropped) > 0
    assert metrics["rows"] > 0
    assert {row.reason for row in dropped} == {"longer than max_length 120"}


def test_no_row_that_fits_is_an_error_with_the_way_out(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match=r"none of \d+ rows fits sft.max_length=4; raise it"):
        sft.run(tiny_run.recipe.sft.model_copy(update={"max_length": 4}), tmp_path, prepare=tiny_run.path("prepare"))


def test_a_loss_that_is_no_number_stops_the_run_with_its_step(tiny_run: Run, tmp_path: Path) -> None:
    wild = tiny_run.recipe.sft.model_copy(update={"learning_rate": 1e30, "warmup_ratio": 0.0})
    with pytest.raises(ProofFailed, match=r"the loss is nan at step \d; lower sft.learning_rate"):
        sft.run(wild, tmp_path, prepare=tiny_run.path("prepare"))


def test_a_killed_run_goes_on_and_ends_in_the_same_adapter(
    tiny_run: Run, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    """kill -9 once the first checkpoint stands, then the same command: optimizer, scheduler and sampler go on."""
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "tiny" / "prepare").symlink_to(tiny_run.path("prepare"))
    command = [sys.executable, "-m", "stages", "sft", str(tiny_recipe_file)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "models" / "tiny" / ".sft.partial" / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert state.exists()
    assert read_manifest(tmp_path / "models" / "tiny" / "sft") is None, "the run was over before the kill"

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sft: going on from checkpoint-" in done.stderr
    resumed = load_file(tmp_path / "models" / "tiny" / "sft" / "adapter_model.safetensors")
    whole = load_file(tiny_run.path("sft") / "adapter_model.safetensors")
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        assert resumed[name].allclose(value, rtol=1e-4, atol=1e-6), name


def test_a_run_that_was_killed_behind_its_last_checkpoint_trains_no_step_more(tiny_run: Run, tmp_path: Path) -> None:
    config = tiny_run.recipe.sft.model_copy(update={"scheduler": "constant"})
    finished, cut = tmp_path / "finished", tmp_path / "cut"
    for folder in (finished, cut):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "drop_checkpoints", lambda out: None)
        sft.run(config, finished, prepare=tiny_run.path("prepare"))
    shutil.copytree(finished / "checkpoints", cut / "checkpoints")
    metrics = sft.run(config, cut, prepare=tiny_run.path("prepare"))
    assert metrics["steps"] == 6
    whole, resumed = (load_file(folder / "adapter_model.safetensors") for folder in (finished, cut))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_tensorboard_curves_stay_when_the_run_is_over(tiny_run: Run, tmp_path: Path) -> None:
    config = tiny_run.recipe.sft.model_copy(update={"report_to": ("tensorboard",), "max_steps": 1})
    sft.run(config, tmp_path, prepare=tiny_run.path("prepare"))
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents*"))


def test_a_disk_that_is_full_while_torch_saves_is_known_as_such() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.save(torch.zeros(1_000_000), "/dev/full")
    assert disk_trouble(error.value) == "the disk is full"


def test_trl_still_has_the_switch_that_scores_answers_only() -> None:
    """Private to TRL; without it CPU training is three times slower, so its loss is to be noticed."""
    from trl.trainer import utils

    assert hasattr(utils, "_use_triton")
