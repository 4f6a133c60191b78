"""pairing: annotators see two different usable answers, on sides that tell them nothing."""

from typing import Any

import pytest

from stages.core.pairing import comparison_id, mark, pair, repetition, similarity, swap
from stages.core.records import Candidate, Comparison, Consult, Dropped

WATER = "물을 자주 마시고 충분히 쉬면서 이틀 정도 지켜보시는 것이 좋습니다."
DOCTOR = "증상이 사흘 넘게 이어지면 가까운 내과에서 혈액검사를 받아 보시는 것이 좋습니다."
WATER_AGAIN = WATER + " 네."
MEDICINE = "물을 자주 마시고 해열제를 드시면서 이틀 정도 지켜보세요."


def consult(id: str = "consult-1") -> Consult:
    return Consult(id=id, question="열이 나요", patient_information="30세 여성", answer="참고 답", source="consult")


def candidate(id: str, text: str, **changes: Any) -> Candidate:
    plain = Candidate(
        id=id,
        consult_id="consult-1",
        text=text,
        checkpoint="sft",
        temperature=0.9,
        top_p=0.95,
        seed=0,
        tokens=20,
        finished=True,
    )
    return plain.model_copy(update=changes)


def paired(*candidates: Candidate, allow_truncated: bool = False, seed: int = 42) -> Comparison | Dropped:
    return pair(consult(), mark(candidates, 0.9), allow_truncated=allow_truncated, seed=seed)


def marks(*candidates: Candidate) -> list[tuple[str, ...]]:
    return [marked.marks for marked in mark(candidates, 0.9)]


def test_good_answers_are_not_marked() -> None:
    assert marks(candidate("1", WATER), candidate("2", DOCTOR)) == [(), ()]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_answer_is_marked_empty_and_nothing_else(text: str) -> None:
    assert marks(candidate("1", WATER), candidate("2", text, finished=False)) == [(), ("empty",)]


def test_a_cut_off_answer_is_marked_truncated() -> None:
    assert marks(candidate("1", WATER, finished=False)) == [("truncated",)]


def test_an_answer_that_goes_in_circles_is_marked_repeating() -> None:
    circles = "병원에 가 보시는 것이 좋습니다. " * 12
    assert marks(candidate("1", circles)) == [("repeating",)]
    assert repetition(WATER + DOCTOR) < 0.1


def test_the_later_of_two_near_identical_answers_is_marked() -> None:
    assert marks(candidate("1", WATER), candidate("2", WATER_AGAIN), candidate("3", DOCTOR)) == [
        (),
        ("near_identical",),
        (),
    ]


def test_spaces_and_line_breaks_do_not_make_two_answers_different() -> None:
    assert marks(candidate("1", WATER), candidate("2", WATER.replace(" ", "\n"))) == [(), ("near_identical",)]


def test_how_near_is_too_near_is_the_recipes_choice() -> None:
    near = similarity(WATER, WATER_AGAIN)
    answers = [candidate("1", WATER), candidate("2", WATER_AGAIN)]
    assert mark(answers, near)[1].marks == ("near_identical",)
    assert mark(answers, near + 0.01)[1].marks == ()


def test_an_answer_is_not_hidden_because_one_that_nobody_sees_is_like_it() -> None:
    """The first is cut off and never shown, so the second, whole one is the only one of its kind."""
    cut_off = candidate("1", WATER[:-1], finished=False)
    result = paired(cut_off, candidate("2", WATER), candidate("3", DOCTOR))
    assert isinstance(result, Comparison)
    assert {result.a.text, result.b.text} == {WATER, DOCTOR}


def test_similarity_is_one_for_the_same_text_and_nothing_for_another() -> None:
    assert similarity(WATER, WATER) == 1
    assert similarity("가나다라마바사", "아자차카타파하") == 0
    assert similarity(WATER, MEDICINE) == similarity(MEDICINE, WATER)
    assert 0 < similarity(WATER, MEDICINE) < 1


def test_two_short_answers_are_the_same_only_if_they_are() -> None:
    assert similarity("네.", "네.") == 1
    assert similarity("네.", "안돼") == 0


def test_the_two_most_different_answers_are_compared() -> None:
    result = paired(candidate("1", WATER), candidate("2", MEDICINE), candidate("3", DOCTOR))
    assert isinstance(result, Comparison)
    assert similarity(MEDICINE, DOCTOR) < similarity(WATER, DOCTOR) < similarity(WATER, MEDICINE)
    assert {result.a.id, result.b.id} == {"2", "3"}


def test_a_comparison_shows_the_consult_it_is_about() -> None:
    result = paired(candidate("1", WATER), candidate("2", DOCTOR))
    assert isinstance(result, Comparison)
    assert (result.consult_id, result.question, result.patient_information) == ("consult-1", "열이 나요", "30세 여성")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([candidate("1", WATER), candidate("2", "")], "empty"),
        ([candidate("1", WATER), candidate("2", DOCTOR, finished=False)], "truncated"),
        ([candidate("1", WATER), candidate("2", WATER)], "near_identical"),
        ([candidate("1", WATER), candidate("2", "네 그렇습니다 " * 30)], "repeating"),
    ],
)
def test_without_two_usable_answers_there_is_no_comparison_and_the_reason_says_why(
    answers: list[Candidate], why: str
) -> None:
    result = paired(*answers)
    assert isinstance(result, Dropped)
    assert result.id == "consult-1"
    assert why in result.reason


def test_cut_off_answers_are_compared_only_where_the_recipe_allows_them() -> None:
    answers = [candidate("1", WATER, finished=False), candidate("2", DOCTOR, finished=False)]
    assert isinstance(paired(*answers), Dropped)
    assert isinstance(paired(*answers, allow_truncated=True), Comparison)


def test_allowing_cut_off_answers_allows_nothing_else() -> None:
    circles = candidate("2", "병원에 가 보시는 것이 좋습니다. " * 12, finished=False)
    assert isinstance(paired(candidate("1", WATER), circles, allow_truncated=True), Dropped)


def test_the_same_seed_puts_the_same_answer_on_the_same_side() -> None:
    answers = (candidate("1", WATER), candidate("2", DOCTOR))
    assert paired(*answers, seed=7) == paired(*answers, seed=7)


def test_sides_are_drawn_and_not_the_order_of_sampling() -> None:
    answers = [candidate("1", WATER), candidate("2", DOCTOR)]
    firsts = 0
    for at in range(200):
        result = pair(consult(f"consult-{at}"), answers, allow_truncated=False, seed=42)
        assert isinstance(result, Comparison)
        firsts += result.a.id == "1"
    assert 70 < firsts < 130


def test_another_seed_draws_other_sides() -> None:
    answers = [candidate("1", WATER), candidate("2", DOCTOR)]

    def sides(seed: int) -> list[str]:
        results = [pair(consult(f"c-{at}"), answers, allow_truncated=False, seed=seed) for at in range(40)]
        return [result.a.id for result in results if isinstance(result, Comparison)]

    assert sides(1) != sides(2)


def test_a_comparison_keeps_its_id_as_long_as_annotators_would_see_the_same() -> None:
    id = comparison_id("consult-1", WATER, DOCTOR)
    assert id == comparison_id("consult-1", WATER, DOCTOR)
    others = {
        comparison_id("consult-2", WATER, DOCTOR),
        comparison_id("consult-1", DOCTOR, WATER),
        comparison_id("consult-1", WATER, MEDICINE),
        comparison_id("consult-1", WATER + DOCTOR, ""),
    }
    assert len(others | {id}) == 5


def test_a_swapped_comparison_shows_the_same_answers_on_the_other_sides() -> None:
    one = paired(candidate("1", WATER), candidate("2", DOCTOR))
    assert isinstance(one, Comparison)
    other = swap(one)
    assert (other.a, other.b) == (one.b, one.a)
    assert (other.consult_id, other.question, other.patient_information) == (
        one.consult_id,
        one.question,
        one.patient_information,
    )


def test_a_swapped_comparison_has_an_id_of_its_own_and_swapped_back_it_is_the_first() -> None:
    one = paired(candidate("1", WATER), candidate("2", DOCTOR))
    assert isinstance(one, Comparison)
    assert swap(one).id == comparison_id("consult-1", one.b.text, one.a.text) != one.id
    assert swap(swap(one)) == one
