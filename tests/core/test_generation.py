import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig

from stages.core.chat import consult_prompt
from stages.core.generation import Generated, batches, finish, generate, prompt_ids
from stages.core.models import Loaded
from stages.core.pipeline import Run
from stages.core.recipe import Model, Sampling
from stages.core.records import Candidate, Message, read_jsonl

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


def transformers_answers(tiny: Loaded, prompts: list[tuple[Message, ...]]) -> dict[int, str]:
    """One by one and greedy, by transformers' own generate."""
    model: Any = tiny.base
    end = model.generation_config.eos_token_id
    config = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=end, pad_token_id=0)
    found = {}
    for index, prompt in enumerate(prompts):
        ids = torch.tensor([prompt_ids(tiny.tokenizer, prompt)])
        row = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
        found[index] = finish(tiny.tokenizer, index, row[0, ids.shape[1] :].tolist(), end).text
    return found


# 30 to 300 tokens: below, across and beyond the tiny model's sliding window of 128
MIXED = [consult_prompt("두통이 있어요. 어제부터 열도 납니다." * n, f"{n}0대 여성") for n in (1, 14, 3, 9, 20, 6, 1)]


def lively(base: Path) -> Loaded:
    """The tiny model with layers ten times as strong: as it is, it hardly looks at its prompt and repeats one token."""
    loaded = Loaded(Model(base=str(base), quantization="none", dtype="float32"))
    with torch.no_grad():
        for weight in loaded.base.get_decoder().layers.parameters():
            weight.mul_(10)
    return loaded


def test_greedy_answers_are_what_transformers_gives_one_by_one(tiny_base: Path) -> None:
    model = lively(tiny_base)
    lengths = [len(prompt_ids(model.tokenizer, prompt)) for prompt in MIXED]
    assert min(lengths) < 116 < 128 < max(lengths)
    expected = transformers_answers(model, MIXED)
    assert len(set(expected.values())) > 3
    assert [answers(model, MIXED, batch_size) for batch_size in (1, 3, 16)] == [expected] * 3


def test_greedy_answers_of_an_adapter_are_what_transformers_gives(tiny_base: Path) -> None:
    adapted = lively(tiny_base)
    plain = answers(adapted, MIXED, 3)
    torch.manual_seed(5)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(adapted.base, lora).eval()
    expected = transformers_answers(adapted, MIXED)
    assert expected != plain
    assert answers(adapted, MIXED, 3) == expected


@pytest.fixture(scope="module")
def exact(tiny_base: Path) -> Loaded:
    """In float64. A random model's nucleus is a thousand tokens of nearly equal chance, so that in float32 about one
    sampled row in a hundred turns elsewhere when rounding puts two of them in another order."""
    loaded = Loaded(Model(base=str(tiny_base), quantization="none", dtype="float32"))
    loaded.base.double()
    return loaded


def test_sampled_answers_depend_neither_on_the_batch_nor_on_the_rows_beside_them(exact: Loaded) -> None:
    hot = Sampling(temperature=1.5, top_p=0.9)
    alone = answers(exact, MIXED, 1, hot)
    assert alone[0] != alone[6]  # the same prompt, sampled twice
    assert [answers(exact, MIXED, batch_size, hot) for batch_size in (3, 16)] == [alone] * 2


@pytest.mark.parametrize("stopped_after", [1, 2, 4])
def test_a_run_that_goes_on_samples_what_an_uninterrupted_one_would(exact: Loaded, stopped_after: int) -> None:
    hot = Sampling(temperature=1.5, top_p=1.0)
    whole = answers(exact, MIXED, 2, hot)
    kept = dict(list(whole.items())[:stopped_after])
    rest = answers(exact, MIXED, 2, hot, done=frozenset(kept))
    assert not rest.keys() & kept.keys()
    assert kept | rest == whole


IN_FLOAT64 = """
import sys
from pathlib import Path
from stages import candidates
from stages.core import models
from stages.core.recipe import Candidates

out, prepare, sft = map(Path, sys.argv[1:])
config = Candidates.model_validate_json((out.parent / "config.json").read_text(encoding="utf-8"))
model = models.loaded(config.model)
with model.checkpoint(sft):
    model.base.double()
candidates.run(config, out, prepare=prepare, sft=sft)
"""


def test_candidates_killed_in_the_midst_go_on_to_the_same_answers(tiny_run: Run, tmp_path: Path) -> None:
    config = tiny_run.recipe.candidates.model_copy(update={"batch_size": 2})
    (tmp_path / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    inputs = [str(tiny_run.path("prepare")), str(tiny_run.path("sft"))]

    def start(out: Path) -> subprocess.Popen[bytes]:
        out.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", IN_FLOAT64, str(out), *inputs])

    uninterrupted, running = start(whole), start(killed)
    answered = killed / "answers.jsonl"
    while running.poll() is None and not (answered.exists() and answered.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    running.kill()
    assert (running.wait(), uninterrupted.wait()) == (-signal.SIGKILL, 0)
    kept = answered.read_bytes().count(b"\n")
    assert start(killed).wait() == 0
    answers = read_jsonl(whole / "candidates.jsonl", Candidate)
    assert 3 <= kept < len(answers)
    assert read_jsonl(killed / "candidates.jsonl", Candidate) == answers


def test_generation_stops_at_end_of_turn_as_well_as_at_eos(tiny: Loaded) -> None:
    assert set(tiny.base.generation_config.eos_token_id) == {1, 5}


def test_an_answer_is_cut_at_its_first_end_and_one_without_end_is_unfinished(tiny: Loaded) -> None:
    word = tiny.tokenizer.encode("진료", add_special_tokens=False)
    assert finish(tiny.tokenizer, 0, [*word, 5, *word, 0], [1, 5]) == Generated(0, "진료", len(word), True)
    assert finish(tiny.tokenizer, 0, word, [1, 5]) == Generated(0, "진료", len(word), False)


def test_batches_hold_prompts_of_like_length_and_every_prompt_once() -> None:
    cut = batches([5, 900, 7, 880, 6], 2)
    assert cut == [[1, 3], [2, 4], [0]]
