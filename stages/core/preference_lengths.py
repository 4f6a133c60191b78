"""Whether the chosen answers are the longer ones, or the shorter ones, more often than chance has it.

DPO can learn length instead of quality and take it much further than its pairs do (Park et al., "Disentangling Length
from Quality in Direct Preference Optimization", arXiv 2403.19159).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.core.records import Message, Preference
from stages.core.statistics import LEVEL, mcnemar, p_text

# Our choice, beside p: of many pairs a p alone calls shares that nobody would act on (1,560 of 3,000 has p = 0.03), and
# of few pairs a share alone calls what a coin does (3 of 5). From here on, always taking the longer answer (or always
# the shorter one) would be right in three pairs of five.
SHARE = 0.6


@dataclass(frozen=True)
class Lengths:
    """How many pairs have the longer answer chosen, how many have it rejected, and in how many both are as long."""

    chosen_longer: int
    rejected_longer: int
    equal: int

    @property
    def p(self) -> float | None:
        """Two-sided exact binomial test against 1/2 of the pairs that differ in length; None where none does."""
        if self.chosen_longer + self.rejected_longer == 0:
            return None
        return mcnemar(self.chosen_longer, self.rejected_longer)

    @property
    def warning(self) -> str | None:
        """What leans how far, and what to do; None where p is not below 0.05 or fewer than 60 % lean one way."""
        differing = self.chosen_longer + self.rejected_longer
        leaning = max(self.chosen_longer, self.rejected_longer)
        if self.p is None or self.p >= LEVEL or leaning < SHARE * differing:
            return None
        longer = self.chosen_longer > self.rejected_longer
        return (
            f"the chosen answer is the {'longer' if longer else 'shorter'} one in {leaning} of {differing} pairs that "
            f"differ in length ({100 * leaning / differing:.0f} %, exact binomial {p_text(self.p)}), and DPO can learn "
            f"length instead of quality from that (arXiv 2403.19159). See in agreement.html which annotators go by "
            f"length and talk the guidelines over with them; compare the lengths of SFT's and DPO's held-out answers "
            f"afterwards; a higher dpo.beta holds DPO nearer to SFT"
        )


def lengths(preferences: Iterable[Preference]) -> Lengths:
    """Lengths are characters, so that they are the same before a tokenizer is at hand."""
    differences = [characters(row.chosen) - characters(row.rejected) for row in preferences]
    return Lengths(
        chosen_longer=sum(difference > 0 for difference in differences),
        rejected_longer=sum(difference < 0 for difference in differences),
        equal=differences.count(0),
    )


def characters(messages: Sequence[Message]) -> int:
    return sum(len(message.content.strip()) for message in messages)
