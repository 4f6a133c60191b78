"""decontamination: what is the same question in another dress, and what is not."""

import unicodedata

import pytest

from stages.core.decontamination import Match, Stem, contaminated, fold, repeated
from stages.core.records import ExamQuestion

CHOICES = ("두통", "복통", "흉통", "요통", "관절통")
TEST = Stem("test/1", "가장 흔한 증상으로 옳은 것은?", CHOICES)


def hits(row: Stem, match: Match = "stem", protected: tuple[Stem, ...] = (TEST,)) -> list[tuple[str, str | None]]:
    return [(dropped.reason, dropped.hit) for dropped in contaminated([row], protected, match)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HbA1c 검사는?", "hba1c검사는"),
        ("가장  흔한\n증상은?", "가장 흔한 증상은 ?"),
        ("「당뇨병」의 정의", '"당뇨병" 의 정의.'),
        ("ＨＩＶ 검사", "HIV 검사"),
        ("두통", unicodedata.normalize("NFD", "두통")),  # as single letters, which macOS writes
        ("Vitamin B₁₂", "vitamin B12"),
    ],
)
def test_spacing_punctuation_case_and_composition_do_not_make_another_question(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("옳은 것은?", "옳지 않은 것은?"),
        ("35세 남자", "53세 남자"),
        ("혈압이 높다", "혈압이 낮다"),
        ("비타민 A", "비타민 B"),
    ],
)
def test_a_word_or_a_number_does_make_another_question(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_the_same_question_is_dropped_with_what_it_hit() -> None:
    (dropped,) = contaminated([Stem("train/9", TEST.text, CHOICES)], [TEST], "stem")
    assert (dropped.id, dropped.hit, dropped.text) == ("train/9", "test/1", TEST.text)
    assert "choices" in dropped.reason


def test_choices_in_another_order_are_the_same_choices() -> None:
    assert hits(Stem("train/1", TEST.text, CHOICES[::-1])) == hits(Stem("train/1", TEST.text, CHOICES))
    assert hits(Stem("train/1", TEST.text, CHOICES[::-1]), "stem_and_choices") != []


def test_a_stem_with_other_choices_is_a_hit_of_its_own_kind() -> None:
    other = Stem("train/1", TEST.text, ("발열", "기침", "가래", "오한", "구토"))
    ((stem_only, hit),) = hits(other)
    ((both, _),) = hits(Stem("train/1", TEST.text, CHOICES))
    assert hit == "test/1"
    assert stem_only != both
    assert hits(other, "stem_and_choices") == []


def test_a_hit_names_the_item_whose_choices_are_the_same_too() -> None:
    stem_only = Stem("test/0", TEST.text, ("발열", "기침", "가래", "오한", "구토"))
    ((_, hit),) = hits(Stem("train/1", TEST.text, CHOICES), protected=(stem_only, TEST))
    assert hit == "test/1"


def test_another_question_stays() -> None:
    assert hits(Stem("train/1", "가장 드문 증상으로 옳은 것은?", CHOICES)) == []


def test_a_consult_whose_question_stands_in_the_benchmark_is_dropped() -> None:
    assert hits(Stem("consult-1", "가장 흔한 증상으로 옳은 것은", ("30세 여성",))) != []


def test_a_repeated_row_is_dropped_and_the_first_one_stays() -> None:
    rows = [
        Stem("train/1", "물음 하나", CHOICES),
        Stem("train/2", "물음 둘", CHOICES),
        Stem("train/3", "물음  하나?", CHOICES[::-1]),
        Stem("train/4", "물음 하나", CHOICES),
    ]
    assert [(dropped.id, dropped.hit) for dropped in repeated(rows)] == [
        ("train/3", "train/1"),
        ("train/4", "train/1"),
    ]


def test_the_same_stem_with_other_choices_is_no_repetition() -> None:
    """Exams ask `옳은 것은?` many times."""
    assert repeated([Stem("1", "옳은 것은?", CHOICES), Stem("2", "옳은 것은?", ("발열", "기침"))]) == []


@pytest.mark.parametrize(
    ("choices", "others"),
    [
        (("1.5 mg", "3 mg"), ("15 mg", "3 mg")),
        (("+", "++", "+++", "-", "±"), ("<", ">", "=", "≤", "≥")),
        (("-2", "-1"), ("2", "1")),
    ],
)
def test_choices_that_differ_in_a_sign_or_a_decimal_point_are_not_the_same(
    choices: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """A row dropped for nothing is lost training data, and the reason written beside it is false."""
    assert repeated([Stem("1", "알맞은 것은?", choices), Stem("2", "알맞은 것은?", others)]) == []


def test_an_exam_question_is_compared_by_stem_and_all_five_choices() -> None:
    question = ExamQuestion(question="물음", A="ㄱ", B="ㄴ", C="ㄷ", D="ㄹ", E="ㅁ", answer=1)
    other_answer = question.model_copy(update={"answer": 2})
    other_choice = question.model_copy(update={"E": "ㅂ"})
    of = Stem.of
    assert [dropped.id for dropped in repeated([of("1", question), of("2", other_answer), of("3", other_choice)])] == [
        "2"
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("1.5 mg을", "15 mg을"), ("-1℃에서", "1℃에서"), ("pH < 7.35는?", "pH > 7.35는?")]
)
def test_a_number_or_a_sign_that_makes_another_question_is_not_folded_away(one: str, other: str) -> None:
    assert fold(one) != fold(other)
