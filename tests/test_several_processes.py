"""SFT and DPO in two processes: what one makes, made once. On a CPU, where the processes talk through gloo."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from stages import cli, dpo, sft
from stages.core.artifacts import MANIFEST, partial_place, read_manifest
from stages.core.pipeline import Run
from stages.core.recipe import load_recipe

ROOT = Path(__file__).parents[1]
SETTINGS = ("--set", "sft.gradient_accumulation=4", "--set", "sft.lora.dropout=0.0")  # each process drops out others
SPAWN = (
    "import os, sys\nfrom stages.core.launching import spawn\n"
    "raise SystemExit(spawn([sys.executable, '-m', 'stages', *sys.argv[1:]], 2, os.environ))"
)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def folder_with(run: Run, place: Path, *made: str) -> Path:
    """A user's folder whose `models/` has what another run made."""
    (place / "models" / "tiny").mkdir(parents=True)
    for name in made:
        (place / "models" / "tiny" / name).symlink_to(run.path(name))
    return place


def in_two(place: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SPAWN, *arguments],
        cwd=place,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_close(made: Path, expected: Path) -> None:
    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (made, expected))
    assert weights.keys() == others.keys()
    for name, value in others.items():
        assert weights[name].allclose(value, rtol=1e-4, atol=1e-5), name


@pytest.fixture(scope="module")
def alone(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter that one process trains."""
    folder = tmp_path_factory.mktemp("alone")
    lora = tiny_run.recipe.sft.lora.model_copy(update={"dropout": 0.0})
    config = tiny_run.recipe.sft.model_copy(update={"gradient_accumulation": 4, "lora": lora})
    sft.run(config, folder, prepare=tiny_run.path("prepare"))
    return folder


@pytest.fixture(scope="module")
def trained(
    tiny_run: Run, tiny_recipe_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """The adapter that two processes train after a kill, with what they said the second time."""
    place = folder_with(tiny_run, tmp_path_factory.mktemp("two"), "prepare")
    folder = place / "models" / "tiny" / "sft"
    first = in_two(place, "sft", str(tiny_recipe_file), *SETTINGS)
    state = partial_place(folder) / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    deadline = time.monotonic() + 120
    while not state.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    first.send_signal(signal.SIGKILL)  # the processes that it started die with it
    first.communicate()
    assert state.exists()
    assert read_manifest(folder) is None, "the run was over before the kill"

    accelerate = [str(Path(sys.executable).with_name("accelerate")), "launch", "--cpu", "--num_processes", "2"]
    again = subprocess.run(
        [*accelerate, "--num_machines", "1", "-m", "stages", "sft", str(tiny_recipe_file), *SETTINGS],
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    return folder, again


def test_two_processes_that_were_killed_and_went_on_train_the_adapter_that_one_trains(
    trained: tuple[Path, "subprocess.CompletedProcess[str]"], alone: Path
) -> None:
    """The second time by accelerate: a step has the same rows, in whatever way the processes are started."""
    folder, again = trained
    assert "sft: going on from checkpoint-" in again.stderr
    assert_close(folder, alone)


def test_the_books_are_kept_once(trained: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    folder, again = trained
    manifest = read_manifest(folder)
    assert manifest is not None
    assert set(manifest.files) == {path.name for path in folder.iterdir()} - {MANIFEST}
    assert "adapter_model.safetensors" in manifest.files
    assert not partial_place(folder).exists()
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert again.stderr.count("sft: done in") == 1
    assert again.stdout.count("loss") == 1


def test_what_two_processes_made_is_done_for_one_as_well(
    trained: tuple[Path, "subprocess.CompletedProcess[str]"],
    tiny_recipe_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, _ = trained
    monkeypatch.chdir(folder.parents[2])
    recipe = load_recipe(tiny_recipe_file, SETTINGS[1::2])
    with caplog.at_level("INFO", logger="kormed"):
        Run(recipe).bring("sft")
    assert "sft: done already" in caplog.text


def test_gpus_that_are_asked_for_and_done_already_need_not_be_there(
    trained: tuple[Path, "subprocess.CompletedProcess[str]"], tiny_recipe_file: Path
) -> None:
    folder, _ = trained
    done = subprocess.run(
        [sys.executable, "-m", "stages", "sft", str(tiny_recipe_file), *SETTINGS, "--gpus", "64"],
        cwd=folder.parents[2],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "sft: done already" in done.stderr


def test_two_processes_optimise_the_preferences_as_one_does(
    labelled_run: Run, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    settings = ("--set", "dpo.batch_size=1", "--set", "dpo.gradient_accumulation=2")
    place = folder_with(labelled_run, tmp_path / "two", "prepare", "sft", "candidates", "preferences")
    (place / "models" / "tiny" / "responses").symlink_to(labelled_run.responses.parent)
    process = in_two(place, "dpo", str(tiny_recipe_file), *settings)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("loss_at_step_0 0.6931") == 1
    config = labelled_run.recipe.dpo.model_copy(update={"batch_size": 1, "gradient_accumulation": 2})
    (tmp_path / "one").mkdir()
    dpo.run(config, tmp_path / "one", sft=labelled_run.path("sft"), preferences=labelled_run.path("preferences"))
    assert_close(place / "models" / "tiny" / "dpo", tmp_path / "one")


def test_an_error_that_all_processes_meet_is_said_once(tiny_run: Run, tiny_recipe_file: Path, tmp_path: Path) -> None:
    place = folder_with(tiny_run, tmp_path, "prepare")
    process = in_two(place, "sft", str(tiny_recipe_file), "--set", "sft.max_length=4")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.count("fits sft.max_length=4; raise it") == 1
    assert "Traceback" not in err


def test_an_input_that_is_missing_is_not_made_by_each_of_several_processes(
    tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    result = CliRunner().invoke(cli.main, ["sft", str(tiny_recipe_file)])
    assert result.exit_code == 2
    assert "2 processes would all make it; run `kormed prepare RECIPE` alone first" in result.stderr


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_is_not_trained_is_refused_to_several_processes_before_anything_is_written(
    tiny_run: Run, tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    """Both would write the same files, and lm-eval gives its results to rank 0 alone."""
    place = folder_with(tiny_run, tmp_path, "prepare", "sft")
    monkeypatch.chdir(place)
    monkeypatch.setattr(cli, "SECONDS_TO_RANK_0", 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    result = CliRunner().invoke(cli.main, ["evaluate", str(tiny_recipe_file), "--checkpoint", "sft"])
    assert result.exit_code == 2
    assert "run `kormed evaluate --checkpoint sft RECIPE` without a launcher" in result.stderr
    assert not (place / "models" / "tiny" / "evaluate").exists()


def test_the_makefile_passes_the_number_of_gpus_on() -> None:
    for stage in ("sft", "dpo"):
        shown = subprocess.run(
            ["make", "--dry-run", "--always-make", stage, "GPUS=2"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        (line,) = [line for line in shown.stdout.splitlines() if f"kormed {stage} " in line]
        words = shlex.split(line)[2:]
        with cli.main.commands[stage].make_context(stage, words) as context:
            assert isinstance(context, click.Context)
            assert context.params["gpus"] == 2
