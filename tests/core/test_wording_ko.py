"""The Korean sentences say what the English ones say: the same functions, the same numbers, in Korean throughout."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stages.core import figures, wording, wording_ko
from stages.core.pages import TEMPLATES
from tests.sentences import (
    CASES,
    LEANING,
    MIXED,
    MODEL,
    SIMULATED,
    THREE,
    contrasts,
    held_out,
    overall,
    said,
    winrate,
)

BOTH = (wording, wording_ko)
ENDS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ", "L": "ㄹ", "M": "ㅁ", "N": "ㄴ", "R": "ㄹ"}
PARTICLES = r"(은|는|이|가|을|를|과|와|으로|로)(?![가-힣])"
COUNTERS = "개|건|명|자|토큰|에폭|스텝|퍼센트"
IDS = [f"{number}-{name}" for number, (name, _) in enumerate(CASES)]


def functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Its own, and those that are the same in every language."""
    return {
        name: found
        for name, found in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and found.__module__ in (module.__name__, figures.__name__)
    }


def test_both_languages_have_the_same_functions_with_the_same_signatures() -> None:
    english, korean = map(functions, BOTH)
    assert english.keys() == korean.keys()
    for name in english:
        assert inspect.signature(english[name]) == inspect.signature(korean[name]), name


def test_every_function_of_a_language_has_a_case() -> None:
    own = {name for name, found in functions(wording).items() if found.__module__ == wording.__name__}
    assert own == {name for name, _ in CASES}


def test_both_have_whatever_the_templates_and_the_report_ask_for() -> None:
    texts = [path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.j2")]
    texts.append((Path(wording.__file__).parents[1] / "report.py").read_text(encoding="utf-8"))
    asked = {name for text in texts for name in re.findall(r"\bwording\.(\w+)", text)}
    assert {"NAMES", "summary", "verdict"} <= asked
    for module in BOTH:
        assert {name for name in asked if not hasattr(module, name)} == set()


def test_every_noun_that_the_templates_count_has_a_counter() -> None:
    texts = [path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.j2")]
    nouns = {noun for text in texts for noun in re.findall(r'wording\.(?:count|trained_on)\([^"()]*"([\w -]+)"', text)}
    nouns |= set(
        re.findall(r"""\bcount\([^"'()]*(?:\([^()]*\))?[^"'()]*["']([\w -]+)["']""", inspect.getsource(wording))
    )
    assert {"instruction row", "preference", "comparison"} <= nouns
    assert nouns <= wording_ko.NOUNS.keys()


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"−?\d+(?:,\d{3})*(?:\.\d+)*", text))


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)
def test_the_same_numbers_stand_in_both_languages(name: str, arguments: tuple[Any, ...]) -> None:
    english, korean = (said(module, name, arguments) for module in BOTH)
    assert numbers(korean) == numbers(english), f"{english}\n{korean}"
    assert bool(korean) == bool(english)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)
def test_korean_holds_no_english_but_names(name: str, arguments: tuple[Any, ...]) -> None:
    korean = said(wording_ko, name, arguments)
    assert not re.search(r"\b[a-z]{2,} [a-z]{2,}\b", korean), korean
    assert not re.search(r"\b(the|of|and|is|are|was|were|no|not|to|in|with)\b", korean), korean


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)
def test_sentences_are_polite_and_end_once(name: str, arguments: tuple[Any, ...]) -> None:
    korean = said(wording_ko, name, arguments)
    assert "  " not in korean
    assert not re.search(r"[.:;,]\.", korean), korean
    assert not re.search(r"(?:이다|하다|된다|한다|없다|있다)(?:\.|$)", korean), korean


def is_right(before: str, particle: str) -> bool:
    """Whether a particle fits the sound at the end of what stands before it."""
    last = before[-1]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        closed, is_l = final > 0, final == 8
    else:
        end = ENDS.get(last.upper(), "")  # a percent sign is read 퍼센트, and most letters end open
        closed, is_l = bool(end), end == "ㄹ"
    if particle in ("으로", "로"):
        return (particle == "으로") == (closed and not is_l)
    return (particle in "은이을과") == closed


@pytest.mark.parametrize(
    ("before", "particle", "right"),
    [
        ("10", "은", True),
        ("3", "는", False),
        ("12", "와", True),
        ("7", "로", True),
        ("2.0", "으로", True),
        ("5 %", "를", True),
        ("5 %", "을", False),
        ("SFT", "는", True),
        ("LLM", "과", True),
        ("3개", "를", True),
        ("3건", "를", False),
    ],
)
def test_the_test_knows_particles(before: str, particle: str, right: bool) -> None:
    assert is_right(before, particle) == right


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)
def test_particles_fit_what_stands_before_them(name: str, arguments: tuple[Any, ...]) -> None:
    korean = said(wording_ko, name, arguments)
    found = re.findall(rf"([\w.,]*[0-9A-Za-z]|\d %|\d[\d,.]*(?:{COUNTERS})){PARTICLES}", korean)
    assert [pair for pair in found if not is_right(*pair)] == [], korean


def test_the_summary_is_three_sentences_that_say_what_was_not_shown() -> None:
    flat = wording_ko.summary(MODEL, 96, None, overall(170, 175), contrasts((25, 20)), None)
    assert flat == [
        "google/gemma-2-2b-it 모델을 학습 예시 96개로 지도 미세조정(SFT)했습니다.",
        "같은 시험 문항 500개에서 SFT 모델의 정답률은 35.00 %로 학습 전 모델의 34.00 %와 차이가 확인되지 않았으므로"
        "(p = 0.55) 학습이 도움이 되었는지 해가 되었는지 알 수 없습니다.",
        "선호 데이터로 학습한 모델은 평가하지 않았습니다.",
    ]


def test_the_summary_does_not_call_unknown_what_dpo_was_shown_to_harm() -> None:
    exam = wording_ko.summary(MODEL, 96, 40, overall(200, 202, 150), contrasts((25, 23), (10, 62), (12, 62)), None)[1]
    assert "SFT가 도움이 되었는지 해가 되었는지 알 수 없으며, DPO 모델의 정답률은 30.00 %로" in exam
    assert exam.endswith("보다 낮았습니다(p < 0.001).")


def test_the_summary_says_who_preferred_what() -> None:
    trained, _, agrees = wording_ko.summary(MODEL, 96, 40, *THREE, None, SIMULATED, held_out(39, 51))
    assert trained.endswith("사람이 아니라 모의 평가자가 고른 선호 쌍 40개로 선호 최적화(DPO)했습니다.")
    assert "따로 둔 선호 쌍 51개 중 76.5 %에서 모의 평가자의 선택과 같았고" in agrees
    assert agrees.endswith("이는 우연히 같을 비율인 50 %보다 높습니다(p < 0.001).")
    unsure = wording_ko.summary(MODEL, 96, 40, *THREE, None, ["kim"], held_out(27, 51))[2]
    assert unsure.endswith("50 %와 차이가 확인되지 않았습니다(p = 0.78).")
    asked = wording_ko.summary(MODEL, 96, 40, *THREE, winrate(), MIXED)[2]
    assert asked.endswith("어느 쪽 답변이 더 나은지 확인되지 않았습니다(p = 0.26).")


def test_verdicts_are_short() -> None:
    tests = [contrasts(changed)[0].overall for changed in ((60, 15), (15, 60), (20, 19))]
    assert [wording_ko.verdict(test) for test in tests] == [
        "더 높음 (p < 0.001)",
        "더 낮음 (p < 0.001)",
        "차이가 확인되지 않음 (p = 1.00)",
    ]


def test_a_doctor_reads_first_that_this_is_no_medical_device() -> None:
    found = wording_ko.limits(overall(400, 500, questions=3_009), "", 0, None)
    assert found[0] == (
        "이 모델들은 의료기기가 아닙니다. 모델이 쓴 내용은 누구에게도 진단·치료·상담에 사용할 수 없습니다."
    )
    assert "CC BY-NC 2.0" in found[1]


def test_what_dpo_learned_of_simulated_annotators_is_not_called_a_preference_of_doctors() -> None:
    for names in (SIMULATED, MIXED):
        note = wording_ko.simulated_among(names)
        found = wording_ko.limits(overall(4, 5), note, 0, None)[3]
        assert found == f"{note} DPO가 이들의 라벨에서 배운 것은 의사의 선호가 아니라 이 규칙입니다."
    assert "simulated-1" in wording_ko.simulated_among(MIXED)


def test_a_lean_to_length_is_said_from_its_numbers() -> None:
    """The artifact's own sentence is English."""
    found = wording_ko.leaning(LEANING)
    assert found.startswith(
        "길이가 다른 쌍 400개 중 320개(80 %, 정확 이항 검정 p < 0.001)에서 더 긴 답변이 선택되었으며"
    )
    shorter = LEANING.model_copy(update={"chosen_longer": 80, "rejected_longer": 320})
    assert "320개(80 %, 정확 이항 검정 p < 0.001)에서 더 짧은 답변이" in wording_ko.leaning(shorter)


def test_a_share_that_only_rounds_to_none_or_all_is_not_said_to_be_it() -> None:
    found = [wording_ko.share(part, 10_000) for part in (0, 1, 5_000, 9_999, 10_000)]
    assert found == ["0 %", "0.1 % 미만", "50.0 %", "99.9 % 초과", "100 %"]
