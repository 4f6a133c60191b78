"""What a training will take, before anything is loaded: steps, tokens, a GPU's memory and, where measured, the time.

All of it is arithmetic on the recipe, the model's shape and the rows' lengths. It leaves out what the CUDA context and
the allocator's fragments take, and the vocabulary's logits, of which only a chunk exists at a time.

Held against what was measured on an H100 and an H200 at Gemma-2-2b's shape (NF4, r 16): within a twentieth where
SFT keeps its activations, up to a seventh below with checkpointing, and in DPO, whose batches differ in length, up to
a sixth above; tests/core/test_estimate.py has the comparison.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from stages.core.errors import KormedError
from stages.core.recipe import Dpo, Lora, Sft, Training

GIB = 2**30
NF4_BYTES = 0.5 + 0.127 / 8  # a parameter: 4 bits, and 0.127 for the doubly quantised scales (arXiv 2305.14314, ch. 3)
OPTIMIZER_BYTES = {"adamw_torch": 8, "adamw_torch_fused": 8, "paged_adamw_8bit": 2}  # a trained parameter: two moments
STOP_BELOW = 0.8  # share of the estimate that is surely needed; our choice, wider than what was measured beside it
WARN_ABOVE = 0.9  # of the free memory; the allocator's fragments are not in the estimate

FILLED_TO = 2048  # tokens: to a multiple of it a sequence of compiled layers is filled up, so that few lengths come up

# Share of a GPU's 790 TFLOP/s (dense bf16 products on an H100 or H200, measured) that trainings at Gemma-2-2b's shape
# reached there, the slowest and the fastest: tests/benchmarks/results, training_speed-*.json and several_gpus-*.json,
# and for what is not compiled the runs that came before them. With checkpointing three passes count, without it two.
HOPPER = ("H100", "H200")
FLOPS = 790e12
Reached = tuple[float, float]
REACHED_PADDED: Reached = (0.007, 0.072)  # with checkpointing, from batches of 1 on
REACHED_SIDE_BY_SIDE: Reached = (0.065, 0.24)  # with checkpointing, packs of 2,048 to 8,192
REACHED_KEPT: Reached = (0.17, 0.28)
REACHED_COMPILED: Reached = (0.37, 0.54)


@dataclass(frozen=True)
class Shape:
    """A decoder as its config.json has it: counts, and widths in numbers."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    key_value_heads: int
    head: int
    tied: bool

    @property
    def products(self) -> dict[str, tuple[int, int]]:
        """A layer's linear layers: what goes in and what comes out."""
        queries, keys = self.heads * self.head, self.key_value_heads * self.head
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear(self) -> int:
        return self.layers * sum(wide * high for wide, high in self.products.values())

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)


@dataclass(frozen=True)
class Estimate:
    """Bytes are of one device at its largest step; tokens are of all devices and epochs, without padding."""

    steps: int
    tokens: int
    largest_step: int  # tokens of one device that are computed at once, with what is padded
    weights: float
    adapter: float  # with its gradients, the optimizer's moments and, in DPO, the reference's copy
    activations: float
    operations: float  # floating point, all devices
    reached: Reached
    devices: int

    @property
    def gib(self) -> float:
        return (self.weights + self.adapter + self.activations) / GIB


def shape(config: Any) -> Shape:
    """Of a model's text configuration."""
    return Shape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        head=config.head_dim,
        tied=config.tie_word_embeddings,
    )


def training(
    config: Training,
    shape: Shape,
    lengths: Sequence[Sequence[int]],
    is_nf4: bool,
    is_padding_free: bool,
    devices: int,
    shared: Sequence[int] = (),
) -> Estimate:
    """`lengths`: of each row, the tokens of its sequences: one in SFT, two in DPO. `shared`: of each pair, the tokens
    that its sides begin with, which are computed once where nothing is padded.
    """
    pack = config.pack_tokens if isinstance(config, Sft) else None
    whole = sum(map(sum, lengths))
    batches = math.ceil((len(lengths) if pack is None else math.ceil(whole / pack)) / (config.batch_size * devices))
    an_epoch = math.ceil(batches / config.batches_each(devices))
    steps = config.max_steps or math.ceil(an_epoch * config.epochs)
    tokens = round(whole * steps / an_epoch)
    once = sum(shared) if is_padding_free else 0
    step = largest_step(config, lengths, shared, is_padding_free) if pack is None else pack * config.batch_size
    longest = max(max(row) for row in lengths)
    dropout = config.lora.dropout if isinstance(config, Sft) else 0  # TRL switches it off in DPO
    held = activations(shape, step, config, dropout > 0)
    if not is_padding_free:
        sequences = config.batch_size * len(lengths[0])
        held += scores(shape, sequences, longest, config.gradient_checkpointing)
    linear = shape.linear * (NF4_BYTES if is_nf4 else bytes_of(config))
    shards = devices if config.parallel == "fsdp" else 1
    lora = config.lora if isinstance(config, Sft) else Lora()  # DPO goes on with SFT's adapter, the usual one here
    copies = 4 + 4 + OPTIMIZER_BYTES[config.optimizer] + (4 if isinstance(config, Dpo) else 0)
    # Forward and the gradient of what goes in, 2 FLOP a parameter and token each; frozen weights have no gradient.
    passes = 3 if config.gradient_checkpointing else 2
    return Estimate(
        steps=steps,
        tokens=tokens,
        largest_step=step,
        weights=(linear + shape.embedding * bytes_of(config)) / shards,
        adapter=adapter_parameters(shape, lora) * copies / shards,
        activations=held,
        operations=tokens * (1 - once / whole) * 2 * passes * (shape.linear + shape.vocabulary * shape.hidden),
        reached=reached(config, is_padding_free),
        devices=devices,
    )


def bytes_of(config: Training) -> int:
    """Of a number in the base's type."""
    return 2 if config.model.dtype == "bfloat16" else 4


def largest_step(
    config: Training, lengths: Sequence[Sequence[int]], shared: Sequence[int], is_padding_free: bool
) -> int:
    """Tokens of a batch with the longest row: the others are padded to it, or where nothing is, together two standard
    deviations above their mean, which one batch of forty surpasses.
    """
    rows = min(config.batch_size, len(lengths))
    if not is_padding_free:
        return rows * len(lengths[0]) * max(max(row) for row in lengths)
    computed = [sum(row) - once for row, once in zip(lengths, shared or [0] * len(lengths), strict=True)]
    tokens = max(computed) + (rows - 1) * fmean(computed) + 2 * math.sqrt(rows - 1) * pstdev(computed)
    return math.ceil(tokens / FILLED_TO) * FILLED_TO if config.compile else round(tokens)


def reached(config: Training, is_padding_free: bool) -> Reached:
    if config.gradient_checkpointing:
        return REACHED_SIDE_BY_SIDE if is_padding_free else REACHED_PADDED
    return REACHED_COMPILED if config.compile else REACHED_KEPT


def adapter_parameters(shape: Shape, lora: Lora) -> int:
    return shape.layers * sum(lora.r * sum(shape.products[name]) for name in lora.targets if name in shape.products)


def activations(shape: Shape, tokens: int, config: Training, has_dropout: bool) -> float:
    """Bytes that autograd keeps: of all layers, or each layer's input and one layer's."""
    layer = layer_bytes(shape, has_dropout) if not config.compile else compiled_layer_bytes(shape)
    if not config.gradient_checkpointing:
        return tokens * shape.layers * layer
    return tokens * (shape.layers * 2 * shape.hidden + layer)


def layer_bytes(shape: Shape, has_dropout: bool) -> float:
    """Bytes that autograd keeps a token in one decoder layer of Gemma with LoRA, in bf16 under autocast.

    - four RMSNorms, each its input in float32;
    - the inputs of q/k/v and of gate/up (hidden) and of down (intermediate), for LoRA's A;
    - q, k, v after the rotation, and attention's output, which is o's input as well;
    - gate, its GELU, and up, for the product of the two.
    With LoRA dropout each linear layer keeps its own dropped-out input and a mask of one byte instead.
    """
    queries, keys = shape.heads * shape.head, shape.key_value_heads * shape.head
    norms = 4 * 4 * shape.hidden
    attention = 2 * (2 * queries + 2 * keys)
    gated = 3 * 2 * shape.intermediate
    if has_dropout:
        return norms + attention + gated + 3 * sum(wide for wide, _ in shape.products.values())
    return norms + attention + gated + 2 * (2 * shape.hidden + shape.intermediate)


def compiled_layer_bytes(shape: Shape) -> float:
    """The same compiled: what is cheap to compute again is not kept, so the norms' inputs in bf16, q, k, v, attention's
    output, gate and up are left, and the inputs of q/k/v, gate/up and down, which fast_lora's operator keeps.

    95 KB at Gemma-2-2b's shape; 93 were measured (an H100, packs of 8,192 and of 16,384).
    """
    queries, keys = shape.heads * shape.head, shape.key_value_heads * shape.head
    kept = 4 * shape.hidden + 2 * queries + 2 * keys + 2 * shape.intermediate
    return 2 * (kept + 2 * shape.hidden + shape.intermediate)


def scores(shape: Shape, sequences: int, longest: int, checkpointing: bool) -> float:
    """Bytes of eager attention's scores: each pair of tokens of a row and head, capped (bf16), and their softmax in
    float32 and again in bf16.
    """
    return (1 if checkpointing else shape.layers) * sequences * shape.heads * longest**2 * (2 + 4 + 2)


def work(needed: Estimate) -> str:
    devices = f" on {needed.devices} devices" if needed.devices > 1 else ""
    return f"{needed.steps:,} steps{devices}, about {needed.tokens:,} tokens without padding"


def memory(needed: Estimate, free: float) -> str:
    return (
        f"estimated peak {needed.gib:.1f} GiB a GPU (weights {needed.weights / GIB:.1f}, adapter and optimizer "
        f"{needed.adapter / GIB:.1f}, activations of {needed.largest_step:,} tokens {needed.activations / GIB:.1f}), "
        f"{free:.1f} free"
    )


def duration(needed: Estimate, device: str) -> str | None:
    """How long it may take, on a GPU like those that were measured; None on others."""
    if not any(name in device for name in HOPPER):
        return None
    slow, fast = (needed.operations / (FLOPS * needed.devices * share) / 60 for share in needed.reached)
    taken = f"{fast:.0f} to {slow:.0f} minutes" if slow >= 1.5 else "a minute or two"
    return (
        f"estimated {taken}, as such trainings of a 2.6 B model went, and compiling; the time left is told on the way"
    )


def require_room(stage: str, config: Training, needed: Estimate, free: float) -> None:
    """Raises KormedError where not even `STOP_BELOW` of the estimate is free (GiB)."""
    if needed.gib * STOP_BELOW <= free:
        return
    raise KormedError(
        f"{stage}: needs about {needed.gib:.1f} GiB of GPU memory and {free:.1f} are free (nvidia-smi shows who has "
        f"the rest); {way_out(stage, config, needed)}"
    )


def way_out(stage: str, config: Training, needed: Estimate) -> str:
    """The setting that helps most."""
    if needed.activations < needed.weights:
        smaller = "model.quantization=nf4" if config.model.quantization == "none" else "a smaller model.base"
        return f"most of it is the base's weights: set {smaller}, or free the GPU"
    if not config.gradient_checkpointing:
        return f"set {stage}.gradient_checkpointing=true, which keeps one layer's activations instead of all"
    if isinstance(config, Sft) and config.pack_tokens is not None and config.pack_tokens > config.max_length:
        return f"lower {stage}.pack_tokens to {config.max_length}, or {stage}.batch_size"
    if config.batch_size > 1:
        return f"lower {stage}.batch_size and raise {stage}.gradient_accumulation as much"
    return f"lower {stage}.max_length: longer rows are dropped"
