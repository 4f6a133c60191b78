"""LoRA layers with a forward and backward of their own: what PEFT computes, in fewer passes over memory.

PEFT adds the low-rank product to the layer's output in three passes and keeps what autograd asks for. Here the
product is added within the matrix product that makes it (addmm), forward and backward, and only x and x·Aᵀ are kept.
The frozen weight, NF4 or plain, gets no gradient and is dequantised anew for the backward pass, as bitsandbytes does.
The same idea: unslothai/unsloth, kernels/fast_lora.py.
"""

from types import MethodType
from typing import Any, NamedTuple

import torch
from bitsandbytes.functional import dequantize_blockwise
from peft.tuners.lora import LoraLayer


def speed_up_lora(model: torch.nn.Module) -> int:
    """Give every LoRA layer without dropout (or whose dropout does nothing in evaluation) the faster forward.

    Returns how many there are that had not had it.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer) and is_plain(layer)]
    layers = [layer for layer in layers if "frozen" not in vars(layer)]
    for layer in layers:
        layer.frozen = frozen(layer.get_base_layer().weight)
        layer.forward = MethodType(forward, layer)
    return len(layers)


def is_plain(layer: LoraLayer) -> bool:
    """A linear layer with LoRA and nothing else: no bias, dropout or variant (DoRA …)."""
    return (
        isinstance(layer.get_base_layer(), torch.nn.Linear)
        and layer.get_base_layer().bias is None
        and not layer.lora_variant
        and not any(dropout.training and getattr(dropout, "p", 0) for dropout in layer.lora_dropout.values())
    )


def forward(layer: Any, x: torch.Tensor, *args: Any, **options: Any) -> Any:
    if layer.disable_adapters or layer.merged:
        return layer.base_layer(x, *args, **options)
    (adapter,) = layer.active_adapters
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    rows = x.reshape(-1, x.shape[-1]).to(dtype)
    out, _ = torch.ops.kormed.lora(rows, *layer.frozen, a.to(dtype), b.to(dtype), layer.scaling[adapter])
    return out.view(*x.shape[:-1], -1)


class Frozen(NamedTuple):
    """A frozen weight as plain tensors, which torch.compile can follow: (out, in), or NF4 with its block maxima."""

    values: torch.Tensor
    absmax: torch.Tensor  # float32, one a block; empty: the weight is not quantised
    shape: list[int]
    blocksize: int


def frozen(weight: Any) -> Frozen:
    """Double quantisation is undone here once: 4 bytes for every 64 weights instead of 1, and no work in each step."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return Frozen(weight.data, weight.data.new_empty(0, dtype=torch.float32), list(weight.shape), 0)
    if state.quant_type != "nf4":
        raise AssertionError(f"an NF4 weight was wanted, found {state.quant_type}")
    absmax = state.absmax
    if state.nested:
        absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset
    return Frozen(weight.data.view(-1, 1), absmax.float(), list(state.shape), state.blocksize)


def plain(
    values: torch.Tensor, absmax: torch.Tensor, shape: list[int], blocksize: int, dtype: torch.dtype
) -> torch.Tensor:
    """The frozen weight, (out, in), in the type of the products."""
    if not absmax.numel():
        return values.to(dtype)
    found: torch.Tensor = torch.ops.bitsandbytes.dequantize_4bit(values, absmax, blocksize, "nf4", shape, dtype)
    return found


# Operators of their own, so that torch.compile leaves them as they are: its addmm copies the sum before it adds to it
# (27 of 450 ms on an H100; tests/benchmarks/training_speed.py with --profile). Defined without the custom_op decorator,
# whose checks cost more than the products' launch.
library: Any = torch.library.Library("kormed", "DEF")  # type: ignore[no-untyped-call]
library.define(
    "lora(Tensor x, Tensor values, Tensor absmax, int[] shape, int blocksize, Tensor a, Tensor b, float scale)"
    " -> (Tensor, Tensor)"
)
library.define(
    "lora_backward(Tensor grad, Tensor x, Tensor low, Tensor values, Tensor absmax, int[] shape, int blocksize,"
    " Tensor a, Tensor b, float scale) -> (Tensor, Tensor, Tensor)"
)


def product(
    x: torch.Tensor,
    values: torch.Tensor,
    absmax: torch.Tensor,
    shape: list[int],
    blocksize: int,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """x·Wᵀ + low·Bᵀ and low = scale · x·Aᵀ; x (tokens, in), W (out, in) frozen, A (r, in), B (out, r)."""
    low = (x @ a.t()).mul_(scale)
    out = x @ plain(values, absmax, shape, blocksize, x.dtype).t()
    return out.addmm_(low, b.t()), low


def gradients(
    grad: torch.Tensor,
    x: torch.Tensor,
    low: torch.Tensor,
    values: torch.Tensor,
    absmax: torch.Tensor,
    shape: list[int],
    blocksize: int,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of x, A and B."""
    grad_low = (grad @ b).mul_(scale)
    grad_x = grad @ plain(values, absmax, shape, blocksize, grad.dtype)
    return grad_x.addmm_(grad_low, a), grad_low.t() @ x, grad.t() @ low


def shapes(x: torch.Tensor, *frozen_and_a: Any) -> tuple[torch.Tensor, torch.Tensor]:
    _, _, shape, _, a, _, _ = frozen_and_a
    return x.new_empty(x.shape[0], shape[0]), x.new_empty(x.shape[0], a.shape[0])


def gradient_shapes(grad: torch.Tensor, x: torch.Tensor, *others: Any) -> tuple[torch.Tensor, ...]:
    *_, a, b, _ = others
    return torch.empty_like(x), torch.empty_like(a), torch.empty_like(b)


def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, values, absmax, shape, blocksize, a, b, scale = inputs
    ctx.save_for_backward(x, output[1], values, absmax, a, b)
    ctx.settings = (shape, blocksize, scale)


def backward(ctx: Any, grad: torch.Tensor, _: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    x, low, values, absmax, a, b = ctx.saved_tensors
    shape, blocksize, scale = ctx.settings
    found = torch.ops.kormed.lora_backward(grad.contiguous(), x, low, values, absmax, shape, blocksize, a, b, scale)
    grad_x, grad_a, grad_b = found
    return grad_x, None, None, None, None, grad_a, grad_b, None


library.impl("lora", product, "CompositeExplicitAutograd")
library.impl("lora_backward", gradients, "CompositeExplicitAutograd")
torch.library.register_fake("kormed::lora", shapes, lib=library)
torch.library.register_fake("kormed::lora_backward", gradient_shapes, lib=library)
torch.library.register_autograd("kormed::lora", backward, setup_context=keep, lib=library)
