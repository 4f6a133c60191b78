"""A decoder's layers in fewer kernels while it generates: each linear layer one matrix, each norm one kernel.

At one token a row a step is thousands of kernels of a few microseconds. NF4 weights are dequantised anew in every step,
and PEFT adds eight kernels to each linear layer. Here both are done once: W, dequantised, plus the adapter's scaled
B·A, rounded to W's type. That is what the layer computes up to rounding; it is never saved (merging into 4-bit weights
loses accuracy, peft#2321; this does not quantise again).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]


def merged_bytes(decoder: nn.Module, dtype: torch.dtype) -> int:
    """What `merged` would take."""
    numbers: int = sum(layer.in_features * layer.out_features for layer in linear_layers(decoder))
    return numbers * dtype.itemsize


@torch.no_grad()
def merged(decoder: nn.Module, dtype: torch.dtype) -> dict[nn.Module, Forward]:
    """A forward for every linear layer, with the adapters that are switched on now, and for every norm."""
    found: dict[nn.Module, Forward] = {layer: product(layer, dtype) for layer in linear_layers(decoder)}
    return found | {norm: normed(norm) for norm in decoder.modules() if type(norm).__name__.endswith("RMSNorm")}


def linear_layers(decoder: nn.Module) -> list[Any]:
    """Linear layers as the decoder calls them: with LoRA around them, or bare."""
    adapted = [layer for layer in decoder.modules() if isinstance(layer, LoraLayer)]
    within = {part for layer in adapted for part in layer.modules()}
    bare = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear) and layer not in within]
    return adapted + bare


def product(layer: Any, dtype: torch.dtype) -> Forward:
    base = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    weight = base.weight
    matrix = dequantize_4bit(weight.data, weight.quant_state) if isinstance(base, Linear4bit) else weight
    if isinstance(layer, LoraLayer) and not layer.disable_adapters:
        for adapter in [adapter for adapter in layer.active_adapters if adapter in layer.lora_A]:
            matrix = matrix.float() + layer.get_delta_weight(adapter).float()
    matrix = matrix.to(dtype)
    return lambda hidden: nn.functional.linear(hidden, matrix, base.bias)


def normed(norm: Any) -> Forward:
    """Gemma's: in float32, times 1 + weight (transformers#29402)."""
    weight = 1 + norm.weight.float()
    return lambda hidden: nn.functional.rms_norm(hidden.float(), weight.shape, weight, norm.eps).to(hidden.dtype)


@contextmanager
def replacing(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """With these forwards for as long as it lasts; the modules' own afterwards."""
    own = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module, before in own.items():
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before
