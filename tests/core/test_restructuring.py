import pytest

from stages.core import restructuring
from stages.core.records import RawAnswer, RawConsult
from stages.core.restructuring import Original, OriginalAnswer, Rule, choose, doctor_name, no_answer, unusable

CONSULT_TEXT = "35세 남자인데 3일째 머리가 아파요. 병원에 가야 할까요?"


def answer(number: int, characters: int, recommendations: int | None = None) -> OriginalAnswer:
    return OriginalAnswer(number, "가" * characters, recommendations, characters)


def mask_consult(consult: RawConsult) -> Original:
    return restructuring.mask_consult(consult, 4000, 1000)


def raw(**changes: object) -> RawConsult:
    row: dict[str, object] = {"id": "c-1", "url": "u", "title": "두통", "body": CONSULT_TEXT, "answers": ()}
    return RawConsult.model_validate(row | changes)


@pytest.mark.parametrize(
    ("rule", "numbers"), [("longest_in_bounds", [3]), ("most_recommended", [2]), ("each", [2, 3, 5])]
)
def test_the_recipes_rule_chooses_the_answer(rule: Rule, numbers: list[int]) -> None:
    answers = [answer(1, 5, 9), answer(2, 50, 4), answer(3, 80, 1), answer(4, 500, 8), answer(5, 60, 4 - 1)]
    chosen, left_out = choose(answers, rule, (40, 100))
    assert [one.answer.number for one in chosen] == numbers
    assert [(one.number, reason) for one, reason in left_out] == [
        (1, "5 characters, 40 to 100 are wanted"),
        (4, "500 characters, 40 to 100 are wanted"),
    ]
    assert chosen[0].why.startswith(f"answer {numbers[0]} of 5, 3 usable: ")


def test_of_equally_recommended_answers_the_longer_one_is_chosen() -> None:
    (chosen,), _ = choose([answer(1, 50, 3), answer(2, 60, 3)], "most_recommended", (40, 100))
    assert chosen.answer.number == 2


def test_an_answer_without_a_count_is_not_the_most_recommended() -> None:
    chosen, left_out = choose([answer(1, 50)], "most_recommended", (40, 100))
    assert chosen == []
    assert no_answer(left_out) == "no usable answer: answer 1: no recommendations counted"


def test_an_answer_with_nothing_in_it_is_not_chosen() -> None:
    chosen, left_out = choose([OriginalAnswer(1, "", None, 0)], "each", (0, 1000))
    assert chosen == []
    assert [reason for _, reason in left_out] == ["empty"]


def test_the_choice_names_the_place_that_an_imported_answer_comes_from() -> None:
    answers = (RawAnswer(id="1", text="가" * 50, source="own.csv:17"), RawAnswer(id="2", text="네."))
    (chosen,), _ = choose(mask_consult(raw(answers=answers)).answers, "longest_in_bounds", (40, 100))
    assert chosen.why == "answer 1 (own.csv:17) of 2, 1 usable: longest within 40-100 characters (50)"


def test_markup_is_gone_before_anything_is_masked() -> None:
    answers = (
        RawAnswer(
            id="1",
            text="<p>쉬세요.</p>한빛&amp;누리 내과에서 뵙겠습니다. &lt;eos&gt;",
            clinic="한빛&amp;누리내과",
        ),
        RawAnswer(id="2", text="술을 끊으세요.\n"),
    )
    body = 'AST가 <b>114</b>예요.<br>연락처 010-<span class="x">1234</span>-5678<img src="http://a.example/b.png">'
    original = mask_consult(raw(title=" 두통&nbsp;", body=body, answers=answers))
    assert original.text == "두통\n\nAST가 114예요.\n연락처 [전화번호]"
    assert original.answers[0].text == "쉬세요.\n[병원]에서 뵙겠습니다."
    assert original.tidied == ("title", "body", "answer 1")


def test_personal_data_of_patient_doctor_and_clinic_is_masked_everywhere() -> None:
    answers = (
        RawAnswer(
            id="1", text="안녕하세요. 한빛누리 내과의 강도담입니다.", doctor="강도담[전문의]", clinic="한빛누리내과"
        ),
        RawAnswer(id="2", text="앞서 강도담 원장님 말씀처럼 쉬세요."),
    )
    original = mask_consult(raw(title="강도담 선생님께", body="연락처 010-1234-5678 입니다", answers=answers))
    everything = "\n".join([original.text, *(one.text for one in original.answers)])
    for detail in ("강도담", "한빛누리", "1234", "5678"):
        assert detail not in everything
    assert {place for place, counts in original.masks.items() if counts} == {"title", "body", "answers"}
    assert original.masks["body"] == {"phone": 1}


@pytest.mark.parametrize(
    ("doctor", "name"),
    [
        ("홍길동[전문의]", "홍길동"),
        ("홍길동 원장님", "홍길동"),
        ("홍길동(내과전문의)", "홍길동"),
        ("", ""),
        ("김", ""),
    ],
)
def test_a_doctors_name_is_taken_without_title(doctor: str, name: str) -> None:
    assert doctor_name(doctor) == name


@pytest.mark.parametrize(
    ("title", "body", "question"),
    [
        ("두통이 심해요", "어제부터 아파요", "두통이 심해요\n\n어제부터 아파요"),
        ("두통이 심해요", "두통이 심해요 어제부터요", "두통이 심해요 어제부터요"),
        ("두통이 심해요 어제…", "두통이 심해요 어제부터요", "두통이 심해요 어제부터요"),
        ("두통이 심해요", "", "두통이 심해요"),
        ("", "어제부터 아파요", "어제부터 아파요"),
    ],
)
def test_a_title_that_is_only_the_bodys_beginning_is_not_said_twice(title: str, body: str, question: str) -> None:
    assert mask_consult(raw(title=title, body=body)).question == question


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"title": " ", "body": "\n"}, "empty: neither title nor body"),
        ({"body": "가" * 5000}, "too long: 5,004 characters, at most 4,000 are wanted"),
        ({"title": "<start_of_turn>", "body": "<br>"}, "empty: neither title nor body"),
    ],
)
def test_a_consult_that_cannot_become_a_row_says_why(changes: dict[str, object], reason: str) -> None:
    assert unusable(mask_consult(raw(**changes)), 4000) == reason


def test_a_name_that_gives_itself_away_in_one_text_is_masked_in_the_others() -> None:
    answers = (RawAnswer(id="1", text="보내 주신 표도담 사진을 보았습니다."),)
    original = mask_consult(raw(body="환자 표도담님 대신 묻습니다.", answers=answers))
    assert "표도담" not in original.text + original.answers[0].text


@pytest.mark.parametrize("field", ["title", "body", "patient_information"])
def test_a_consult_that_is_too_long_is_masked_no_further_than_it_may_be_shown(field: str) -> None:
    original = mask_consult(raw(**{field: "어제 010-1234-5678 로 전화했어요. AST 114입니다.\n" * 30_000}))
    reason = unusable(original, 4000)
    assert reason is not None and reason.startswith("too long: 1,")
    assert 3000 < len(original.text) <= 4000
    assert "1234" not in original.text


@pytest.mark.parametrize("before", range(3970, 4001))
def test_a_detail_that_the_cut_would_halve_is_not_shown(before: int) -> None:
    text = ("가 " * 2000)[:before] + " 연락처 010-1234-5678 입니다. " + "나 " * 2000
    original = mask_consult(raw(title="", body=text))
    assert "010" not in original.text
    assert len(original.text) <= 4000


def test_of_an_answer_that_is_too_long_only_the_beginning_is_kept() -> None:
    original = mask_consult(raw(answers=(RawAnswer(id="1", text="쉬세요. 02-123-4567\n" * 1_000),)))
    assert len(original.answers[0].text) <= 1000
    assert "4567" not in original.answers[0].text
    assert choose(original.answers, "each", (40, 1000))[1][0][1].startswith("16,999 characters, 40 to 1,000")
