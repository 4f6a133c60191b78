"""What counts of right answers can and cannot say. Pure functions on numbers; no input or output.

Formulas are scipy's and statsmodels' where they have them. Neither has an interval for matched proportions, nor the
power of McNemar's exact test.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binom, binomtest, fisher_exact, norm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

LEVEL = 0.05  # a difference is called shown below this adjusted p
POWER = 0.8  # how often a difference is to be shown, where it is there (Cohen 1988, 2.4, proposes this as a convention)
MOST = 100_000  # questions; a difference that needs more of them is none that an exam could show


@dataclass(frozen=True)
class Interval:
    """Bounds: of a proportion, both within 0-1; of a difference, as the one who gives it says."""

    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How many of `questions` were answered right. There is at least one question."""

    correct: int
    questions: int

    @property
    def accuracy(self) -> float:
        """Within 0-1."""
        return self.correct / self.questions

    @property
    def percent(self) -> float:
        """Accuracy in percent as printed, with two decimals."""
        return round(100 * self.accuracy, 2)

    @property
    def interval(self) -> Interval:
        return wilson(self.correct, self.questions)


@dataclass(frozen=True)
class PairedTest:
    """Two checkpoints on the same questions: `gained` only the later one got right, `lost` only the earlier one.

    `adjusted` is the p-value after Holm's correction over the family that the test was made in, which has `family`
    tests.
    """

    questions: int
    gained: int
    lost: int
    p: float
    adjusted: float
    family: int = 1

    @property
    def points(self) -> float:
        """Net change in percentage points."""
        return 100 * (self.gained - self.lost) / self.questions

    @property
    def interval(self) -> Interval:
        """95 % interval of `points`, in points: Tango's score interval, not widened for the other tests of the family.

        At the edge it keeps off 0 where the exact test shows nothing (9 gained and 2 lost of 100: 0.6 to 14.6 points,
        p = 0.065; and any p that Holm's correction lifts over 0.05). It never holds 0 where the test shows something.
        Words follow the test, never the interval.
        """
        found = tango(self.questions, self.gained, self.lost)
        return Interval(100 * found.low, 100 * found.high)

    @property
    def discordant(self) -> int:
        """Questions that changed sides."""
        return self.gained + self.lost

    @property
    def strictest(self) -> float:
        """The level that Holm's correction asks of the smallest p of the family."""
        return LEVEL / self.family

    @property
    def shown(self) -> bool:
        return self.adjusted < LEVEL

    @property
    def verdict(self) -> str:
        """`better (p = 0.003)`, `worse (p < 0.001)` or `no difference shown (p = 0.41)`; p is the adjusted one."""
        words = ("better" if self.gained > self.lost else "worse") if self.shown else "no difference shown"
        return f"{words} ({p_text(self.adjusted)})"


def wilson(correct: int, questions: int) -> Interval:
    """95 % score interval of a proportion (Wilson 1927; scipy's `proportion_ci(method="wilson")`).

    Raises:
        ValueError: `questions` is not positive, or `correct` is not within 0-`questions`.
    """
    bounds = binomtest(correct, questions).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(bounds.low), float(bounds.high))


def tango(questions: int, gained: int, lost: int) -> Interval:
    """95 % score interval of the difference of two matched proportions, (gained - lost) / questions, within -1 to 1.

    Tango, Statistics in Medicine 17 (1998) 891-908: all differences that his score test does not reject; at 0 that
    test is McNemar's of 1947. It is to the paired difference what Wilson's is to a single share, and is that one where
    no pair changed sides; R has it as `scoreci.mp` in PropCIs. It needs no more than the pairs that changed sides;
    Newcombe's (1998, method 10) would need those that both got right as well.

    Raises:
        ValueError: `questions` is not positive, or the counts do not fit into it.
    """
    if questions < 1 or gained < 0 or lost < 0 or gained + lost > questions:
        raise ValueError(f"counts within {questions} questions were wanted, got {gained} and {lost}")
    return Interval(_tango_low(questions, gained, lost), -_tango_low(questions, lost, gained))


def _tango_low(questions: int, gained: int, lost: int) -> float:
    """Where the score test of a difference that lies below the one seen just rejects, upwards."""
    z = float(norm.ppf(0.975))
    if lost == questions:
        return -1.0

    def beyond(difference: float) -> float:
        """The score less z standard errors; `losing` is the most likely true share of `lost` at such a difference."""
        b = (2 * questions - gained + lost) * difference - gained - lost
        c = -lost * difference * (1 - difference)
        losing = (math.sqrt(max(0.0, b * b - 8 * questions * c)) - b) / (4 * questions)
        variance = max(0.0, 2 * losing + difference * (1 - difference))
        return gained - lost - questions * difference - z * math.sqrt(questions * variance)

    seen = (gained - lost) / questions
    return float(brentq(beyond, -1.0, seen - 1e-12))  # at `seen` itself both terms are 0 where none or all changed


def relative_change(before: float, after: float) -> float | None:
    """Change in percent of `before`; None where `before` is 0, since nothing is a share of nothing.

    The published report takes it from its printed percentages (33.10 to 38.39 is +15.98 %; 144 to 167 right
    answers of 435, which they stand for, would be +15.97 %). Give `Score.percent` to get the same.
    """
    if before == 0:
        return None
    return 100 * (after - before) / before


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test: the binomial test of the discordant pairs against 1/2.

    1.0 where no pair is discordant (McNemar 1947; exact form as in Agresti, Categorical Data Analysis, 10.1).
    """
    if gained + lost == 0:
        return 1.0
    return float(binomtest(gained, gained + lost, 0.5).pvalue)


def coin(heads: int, throws: int) -> float:
    """Two-sided p-value of the exact binomial test of a share against 1/2; 1.0 where nothing was thrown."""
    return mcnemar(heads, throws - heads)


def fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Two-sided p-value of Fisher's exact test of two shares, each (count, of) (scipy's `fisher_exact`)."""
    return float(fisher_exact([[count, of - count] for count, of in (one, other)]).pvalue)


def cohens_h(one: float, other: float) -> float:
    """Effect size of two proportions within 0-1: the difference of their arcsine transforms.

    Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), 6.2 (statsmodels' `proportion_effectsize`);
    he calls 0.2 small, 0.5 medium and 0.8 large.
    """
    return float(proportion_effectsize(one, other))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979; statsmodels' `multipletests`)."""
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def paired_tests(counts: Sequence[tuple[int, int, int]]) -> list[PairedTest]:
    """McNemar's exact test for each (questions, gained, lost), with Holm's correction over all of them."""
    p_values = [mcnemar(gained, lost) for _, gained, lost in counts]
    return [
        PairedTest(questions, gained, lost, p, adjusted, len(counts))
        for (questions, gained, lost), p, adjusted in zip(counts, p_values, holm(p_values), strict=True)
    ]


def smallest_shown(discordant: int, level: float = LEVEL) -> int | None:
    """The smallest |gained - lost| of `discordant` pairs of which the p of McNemar's exact test is below `level`.

    None where not even a clean sweep would be: with 5 pairs or fewer, p is at least 2 / 2^5 = 0.06.
    """
    lost = int(binom.ppf(level / 2, discordant, 0.5)) - 1  # the most whose tail is below level / 2
    return discordant - 2 * lost if lost >= 0 else None


def detectable(test: PairedTest, level: float) -> float | None:
    """The smallest true difference, in points, that such an exam would show in 80 % of its repetitions.

    Exact, given that as many questions change sides as did (Lachenbruch, Statistics in Medicine 11 (1992) 1521-1525):
    the share of one side among them at which the binomial reaches the test's critical value that often, by the beta
    quantile that Clopper & Pearson (1934) take. None where nothing could be shown.

    Args:
        level: `LEVEL`, or `test.strictest` for the first step of Holm's correction.
    """
    lead = smallest_shown(test.discordant, level)
    if lead is None:
        return None
    won = (test.discordant + lead) // 2
    share = float(beta.ppf(POWER, won, test.discordant - won + 1))
    return 100 * (2 * share - 1) * test.discordant / test.questions


def questions_needed(test: PairedTest, level: float) -> int | None:
    """How many questions would show the observed difference in 80 % of exams, were it the true one.

    Their share that changes sides, and the proportion of both sides, are as here. With one question fewer it would be
    less than 80 %. None where nothing differs, or more than `MOST` would be needed.
    """
    if test.gained == test.lost:
        return None
    changing, share = test.discordant / test.questions, max(test.gained, test.lost) / test.discordant
    few, many = 0, 1
    while power(many, changing, share, level) < POWER:
        few, many = many, 2 * many
        if few > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power(middle, changing, share, level) >= POWER else (middle, many)
    return many if many <= MOST else None


def power(questions: int, changing: float, share: float, level: float) -> float:
    """How often McNemar's exact test finds the side that truly gains, of exams with so many questions.

    The power given how many pairs change sides, averaged over that number, as SAS PROC POWER's DIST=EXACT_COND has it
    (Duffy, Biometrics 40 (1984) 1005-1015).

    Args:
        changing: share (0-1) of questions that change sides.
        share: of these, the share (0.5-1) that goes to the side that truly gains.
    """
    fewest, most = binom.ppf([1e-9, 1 - 1e-9], questions, changing)  # beyond lies nothing that could be seen
    counts = np.arange(fewest, most + 1)
    lost = binom.ppf(level / 2, counts, 0.5) - 1
    return float(np.sum(binom.pmf(counts, questions, changing) * binom.sf(counts - lost - 1, counts, share)))


def majority(targets: Sequence[str]) -> tuple[str, float]:
    """The most frequent right letter and its share (0-1), the accuracy of always answering it; ties go to the first.

    Raises:
        ValueError: there are no targets.
    """
    if not targets:
        raise ValueError("no targets")
    letter, count = min(Counter(targets).items(), key=lambda item: (-item[1], item[0]))
    return letter, count / len(targets)


def calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = 15) -> float:
    """Expected calibration error, 0-1: how far confidence and accuracy lie apart, weighted over bins of equal width.

    Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), equation 3, with their 15 bins. Bins are
    open below and closed above, as theirs are; a confidence of 0 is in the first.

    Raises:
        ValueError: there are no answers, the two differ in number, or a confidence is not within 0-1.
    """
    if not confidences:
        raise ValueError("no answers")
    if not all(0 <= confidence <= 1 for confidence in confidences):
        raise ValueError("confidences within 0-1 were wanted")
    gaps: dict[int, float] = {}
    for confidence, is_right in zip(confidences, correct, strict=True):
        place = max(0, math.ceil(confidence * bins) - 1)
        gaps[place] = gaps.get(place, 0.0) + is_right - confidence
    return sum(map(abs, gaps.values())) / len(confidences)


def p_text(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.095 else f"p = {p:.2f}"


def change_text(change: float | None) -> str:
    """As the published report writes it: `▴ 15.98 %`, `▾ 3.10 %`; `–` where the change is undefined."""
    if change is None:
        return "–"
    arrow = "▴" if round(change, 2) > 0 else "▾" if round(change, 2) < 0 else "±"
    return f"{arrow} {abs(change):.2f} %"
