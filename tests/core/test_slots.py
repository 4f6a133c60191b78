from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from stages.core.models import Loaded
from stages.core.recipe import Model
from stages.core.slots import Next, Row, common_prefix, decode, grouped_attention, masks, score_next, slots_that_fit


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


def rows_with(prefix: int, rests: tuple[int, ...]) -> list[Row]:
    generator = torch.Generator().manual_seed(4)
    shared = tuple(torch.randint(300, 1000, (prefix,), generator=generator).tolist())
    return [
        Row(at, (*shared, 300 + at, *torch.randint(300, 1000, (rest,), generator=generator).tolist()), 12)
        for at, rest in enumerate(rests)
    ]


@pytest.mark.parametrize("prefix", [1, 90, 200])  # the tiny model's sliding window is 128
def test_what_prompts_begin_with_is_read_once_and_changes_no_answer(tiny: Loaded, prefix: int) -> None:
    rows = rows_with(prefix, (0, 40, 3, 17, 150))
    assert len(common_prefix([row.ids for row in rows])) == prefix
    ended = [one for some in decode(tiny.base, rows, slots=2, end=[], sampling=None, seed=0) for one in some]
    base: Any = tiny.base
    for row, tokens in ended:
        with torch.inference_mode():
            found = base.generate(
                input_ids=torch.tensor([row.ids]), max_new_tokens=12, min_new_tokens=12, do_sample=False
            )
        assert tokens == found[0, len(row.ids) :].tolist()
    assert len(ended) == len(rows)


def test_a_prefix_leaves_every_prompt_its_last_token() -> None:
    assert common_prefix([(2, 5, 6), (2, 5, 6)]) == (2, 5)
    assert common_prefix([(2, 5, 6, 7), (2, 5, 6)]) == (2, 5)
    assert common_prefix([(2, 5, 6, 7), (2, 5, 9), (2, 8, 1, 1)]) == (2,)
    assert common_prefix([(2, 3)]) == (2,)
    assert common_prefix([(2,), (2, 4)]) == ()


def test_a_next_token_has_the_log_probabilities_of_the_models_own_forward(tiny: Loaded) -> None:
    rows = rows_with(60, (5, 33, 1))
    heard: dict[int, list[float]] = {}

    def first(some: Sequence[Row], after: Next) -> None:
        heard.update(zip([row.index for row in some], after.of([300, 999, 1]).tolist(), strict=True))

    list(decode(tiny.base, rows, slots=2, end=[], sampling=None, seed=0, first=first))
    for some, after in score_next(tiny.base, rows, slots=2):
        for row, found, best in zip(some, after.of([300, 999, 1]), after.likeliest, strict=True):
            with torch.inference_mode():
                wanted = tiny.base(input_ids=torch.tensor([row.ids])).logits[0, -1].log_softmax(-1)
            torch.testing.assert_close(found, wanted[[300, 999, 1]], rtol=1e-4, atol=1e-4)
            assert heard[row.index] == pytest.approx(found.tolist(), abs=1e-4)
            assert best == wanted.argmax()


def test_an_answer_is_over_where_it_is_said_to_be(tiny: Loaded) -> None:
    rows = [Row(at, (2, 6 + at, 7), 20) for at in range(5)]
    ended = decode(tiny.base, rows, slots=2, end=[], sampling=None, seed=0, stops=lambda tokens: len(tokens) == 3)
    assert {len(tokens) for some in ended for _, tokens in some} == {3}
