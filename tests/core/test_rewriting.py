import json
from pathlib import Path

import pytest

from stages.core.errors import KormedError
from stages.core.records import read_rows
from stages.core.rewriting import (
    CONSULT,
    PROBLEMS,
    Pending,
    Reply,
    Rewrite,
    Rewritten,
    ask,
    hear,
    judge,
    load_prompt,
    no_question,
)

DEMO = Path("recipes/demo/consults.jsonl")
CONSULT_TEXT = "35세 남자인데 3일째 머리가 아파요. 타이레놀 500mg을 먹었는데 효과가 없어요. 병원에 가야 할까요?"
QUESTION = "3일째 머리가 아픈데 병원에 가야 할까요?"
INFORMATION = "35세 남자. 타이레놀 500mg을 먹었으나 효과 없음."


def said(question: str = QUESTION, information: str = INFORMATION) -> str:
    return json.dumps({"question": question, "patient_information": information}, ensure_ascii=False)


@pytest.mark.parametrize(
    "text", [said(), f"정리했습니다.\n{said()}\n감사합니다", f"```json\n{said()}\n```", said().replace("35세", "35살")]
)
def test_a_rewrite_is_taken_whatever_stands_around_the_json(text: str) -> None:
    verdict, _ = judge(CONSULT_TEXT, Reply(text))
    assert isinstance(verdict, Rewritten)
    assert verdict.question == QUESTION


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty reply"),
        ("도와드릴 수 없습니다", "one JSON object was wanted, found none"),
        (said() + said(), "one JSON object was wanted, found 2"),
        (said()[:60], "one JSON object was wanted, found none"),
        ('{"질문": "?"}', "JSON with other fields"),
        ('{"question": "왜 그런가요?", "patient_information": null}', "JSON with other fields"),
        ('{"question": "왜 그런가요?", "patient_information": "", "answer": "쉬세요"}', "JSON with other fields"),
        (said(question="  "), "empty question"),
        (said(question="아픈가요?"), "question too short: 5 characters, at least 8 are wanted"),
        (said(question="감사합니다. 감사합니다."), "question only greets, thanks or asks for an answer"),
        (said(question="안녕하세요? 빠른 답변 부탁드립니다."), "question only greets, thanks or asks for an answer"),
        (said(question="인터넷에는 말이 다 달라서 헷갈립니다."), "question asks nothing"),
        (said(question="3일째 머리가 아프고 열이 나요."), "question asks nothing"),
        (said(question="Why does my head hurt?"), "not Korean: 0 of the question's 17 letters are Hangul"),
        (said(question="3일째 머리가 아픈데 病院에 가야 할까요?"), "letters of another script: 病 院"),
        (said(question=QUESTION + "<eos>"), "control token: <eos>"),
        (said(information=INFORMATION + "그리고 " * 120), "too long: 534 characters, at most 300 are wanted"),
        (said(information="35세 남자."), "missing: 500mg, 타이레놀, 타이레놀 500"),
        (said(information=INFORMATION + " 체온 39도."), "invented: 39도, 체온 39"),
        (
            said(information="남자. 타이레놀 250mg."),
            "missing: 35세, 500mg, 타이레놀 500; invented: 250mg, 타이레놀 250",
        ),
        ('{"a":' * 5_000, "one JSON object was wanted, found none"),
    ],
)
def test_a_rewrite_that_is_not_taken_says_why(text: str, reason: str) -> None:
    verdict, _ = judge(CONSULT_TEXT, Reply(text))
    assert isinstance(verdict, str)
    assert verdict.startswith(reason)


@pytest.mark.parametrize(
    "question",
    [
        "MRI를 찍어야 하는지요",
        "병원에 가야 할까요",
        "수술이 필요합니까.",
        "이것은 무슨 병인가요",
        "이 약을 먹어도 되나요",
        "암인지 알고 싶습니다.",
        "치료 방법을 알려 주세요.",
        "빠른 답변 부탁드립니다. 간수치가 왜 높을까요",
        "검사를 받는 것이 좋을지 궁금합니다.",
    ],
)
def test_a_question_asks_without_a_question_mark_too(question: str) -> None:
    assert no_question(question) is None


def test_every_question_of_the_demo_asks_something() -> None:
    questions = [str(row["question"]) for _, row in read_rows(DEMO)]
    assert len(questions) == 72
    assert [question for question in questions if no_question(question)] == []


def test_personal_data_that_the_model_makes_up_is_masked_and_rejected() -> None:
    verdict, masks = judge(CONSULT_TEXT, Reply(said(information=INFORMATION + " 연락처 010-9999-8888.")))
    assert verdict == "invented: [전화번호]"
    assert masks == {"phone": 1}


def test_half_a_character_in_the_json_becomes_one_that_can_be_written() -> None:
    text = json.dumps({"question": QUESTION + "\ud83d", "patient_information": INFORMATION})
    verdict, _ = judge(CONSULT_TEXT, Reply(text))
    assert isinstance(verdict, Rewritten)
    assert verdict.question.encode("utf-8")


def test_a_mark_may_vanish() -> None:
    verdict, _ = judge(CONSULT_TEXT + " [이름] 드림", Reply(said()))
    assert isinstance(verdict, Rewritten)


def test_a_rejected_reply_is_asked_for_again_with_what_was_missing() -> None:
    prompt = f"규칙\n{CONSULT}\n{PROBLEMS}"
    pending = Pending("c-1", CONSULT_TEXT, "made")
    assert ask(pending, prompt).content == f"규칙\n{CONSULT_TEXT}"
    again = hear(pending, Reply(said(information="남자. 타이레놀 500mg.")), tries=2)
    assert isinstance(again, Pending)
    assert ask(again, prompt).content == f"규칙\n{CONSULT_TEXT}\n이전 답의 문제: missing: 35세"
    done = hear(again, Reply(said()), tries=2)
    assert isinstance(done, Rewrite)
    assert (done.tries, done.question, [one.reason for one in done.rejections]) == (2, QUESTION, ["missing: 35세"])


def test_when_no_try_is_left_the_row_is_finished_without_a_rewrite() -> None:
    done = hear(
        Pending("c-1", CONSULT_TEXT, "made"), Reply("연락처 010-9999-8888", problem="the model refuses"), tries=1
    )
    assert isinstance(done, Rewrite)
    assert (done.question, done.patient_information, done.tries) == (None, None, 1)
    assert done.rejections[0].reason == "the model refuses"
    assert "9999" not in done.rejections[0].reply


def test_a_consult_that_looks_like_a_placeholder_is_filled_in_once() -> None:
    text = ask(Pending("c-1", f"제 글은 {PROBLEMS} {CONSULT}", "made"), f"{CONSULT}|{PROBLEMS}").content
    assert text == f"제 글은 {PROBLEMS} {CONSULT}|"


def test_the_shipped_prompt_has_its_places_and_its_own_examples_pass_the_checks() -> None:
    prompt = load_prompt(None)
    examples = prompt.split("<상담>\n")[1:-1]
    assert len(examples) == 3
    for example in examples:
        consult, reply = example.split("\n</상담>\n")
        verdict, _ = judge(consult, Reply(reply.split("\n")[0]))
        assert isinstance(verdict, Rewritten), verdict


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("정리하세요", "{{consult}} was wanted once, it stands there 0 times"),
        (f"{CONSULT}", "{{problems}} was wanted once"),
        (f"{CONSULT}{CONSULT}{PROBLEMS}", "2 times"),
        (None, "a prompt in UTF-8 was wanted"),
    ],
)
def test_a_prompt_without_its_places_is_an_error(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "prompt.md"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(KormedError, match=message):
        load_prompt(path)
