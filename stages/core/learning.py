"""What a training's curves say, in sentences: only what is beyond the steps' own scatter is called a change."""

import itertools
import math
from collections.abc import Sequence
from statistics import fmean, variance

from stages.core.plots import Curve, curve

FIFTHS = 5
FEWEST = 4  # steps in a fifth, fewer show no trend
ERRORS = 3.0  # standard errors that two fifths' means must be apart; our choice, as several are looked at

Rows = Sequence[dict[str, object]]  # of a training log


def loss_remarks(logged: Rows) -> list[str]:
    """Of SFT and DPO: a loss that rises at the end, or one that never fell."""
    parts = fifths(curve(logged, "loss"))
    if not parts:
        return []
    lowest = min(parts[:-1], key=fmean)
    if clearly_below(lowest, parts[-1]):
        return [
            f"The loss rises at the end: {fmean(parts[-1]):.3g} in the last fifth of the steps, {fmean(lowest):.3g} in "
            f"the lowest. The learning rate may be too high, or the last rows differ from the others."
        ]
    if not clearly_below(parts[-1], parts[0]):
        return ["The last fifth of the steps has no clearly lower loss than the first: nothing shows that it learned."]
    return []


def dpo_remarks(logged: Rows, held_out: int) -> list[str]:
    """`held_out`: preferences kept to look at."""
    return [*loss_remarks(logged), *chosen_remarks(logged), *heldout_remarks(logged, held_out)]


def chosen_remarks(logged: Rows) -> list[str]:
    """Goes by the reward, which is beta times the move since SFT: other steps have other pairs, of other lengths."""
    parts = fifths(curve(logged, "rewards/chosen"))
    if not parts or not clearly_below(parts[-1], [0.0] * len(parts[-1])):
        return []
    return [
        f"The chosen answers became less likely than under SFT (reward −{-fmean(parts[-1]):.3g} in the last fifth of "
        f"the steps): the margin comes from rejected answers that fell further. dpo.nll_weight holds them up."
    ]


def heldout_remarks(logged: Rows, held_out: int) -> list[str]:
    if not held_out:
        return [
            "No preference was held out, so nothing here tells learning the preference from learning these pairs by "
            "heart (preferences.heldout)."
        ]
    looks = curve(logged, "eval_rewards/accuracies")
    if not looks.points:
        return ["The held-out preferences were not looked at."]
    found = f"{100 * looks.last:.1f} % of {held_out:,} held-out preference{'s' * (held_out != 1)} at the last look"
    parts = fifths(curve(logged, "rewards/margins"))
    grew = bool(parts) and clearly_below(parts[0], parts[-1])
    if grew and len(looks.points) > 1 and looks.last <= looks.first:
        return [
            f"The margins grow while the held-out accuracy does not: {100 * looks.first:.1f} % at the first look, "
            f"{found}. So it looks when pairs are learned by heart and not the preference behind them."
        ]
    if grew and looks.last <= 0.5:
        return [f"The margins grow, and yet the policy agrees with no more than {found}, where chance is 50 %."]
    return [f"The policy agrees with {found}; chance is 50 %."]


def fifths(line: Curve) -> list[list[float]]:
    """The values in five parts of nearly equal length; none where the steps are too few."""
    values = [value for _, value in line.points]
    if len(values) < FIFTHS * FEWEST:
        return []
    bounds = [round(at * len(values) / FIFTHS) for at in range(FIFTHS + 1)]
    return [values[low:high] for low, high in itertools.pairwise(bounds)]


def clearly_below(low: Sequence[float], high: Sequence[float]) -> bool:
    """Whether the means are apart by more than three standard errors of their difference."""
    error = math.sqrt(variance(low) / len(low) + variance(high) / len(high))
    return fmean(high) - fmean(low) > ERRORS * error
