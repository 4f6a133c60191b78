import random
import re
from pathlib import Path

import pytest

from stages.core import preference_wording, preference_wording_ko
from stages.core.answer_form import REPEATING, TRAITS, AnswerForm, characters, measure, traits
from stages.core.pairing import repetition
from stages.core.records import HeldoutAnswer, read_rows
from stages.core.statistics import coin
from tests.benchmarks import template_consults

ROOT = Path(__file__).parents[2]
ADVICE = "열이 사흘 넘게 이어지면 가까운 내과에서 혈액검사를 받아 보시기 바랍니다."
WATER = "물을 자주 마시고 오늘은 푹 쉬세요."
REFUSAL = "죄송합니다. 의학적 조언은 제공할 수 없습니다."
LOOP = "두통은 두통의 원인이 되는 두통입니다. " * 12

# as small models loop: where they begin, the text that comes again, and how often
LOOPS = {
    "a sentence": "감기로 보입니다. " + "쉬는 것이 가장 좋은 방법입니다. " * 9,
    "a clause": "혈압이 정상보다 높거나 낮다면, " * 7,
    "two sentences in turn": "질문: 왜 아픈가요?\n답변: 아파서 그렇습니다.\n" * 8,
    "a word": "통증 " * 60,
    "a syllable": "아" * 80,
    "blanks and marks": "질문: \n" * 40,
    "numbered lines": "".join(f"{n}. 약을 꾸준히 드시는 것이 좋습니다.\n" for n in range(1, 15)),
    "late": ADVICE + " 손을 자주 씻고 사람이 많은 곳은 피하세요. " + "기침이 나면 입을 가리세요. " * 5,
    "every sentence twice": f"{ADVICE} {WATER} " * 2,
}


def heldout(id: int, text: str, *, finished: bool = True) -> HeldoutAnswer:
    return HeldoutAnswer(
        consult_id=f"consult-{id}",
        question="열이 나요",
        patient_information="30세",
        reference="참고",
        text=text,
        finished=finished,
    )


def answers(*texts: str) -> dict[str, HeldoutAnswer]:
    return {f"consult-{id}": heldout(id, text) for id, text in enumerate(texts)}


def form(sft: dict[str, HeldoutAnswer], dpo: dict[str, HeldoutAnswer] | None) -> AnswerForm:
    found = measure(sft, dpo)
    assert found is not None
    return found


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
def test_an_answer_that_runs_in_circles_repeats_itself(loop: str) -> None:
    assert "repeating" in traits(heldout(1, loop))


def test_ordinary_answers_do_not_repeat_themselves() -> None:
    """Far from it: not one stretch of 10 characters comes twice."""
    rng = random.Random(3)
    written = [
        template_consults.answer(rng.choice(template_consults.TOPICS), quality, rng)
        for quality in ("thorough", "without_advice", "brief")
        for _ in range(100)
    ]
    demo = [str(row["answer"]) for _, row in read_rows(ROOT / "recipes" / "demo" / "consults.jsonl")]
    assert max(repetition(text) for text in [*demo, *written]) < REPEATING / 4


def test_answers_that_were_written_to_repeat_are_found() -> None:
    rng = random.Random(3)
    for _ in range(100):
        text = template_consults.answer(rng.choice(template_consults.TOPICS), "repeating", rng)
        assert "repeating" in traits(heldout(1, text))


@pytest.mark.parametrize(
    "text",
    [
        "아침에는 식후 30분에 한 알, 점심에는 식후 30분에 한 알, 저녁에는 식후 30분에 두 알을 물과 함께 드세요.",
        "물을 자주 드시는 것이 좋습니다. 둘째, 일찍 주무시는 것이 좋습니다. 셋째, 짜지 않게 드시는 것이 좋습니다.",
        "고혈압은 혈압이 높은 병이고, 저혈압은 혈압이 낮은 병입니다. 혈압은 아침저녁으로 재세요.",
        WATER,
        "네.",
    ],
)
def test_a_list_or_a_word_that_comes_again_is_no_loop(text: str) -> None:
    assert "repeating" not in traits(heldout(1, text))


def test_each_trait_is_told_by_itself() -> None:
    assert traits(heldout(1, ADVICE)) == frozenset()
    assert traits(heldout(1, " \n")) == {"empty"}
    assert traits(heldout(1, "", finished=False)) == {"empty", "cut_off"}
    assert traits(heldout(1, REFUSAL)) == {"refusing"}
    assert traits(heldout(1, LOOP, finished=False)) == {"repeating", "cut_off"}


def test_length_counts_syllables_whatever_they_are_made_of() -> None:
    assert characters(" 머리가 아파요\n") == 7
    assert characters("\u1106\u1165\u1105\u1175") == 2  # 머리 in single letters


def test_a_trait_that_only_one_of_both_has_is_tested_in_pairs() -> None:
    sft = answers(*[LOOP] * 12, *[ADVICE] * 8)
    dpo = answers(*[ADVICE] * 11, *[LOOP] * 2, *[ADVICE] * 7)
    repeating = form(sft, dpo).shares[TRAITS.index("repeating")]
    assert repeating.dpo is not None and repeating.test is not None
    assert (repeating.sft.correct, repeating.dpo.correct) == (12, 2)
    assert (repeating.test.gained, repeating.test.lost, repeating.test.p) == (1, 11, coin(1, 12))
    assert repeating.test.family == 5  # Holm: four shares and the length
    assert repeating.test.adjusted > repeating.test.p


def test_a_change_of_length_is_tested_consult_by_consult() -> None:
    sft = answers(*("가" * (100 + n) for n in range(20)))
    dpo = answers(*("가" * (100 + n + (30 if n else 0)) for n in range(20)))
    change = form(sft, dpo).change
    assert change is not None and change.interval is not None
    assert (change.median, change.interval.low, change.interval.high) == (30, 30, 30)
    assert (change.test.gained, change.test.lost, change.test.p) == (19, 0, coin(19, 19))
    assert "DPO's is the longer one for 19 and the shorter one for 0: longer (p < 0.001)" in (
        preference_wording.length(form(sft, dpo))
    )


def test_few_answers_give_no_interval_and_show_nothing() -> None:
    found = form(answers(ADVICE, ADVICE, ADVICE), answers(ADVICE * 2, WATER, ADVICE))
    assert found.change is not None and found.change.interval is None
    assert found.identical == 1
    assert "no difference shown (p = 1.00); with so few, none could have been shown" in preference_wording.length(found)
    assert "신뢰구간은 구할 수 없습니다" in preference_wording_ko.length(found)


def test_only_consults_that_both_answered_are_counted() -> None:
    found = form(answers(ADVICE, LOOP, LOOP), {"consult-0": heldout(0, WATER), "consult-9": heldout(9, LOOP)})
    assert found.consults == 1
    assert [share.sft.correct for share in found.shares] == [0, 0, 0, 0]
    assert measure(answers(ADVICE), {}) is None
    assert measure({}, None) is None


def test_a_run_without_dpo_is_told_without_it() -> None:
    found = form(answers(ADVICE, LOOP), None)
    assert [found.dpo, found.change, found.identical] == [None, None, None]
    for module in (preference_wording, preference_wording_ko):
        assert all("DPO" not in sentence for sentence in module.form(found))
        assert all(row[2:] == ("–",) * 4 for row in module.form_rows(found))


def test_what_no_answer_has_is_told_once() -> None:
    found = form(answers(ADVICE, LOOP), answers(ADVICE, WATER))
    assert preference_wording.without(found) == (
        "Found in no answer: cut off at the token limit, declining to answer, empty."
    )
    assert preference_wording.trait(found.shares[TRAITS.index("empty")]) == ""


def test_both_languages_say_the_same_numbers() -> None:
    sft = answers(*[LOOP] * 12, *[ADVICE] * 8, REFUSAL, "")
    dpo = answers(*[ADVICE] * 11, *[WATER] * 9, REFUSAL, WATER)
    found = form(sft, dpo)
    english, korean = preference_wording.form(found), preference_wording_ko.form(found)
    assert len(english) == len(korean)
    for one, other in zip(english, korean, strict=True):
        assert numbers(one) == numbers(other)
    rows = zip(preference_wording.form_rows(found), preference_wording_ko.form_rows(found), strict=True)
    for row, other_row in rows:
        assert len(row) == len(other_row) == len(preference_wording.FORM_HEADINGS)
        assert [numbers(cell) for cell in row] == [numbers(cell) for cell in other_row]


def numbers(sentence: str) -> list[str]:
    """Its figures, in order of size, for word order differs."""
    return sorted(re.findall(r"\d[\d.,]*\d|\d", sentence))
