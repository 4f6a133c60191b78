from pathlib import Path

import pytest

from stages.core.chat import consult_prompt
from stages.core.generation import Generated, batches, finish, generate, prompt_ids
from stages.core.models import Loaded
from stages.core.recipe import Model, Sampling
from stages.core.records import Message

PROMPTS = [consult_prompt("두통이 있어요." * n, f"{n}0대 여성") for n in range(1, 6)]


@pytest.fixture(scope="module")
def tiny(tiny_base: Path) -> Loaded:
    return Loaded(Model(base=str(tiny_base), quantization="none", dtype="float32"))


def answers(
    tiny: Loaded,
    prompts: list[tuple[Message, ...]],
    batch_size: int,
    sampling: Sampling | None = None,
    seed: int = 1,
    done: frozenset[int] = frozenset(),
) -> dict[int, str]:
    return {
        answer.index: answer.text
        for batch in generate(
            tiny.base,
            tiny.tokenizer,
            prompts,
            max_new_tokens=12,
            sampling=sampling,
            batch_size=batch_size,
            seed=seed,
            done=done,
        )
        for answer in batch
    }


def test_a_prompt_has_exactly_one_bos_and_ends_in_the_models_turn(tiny: Loaded) -> None:
    ids = prompt_ids(tiny.tokenizer, PROMPTS[0])
    text = str(tiny.tokenizer.decode(ids))
    assert ids.count(2) == 1
    assert text.startswith("<bos><start_of_turn>user\n다음은 환자 정보와 질문입니다.")
    assert text.endswith("두통이 있어요.<end_of_turn>\n<start_of_turn>model\n")


def test_greedy_answers_do_not_depend_on_the_batch(tiny: Loaded) -> None:
    together, alone = answers(tiny, PROMPTS, batch_size=5), answers(tiny, PROMPTS, batch_size=1)
    assert len(together) == 5
    assert together == alone


def test_the_same_seed_samples_the_same_answers_and_another_one_does_not(tiny: Loaded) -> None:
    hot = Sampling(temperature=1.5, top_p=1.0)
    first = answers(tiny, PROMPTS, 2, hot)
    assert answers(tiny, PROMPTS, 2, hot) == first
    assert answers(tiny, PROMPTS, 2, hot, seed=77) != first


def test_a_run_that_goes_on_samples_what_an_uninterrupted_one_would(tiny: Loaded) -> None:
    hot = Sampling(temperature=1.5, top_p=1.0)
    whole = answers(tiny, PROMPTS, 2, hot)
    first_batch = frozenset(batches([len(prompt_ids(tiny.tokenizer, p)) for p in PROMPTS], 2)[0])
    rest = answers(tiny, PROMPTS, 2, hot, done=first_batch)
    assert rest.keys() == whole.keys() - first_batch
    assert rest == {index: whole[index] for index in rest}


def test_generation_stops_at_end_of_turn_as_well_as_at_eos(tiny: Loaded) -> None:
    assert set(tiny.base.generation_config.eos_token_id) == {1, 5}


def test_an_answer_is_cut_at_its_first_end_and_one_without_end_is_unfinished(tiny: Loaded) -> None:
    word = tiny.tokenizer.encode("진료", add_special_tokens=False)
    assert finish(tiny.tokenizer, 0, [*word, 5, *word, 0], [1, 5]) == Generated(0, "진료", len(word), True)
    assert finish(tiny.tokenizer, 0, word, [1, 5]) == Generated(0, "진료", len(word), False)


def test_batches_hold_prompts_of_like_length_and_every_prompt_once() -> None:
    cut = batches([5, 900, 7, 880, 6], 2)
    assert cut == [[1, 3], [2, 4], [0]]
