"""Our lm-eval task files against lm-eval's own and against the text that SFT is trained on."""

from pathlib import Path
from typing import Any

import datasets
import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import apply_template
from pydantic import ValidationError

from stages.core import chat, exam_forms
from stages.core.exam_letters import letter_log_probabilities
from stages.core.kormedmcqa import write_mirror
from stages.core.models import Loaded
from stages.core.recipe import Evaluate, Model, subsets
from stages.core.records import ExamQuestion
from tests.tiny_gemma import write_tiny_gemma

STOCK = Path(lm_eval.__file__).parent / "tasks" / "kormedmcqa"
QUESTIONS = (
    ExamQuestion(question=" 열이 날 때 먼저 할 일은?\n", A="수분", B="수면", C="운동", D="금식", E="목욕", answer=1),
    ExamQuestion(question="{{ 정상 }} 맥박은? {% 60 %}", A="1", B="0.5", C="“3”", D=" ", E="5회\n", answer=2),
    ExamQuestion(question="7", A="가", B="나", C="다", D="라", E="마", answer=5),
)


def task_file(form: str, subset: str) -> dict[str, Any]:
    found: dict[str, Any] = load_yaml(exam_forms.OURS / form / f"{subset}.yaml")
    return found


@pytest.mark.parametrize("subset", subsets())
def test_letters_are_asked_for_with_the_stock_prompt(subset: str) -> None:
    """In all but the answer: a letter's log-probability instead of a text, so no filter and another metric."""
    stock, ours = load_yaml(STOCK / f"{subset}.yaml"), task_file("letters", subset)
    for key in ("filter_list", "generation_kwargs", "metric_list", "output_type", "metadata", "task"):
        stock.pop(key)
    assert {key: ours[key] for key in stock} == stock
    assert ours.keys() - stock.keys() == {"output_type", "doc_to_choice", "metric_list", "metadata", "task"}
    assert ours["task"] == f"kormedmcqa_letters_{subset}"


@pytest.mark.parametrize("subset", subsets())
def test_the_chat_form_is_generated_and_read_as_the_stock_task_is(subset: str) -> None:
    stock, ours = load_yaml(STOCK / f"{subset}.yaml"), task_file("chat_form", subset)
    for key in ("doc_to_text", "fewshot_config", "metadata", "task"):
        stock.pop(key)
    assert {key: ours[key] for key in stock} == stock
    assert ours.keys() - stock.keys() == {"doc_to_text", "num_fewshot", "metadata", "task"}
    assert ours["num_fewshot"] == 0
    assert ours["task"] == f"{exam_forms.CHAT_FORM}_{subset}"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.question.strip())
def test_the_chat_form_has_the_text_that_sft_is_trained_on(question: ExamQuestion) -> None:
    text = apply_template(task_file("chat_form", "doctor")["doc_to_text"], question.model_dump())
    (message,) = chat.example_prompt(chat.exam_example("id", question, "source"))
    assert text == message.content


def test_a_group_has_all_four_subsets() -> None:
    found = TaskManager(include_path=str(exam_forms.OURS), include_defaults=False)
    groups = {"kormedmcqa_letters", exam_forms.CHAT_FORM}
    assert set(found.all_groups) == groups
    assert set(found.all_subtasks) == {f"{group}_{subset}" for group in groups for subset in subsets()}


def test_without_a_template_lm_evals_own_model_finds_our_likeliest_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a base whose tokenizer has a token for each letter with a space before it, as Gemma's does."""
    rows = [*QUESTIONS, *(q.model_copy(update={"question": f"{q.question} 다시 {q.answer}?"}) for q in QUESTIONS)]
    write_mirror(
        {"nurse": dict.fromkeys(("train", "dev", "test", "fewshot"), rows)}, tmp_path / "sean0042" / "KorMedMCQA"
    )
    texts = [*(chat.exam_text(question) for question in rows), "정답： A B C D E " * 100]
    loaded = Loaded(Model(base=str(write_tiny_gemma(tmp_path / "tiny", texts)), quantization="none", dtype="float32"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    model = HFLM(pretrained=loaded.base, tokenizer=loaded.tokenizer, batch_size=2)
    results = lm_eval.simple_evaluate(
        model=model,
        tasks=["kormedmcqa_letters_nurse"],
        task_manager=TaskManager(include_path=str(exam_forms.OURS), include_defaults=False),
        num_fewshot=1,
        batch_size=2,
        log_samples=True,
    )
    samples = results["samples"]["kormedmcqa_letters_nurse"]
    contexts = [sample["arguments"][0][0] for sample in samples]
    assert len(contexts) == 6
    ours = letter_log_probabilities(model, contexts, " ")
    for sample, letters in zip(samples, ours, strict=True):
        assert letters is not None
        theirs = [value for value, _ in sample["filtered_resps"]]
        assert letters == pytest.approx(theirs, abs=1e-4)
        assert letters.index(max(letters)) == theirs.index(max(theirs))
        assert sample["acc"] == ("ABCDE"[letters.index(max(letters))] == sample["target"])


def config(**settings: Any) -> Evaluate:
    return Evaluate(seed=0, model=Model(base="base"), **settings)


def test_without_a_word_of_the_recipe_both_variants_are_asked() -> None:
    found = exam_forms.variants(config(chat_template=False))
    assert [(form.variant, form.task("nurse"), form.fewshot, form.chat_template) for form in found] == [
        ("zero_shot", "kormedmcqa_nurse", 0, False),
        ("chat_form", "kormedmcqa_chat_form_nurse", 0, True),
    ]
    assert exam_forms.variants(config(variants=())) == []


def test_a_variant_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="a variant is named twice"):
        config(variants=("chat_form", "chat_form"))


def sample(doc_id: int, prompt: str, doc_hash: str = "hash") -> dict[str, Any]:
    return {"doc_id": doc_id, "doc_hash": doc_hash, "arguments": [(prompt, {"until": ["."]})]}


def test_the_fingerprint_of_prompts_is_of_items_and_texts_and_not_of_how_they_came() -> None:
    asked = [sample(0, "열이 나면?\n정답："), sample(1, "두통이면?\n정답：")]
    found = exam_forms.prompts_sha256(asked)
    assert exam_forms.prompts_sha256(asked[::-1]) == found
    assert exam_forms.prompts_sha256([one | {"arguments": [[one["arguments"][0][0]]]} for one in asked]) == found
    others = (
        asked[:1],
        [asked[0], sample(1, "두통이면?\n정답:")],
        [asked[0], sample(1, "두통이면?\n정답：", "another")],
        [sample(1, "열이 나면?\n정답："), sample(0, "두통이면?\n정답：")],
    )
    assert len({found, *map(exam_forms.prompts_sha256, others)}) == 5
