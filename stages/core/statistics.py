"""What counts of right answers can and cannot say. Pure functions on numbers; no input or output."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest, fisher_exact

LEVEL = 0.05  # a difference is called shown below this adjusted p


@dataclass(frozen=True)
class Interval:
    """Bounds of a proportion, both within 0-1."""

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

    `adjusted` is the p-value after Holm's correction over the family that the test was made in.
    """

    questions: int
    gained: int
    lost: int
    p: float
    adjusted: float

    @property
    def points(self) -> float:
        """Net change in percentage points."""
        return 100 * (self.gained - self.lost) / self.questions

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

    Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), 6.2; he calls 0.2 small, 0.5 medium and 0.8
    large.
    """
    return 2 * math.asin(math.sqrt(one)) - 2 * math.asin(math.sqrt(other))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979); the same as R's `p.adjust(p, "holm")`."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def paired_tests(counts: Sequence[tuple[int, int, int]]) -> list[PairedTest]:
    """McNemar's exact test for each (questions, gained, lost), with Holm's correction over all of them."""
    p_values = [mcnemar(gained, lost) for _, gained, lost in counts]
    return [
        PairedTest(questions, gained, lost, p, adjusted)
        for (questions, gained, lost), p, adjusted in zip(counts, p_values, holm(p_values), strict=True)
    ]


def smallest_shown(discordant: int) -> int | None:
    """The smallest |gained - lost| of `discordant` pairs that McNemar's exact test calls shown, before any correction.

    None where not even a clean sweep would be: with 5 pairs or fewer, p is at least 2 / 2^5 = 0.06.
    """
    for lost in range(discordant // 2, -1, -1):
        if mcnemar(discordant - lost, lost) < LEVEL:
            return discordant - 2 * lost
    return None


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
