"""What a training's curves show: only what is beyond the steps' own scatter is called a change."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from stages.core.plots import Curve, curve

FIFTHS = 5
FEWEST = 4  # steps in a fifth, fewer show no trend
ERRORS = 3.0  # standard errors that two fifths' means must be apart; our choice, as several are looked at

Rows = Sequence[dict[str, object]]  # of a training log


@dataclass(frozen=True)
class LossRises:
    """Mean loss of the last fifth of the steps, clearly above that of the lowest fifth."""

    last: float
    lowest: float


@dataclass(frozen=True)
class LossNeverFell:
    """The last fifth of the steps has no clearly lower loss than the first."""


@dataclass(frozen=True)
class ChosenFell:
    """Mean reward of the chosen answers in the last fifth of the steps, clearly below 0: less likely than under SFT."""

    reward: float


@dataclass(frozen=True)
class NoneHeldOut:
    """No preference was held out."""


@dataclass(frozen=True)
class NotLookedAt:
    """Preferences were held out, and the training never looked at them."""


@dataclass(frozen=True)
class PolicyAgrees:
    """Share (0-1) of `of` held-out preferences that the policy agrees with at the last look."""

    last: float
    of: int


@dataclass(frozen=True)
class HeldOutStayed:
    """The margins grow, and at the last look the policy agrees with no larger share (0-1) of the `of` held-out
    preferences than at the first.
    """

    first: float
    last: float
    of: int


@dataclass(frozen=True)
class HeldOutAtChance:
    """The margins grow, and the policy agrees with no more than half of the `of` held-out preferences."""

    last: float
    of: int


Remark = (
    LossRises | LossNeverFell | ChosenFell | NoneHeldOut | NotLookedAt | PolicyAgrees | HeldOutStayed | HeldOutAtChance
)


def loss_remarks(logged: Rows) -> list[Remark]:
    """Of SFT and DPO: a loss that rises at the end, or one that never fell."""
    parts = fifths(curve(logged, "loss"))
    if not parts:
        return []
    lowest = min(parts[:-1], key=fmean)
    if clearly_below(lowest, parts[-1]):
        return [LossRises(fmean(parts[-1]), fmean(lowest))]
    return [] if clearly_below(parts[-1], parts[0]) else [LossNeverFell()]


def dpo_remarks(logged: Rows, held_out: int) -> list[Remark]:
    """`held_out`: preferences kept to look at."""
    return [*loss_remarks(logged), *chosen_remarks(logged), heldout_remark(logged, held_out)]


def chosen_remarks(logged: Rows) -> list[Remark]:
    """Goes by the reward, which is beta times the move since SFT: other steps have other pairs, of other lengths."""
    parts = fifths(curve(logged, "rewards/chosen"))
    if not parts or not clearly_below(parts[-1], [0.0] * len(parts[-1])):
        return []
    return [ChosenFell(fmean(parts[-1]))]


def heldout_remark(logged: Rows, held_out: int) -> Remark:
    if not held_out:
        return NoneHeldOut()
    looks = curve(logged, "eval_rewards/accuracies")
    if not looks.points:
        return NotLookedAt()
    parts = fifths(curve(logged, "rewards/margins"))
    grew = bool(parts) and clearly_below(parts[0], parts[-1])
    if grew and len(looks.points) > 1 and looks.last <= looks.first:
        return HeldOutStayed(looks.first, looks.last, held_out)
    if grew and looks.last <= 0.5:
        return HeldOutAtChance(looks.last, held_out)
    return PolicyAgrees(looks.last, held_out)


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
