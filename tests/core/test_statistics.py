"""Statistics against published values, not against themselves."""

import pytest

from stages.core.statistics import (
    PairedTest,
    Score,
    calibration_error,
    change_text,
    cohens_h,
    coin,
    fisher,
    holm,
    majority,
    mcnemar,
    p_text,
    paired_tests,
    relative_change,
    smallest_shown,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "questions", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(correct: int, questions: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    interval = wilson(correct, questions)
    assert round(interval.low, 4) == low
    assert round(interval.high, 4) == high


def test_no_questions_have_no_interval() -> None:
    with pytest.raises(ValueError, match="n"):
        wilson(0, 0)


@pytest.mark.parametrize(
    ("before", "after", "published"),
    [
        (33.10, 38.39, "▴ 15.98 %"),
        (48.86, 51.03, "▴ 4.44 %"),
        (42.49, 43.05, "▴ 1.32 %"),
        (35.64, 37.85, "▴ 6.20 %"),
    ],
)
def test_relative_change_is_the_published_reports(before: float, after: float, published: str) -> None:
    """The four subsets of the report that kormed starts from."""
    assert change_text(relative_change(before, after)) == published


def test_a_loss_points_down_and_no_change_points_nowhere() -> None:
    assert change_text(relative_change(50, 40)) == "▾ 20.00 %"
    assert change_text(relative_change(50, 50)) == "± 0.00 %"


def test_a_change_from_zero_is_undefined() -> None:
    assert relative_change(0, 12.5) is None
    assert change_text(None) == "–"


def test_mcnemar_gives_the_published_p_of_agrestis_approval_survey() -> None:
    """86 and 150 discordant pairs; R package exact2x2, vignette, `mcnemar.exact`: p-value = 3.716e-05."""
    assert mcnemar(150, 86) == pytest.approx(3.716e-05, rel=1e-3)


@pytest.mark.parametrize(("gained", "lost", "p"), [(5, 0, 0.0625), (6, 0, 0.03125), (8, 1, 0.0390625), (3, 3, 1.0)])
def test_mcnemar_is_the_sign_test_of_the_discordant_pairs(gained: int, lost: int, p: float) -> None:
    """By hand: 2 * 2^-5, 2 * 2^-6, 2 * (1 + 9) * 2^-9, and an even split."""
    assert mcnemar(gained, lost) == pytest.approx(p)
    assert mcnemar(lost, gained) == pytest.approx(p)


def test_checkpoints_that_agree_on_every_question_have_p_one() -> None:
    assert mcnemar(0, 0) == 1.0


def test_holm_gives_the_textbook_example() -> None:
    """Wikipedia, Holm-Bonferroni method: p = 0.01, 0.04, 0.03, 0.005; R's p.adjust gives 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_leaves_a_single_test_alone() -> None:
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_tests_of_one_family_are_corrected_together() -> None:
    alone, tight = paired_tests([(100, 6, 0), (100, 10, 10)])
    assert alone.p == 0.03125
    assert alone.adjusted == 0.0625
    assert tight.verdict == "no difference shown (p = 1.00)"


@pytest.mark.parametrize(
    ("gained", "lost", "adjusted", "verdict"),
    [
        (30, 5, 0.00002, "better (p < 0.001)"),
        (5, 30, 0.003, "worse (p = 0.003)"),
        (12, 8, 0.41, "no difference shown (p = 0.41)"),
        (12, 8, 0.0503, "no difference shown (p = 0.050)"),
    ],
)
def test_words_follow_the_adjusted_p(gained: int, lost: int, adjusted: float, verdict: str) -> None:
    assert PairedTest(100, gained, lost, 0.00001, adjusted).verdict == verdict


def test_net_change_is_in_points() -> None:
    assert PairedTest(200, 12, 8, 0.5, 0.5).points == 2.0


@pytest.mark.parametrize(("discordant", "least"), [(0, None), (5, None), (6, 6), (9, 7), (20, 10), (100, 22)])
def test_the_smallest_difference_that_could_be_shown(discordant: int, least: int | None) -> None:
    """Critical values of the two-sided sign test at 5 %: 0 of 6, 1 of 9, 5 of 20, 39 of 100."""
    assert smallest_shown(discordant) == least


def test_a_score_prints_two_decimals() -> None:
    assert Score(144, 435).percent == 33.1
    assert Score(0, 3).accuracy == 0


def test_the_majority_letter_is_the_most_frequent_target() -> None:
    assert majority(["B", "A", "B", "C"]) == ("B", 0.5)
    assert majority(["C", "A"]) == ("A", 0.5)
    with pytest.raises(ValueError, match="no targets"):
        majority([])


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < 0.001"), (0.0312, "p = 0.031"), (0.41, "p = 0.41"), (1.0, "p = 1.00")]
)
def test_p_is_printed_as_journals_do(p: float, text: str) -> None:
    assert p_text(p) == text


def test_a_coin_is_called_unfair_as_the_tables_have_it() -> None:
    """9 heads of 10: p = 2 * 11 / 1,024; nothing thrown shows nothing."""
    assert coin(9, 10) == pytest.approx(22 / 1024)
    assert coin(1, 10) == coin(9, 10)
    assert coin(5, 10) == coin(0, 0) == 1.0


def test_fishers_lady_tasted_tea() -> None:
    """Fisher, The Design of Experiments (1935): 3 of 4 cups right is p = 0.486 two-sided, all four p = 2 / 70."""
    assert fisher((3, 4), (1, 4)) == pytest.approx(34 / 70)
    assert fisher((4, 4), (0, 4)) == pytest.approx(2 / 70)


@pytest.mark.parametrize(
    ("one", "other", "h"), [(0.5, 0.4, 0.201), (0.65, 0.45, 0.404), (0.5, 0.5, 0.0), (0.0, 1.0, -3.142)]
)
def test_cohens_h_is_the_difference_of_his_tables_phi(one: float, other: float, h: float) -> None:
    """Cohen (1988), table 6.2.2: phi is 1.369 for 0.40, 1.471 for 0.45, 1.571 for 0.50, 1.875 for 0.65."""
    assert cohens_h(one, other) == pytest.approx(h, abs=0.0015)


def test_calibration_error_is_the_gap_of_each_bin_weighted_by_its_answers() -> None:
    """By hand, as arXiv 1706.04599 has it (equation 3), with 10 bins: 3 of 5 answers at 0.9 right, 1 of 2 at 0.55."""
    confidences = [0.91, 0.91, 0.91, 0.91, 0.91, 0.55, 0.55]
    correct = [True, True, True, False, False, True, False]
    assert calibration_error(confidences, correct, bins=10) == pytest.approx(5 / 7 * 0.31 + 2 / 7 * 0.05)


def test_gaps_cancel_within_a_bin_and_not_between_bins() -> None:
    assert calibration_error([0.75, 0.75, 0.75, 0.75], [True, True, True, False]) == 0
    assert calibration_error([0.25, 0.75], [True, False]) == 0.75


def test_certainty_is_in_the_last_bin_and_none_in_the_first() -> None:
    assert calibration_error([1.0, 0.0], [True, False]) == 0
    assert calibration_error([1.0, 0.95], [False, True], bins=10) == pytest.approx(abs(-1.0 + 0.05) / 2)


@pytest.mark.parametrize(("confidences", "correct"), [([], []), ([0.5], [True, False]), ([1.2], [True])])
def test_calibration_wants_a_confidence_for_each_answer(confidences: list[float], correct: list[bool]) -> None:
    with pytest.raises(ValueError):
        calibration_error(confidences, correct)
