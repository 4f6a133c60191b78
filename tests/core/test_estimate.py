"""The estimate before a training, against what was measured on GPUs at Gemma-2-2b's shape."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from stages.core import estimate
from stages.core.errors import KormedError
from stages.core.estimate import Shape
from stages.core.recipe import Dpo, Model, Sft

GEMMA_2_2B = Shape(
    layers=26,
    hidden=2304,
    intermediate=9216,
    vocabulary=256000,
    heads=8,
    key_value_heads=4,
    head=256,
    tied=True,
)
PACKED: dict[str, Any] = {"pack_tokens": 8192, "batch_size": 1, "gradient_checkpointing": False}


def sft(**settings: Any) -> Sft:
    return Sft.model_validate({"seed": 0, "model": Model(base="none"), "optimizer": "adamw_torch"} | settings)


def of(
    config: Sft | Dpo,
    lengths: list[list[int]],
    *,
    padding_free: bool = True,
    devices: int = 1,
    shared: Sequence[int] = (),
) -> Any:
    return estimate.training(config, GEMMA_2_2B, lengths, True, padding_free, devices, shared)


def dpo(**settings: Any) -> Dpo:
    return Dpo.model_validate({"seed": 0, "model": Model(base="none"), "optimizer": "adamw_torch"} | settings)


def rows(generator: random.Random) -> list[list[int]]:
    """As long as tests/benchmarks/training_speed.py's: nine in ten like exam questions, one like a consult."""
    return [
        [min(1280, int(generator.lognormvariate(5, 0.4) if generator.random() < 0.9 else generator.uniform(350, 1250)))]
        for _ in range(600)
    ]


def pairs(generator: random.Random) -> tuple[list[list[int]], list[int]]:
    prompts = [generator.randrange(100, 250) for _ in range(200)]
    return [[prompt + generator.randrange(200, 350) for _ in "ab"] for prompt in prompts], prompts


def test_a_gemma_2_2b_has_as_many_parameters_as_published() -> None:
    assert GEMMA_2_2B.linear + GEMMA_2_2B.embedding == pytest.approx(2.61e9, rel=0.01)


@pytest.mark.parametrize(
    ("tokens", "batch", "dropout", "measured"),
    [(7000, 1, 0.0, 24.4), (7000, 1, 0.05, 31.9), (2048, 8, 0.0, 55.5)],
    ids=["packs of 7,000", "the same with dropout", "8 packs of 2,048"],
)
def test_packs_without_checkpointing_take_what_was_measured_on_an_h200(
    tokens: int, batch: int, dropout: float, measured: float
) -> None:
    config = sft(
        **PACKED | {"pack_tokens": tokens, "batch_size": batch, "lora": {"r": 16, "alpha": 32, "dropout": dropout}}
    )
    assert of(config, [[300]] * 1000).gib == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "padding_free", "measured"),
    [
        (PACKED | {"compile": True}, True, 21.0),
        (PACKED | {"pack_tokens": 16384, "compile": True}, True, 39.4),
        ({"batch_size": 4}, False, 4.4),
        ({"batch_size": 1, "optimizer": "paged_adamw_8bit"}, False, 2.9),
        ({"batch_size": 4, "optimizer": "paged_adamw_8bit"}, False, 4.2),
        ({"batch_size": 1, "optimizer": "paged_adamw_8bit", "pack_tokens": 2048}, True, 3.0),
        ({"batch_size": 1, "optimizer": "paged_adamw_8bit", "pack_tokens": 4096}, True, 3.5),
        ({"batch_size": 1, "pack_tokens": 8192}, True, 4.9),
    ],
    ids=str,
)
def test_sft_takes_what_was_measured_on_an_h100(settings: dict[str, Any], padding_free: bool, measured: float) -> None:
    config = sft(**{"gradient_checkpointing": True, "lora": {"r": 16, "alpha": 32, "dropout": 0.0}} | settings)
    found = of(config, rows(random.Random(0)), padding_free=padding_free).gib
    assert 0.85 * measured < found < 1.05 * measured


@pytest.mark.parametrize(
    ("settings", "padding_free", "measured"),
    [
        ({"batch_size": 8, "compile": True, "gradient_checkpointing": False}, True, 21.1),
        ({"batch_size": 16, "compile": True, "gradient_checkpointing": False}, True, 30.3),
        ({"batch_size": 8}, False, 5.4),
        ({"batch_size": 1, "optimizer": "paged_adamw_8bit"}, False, 2.9),
        ({"batch_size": 2, "optimizer": "paged_adamw_8bit"}, False, 3.2),
    ],
    ids=str,
)
def test_dpo_takes_what_was_measured_on_an_h100(settings: dict[str, Any], padding_free: bool, measured: float) -> None:
    config = dpo(**{"gradient_checkpointing": True} | settings)
    lengths, prompts = pairs(random.Random(0))
    found = of(config, lengths, padding_free=padding_free, shared=prompts).gib
    assert 0.85 * measured < found < 1.2 * measured  # batches of many pairs may become longer than the few measured


def test_checkpointing_and_the_8_bit_optimizer_fit_8_gib() -> None:
    low = sft(batch_size=1, gradient_checkpointing=True, optimizer="paged_adamw_8bit")
    assert of(low, [[1280]] * 100).gib < 4
    assert of(low, [[1280]] * 100, padding_free=False).gib < 4


def test_what_does_not_fit_is_refused_with_the_setting_that_helps_most() -> None:
    rows = [[300]] * 1000
    config = sft(**PACKED)
    with pytest.raises(KormedError, match=r"sft: needs about 3\d\.\d GiB .* 8\.0 are free .*gradient_checkpointing=tr"):
        estimate.require_room("sft", config, of(config, rows), 8.0)
    batches = sft(batch_size=64, gradient_checkpointing=True)
    with pytest.raises(KormedError, match="lower sft.batch_size and raise sft.gradient_accumulation"):
        estimate.require_room("sft", batches, of(batches, [[1200]] * 100, padding_free=False), 8.0)
    little = sft(batch_size=1)
    with pytest.raises(KormedError, match=r"a smaller model\.base, or free the GPU"):
        estimate.require_room("sft", little, of(little, rows), 1.0)


def test_what_may_just_fit_is_let_through() -> None:
    config = sft(**PACKED)
    needed = of(config, [[300]] * 1000)
    estimate.require_room("sft", config, needed, 0.85 * needed.gib)


def test_steps_and_tokens_are_those_of_all_epochs() -> None:
    rows = [[100]] * 64
    needed = of(sft(batch_size=4, gradient_accumulation=2, epochs=3), rows)
    assert (needed.steps, needed.tokens) == (24, 19200)
    two = of(sft(batch_size=4, gradient_accumulation=2, epochs=3), rows, devices=2)
    assert (two.steps, two.tokens) == (24, 19200)  # each GPU one batch of the step's two
    assert of(sft(batch_size=4, gradient_accumulation=2, max_steps=4), rows).tokens == 3200


def test_a_pair_has_two_sequences() -> None:
    config = dpo(batch_size=2, compile=False)
    needed = of(config, [[300, 500]] * 10)
    assert needed.largest_step == 1600
    assert of(config, [[300, 500]] * 10, padding_free=False).largest_step == 2000


def test_what_a_pairs_sides_share_is_computed_once_where_nothing_is_padded() -> None:
    config = dpo(batch_size=2, compile=False)
    whole, once = (of(config, [[300, 500]] * 10, shared=shared) for shared in ((), [200] * 10))
    assert (whole.largest_step, once.largest_step) == (1600, 1200)
    assert once.operations == pytest.approx(whole.operations * 0.75)
    assert of(config, [[300, 500]] * 10, padding_free=False, shared=[200] * 10).largest_step == 2000


def test_fsdp_shares_the_weights_out() -> None:
    rows = [[300]] * 100
    one, eight = (of(sft(parallel="fsdp"), rows, devices=devices) for devices in (1, 8))
    assert eight.weights == one.weights / 8


def test_a_time_is_said_only_of_gpus_that_were_measured() -> None:
    needed = of(sft(**PACKED), [[300]] * 1000)
    assert "a minute or two" in (estimate.duration(needed, "NVIDIA H200") or "")
    long = of(sft(**PACKED), [[300]] * 100_000)
    assert "estimated 71 to 117 minutes" in (estimate.duration(long, "NVIDIA H200") or "")
    assert estimate.duration(needed, "NVIDIA GeForce RTX 3060") is None


def test_gpus_that_do_not_divide_the_batches_of_a_step_take_fewer_and_larger_steps() -> None:
    three = of(sft(batch_size=4, gradient_accumulation=4, epochs=1), [[100]] * 64, devices=3)
    assert (three.steps, three.tokens) == (2, 6400)
