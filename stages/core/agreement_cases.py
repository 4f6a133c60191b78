"""Which case an `Agreement` is, and the numbers as they look in every language; the sentences are a module a language.

The bounds of alpha are Krippendorff's (Content Analysis, 2004, chapter 11), the sizes of h Cohen's (Statistical Power
Analysis for the Behavioral Sciences, 1988, chapter 6).
"""

from typing import Literal

from stages.core.agreement import Alpha, Lean
from stages.core.statistics import smallest_shown

TENTATIVE, FIRM = 0.667, 0.8
FEW = 40  # comparisons; from fewer a bootstrap interval comes out too short (measured: core/agreement.py)
TOO_FEW = 10  # comparisons; from fewer it is so short that nothing is concluded from it

Verdict = Literal["too few", "chance", "below chance", "firm", "tentative", "below tentative", "open"]
NoInterval = Literal["one comparison", "nobody differed", "too alike"]
Size = Literal["large", "medium", "small", "under small"]


def verdict(low: float, high: float, comparisons: int) -> Verdict:
    """What an interval of alpha from so many comparisons allows to say."""
    if comparisons < TOO_FEW:
        return "too few"
    if low <= 0 <= high:
        return "chance"
    if high < 0:
        return "below chance"
    if low >= FIRM:
        return "firm"
    if low >= TENTATIVE:
        return "tentative"
    return "below tentative" if high < TENTATIVE else "open"


def no_interval(alpha: Alpha) -> NoInterval:
    """Why an alpha that is defined has no interval."""
    if alpha.comparisons < 2:
        return "one comparison"
    return "nobody differed" if alpha.same == 1 else "too alike"


def size(h: float) -> Size:
    bounds: tuple[tuple[float, Size], ...] = ((0.8, "large"), (0.5, "medium"), (0.2, "small"))
    return next((name for least, name in bounds if abs(h) >= least), "under small")


def leans_to(lean: Lean) -> bool:
    """Whether the answer that the lean is about, A or the longer one, got more votes in most of the comparisons."""
    return lean.comparisons.value is not None and lean.comparisons.value > 0.5


def is_too_few(of: int) -> bool:
    """Whether no outcome of so many could have been shown to differ from one half."""
    return smallest_shown(of) is None


def signed(value: float) -> str:
    """Two decimals with a true minus, and no minus before zero."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
