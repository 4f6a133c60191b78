"""chat: the published report's prompt, letter by letter, and Gemma's turns around it."""

import jinja2
import pytest

from stages.core import chat
from stages.core.records import Consult, ExamQuestion, Message

QUESTION = ExamQuestion(
    question="시험용으로 지어낸 물음으로 옳은 것은?", A="하나", B="둘", C="셋", D="넷", E="다섯", answer=4
)
CONSULT = Consult(
    id="consult-1",
    question="잠이 오지 않는데 어떻게 하나요?",
    patient_information="30세 여성, 특이 병력 없음",
    answer="잠자리에 드는 시간을 일정하게 하세요.",
    source="consult",
)


def render(messages: tuple[Message, ...], *, add_generation_prompt: bool) -> str:
    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = jinja2.Environment()
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(chat.GEMMA_TEMPLATE).render(
        messages=[message.model_dump() for message in messages],
        bos_token="<bos>",
        add_generation_prompt=add_generation_prompt,
    )


def test_an_exam_question_is_asked_in_the_reports_form() -> None:
    example = chat.exam_example("id-1", QUESTION, source="kormedmcqa/doctor")
    assert example.instruction == "질문을 보고, 제시된 [A-E] 중 정답을 맞추세요."
    assert example.question == ("시험용으로 지어낸 물음으로 옳은 것은?\nA. 하나\nB. 둘\nC. 셋\nD. 넷\nE. 다섯\n정답:")
    assert example.answer == "D"
    assert (example.id, example.source) == ("id-1", "kormedmcqa/doctor")


def test_a_consult_is_asked_in_the_reports_form() -> None:
    example = chat.consult_example(CONSULT)
    assert example.instruction == (
        "다음은 환자 정보와 질문입니다. 환자 정보를 참고하여 질문에 답변해주세요.\n\n30세 여성, 특이 병력 없음"
    )
    assert (example.question, example.answer, example.id) == (CONSULT.question, CONSULT.answer, CONSULT.id)


def test_the_user_turn_is_instruction_blank_line_question() -> None:
    (message,) = chat.example_prompt(chat.consult_example(CONSULT))
    assert message.role == "user"
    assert message.content == (
        "다음은 환자 정보와 질문입니다. 환자 정보를 참고하여 질문에 답변해주세요.\n\n"
        "30세 여성, 특이 병력 없음\n\n"
        "잠이 오지 않는데 어떻게 하나요?"
    )


def test_sft_candidates_and_dpo_ask_a_consult_with_the_same_words() -> None:
    trained_on = chat.example_prompt(chat.consult_example(CONSULT))
    assert chat.consult_prompt(CONSULT.question, CONSULT.patient_information) == trained_on


def test_a_reply_is_the_models_turn() -> None:
    assert chat.reply("네.") == (Message(role="assistant", content="네."),)


def test_the_template_makes_gemmas_turns_with_one_bos() -> None:
    prompt = chat.consult_prompt("물음", "정보")
    assert render((*prompt, *chat.reply("답")), add_generation_prompt=False) == (
        f"<bos><start_of_turn>user\n{prompt[0].content}<end_of_turn>\n<start_of_turn>model\n답<end_of_turn>\n"
    )
    asked = render(prompt, add_generation_prompt=True)
    assert asked.endswith("<end_of_turn>\n<start_of_turn>model\n")
    assert asked.count("<bos>") == 1


def test_the_template_refuses_two_user_turns_in_a_row() -> None:
    prompt = chat.consult_prompt("물음", "정보")
    with pytest.raises(jinja2.TemplateError, match="alternate"):
        render((*prompt, *prompt), add_generation_prompt=True)
