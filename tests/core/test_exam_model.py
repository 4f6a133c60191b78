"""Our model for lm-eval against lm-eval's own, request by request, in float32."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from stages.core.errors import KormedError
from stages.core.exam_letters import letter_log_probabilities, letter_tokens
from stages.core.exam_model import ExamModel, stops_at
from stages.core.models import Loaded
from stages.core.recipe import Model
from tests.tiny_gemma import with_adapter

SPECIAL = "<start_of_turn>"
EXAMPLES = "다음 중 열이 날 때 먼저 할 일은?\nA. 수분\nB. 수면\n정답： A\n\n" * 6
QUESTIONS = (
    "두통이 심한 환자에게 필요한 검사는?\nA. 뇌 영상\nB. 혈압\n정답：",
    "약국에서 처방전을 보관하는 기간은 몇 년인가?\nA. 이 년\nB. 삼 년\nC. 오 년\n정답：",
    "치아\n정답：",
    "신생아의 정상 맥박은? 보호자는 아기가 잘 먹는다고 한다. 체온은 정상이고 피부색도 좋다.\nA. 60회\nB. 140회\n정답：",
)


@pytest.fixture(scope="module")
def both(tiny_base: Path) -> tuple[Any, Any]:
    """lm-eval's and ours over the same base with the same adapter."""
    loaded = Loaded(Model(base=str(tiny_base), quantization="none", dtype="float32"))
    model = with_adapter(loaded.base).eval()
    stock, ours = (kind(pretrained=model, tokenizer=loaded.tokenizer, batch_size=2) for kind in (HFLM, ExamModel))
    return stock, ours


def asked(arguments: list[tuple[Any, ...]], kind: str = "generate_until") -> list[Instance]:
    return [Instance(kind, {}, one, at) for at, one in enumerate(arguments)]


def test_texts_are_those_of_lm_evals_own_model(both: tuple[Any, Any]) -> None:
    settings = {"until": ["Q:", ".", "\n\n"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 24}
    requests = asked([(EXAMPLES + question, settings) for question in QUESTIONS])
    stock, ours = (model.generate_until(requests, disable_tqdm=True) for model in both)
    assert ours == stock
    assert len(set(stock)) > 1


def test_a_text_is_cut_before_its_first_stop_string_and_ends_there(both: tuple[Any, Any]) -> None:
    """The tiny model never writes a full stop, so what it does write is made one."""
    free = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 24}
    whole = both[0].generate_until(asked([(EXAMPLES + QUESTIONS[0], free)]), disable_tqdm=True)[0]
    stop = whole[len(whole) // 2 :][:2]
    requests = asked([(EXAMPLES + question, free | {"until": [stop]}) for question in QUESTIONS])
    stock, ours = (model.generate_until(requests, disable_tqdm=True) for model in both)
    assert ours == stock
    assert ours[0] == whole.split(stop)[0]
    assert len(ours[0]) < len(whole)


def test_a_special_token_among_the_stop_strings_ends_an_answer(tiny_base: Path) -> None:
    """HFLM at batch 1, since in a larger one it goes on until every answer has ended."""
    loaded = Loaded(Model(base=str(tiny_base), quantization="none", dtype="float32"))
    stock, ours = (kind(pretrained=loaded.base, tokenizer=loaded.tokenizer, batch_size=1) for kind in (HFLM, ExamModel))
    free = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 12}
    question = next(question for question in QUESTIONS if writes_special(loaded, ours, question))
    whole, cut = (
        [
            model.generate_until(asked([(question, free | {"until": until})]), disable_tqdm=True)
            for model in (stock, ours)
        ]
        for until in ([], [SPECIAL])
    )
    assert whole[0] == whole[1]
    assert cut[0] == cut[1] != whole[1]


def writes_special(loaded: Loaded, model: ExamModel, question: str) -> bool:
    """Changes the base until it writes SPECIAL within its answer and visible text behind it; whether that was found."""
    base: Any = loaded.base
    special = loaded.tokenizer.convert_tokens_to_ids(SPECIAL)
    prompt = torch.tensor([model.context(question, 12)])

    def written() -> list[int]:
        found: list[int] = base.generate(input_ids=prompt, max_new_tokens=12, do_sample=False)[0].tolist()
        return found[prompt.shape[1] :]

    head = base.get_output_embeddings().weight
    before = head[special].clone()
    for token in dict.fromkeys(written()):
        for factor in (1.1, 0.9):  # likelier than that token, whose logit may be below 0
            with torch.no_grad():
                head[special] = head[token] * factor
            answer = written()
            if special in answer and str(loaded.tokenizer.decode(answer[answer.index(special) + 1 :])).strip():
                return True
    with torch.no_grad():
        head[special] = before
    return False


def test_nothing_asked_is_nothing_answered(both: tuple[Any, Any]) -> None:
    assert both[1].generate_until([]) == []


def test_log_probabilities_are_those_of_lm_evals_own_model(both: tuple[Any, Any]) -> None:
    letters = [(EXAMPLES + question, letter) for question in QUESTIONS for letter in "ABCDE"]
    longer = [(question, " 네 그렇습니다") for question in QUESTIONS]
    for pairs in (letters, longer):
        stock, ours = (model.loglikelihood(asked(pairs, "loglikelihood"), disable_tqdm=True) for model in both)
        assert [value for value, _ in ours] == pytest.approx([value for value, _ in stock], abs=1e-4)
        assert [best for _, best in ours] == [best for _, best in stock]


def test_the_letters_of_a_prompt_that_was_answered_cost_nothing_more(
    both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stock, ours = both
    contexts = [EXAMPLES + question for question in QUESTIONS[:2]]
    settings = {"until": ["."], "do_sample": False, "temperature": 0.0, "max_gen_toks": 4}
    monkeypatch.setattr(ours, "watched", letter_tokens(ours.tokenizer, ""))
    monkeypatch.setattr(ours, "seen", {})
    ours.generate_until(asked([(context, settings) for context in contexts]))
    asked_anew: list[object] = []

    def score_next(model: object, rows: list[object], slots: int) -> list[object]:
        asked_anew.extend(rows)
        return []

    monkeypatch.setattr("stages.core.exam_model.score_next", score_next)
    found = letter_log_probabilities(ours, contexts, "")
    for context, letters in zip(contexts, found, strict=True):
        pairs = [(context, letter) for letter in "ABCDE"]
        wanted = [value for value, _ in stock.loglikelihood(asked(pairs, "loglikelihood"), disable_tqdm=True)]
        assert letters == pytest.approx(wanted, abs=1e-4)
    assert not asked_anew


def test_an_answer_as_long_as_the_base_can_hold_is_refused(both: tuple[Any, Any]) -> None:
    settings = {"until": ["."], "do_sample": False, "temperature": 0.0, "max_gen_toks": 2048}
    with pytest.raises(KormedError, match=r"2048 new tokens, which leave no room .* set evaluate\.max_gen_toks"):
        both[1].generate_until(asked([("질문", settings)]))


def test_what_is_sampled_is_left_to_lm_evals_own_model(both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HFLM, "generate_until", lambda self, requests, disable_tqdm: ["its own"] * len(requests))
    sampled = {"until": [], "do_sample": True, "temperature": 0.7, "max_gen_toks": 4}
    assert both[1].generate_until(asked([("질문", sampled)])) == ["its own"]


@pytest.mark.parametrize("settings", [{"do_sample": True, "temperature": 0.7}, None], ids=["sampled", "long"])
def test_no_memory_left_is_told_with_the_setting_also_where_lm_evals_own_model_works(
    both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any] | None
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(HFLM, "_model_generate", full)
    monkeypatch.setattr(HFLM, "_model_call", full)
    with pytest.raises(KormedError, match=r"out of GPU memory with batch_size 2; lower evaluate\.batch_size"):
        if settings:
            both[1].generate_until(asked([("질문", settings | {"until": [], "max_gen_toks": 4})]), disable_tqdm=True)
        else:
            both[1].loglikelihood(asked([("질문", " 네 그렇습니다")], "loglikelihood"), disable_tqdm=True)


def test_what_was_asked_is_forgotten_when_told_so(both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = both[1]
    monkeypatch.setattr(ours, "watched", letter_tokens(ours.tokenizer, ""))
    settings = {"until": ["."], "do_sample": False, "temperature": 0.0, "max_gen_toks": 2}
    ours.generate_until(asked([(QUESTIONS[0], settings)]))
    assert ours.seen
    ours.forget()
    assert (ours.seen, ours.watched) == ({}, ())


def test_a_stop_string_is_found_where_tokens_meet_and_only_there() -> None:
    words = ["가", "\n", "\n나", ".", "다"] + ["라"] * 60
    reader = SimpleNamespace(read=lambda tokens: "".join(words[token] for token in tokens))
    stops = stops_at(["\n\n", ""], reader.read)
    assert not stops([0, 1])
    assert stops([0, 1, 2])
    assert not stops(list(range(3, 60)))
