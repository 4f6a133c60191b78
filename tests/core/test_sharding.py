"""What of sharding can be tried without GPUs: FSDP refuses a CPU."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners import tuners_utils
from torch import nn

from stages.core import sharding
from stages.core.errors import KormedError
from stages.core.recipe import Dpo, Model, Sft

MODEL = Model(base="nowhere")


def test_one_process_trains_on_one_gpu_however_many_it_sees(tmp_path: Path) -> None:
    from transformers import TrainingArguments

    arguments = TrainingArguments(output_dir=str(tmp_path))
    arguments._n_gpu = 2  # as on a machine with two; transformers and TRL go by it
    assert sharding.on_one_gpu(arguments).n_gpu == 1


def test_one_process_shards_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert "fsdp" not in sharding.trainer_arguments(Sft(seed=0, model=MODEL, parallel="fsdp"))


def test_fsdp_asks_transformers_for_whole_checkpoints_of_float_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import SFTConfig

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    arguments = sharding.trainer_arguments(Sft(seed=0, model=MODEL, parallel="fsdp"))
    monkeypatch.undo()  # the rest of transformers is to see this machine as it is
    plugin = SFTConfig(bf16=False, **arguments).fsdp_plugin_args
    assert plugin["fsdp_version"] == 1
    assert plugin["state_dict_type"] == "FULL_STATE_DICT"
    assert plugin["use_orig_params"] is False
    assert plugin["reshard_after_forward"] == "full_shard"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Dpo(seed=0, model=MODEL, parallel="fsdp"), "set dpo.parallel to ddp"),
        (Sft(seed=0, model=MODEL, parallel="fsdp", compile=True), "set sft.compile to false"),
    ],
)
def test_what_cannot_be_sharded_is_refused_with_the_way_out(
    config: Sft | Dpo, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(KormedError, match=words):
        sharding.trainer_arguments(config)


class Wrapper(nn.Module):
    """Named as FSDP names what it wraps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module


def test_peft_finds_the_adapter_through_fsdps_wrappers() -> None:
    """Private to PEFT, which finds nothing there by itself: a checkpoint without a weight."""
    model = get_peft_model(nn.Sequential(nn.Linear(4, 4)), LoraConfig(target_modules=["0"]))
    expected = tuners_utils._get_tuner_state_dict_key_prefixes(model)
    assert any(name.endswith(".0.lora_A") for name in expected)
    inner = model.base_model.model
    inner[0] = Wrapper(inner[0])
    assert sharding.through_wrappers(tuners_utils._get_tuner_state_dict_key_prefixes)(Wrapper(model)) == expected
