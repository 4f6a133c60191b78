from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig

from stages.core import fast_lora, models
from stages.core.recipe import Lora, Model
from tests.tiny_gemma import with_adapter


def adapted(base: Path, quantization: Literal["nf4", "none"], dropout: float = 0.0) -> Any:
    return with_adapter(models.load_base(Model(base=str(base), quantization=quantization, dtype="float32")), dropout)


def step(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    ids = torch.randint(300, 1000, (3, 50), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=ids).logits
    (logits**2).mean().backward()
    return logits.detach(), {n: w.grad for n, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_output_and_gradients_are_those_of_peft(tiny_base: Path, quantization: Literal["nf4", "none"]) -> None:
    wanted, gradients = step(adapted(tiny_base, quantization))
    model = adapted(tiny_base, quantization)
    assert fast_lora.speed_up_lora(model) == 14  # seven in each of two layers
    found, fast_gradients = step(model)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert fast_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert float((fast_gradients[name] - gradient).abs().max()) <= 1e-5 * float(gradient.abs().max()), name


def test_the_adapter_that_is_switched_to_is_the_one_that_counts(tiny_base: Path) -> None:
    """DPO switches to the frozen reference and back; evaluation switches adapters off."""
    model = adapted(tiny_base, "none")
    model.add_adapter("ref", LoraConfig(r=8, target_modules=list(Lora().targets)))
    ids = torch.arange(300, 340)[None]
    with torch.no_grad():
        with model.disable_adapter():
            base = model(input_ids=ids).logits
        own = model(input_ids=ids).logits
        fast_lora.speed_up_lora(model)
        with model.disable_adapter():
            assert torch.equal(model(input_ids=ids).logits, base)
        torch.testing.assert_close(model(input_ids=ids).logits, own, rtol=1e-5, atol=1e-5)
        model.set_adapter("ref")  # a fresh adapter adds nothing
        torch.testing.assert_close(model(input_ids=ids).logits, base, rtol=1e-5, atol=1e-5)


def test_layers_with_dropout_stay_as_peft_has_them(tiny_base: Path) -> None:
    assert fast_lora.speed_up_lora(adapted(tiny_base, "none", dropout=0.05)) == 0
