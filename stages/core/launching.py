"""One stage in several processes on this machine, a GPU each: `kormed sft RECIPE --gpus 2`.

accelerate, which the trainers stand on, finds the others through RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT, as torchrun and `accelerate launch` set them. On several machines those two start the same command
(recipes/cluster/). Started here, one error is one message, and Ctrl-C or a kill ends all processes.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from peft.tuners import tuners_utils
from safetensors.torch import load_file
from torch.distributed.fsdp import FullyShardedDataParallel as Sharded
from transformers import TrainingArguments

from stages.core import artifacts, models
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Sft, Training

WRAPPER = "_fsdp_wrapped_module."
GRACE_SECONDS = 10  # for rank 0 to say what is wrong, once another has failed
STOP_SECONDS = 60  # for a process to end after Ctrl-C, which may come in the middle of a checkpoint


def launch(run: Run, name: str, arguments: Sequence[str], gpus: int) -> int:
    """Make the artifact `name` by `kormed ARGUMENTS` in `gpus` processes. Returns the exit code.

    What it needs is made first, in this process alone.

    Raises:
        KormedError: there are not so many GPUs, or an input is stale.
    """
    require_gpus(gpus)
    run.bring_inputs(name)
    models.release()
    return spawn([sys.executable, "-m", "stages", *arguments], gpus, os.environ)


def require_gpus(gpus: int) -> None:
    found = torch.cuda.device_count()
    if gpus > found:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        visible = f" (CUDA_VISIBLE_DEVICES={seen})" if seen is not None else ""
        raise KormedError(
            f"--gpus {gpus}: {found or 'no'} GPU{'s' * (found != 1)} to be seen here{visible}; "
            + (f"ask for {found} at most" if found else "leave it out to run on the CPU")
        )


def spawn(command: Sequence[str], processes: int, environment: Mapping[str, str]) -> int:
    """Run a command as `processes` ranks of one group and wait for them. Returns the first exit code that is not 0."""
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes))),
    }
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            ranks.append(
                subprocess.Popen(
                    command,
                    env={**environment, **shared, **own},
                    process_group=0,  # so that Ctrl-C comes to them once, from here
                    preexec_fn=die_with_parent,
                )
            )
        return wait(ranks)
    except KeyboardInterrupt:
        send(ranks, signal.SIGINT)
        if not ended(ranks[:1], STOP_SECONDS):
            raise
        return ranks[0].returncode or 0  # it has said so
    finally:
        send(ranks, signal.SIGKILL)
        ended(ranks, STOP_SECONDS)


def wait(ranks: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Until all have ended well, or one has not: the others, which would wait for it forever, are then ended too."""
    while True:
        codes = [rank.poll() for rank in ranks]
        if failed := [code for code in codes if code]:
            if not codes[0]:  # else it has said what was wrong, and the others would only repeat it
                ended(ranks, GRACE_SECONDS)
            send(ranks, signal.SIGTERM)
            ended(ranks, GRACE_SECONDS)
            return failed[0] if failed[0] > 0 else 1
        if None not in codes:
            return 0
        time.sleep(0.1)


def send(ranks: Sequence["subprocess.Popen[bytes]"], how: signal.Signals) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.send_signal(how)


def ended(ranks: Sequence["subprocess.Popen[bytes]"], seconds: float) -> bool:
    """Wait for all of them, so long at most. Returns whether they have ended."""
    deadline = time.monotonic() + seconds
    while any(rank.poll() is None for rank in ranks):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def die_with_parent() -> None:
    """So that a killed launcher leaves no process on a GPU (prctl(2), PR_SET_PDEATHSIG; Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def on_one_gpu(arguments: TrainingArguments) -> TrainingArguments:
    """A process has one GPU, also where it sees more: Trainer would copy the model to all of them (DataParallel)."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def shards(config: Training) -> bool:
    """Whether the base is divided among the processes."""
    return config.parallel == "fsdp" and artifacts.processes() > 1


def trainer_arguments(config: Training) -> dict[str, Any]:
    """Keyword arguments of TrainingArguments for the processes that were launched.

    FSDP1, although transformers calls it deprecated: in FSDP2 bitsandbytes' 4-bit weights lose their quantisation
    state, and bytes that read as NaN are changed (bitsandbytes#1945, accelerate#3874).

    Raises:
        KormedError: `parallel: fsdp` cannot run what the recipe asks for.
    """
    if not shards(config):
        return {"ddp_find_unused_parameters": False}  # every weight of the adapter is used in every step
    require_shardable(config)
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 1,
            "reshard_after_forward": "full_shard",
            "use_orig_params": False,
            "backward_prefetch": "BACKWARD_PRE",
            "limit_all_gathers": True,
            "cpu_ram_efficient_loading": False,  # each process quantises the base on its own GPU
            "sync_module_states": False,  # and has the same one
            "state_dict_type": "FULL_STATE_DICT",
        },
    }


def require_shardable(config: Training) -> None:
    if not isinstance(config, Sft):
        raise KormedError(
            "dpo.parallel fsdp: DPO's frozen reference cannot be sharded beside the policy; set dpo.parallel to ddp, "
            "which holds the quantised base once a GPU"
        )
    if config.compile:
        raise KormedError("sft.parallel fsdp: compiled layers cannot be sharded; set sft.compile to false")
    if not torch.cuda.is_available():
        raise KormedError("sft.parallel fsdp: shards over GPUs, and none is here; set sft.parallel to ddp")


def prepare_sharding(trainer: Any) -> None:
    """Before a trainer shards its model: what FSDP would round and PEFT would lose.

    Buffers stay in float32. Cast to bf16, as the weights are, the rotary frequencies would be rounded by up to 1/256,
    and positions beyond some hundred tokens would be wrong.

    PEFT 0.21 tells the adapter's weights by their modules' names and does not expect FSDP's wrappers within them, so
    that a checkpoint would hold no weight at all.
    """
    plugin = trainer.accelerator.state.fsdp_plugin
    if plugin.mixed_precision_policy is not None:  # accelerate has set it already, from bf16
        plugin.mixed_precision_policy.buffer_dtype = torch.float32
    plugin.set_mixed_precision = partial(plugin.set_mixed_precision, buffer_autocast=True)
    if not hasattr(tuners_utils._get_tuner_state_dict_key_prefixes, "sees_through"):
        tuners_utils._get_tuner_state_dict_key_prefixes = through_wrappers(
            tuners_utils._get_tuner_state_dict_key_prefixes
        )


def through_wrappers(prefixes: Callable[..., set[str]]) -> Callable[..., set[str]]:
    @wraps(prefixes)
    def see_through(*args: Any, **options: Any) -> set[str]:
        return {name.replace(WRAPPER, "") for name in prefixes(*args, **options)}

    see_through.sees_through = True  # type: ignore[attr-defined]
    return see_through


def restore(trainer: Any, checkpoint: Path) -> None:
    """Before a trainer shards its model, give the adapter a checkpoint's weights.

    In a sharded one PEFT 0.21 finds no place for them, and says nothing.
    """
    weights = load_file(checkpoint / "adapter_model.safetensors")
    result = set_peft_model_state_dict(trainer.model, weights)
    missing = [name for name in result.missing_keys if ".lora_" in name]
    if missing or result.unexpected_keys:
        raise AssertionError(f"{checkpoint}: not this model's adapter: {missing[:3]}, {result.unexpected_keys[:3]}")


def whole_adapter(model: torch.nn.Module) -> dict[str, torch.Tensor] | None:
    """The adapter's weights put together from all processes' shards, by PEFT's names; None where nothing is sharded.

    All processes must call it.
    """
    if not isinstance(model, Sharded):
        return None
    found = {}
    for name, unit in model.named_modules():
        if isinstance(unit, Sharded) and ".lora_" in name:
            with Sharded.summon_full_params(unit, recurse=False, writeback=False):
                found[name.replace(WRAPPER, "") + ".weight"] = unit.weight.detach().cpu().clone()
    return found
