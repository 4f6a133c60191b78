from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig, get_peft_model

from stages.core.merged import merged, merged_bytes, replacing
from stages.core.models import Loaded
from stages.core.recipe import Model


def adapted(base: Path, quantization: Literal["none", "nf4"]) -> Any:
    loaded = Loaded(Model(base=str(base), quantization=quantization, dtype="float32"))
    torch.manual_seed(5)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(loaded.base, lora).eval()


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@torch.no_grad()
def test_merged_layers_compute_what_base_and_adapter_do(tiny_base: Path, quantization: Literal["none", "nf4"]) -> None:
    model = adapted(tiny_base, quantization)
    ids = torch.tensor([[2, 9, 30, 41, 8]])
    own = model(input_ids=ids).logits
    forwards = merged(model.get_base_model().get_decoder(), torch.float32)
    assert len(forwards) == 2 * (7 + 4) + 1  # every layer's linear ones and norms, and the last norm
    with replacing(forwards):
        assert torch.allclose(model(input_ids=ids).logits, own, atol=1e-4)
    assert torch.equal(model(input_ids=ids).logits, own)
    with model.disable_adapter():
        base = model(input_ids=ids).logits
        plain = merged(model.get_base_model().get_decoder(), torch.float32)
    assert not torch.allclose(base, own, atol=1e-2)
    with replacing(plain):
        assert torch.allclose(model(input_ids=ids).logits, base, atol=1e-4)


def test_what_merged_weights_take_is_known_beforehand(tiny_base: Path) -> None:
    decoder = adapted(tiny_base, "none").get_base_model().get_decoder()
    attention, mlp = 64 * 64 * 2 + 64 * 32 * 2, 3 * 64 * 128
    assert merged_bytes(decoder, torch.bfloat16) == 2 * 2 * (attention + mlp)
