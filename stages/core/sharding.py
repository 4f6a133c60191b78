"""What a trainer is told where it is one of several processes: a GPU each, and with `parallel: fsdp` a share of a base.

accelerate does the work; here is what it, PEFT and bitsandbytes do not agree on.
"""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from peft.tuners import tuners_utils
from safetensors.torch import load_file
from torch.distributed.fsdp import FullyShardedDataParallel as Sharded
from transformers import TrainingArguments

from stages.core import artifacts
from stages.core.errors import KormedError
from stages.core.recipe import Sft, Training

WRAPPER = "_fsdp_wrapped_module."


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
