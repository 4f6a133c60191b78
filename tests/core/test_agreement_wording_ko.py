"""What is said of annotators in Korean: functions, cases and numbers of the English, in words of the form."""

import inspect
import re
from collections import Counter
from dataclasses import replace
from types import ModuleType
from typing import Any, get_args

import pytest

from annotation.dataset import FLAGS, LABELS
from stages.core import agreement_cases as cases
from stages.core import agreement_wording as english
from stages.core import agreement_wording_ko as korean
from stages.core.agreement import Agreement, Alpha, Fell, Lean, Share
from tests.panels import PEOPLE, TRUTH, answers, found

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
NAMES = ("A", "B", "Cohen", "h", "p", "Krippendorff", "s", "alpha", "Fisher", "Holm", "kim", "lee", "park", "simulated")
ALPHAS = {
    "not judged twice": Alpha(None, None, None, 0, 0, None, None, 0),
    "one value": Alpha(None, None, None, 3, 6, 1.0, 1.0, 0),
    "one comparison": Alpha(0.0, None, None, 1, 2, 0.0, 0.5, 0),
    "nobody differed": Alpha(1.0, None, None, 50, 100, 1.0, 0.3, 0),
    "too alike": Alpha(0.0, None, None, 50, 100, 0.98, 0.98, 1200),
    "too few": Alpha(0.9, 0.82, 0.95, 9, 18, 0.9, 0.3, 4),
    "chance": Alpha(0.05, -0.2, 0.3, 50, 100, 0.35, 0.3, 0),
    "below chance": Alpha(-0.4, -0.6, -0.1, 50, 100, 0.1, 0.3, 0),
    "below tentative": Alpha(0.4, 0.3, 0.5, 30, 60, 0.6, 0.3, 0),
    "open": Alpha(0.6, 0.5, 0.7, 50, 100, 0.7, 0.3, 0),
    "tentative": Alpha(0.75, 0.68, 0.85, 1250, 2500, 0.8, 0.3, 0),
    "firm": Alpha(0.9, 0.82, 0.95, 50, 100, 0.9, 0.3, 0),
}
PANELS = {
    "nobody": found(),
    "three, one far off": found(*PEOPLE),
    "one with three responses": found(answers("kim", ["a", "b", "tie"])),
    "two who agree": found(answers("kim", TRUTH, repeats=4), answers("lee", TRUTH, repeats=4)),
    "two who choose A": found(answers("kim", ["a"] * 30, repeats=6), answers("lee", ["a"] * 29)),
    "no choice": found(answers("kim", ["tie"] * 30), answers("lee", ["both_bad"] * 30)),
    "an adjudicator": found(
        answers("kim", ["a", "b"]), answers("lee", ["b", "b"]), answers("park", ["tie"], round="adjudication")
    ),
    "flags": found(answers("kim", ["b"], unsafe_a=("missed_emergency", "other"))),
    "flags of two": found(*(answers(name, ["b"] * 3, unsafe_a=("personal_data",)) for name in ("kim", "lee"))),
    "simulated": found(*(answers(f"simulated-{number}", TRUTH, every=0) for number in (1, 2))),
}


def public(module: ModuleType) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isfunction(value) or name.isupper())
    }


def said(module: Any, panel: Agreement) -> list[str]:
    """Everything that a page can say of a panel."""
    shares = [share for one in panel.annotators for share in (one.with_majority, one.repeats.same, one.side_a)]
    return [
        *module.lead(panel),
        module.agreed(panel.alpha),
        module.caution(panel.alpha),
        module.consistent(panel),
        module.sided(panel.side_a),
        module.lengthy(panel),
        module.flagged(panel),
        module.undecided(panel),
        *module.far_off(panel),
        *(module.votes(one.values) for one in panel.undecided),
        *(module.fell(votes) for votes in panel.pattern),
        *(module.counted(share) for share in shares),
        *(module.within(share) for share in shares),
    ]


def latin(text: str) -> list[str]:
    return [word for word in re.findall(r"[A-Za-z]+", text) if word not in NAMES]


def test_both_languages_have_the_same_functions_with_the_same_signatures() -> None:
    ours, theirs = public(korean), public(english)
    assert set(ours) == set(theirs)
    for name, function in theirs.items():
        if inspect.isfunction(function):
            assert inspect.signature(ours[name]) == inspect.signature(function), name
        elif isinstance(function, dict):
            assert set(ours[name]) == set(function), name


def test_every_case_has_its_sentence() -> None:
    assert set(korean.VERDICTS) == set(get_args(cases.Verdict))
    assert set(korean.NO_INTERVALS) == set(get_args(cases.NoInterval))
    assert set(korean.SIZES) == set(get_args(cases.Size))


def test_choices_and_safety_problems_are_called_what_annotators_read() -> None:
    assert korean.VALUE_NAMES == LABELS
    assert korean.FLAG_NAMES == FLAGS


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_the_same_numbers_are_said_of_a_panel(panel: Agreement) -> None:
    for ours, theirs in zip(said(korean, panel), said(english, panel), strict=True):
        assert Counter(NUMBER.findall(ours)) == Counter(NUMBER.findall(theirs)), (ours, theirs)


@pytest.mark.parametrize("alpha", ALPHAS.values(), ids=ALPHAS)
def test_the_same_numbers_are_said_of_alpha(alpha: Alpha) -> None:
    for ours, theirs in ((korean.agreed, english.agreed), (korean.caution, english.caution)):
        assert Counter(NUMBER.findall(ours(alpha))) == Counter(NUMBER.findall(theirs(alpha)))


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_only_names_are_latin(panel: Agreement) -> None:
    assert latin(" ".join([*said(korean, panel), korean.simulated(panel)])) == []


def test_what_alpha_means_and_the_rule_are_korean_and_keep_their_numbers() -> None:
    assert latin(" ".join([korean.MEANS, korean.MEANS_NOT, korean.RULE])) == []
    assert Counter(NUMBER.findall(korean.MEANS)) == Counter(NUMBER.findall(english.MEANS))
    assert set(NUMBER.findall(english.RULE)) <= set(NUMBER.findall(korean.RULE))


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("not judged twice", "알 수 없습니다."),
        ("nobody differed", "앞으로도 의견이 갈리지 않으리라는 증거는 아닙니다."),
        ("too few", "0.90입니다(95 % 신뢰구간 0.82~0.95). 비교 문항이 너무 적어 아무 결론도 내릴 수 없습니다."),
        ("chance", "0.05입니다(95 % 신뢰구간 −0.20~0.30). 우연을 넘는 일치가 확인되지 않았습니다."),
        ("below tentative", "0.667에는 못 미치므로"),
        ("open", "0.667에 이르는지는 확인되지 않았습니다."),
        ("firm", "확실한 결론의 기준으로 삼은 0.8에 이릅니다."),
    ],
)
def test_alpha_is_called_what_its_interval_allows(case: str, told: str) -> None:
    assert told in korean.agreed(ALPHAS[case])


def test_who_answered_how_much_stands_at_the_head() -> None:
    everything, some = (" ".join(korean.lead(PANELS[name])) for name in ("three, one far off", "flags"))
    assert "평가자 3명이 비교 문항 30개 전체에 응답 90건을 제출했습니다." in everything
    assert "평가자 1명이 비교 문항 30개 중 1개에 응답 1건을 제출했습니다." in some


def test_who_is_far_off_stands_there_with_the_numbers() -> None:
    panel = PANELS["three, one far off"]
    assert "다른 평가자들과 크게 다른 평가자가 있습니다(park)." in " ".join(korean.lead(panel))
    assert (
        "park: A를 고른 경우가 30건 중 30건(100 %)이고, 다른 평가자들은 54건 중 28건(51.9 %)입니다(p < 0.001)."
        in korean.far_off(panel)
    )
    assert (
        "park: 한 문항에 걸린 시간이 4.0초(35회의 중앙값)이고, 다른 평가자들은 30초(70회의 중앙값)입니다."
        in korean.far_off(panel)
    )


def test_no_lean_is_claimed_where_none_is_shown() -> None:
    assert "한쪽으로 치우쳤다고 확인되지 않았습니다(p = " in korean.sided(PANELS["two who agree"].side_a)
    assert "A 쪽으로 치우친 것이 확인되었습니다(p < 0.001)." in korean.sided(PANELS["two who choose A"].side_a)
    assert "치우침이 있어도 확인할 수 없었을 것입니다." in korean.sided(PANELS["one with three responses"].side_a)


def test_a_lean_is_called_what_its_test_is_about_comparisons_and_not_responses() -> None:
    panel = PANELS["three, one far off"]
    lean = Lean(chosen=10, decided=40, comparisons=Share(10, 10, 0.72, 1.0, p=0.002))  # many responses to few
    found = replace(panel, length=replace(panel.length, longer=lean))
    assert "a lean to the longer answer shown (p = 0.002)" in english.lengthy(found)
    assert "더 긴 답변 쪽으로 치우친 것이 확인되었습니다(p = 0.002)" in korean.lengthy(found)


def test_a_bar_of_votes_says_where_nobody_has_a_majority() -> None:
    assert korean.fell(Fell(1, 1, 9)) == "한 명만 판단"
    assert korean.fell(Fell(3, 3, 9)) == "3명 모두 같음"
    assert korean.fell(Fell(2, 4, 9)) == "4명 중 2명 같음: 과반 없음"


def test_nothing_counted_is_no_share() -> None:
    assert korean.counted(Share(0, 0, None, None)) == "없음"
    assert korean.within(Share(0, 0, None, None)) == "신뢰구간 없음"


@pytest.mark.parametrize(("value", "told"), [(4.0, "4.0초"), (30.0, "30초"), (150.0, "2.5분")])
def test_times_are_written_as_people_say_them(value: float, told: str) -> None:
    assert korean.seconds(value) == told
