"""shingles: the same numbers for the same text everywhere, exact similarity, and candidates that miss nothing near."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.core.shingles import (
    Index,
    asks_for_exception,
    bands,
    bare_subject,
    containment,
    in_one_unit,
    jaccard,
    near_pairs,
    other_field,
    shingles,
    split_ask,
    token,
    union,
)

ROOT = Path(__file__).parents[2]
SYLLABLES = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호"


def sentence(rng: random.Random, characters: int = 60) -> str:
    return "".join(rng.choices(SYLLABLES, k=characters))


def changed(text: str, rng: random.Random, places: int) -> str:
    letters = list(text)
    for at in rng.sample(range(len(letters)), places):
        letters[at] = "힣"
    return "".join(letters)


def test_similarity_counts_shared_runs_of_three_characters() -> None:
    assert jaccard(shingles("가나다라"), shingles("나다라마")) == 1 / 3  # 가나다 나다라 | 나다라 다라마
    assert containment(shingles("가나다라"), shingles("하가나다라하")) == 1
    assert jaccard(shingles("가나다라"), shingles("가나다라")) == 1


def test_two_texts_with_other_characters_share_nothing_whatever_they_are() -> None:
    """Shingles are the characters themselves, no hashes: emoji and rare letters included."""
    assert jaccard(shingles("가나다"), shingles("다나가")) == 0
    assert jaccard(shingles("😀😀😀"), shingles("😀😀😁")) == 0
    assert len(shingles("\U0010ffff" * 3)) == 1


@pytest.mark.parametrize("text", ["가", "가나"])
def test_a_text_shorter_than_a_shingle_is_like_itself_alone(text: str) -> None:
    assert jaccard(shingles(text), shingles(text)) == 1
    assert jaccard(shingles(text), shingles(text + "다라")) == 0


def test_an_empty_text_is_like_nothing_not_even_another_empty_one() -> None:
    assert jaccard(shingles(""), shingles("")) == 0
    assert containment(shingles(""), shingles("가나다")) == 0
    assert Index([shingles(""), shingles("가나다")], 0.5).near(shingles("")) == []
    assert near_pairs([shingles(""), shingles(""), shingles("가나다")], 0.5) == []


def test_a_stem_and_the_same_words_as_a_choice_are_two_things() -> None:
    text = shingles("가나다라")
    assert jaccard(text, other_field(text)) == 0
    assert len(union([text, other_field(text)])) == 2 * len(text)
    assert jaccard(token(1), shingles("\x01")) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("세프트리악손 1.5 g", "세프트리악손 1,500 mg"),
        ("체온 38.5도", "체온 101.3°F"),
        ("체온 38.5 ℃", "체온 38.5°C"),
        ("2주 전부터", "14일 전부터"),
        ("2주일 동안", "14일 동안"),
        ("3년 전", "36개월 전"),
        ("크기 2.5 cm", "크기 25 mm"),
        ("수액 1 L", "수액 1000 mL"),
        ("0.25 mg", "250 µg"),
        ("0.5그램", "500밀리그램"),
    ],
)
def test_a_quantity_in_another_unit_is_the_same_quantity(one: str, other: str) -> None:
    assert in_one_unit(one).replace(" ", "") == in_one_unit(other).replace(" ", "")


@pytest.mark.parametrize(
    ("one", "other"), [("1.5 mg", "1.5 g"), ("5 mg/dL", "5000 μg"), ("10 mmHg", "1 cm"), ("12 g/dL", "12000 mg")]
)
def test_another_quantity_or_a_rate_stays_another(one: str, other: str) -> None:
    assert in_one_unit(one).replace(" ", "") != in_one_unit(other).replace(" ", "")


@pytest.mark.parametrize("text", ["9" * 500 + " g", "1" * 100_000, "5 " * 50_000, "1." * 50_000])
def test_absurd_numbers_stay_as_they_are(text: str) -> None:
    assert in_one_unit(text) == text


@pytest.mark.parametrize(
    ("stem", "subject"),
    [
        ("봉합의원칙에관한설명으로옳은것은", "봉합의원칙"),
        ("봉합의원칙으로옳은것은", "봉합의원칙"),
        ("봉합의원칙에대한설명으로옳지않은것은", "봉합의원칙"),
        ("봉합의원칙은", "봉합의원칙은"),
    ],
)
def test_the_closing_ask_of_an_exam_question_is_told_from_its_subject(stem: str, subject: str) -> None:
    assert split_ask(stem)[0] == subject


def test_asking_for_the_wrong_statement_is_not_asking_for_the_right_one() -> None:
    assert split_ask("봉합의원칙으로옳은것은")[1] != split_ask("봉합의원칙으로옳지않은것은")[1]
    assert split_ask("치료의원칙은")[1] is None


def test_a_stem_that_is_nothing_but_its_ask_keeps_it() -> None:
    assert split_ask("옳은것은") == ("옳은것은", None)


@pytest.mark.parametrize(
    "stem",
    [
        "뜰채봉합의 원칙으로 옳지 않은 것은?",
        "봉합사의 업무에 해당하지 않는 것은?",
        "봉합사의 업무가 아닌 것은?",
        "가상병 환자에게 금기인 약은?",
        "가상마이신과 함께 쓰는 것이 금기인 약물은?",
        "봉합한 날 피해야 하는 음식은?",
        "가상법상 봉합할 수 없는 경우는?",
        "동의서에 적지 않아도 되는 것은?",
        "진단으로 틀린 것은?\n혈액: 가상소 10 mg/dL, 소변: 정상",
    ],
)
def test_a_question_for_what_is_not_so_is_known_by_its_ask(stem: str) -> None:
    assert asks_for_exception(stem)


@pytest.mark.parametrize(
    "stem",
    [
        "뜰채봉합의 원칙으로 옳은 것은?",
        "열은 나지 않았다. 진단은?",
        "낮잠에서 깨지 않은 아이를 위한 처치는?",
        "쓰지 않는 손을 다쳤을 때 알맞은 처치는?",
        "금기를 모두 확인한 다음 투여하는 약물은?",
        "진단은?\n소변: 세균은 보이지 않는다.",
        "",
        "?",
    ],
)
def test_a_no_in_the_story_does_not_turn_the_question_round(stem: str) -> None:
    assert not asks_for_exception(stem)


@pytest.mark.parametrize(
    ("stem", "subject"),
    [
        ("「가상법」상 뜰채급여는?", "뜰채급여"),
        ("「가상법」에서 정한 봉합사의 역할에 해당하는 것은?", "봉합사"),
        ("가상보험법에서 정한 봉합사의 역할에 해당하는 것은?", "봉합사"),
        ("뜰채(net) 봉합의 특징으로 옳은 것은?", "뜰채봉합"),
        ("뜰채봉합의 원칙에 대한 설명으로 옳은 것은?", "뜰채봉합"),
        ("", ""),
    ],
)
def test_a_stem_without_its_law_glosses_ask_and_open_noun_is_its_bare_subject(stem: str, subject: str) -> None:
    assert bare_subject(stem) == subject


@pytest.mark.parametrize(
    "stem", ["「" * 50_000, "(" * 50_000, "가" * 200_000, "가상법 " * 50_000, "않" * 100_000 + "?"]
)
def test_an_absurd_stem_has_a_subject_and_an_ask_all_the_same(stem: str) -> None:
    assert len(bare_subject(stem)) <= len(stem)
    assert not asks_for_exception(stem)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_bands_find_a_pair_at_the_threshold_nearly_always(threshold: float) -> None:
    count, width = bands(threshold)
    assert count * width <= 128
    assert 1 - (1 - threshold**width) ** count >= 0.99


def test_what_the_index_finds_is_what_comparing_all_of_them_finds() -> None:
    rng = random.Random(0)
    texts = [sentence(rng) for _ in range(120)]
    queries = [changed(text, rng, places) for text in texts for places in (1, 3, 6)]
    sets = [shingles(query) for query in queries]
    index = Index([shingles(text) for text in texts], 0.5)
    found = {(at, number) for at, query in enumerate(sets) for number in index.near(query)}
    every = {
        (at, number)
        for at, query in enumerate(sets)
        for number, text in enumerate(index.sets)
        if jaccard(query, text) >= 0.5
    }
    assert len(every) > 240
    assert found <= every  # what is found was verified
    assert len(every - found) <= 0.01 * len(every)


def test_pairs_within_a_set_are_what_comparing_all_of_them_finds() -> None:
    rng = random.Random(1)
    texts = [sentence(rng) for _ in range(200)]
    texts += [changed(text, rng, 4) for text in texts[:100]]
    sets = [shingles(text) for text in texts]
    found = {(one, other) for one, other, _ in near_pairs(sets, 0.5)}
    every = {
        (one, other)
        for one in range(len(sets))
        for other in range(one + 1, len(sets))
        if jaccard(sets[one], sets[other]) >= 0.5
    }
    assert len(every) > 80
    assert found <= every
    assert len(every - found) <= 0.01 * len(every) + 1


def test_thousands_that_look_alike_are_each_paired_with_some_but_not_with_all() -> None:
    rng = random.Random(2)
    text = sentence(rng, 100)
    sets = [shingles(changed(text, rng, 2)) for _ in range(1000)]
    pairs = near_pairs(sets, 0.7)
    assert {number for pair in pairs for number in pair[:2]} == set(range(1000))
    assert len(pairs) < 1000 * 999 / 2 / 2  # of all pairs


def test_a_megabyte_of_text_is_compared_like_any_other() -> None:
    rng = random.Random(3)
    long = "".join(rng.choices(SYLLABLES, k=350_000))
    index = Index([shingles(long), shingles("가나다라마바사")], 0.5)
    assert index.near(shingles(long[:-1000])) == [0]


def test_other_processes_with_other_hash_seeds_find_the_same() -> None:
    code = (
        "import random; from stages.core.shingles import *; from tests.core.test_shingles import sentence, changed\n"
        "rng = random.Random(4); texts = [sentence(rng) for _ in range(50)]\n"
        "sets = [shingles(changed(t, rng, 5)) for t in texts * 2]\n"
        "print(near_pairs(sets, 0.3), [Index(sets, 0.3).near(s) for s in sets[:9]], sketch(sets[0]).hashvalues.sum())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert "(0, 50," in outputs.pop()


def test_shingles_are_sorted_and_each_stands_once() -> None:
    numbers = shingles("가나다가나다가나다")
    assert (np.diff(numbers.astype(object)) > 0).all()
