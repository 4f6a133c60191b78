from pathlib import Path

import pytest
import torch
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from stages.core.models import Loaded
from stages.core.recipe import Model
from stages.core.slots import Row, decode, grouped_attention, masks, slots_that_fit


@pytest.fixture(scope="module")
def tiny(tiny_base: Path) -> Loaded:
    return Loaded(Model(base=str(tiny_base), quantization="none", dtype="float32"))


@pytest.mark.parametrize("softcap", [50.0, 2.0, None])
@pytest.mark.parametrize("kind", ["full_attention", "sliding_attention"])
@pytest.mark.parametrize("length", [1, 9])
def test_grouped_attention_gives_what_eager_gives(tiny: Loaded, softcap: float | None, kind: str, length: int) -> None:
    torch.manual_seed(1)
    module = tiny.base.get_decoder().layers[0].self_attn
    query, key, value = (torch.randn(3, heads, n, 16) for heads, n in ((4, length), (2, 40), (2, 40)))
    positions = torch.tensor([5, 31, 39])[:, None] - torch.arange(length).flip(0)
    distance = (positions[:, :, None] - torch.arange(40))[:, None]
    mask = masks(distance >= 0, distance, 6, torch.float32)[kind]
    ours, _ = grouped_attention(module, query, key, value, mask, scaling=0.25, softcap=softcap)
    eager, _ = eager_attention_forward(module, query, key, value, mask, scaling=0.25, softcap=softcap)
    assert torch.allclose(ours, eager, atol=1e-5)


def test_a_sliding_window_sees_itself_and_the_positions_before_it() -> None:
    distance = (torch.tensor([5])[:, None] - torch.arange(8))[:, None, None]
    found = masks(distance >= 0, distance, 3, torch.float32)
    assert (found["full_attention"][0, 0, 0] == 0).tolist() == [True] * 6 + [False] * 2
    assert (found["sliding_attention"][0, 0, 0] == 0).tolist() == [False] * 3 + [True] * 3 + [False] * 2


def test_rows_end_at_their_own_limits_and_slots_are_filled_again(tiny: Loaded) -> None:
    rows = [Row(at, tuple(range(6, 12 + 7 * at)), limit=1 + at % 4 * 5) for at in range(11)]
    ended = list(decode(tiny.base, rows, slots=3, end=[], sampling=None, seed=0))
    assert len(ended) > 3
    assert sorted((row.index, len(tokens)) for some in ended for row, tokens in some) == [
        (row.index, row.limit) for row in rows
    ]


def test_the_models_own_attention_is_back_whenever_an_answer_comes(tiny: Loaded) -> None:
    own = tiny.base.config._attn_implementation
    rows = [Row(0, (2, 6, 7), 2), Row(1, (2, 6, 7, 8), 4)]
    for _ in decode(tiny.base, rows, slots=2, end=[], sampling=None, seed=0):
        assert tiny.base.config._attn_implementation == own


def test_there_are_never_more_slots_than_memory_has_room_for(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = 2 * 2 * 2 * 16 * 1000  # layers, keys and values, heads, size, positions
    slot = 4 * numbers + 16 * tiny.base.config.vocab_size
    monkeypatch.setattr("stages.core.slots.free_memory", lambda _: int(10.5 * slot / 0.6))
    assert slots_that_fit(tiny.base, 1000, wanted=64) == 10
    assert slots_that_fit(tiny.base, 1000, wanted=4) == 4
    assert slots_that_fit(tiny.base, 1_000_000, wanted=4) == 1
