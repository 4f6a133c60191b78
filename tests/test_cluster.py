"""recipes/cluster: what it tells people to type, and the Slurm script on two machines, processes of this one."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file  # type: ignore[import-untyped]
from accelerate.commands.launch import launch_command_parser  # type: ignore[import-untyped]
from safetensors.torch import load_file

from stages.cli import main
from stages.core.artifacts import read_manifest
from stages.core.pipeline import Run
from stages.core.recipe import load_recipe

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "recipes" / "cluster"
CONFIGURATIONS = sorted(CLUSTER.glob("*.yml"))

SCONTROL = """\
#!/bin/bash
echo 127.0.0.1
echo a-second-machine
"""

# Runs what srun is given once a machine, at the same time, and ends as the first that fails.
SRUN = """\
#!/bin/bash
while [[ $1 == --* ]]; do shift; done
pids=()
for ((machine = 0; machine < SLURM_NNODES; machine++)); do
  SLURM_NODEID=$machine SLURM_PROCID=$machine SLURM_STEP_ID=0 "$@" &
  pids+=($!)
done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit $code
"""


def commands() -> list[list[str]]:
    """Each command line in the cluster's files that starts a stage, in words."""
    found = []
    for file in [*CLUSTER.glob("*.md"), *CONFIGURATIONS, *CLUSTER.glob("*.slurm")]:
        for line in file.read_text(encoding="utf-8").splitlines():
            line = line.lstrip("# ").rstrip("`")
            if re.match(r"(kormed|sbatch|accelerate launch) ", line):
                found.append(shlex.split(line))
    return found


def test_accelerate_reads_every_configuration_and_knows_all_of_its_keys() -> None:
    assert CONFIGURATIONS
    for file in CONFIGURATIONS:
        read = load_config_from_file(str(file))
        assert set(yaml.safe_load(file.read_text(encoding="utf-8"))) <= set(read.to_dict()), file.name


def test_every_command_names_a_subcommand_a_recipe_and_files_that_there_are() -> None:
    assert isinstance(main, click.Group)
    assert len(commands()) >= 6
    for words in commands():
        recipe = next(at for at, word in enumerate(words) if word.endswith(".yaml"))
        assert words[recipe - 1] in main.commands, words
        load_recipe(ROOT / words[recipe])
        for word in words:
            if word.startswith("recipes/"):
                assert (ROOT / word).exists(), words


def test_accelerate_understands_every_command_that_starts_it() -> None:
    launches = [words[2:] for words in commands() if words[0] == "accelerate"]
    assert launches
    for words in launches:
        understood = launch_command_parser().parse_args(words)
        assert (understood.module, understood.training_script) == (True, "stages")


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on two machines of one process each, with tmp_path as the storage they share."""
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        stub = tmp_path / "bin" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(text, encoding="utf-8")
        stub.chmod(0o755)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "KORMED_"))}
    return clean | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "a-list",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
    }


def slurm(arguments: list[str], environment: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(CLUSTER / "train.slurm"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_two_machines_prepare_once_and_train_the_adapter_that_one_process_trains(
    tiny_recipe_file: Path, tmp_path: Path, cluster: dict[str, str]
) -> None:
    settings = ["sft.gradient_accumulation=2", "sft.lora.dropout=0.0"]  # each process would drop out others
    changes = [word for setting in settings for word in ("--set", setting)]
    done = slurm(["sft", str(tiny_recipe_file), *changes], cluster, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    made = tmp_path / "models" / "tiny"
    assert read_manifest(made / "prepare") is not None
    assert read_manifest(made / "sft") is not None
    apart = Run(load_recipe(tiny_recipe_file, settings), tmp_path / "apart")
    apart.bring("sft")
    two, one = (load_file(folder / "adapter_model.safetensors") for folder in (made / "sft", apart.path("sft")))
    assert two.keys() == one.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3, msg=name)
    rows = [json.loads(line) for line in (made / "sft" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum("loss" in row for row in rows) == 6  # one log, of rank 0
    assert not list(made.glob(".*.partial"))


def test_a_stage_that_does_not_train_is_refused_before_anything_runs(tmp_path: Path, cluster: dict[str, str]) -> None:
    done = slurm(["evaluate", "recipes/demo/demo.yaml"], cluster, tmp_path)
    assert done.returncode == 2
    assert "only sft and dpo train" in done.stderr
    assert not (tmp_path / "models").exists()
