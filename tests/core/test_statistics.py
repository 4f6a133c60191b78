"""Statistics against published values, not against themselves."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from stages.core.statistics import (
    LEVEL,
    PairedTest,
    Score,
    calibration_error,
    change_text,
    cohens_h,
    coin,
    detectable,
    fisher,
    holm,
    majority,
    mcnemar,
    p_text,
    paired_tests,
    power,
    questions_needed,
    relative_change,
    smallest_shown,
    tango,
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


@pytest.mark.parametrize(("gained", "lost"), [(5, 0), (8, 1), (17, 17), (85, 62), (433, 520)])
def test_mcnemar_is_statsmodels_exact_test(gained: int, lost: int) -> None:
    """scipy's binomial test is kept: it needs no table, and has an answer where no pair is discordant."""
    table = [[0, gained], [lost, 0]]
    assert mcnemar(gained, lost) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


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
    assert alone.family == tight.family == 2
    assert alone.strictest == 0.025


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


@pytest.mark.parametrize("level", [LEVEL, LEVEL / 3, LEVEL / 4])
def test_the_smallest_lead_is_shown_and_the_next_smaller_one_is_not(level: float) -> None:
    for discordant in range(200):
        least = smallest_shown(discordant, level)
        if least is None:
            assert mcnemar(discordant, 0) >= level
        else:
            lost = (discordant - least) // 2
            assert mcnemar(discordant - lost, lost) < level
            assert lost + 1 > discordant // 2 or mcnemar(discordant - lost - 1, lost + 1) >= level


def observed(questions: int, gained: int, lost: int, family: int = 1) -> PairedTest:
    return paired_tests([(questions, gained, lost)] * family)[0]


@pytest.mark.parametrize(
    ("gained", "lost", "questions", "low", "high"),
    [(6, 16, 161, -0.1240, -0.0054), (1, 7, 21, -0.5172, -0.0260)],
    ids=["complete response (Cavo 2012)", "airway hyper-responsiveness (Bentur 2009)"],
)
def test_tango_gives_the_published_intervals(gained: int, lost: int, questions: int, low: float, high: float) -> None:
    """Fagerland, Lydersen & Laake, Statistical Analysis of Contingency Tables (2017), chapter 8, and the tests of
    their R package contingencytables."""
    interval = tango(questions, gained, lost)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_tangos_interval_is_wilsons_where_no_pair_changed_sides() -> None:
    for questions in (1, 24, 3009):
        interval, bound = tango(questions, 0, 0), wilson(0, questions).high
        assert (interval.low, interval.high) == pytest.approx((-bound, bound))


def test_tangos_interval_turns_with_the_sides_and_ends_at_all_questions() -> None:
    one, other = tango(20, 7, 3), tango(20, 3, 7)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert tango(5, 5, 0).high == 1.0
    assert 0 < tango(5, 5, 0).low < 1
    assert tango(1, 0, 1).low == -1.0


@pytest.mark.parametrize("counts", [(0, 0, 0), (10, 6, 5), (10, -1, 2)])
def test_counts_that_do_not_fit_have_no_interval(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="questions were wanted"):
        tango(*counts)


@pytest.mark.parametrize(
    ("questions", "gains", "loses"),
    [(435, 0.20, 0.15), (435, 0.17, 0.17), (885, 0.01, 0.01), (435, 0.012, 0.002), (48, 0.10, 0.06)],
    ids=["as SFT", "no difference", "few discordant", "fewer, one-sided", "a small exam"],
)
def test_95_of_100_intervals_hold_the_true_difference(questions: int, gains: float, loses: float) -> None:
    draws = np.random.default_rng(6).multinomial(questions, [gains, loses, 1 - gains - loses], size=2000)
    intervals = [tango(questions, int(gained), int(lost)) for gained, lost, _ in draws]
    covered = np.mean([interval.low <= gains - loses <= interval.high for interval in intervals])
    assert 0.93 <= covered <= 0.975


def test_the_interval_is_in_points_and_about_the_change_seen() -> None:
    test = observed(161, 6, 16)
    assert test.interval.low == pytest.approx(-12.40, abs=0.005)
    assert test.interval.low < test.points < test.interval.high


def test_the_interval_may_keep_off_zero_where_nothing_is_shown_and_never_the_other_way_round() -> None:
    edge = observed(100, 9, 2)
    assert (round(edge.interval.low, 1), round(edge.interval.high, 1)) == (0.6, 14.6)
    assert edge.verdict == "no difference shown (p = 0.065)"
    for discordant in range(6, 400):
        least = smallest_shown(discordant)
        assert least is not None
        lost = (discordant - least) // 2
        assert tango(1000, discordant - lost, lost).low > 0


def test_power_is_the_one_that_others_compute() -> None:
    """R's MESS, tests of power_mcnemar_test: 144 pairs at 0.25 and 0.45, exact, one-sided 0.025: 0.80."""
    assert round(power(144, 0.70, 0.45 / 0.70, 0.05), 2) == 0.80


def test_power_by_hand() -> None:
    """All 9 questions change sides, 90 % of them one way: shown at 9 and at 8 (0 and 1 of 9), 0.9^9 + 9 * 0.9^8 * 0.1;
    of 5 nothing could be shown."""
    assert power(9, 1.0, 0.9, LEVEL) == pytest.approx(0.9**9 + 9 * 0.9**8 * 0.1)
    assert power(5, 1.0, 1.0, LEVEL) == 0


def test_the_detectable_difference_by_hand() -> None:
    """6 discordant of 60 must all go one way: a share s with s^6 = 0.8, which is 10 * (2 s - 1) points; at a level of
    0.025 not even that would do (p = 2 / 2^6 = 0.031)."""
    test = observed(60, 4, 2, family=2)
    assert detectable(test, LEVEL) == pytest.approx(10 * (2 * 0.8 ** (1 / 6) - 1))
    assert detectable(test, test.strictest) is None


@pytest.mark.parametrize("family", [1, 4])
def test_the_detectable_difference_is_shown_in_80_of_100_exams(family: int) -> None:
    test = observed(435, 85, 62, family)
    points = detectable(test, test.strictest)
    assert points is not None
    share = (1 + points / 100 * 435 / 147) / 2
    gained = np.random.default_rng(6).binomial(147, share, size=4000)
    shown = np.mean([mcnemar(int(won), 147 - int(won)) < test.strictest for won in gained])
    assert shown == pytest.approx(0.8, abs=0.02)


def test_so_many_questions_would_show_the_difference_in_80_of_100_exams() -> None:
    test = observed(435, 85, 62)
    needed = questions_needed(test, LEVEL)
    assert needed is not None
    draws = np.random.default_rng(6).multinomial(needed, [85 / 435, 62 / 435, 288 / 435], size=4000)
    shown = np.mean([mcnemar(int(gained), int(lost)) < LEVEL for gained, lost, _ in draws])
    assert shown == pytest.approx(0.8, abs=0.02)
    assert power(needed - 1, 147 / 435, 85 / 147, LEVEL) < 0.8 <= power(needed, 147 / 435, 85 / 147, LEVEL)


def test_the_questions_needed_lie_just_above_connors_approximation() -> None:
    """Connor, Biometrics 43 (1987) 207-211: 1.96 and 0.84 standard errors; the exact test needs a few more."""
    changing, difference = 147 / 435, 23 / 435
    connor = ((1.95996 * changing**0.5 + 0.84162 * (changing - difference**2) ** 0.5) / difference) ** 2
    needed = questions_needed(observed(435, 85, 62), LEVEL)
    assert needed is not None
    assert connor < needed < 1.05 * connor


def test_losses_need_as_many_questions_as_gains_and_a_stricter_level_more() -> None:
    test = observed(435, 62, 85, family=4)
    assert questions_needed(test, LEVEL) == questions_needed(observed(435, 85, 62), LEVEL)
    assert (questions_needed(test, test.strictest) or 0) > (questions_needed(test, LEVEL) or 0)


def test_no_number_of_questions_shows_no_difference() -> None:
    assert questions_needed(observed(100, 10, 10), LEVEL) is None
    assert questions_needed(observed(100, 0, 0), LEVEL) is None
    assert questions_needed(observed(3009, 500, 499), LEVEL) is None  # 0.03 points: millions


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
