"""The report's pictures: what they say to those who do not see them is what the tables say, in either language."""

import re

from stages.core import figures, report_pictures
from stages.core.findings import Contrast, Proof
from stages.core.languages import ENGLISH, Language, korean
from stages.core.records import Checkpoint
from stages.core.statistics import paired_tests
from tests.sentences import winrate

LOGGED: list[dict[str, object]] = [{"step": step, "loss": 2.5 - step / 2} for step in (1, 2, 3)]


def contrast(before: Checkpoint, after: Checkpoint, *changed: tuple[int, int], questions: int = 400) -> Contrast:
    """Gained and lost over all questions, of doctor and of nurse."""
    overall, doctor, nurse = paired_tests([(questions, *one) for one in changed])
    return Contrast(before, after, overall, {"doctor": doctor, "nurse": nurse})


CONTRASTS = [
    contrast("base", "sft", (40, 20), (30, 5), (10, 15)),
    contrast("sft", "dpo", (0, 0), (3, 3), (0, 1)),
    contrast("base", "dpo", (40, 20), (30, 5), (10, 15)),
]


def spoken(svg: str) -> str:
    (name,) = re.findall(r'<svg[^>]* aria-label="([^"]*)"', svg)
    return str(name)


def forest(language: Language) -> str:
    return str(report_pictures.forest(language, CONTRASTS))


def test_the_forest_says_every_difference_and_its_interval_as_the_tests_have_them() -> None:
    name = spoken(forest(ENGLISH))
    before, _, after = name.partition("SFT → DPO: ")
    assert "base → SFT: doctor +6.2 (" in before
    assert "nurse −1.2 (" in before
    assert "all +5.0 (" in before
    for one in CONTRASTS:
        for test in (one.overall, *one.by_subset.values()):
            low, high = (f"{bound:+.1f}".replace("-", "−") for bound in (test.interval.low, test.interval.high))
            assert f"({low} … {high})" in name
    assert "doctor 0.0 (" in after  # as many lost as gained


def test_nothing_is_said_to_be_minus_zero() -> None:
    assert [figures.signed(points, 1) for points in (-0.04, 0.04, 0.0, -0.06, -10.04, 10.0)] == [
        "0.0",
        "0.0",
        "0.0",
        "−0.1",
        "−10.0",
        "+10.0",
    ]


def test_the_forest_is_the_same_in_korean_with_korean_names() -> None:
    english, said = spoken(forest(ENGLISH)), spoken(forest(korean()))
    assert re.findall(r"[+−]?\d+\.\d", said) == re.findall(r"[+−]?\d+\.\d", english)
    assert "의사 +6.2" in said
    assert "학습 전 → SFT" in said
    assert re.findall(r"\b(?:all|base|doctor|nurse|points|interval)\b", said) == []


def test_what_goes_past_sft_has_the_colour_of_neither() -> None:
    """Base to DPO is not drawn as DPO, whose colour is that of what DPO changed."""
    hues = re.findall(r'<polygon class="bar (\w+)"', forest(ENGLISH))
    assert hues == ["sft", "dpo", "base"]


def test_a_curve_that_was_not_logged_has_no_picture_and_is_still_there_to_be_told() -> None:
    proof = Proof(weights_equal=True, loss=0.69, expected_loss=0.69, largest_margin=0.0)
    loss, *others = report_pictures.charts(ENGLISH, LOGGED, "dpo", report_pictures.dpo_charts(proof))
    assert "loss from step 1 to 3: first 2, last 1" in spoken(str(loss["picture"]))
    assert [chart["picture"] for chart in others] == [None] * 3
    assert [chart["beside"] for chart in others] == [None] * 3
    assert report_pictures.charts(ENGLISH, [], "sft", report_pictures.SFT_CHARTS)[0]["picture"] is None


def test_held_out_accuracy_is_drawn_beside_that_of_training() -> None:
    logged: list[dict[str, object]] = [
        {"step": 1, "rewards/accuracies": 0.5},
        {"step": 2, "rewards/accuracies": 0.9},
        {"step": 2, "eval_rewards/accuracies": 0.625},
    ]
    proof = Proof(weights_equal=True, loss=0.69, expected_loss=0.69, largest_margin=0.0)
    chart = report_pictures.charts(ENGLISH, logged, "dpo", report_pictures.dpo_charts(proof))[2]
    assert spoken(str(chart["picture"])).endswith("; held out: first 0.625, last 0.625")


def test_the_win_rate_says_its_interval() -> None:
    name = spoken(str(report_pictures.win_rate(ENGLISH, winrate())))
    assert "59.7 % (45.0–73.0 %)" in name
    assert "59.7 % (45.0–73.0 %)" in spoken(str(report_pictures.win_rate(korean(), winrate())))
