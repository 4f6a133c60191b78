"""The letters' log-probabilities against lm-eval's own `loglikelihood`, in float32."""

import logging
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from stages.core.exam_letters import letter_log_probabilities, letter_tokens
from stages.core.exam_model import ExamModel
from stages.core.models import Loaded
from stages.core.recipe import Model
from tests.tiny_gemma import write_tiny_gemma

QUESTIONS = (
    "두통이 심하면?\nA. 뇌 영상\nB. 혈압\n정답： B\n\n신생아의 정상 맥박은?\nA. 60회\nB. 140회\n정답：",
    "치아\n정답：",
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A base whose tokenizer has a token for each letter with a space before it, as Gemma's does."""
    folder = write_tiny_gemma(tmp_path_factory.mktemp("base") / "tiny", [*QUESTIONS, "정답： A B C D E " * 100])
    return Loaded(Model(base=str(folder), quantization="none", dtype="float32"))


def stock_log_probabilities(model: Any, contexts: list[str], prefix: str) -> list[list[float]]:
    requests = [
        Instance("loglikelihood", {}, (context, prefix + letter), 0) for context in contexts for letter in "ABCDE"
    ]
    values = [value for value, _ in model.loglikelihood(requests, disable_tqdm=True)]
    return [values[:5], values[5:]]


@pytest.mark.parametrize("kind", [HFLM, ExamModel])
def test_without_a_template_they_are_those_of_lm_evals_multiple_choice(loaded: Loaded, kind: Any) -> None:
    """The few-shot examples write a space before the letter, and so does lm-eval."""
    model = kind(pretrained=loaded.base, tokenizer=loaded.tokenizer, batch_size=2)
    ours = letter_log_probabilities(model, QUESTIONS, " ")
    for found, wanted in zip(ours, stock_log_probabilities(model, list(QUESTIONS), " "), strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)


def test_in_chat_form_they_are_lm_evals_less_the_newline_that_it_scores_with_each(tiny_base: Path) -> None:
    loaded = Loaded(Model(base=str(tiny_base), quantization="none", dtype="float32"))
    model = HFLM(pretrained=loaded.base, tokenizer=loaded.tokenizer, batch_size=2)
    contexts = [model.apply_chat_template([{"role": "user", "content": question}]) for question in QUESTIONS]
    assert contexts[0].endswith("<start_of_turn>model\n")
    ours = letter_log_probabilities(model, contexts, "")
    for found, wanted in zip(ours, stock_log_probabilities(model, contexts, ""), strict=True):
        assert found is not None
        newline = [theirs - own for own, theirs in zip(found, wanted, strict=True)]
        assert newline == pytest.approx([newline[0]] * 5, abs=1e-4)
        assert newline[0] < -0.1


def test_a_tokenizer_that_takes_a_letter_apart_has_no_letters_and_says_so(
    loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    model = HFLM(pretrained=loaded.base, tokenizer=loaded.tokenizer, batch_size=2)
    with caplog.at_level(logging.INFO, logger="kormed"):
        assert letter_log_probabilities(model, QUESTIONS, "정답") == [None, None]
    assert "not single tokens" in caplog.text
    assert letter_tokens(loaded.tokenizer, "정답") is None
