"""What DPO's policy makes of the pairs held out from it, from dpo's heldout.jsonl. Light: nothing here needs a model.

The implicit reward of an answer is beta times what DPO moved its log-probability from SFT's (arXiv 2305.18290, section
5.1). A pair is right where the reward of the chosen answer is the higher one; a margin of exactly 0 counts as wrong, as
in TRL.

Several pairs of one consult are no independent pairs: they share a question and its difficulty. Where consults are
fewer than pairs, interval and tests go by consult (`interval_by_consult`, `leaning`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from stages.core.errors import KormedError
from stages.core.records import Dropped, Judged, Preference, read_jsonl
from stages.core.statistics import LEVEL, Interval, PairedTest, Score, coin, paired_tests, wilson

RESAMPLES = 5_000
FEW = 40  # consults up to which a bootstrap interval comes out too short and Wilson's is the better one (winrate)


@dataclass(frozen=True)
class Quartiles:
    """Of lengths, in the unit that the holder says."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """How often the reward is higher for the chosen answer.

    Attributes:
        score: right pairs of all pairs.
        interval: 95 %; Wilson's over pairs, or by consult where consults are fewer.
        right: consults with more pairs of a margin above 0 than below, `wrong` those with more below; where each
            consult has one pair they are pairs.
        p: exact binomial test of right against wrong, two-sided. Ties are in neither, as a sign test has it: a DPO that
            moved nothing is not worse than a coin.
        ties: pairs of margin 0, which are among the wrong ones of `score`.
    """

    score: Score
    interval: Interval
    right: int
    wrong: int
    p: float
    ties: int

    @property
    def shown(self) -> bool:
        """Whether it is told from a coin, on whichever side."""
        return self.p < LEVEL


@dataclass(frozen=True)
class LogProbability:
    """The chosen or the rejected answers' log-probability (natural), before DPO and after.

    Attributes:
        change: mean over answers.
        test: of consults, in how many it rose (`gained`) and fell (`lost`); Holm's family is chosen and rejected.
        before: under SFT, mean over answers; `after`: under DPO. None: the artifact is from before these were written
            down, or its loss is length-desensitised, so that they are no log-probabilities.
        before_per_token: each answer's divided by its tokens, mean over answers; None as above.
        tokens: of an answer, the one that ends it among them; None: the artifact is from before.
    """

    change: float
    test: PairedTest
    before: float | None
    after: float | None
    before_per_token: float | None
    after_per_token: float | None
    tokens: Quartiles | None


@dataclass(frozen=True)
class PreferenceSide:
    """The held-out pairs under DPO's policy.

    Attributes:
        dropped: held-out pairs that were longer than dpo.max_length, so that nothing is known of them.
        margin: mean reward of the chosen answer less that of the rejected one.
        longer: pairs whose chosen answer has more tokens than the rejected one: how often always taking the longer
            answer would be right, equal ones counted as wrong. None: the artifact is from before tokens were counted.
    """

    pairs: int
    consults: int
    dropped: int
    accuracy: Accuracy
    margin: float
    chosen: LogProbability
    rejected: LogProbability
    longer: Score | None

    @property
    def by_consult(self) -> bool:
        """Whether interval and tests go by consult, since some consult has several pairs."""
        return self.consults < self.pairs


def read(dpo: Path, preferences: Path) -> PreferenceSide | None:
    """From the artifacts of stages dpo and preferences; None where no pair was held out, or dpo did not look at them.

    Raises:
        KormedError: a file is malformed, or the pairs are not those of `preferences`.
    """
    if not (dpo / "heldout.jsonl").exists():
        return None
    judged = read_jsonl(dpo / "heldout.jsonl", Judged)
    consult_of = {pair.id: pair.consult_id for pair in read_jsonl(preferences / "heldout.jsonl", Preference)}
    if strangers := [row.id for row in judged if row.id not in consult_of]:
        raise KormedError(
            f"{dpo / 'heldout.jsonl'}: {len(strangers)} pairs (first: {strangers[0]}) are not in "
            f"{preferences / 'heldout.jsonl'}, so they are other preferences' pairs; kormed dpo RECIPE --force"
        )
    dropped = dpo / "heldout_dropped.jsonl"
    return measure(judged, consult_of, len(read_jsonl(dropped, Dropped)) if dropped.exists() else 0)


def measure(judged: Sequence[Judged], consult_of: Mapping[str, str], dropped: int = 0) -> PreferenceSide | None:
    """`consult_of`: a pair's consult, by the pair's id. None where there is no pair."""
    if not judged:
        return None
    consults = [consult_of[row.id] for row in judged]
    changes = [[row.chosen_change for row in judged], [row.rejected_change for row in judged]]
    tests = paired_tests([_rose_and_fell(consults, side) for side in changes])
    lengths = [(row.chosen_tokens, row.rejected_tokens) for row in judged]
    known = [(chosen, rejected) for chosen, rejected in lengths if chosen is not None and rejected is not None]
    return PreferenceSide(
        pairs=len(judged),
        consults=len(set(consults)),
        dropped=dropped,
        accuracy=accuracy(consults, [row.margin for row in judged]),
        margin=fmean(row.margin for row in judged),
        chosen=_log_probability(
            judged, tests[0], lambda row: (row.chosen_before, row.chosen_change, row.chosen_tokens)
        ),
        rejected=_log_probability(
            judged, tests[1], lambda row: (row.rejected_before, row.rejected_change, row.rejected_tokens)
        ),
        longer=Score(sum(c > r for c, r in known), len(known)) if len(known) == len(judged) else None,
    )


def accuracy(consults: Sequence[str], margins: Sequence[float]) -> Accuracy:
    """Of at least one pair; `consults` says whose each is."""
    is_right = [margin > 0 for margin in margins]
    score = Score(sum(is_right), len(margins))
    right, wrong = leaning(consults, [float(np.sign(margin)) for margin in margins])
    by_consult = len(set(consults)) < len(consults)
    return Accuracy(
        score=score,
        interval=interval_by_consult(consults, is_right) if by_consult else score.interval,
        right=right,
        wrong=wrong,
        p=coin(right, right + wrong),
        ties=sum(margin == 0 for margin in margins),
    )


def leaning(consults: Sequence[str], values: Sequence[float]) -> tuple[int, int]:
    """Consults whose values have a sum above 0, and those whose have one below 0; a sum of 0 is on neither side.

    Consults are independent, so that a sign test of these two counts is valid however alike the pairs of one consult
    are. Where each has one pair it is the plain sign test.
    """
    sums = _sums(consults, values)
    return int((sums > 0).sum()), int((sums < 0).sum())


def interval_by_consult(consults: Sequence[str], is_right: Sequence[bool]) -> Interval:
    """95 % interval of the share of right pairs, by the percentile bootstrap over consults (scipy's `bootstrap`).

    It is at least as wide as Wilson's over the pairs, since pairs of a consult tell no more than independent ones
    would; of few consults at least as wide as Wilson's over the consults, as if all pairs of a consult were one. In 400
    simulated sets each of up to 3 pairs a consult that are alike (correlation 0.5), it held the true share of 0.6 in
    100, 99 and 93 % with 5, 10 and 60 consults, where Wilson's over the pairs did in 90, 86 and 86 %.
    """
    consults_right = _sums(consults, [float(one) for one in is_right])
    of = _sums(consults, [1.0] * len(consults))
    count, share = len(of), sum(is_right) / len(is_right)
    bounds = [wilson(sum(is_right), len(is_right))]
    if count <= FEW:
        bounds += [wilson(int(np.floor(share * count)), count), wilson(int(np.ceil(share * count)), count)]
    if len(set(zip(consults_right, of, strict=True))) > 1:  # else every resample is the same
        found = bootstrap(
            (consults_right, of),
            lambda right, of, axis: right.sum(axis=axis) / of.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        bounds.append(Interval(float(found.low), float(found.high)))
    return Interval(min(one.low for one in bounds), max(one.high for one in bounds))


def quartiles(lengths: Iterable[int]) -> Quartiles:
    low, median, high = np.quantile(list(lengths), (0.25, 0.5, 0.75))
    return Quartiles(float(low), float(median), float(high))


def _sums(consults: Sequence[str], values: Sequence[float]) -> NDArray[np.float64]:
    """Of the values of each consult."""
    _, places = np.unique(consults, return_inverse=True)
    return np.bincount(places, weights=values).astype(np.float64)


def _rose_and_fell(consults: Sequence[str], changes: Sequence[float]) -> tuple[int, int, int]:
    """Consults, and how many of them have log-probabilities that rose and fell."""
    rose, fell = leaning(consults, changes)
    return len(set(consults)), rose, fell


def _log_probability(
    judged: Sequence[Judged],
    test: PairedTest,
    side: Callable[[Judged], tuple[float | None, float, int | None]],
) -> LogProbability:
    """`side`: before, change and tokens of a pair's chosen or rejected answer."""
    rows = [side(row) for row in judged]
    tokens = [count for _, _, count in rows if count is not None]
    known = [(before, change, count) for before, change, count in rows if before is not None and count is not None]
    whole = len(known) == len(rows)
    return LogProbability(
        change=fmean(change for _, change, _ in rows),
        test=test,
        before=fmean(before for before, _, _ in known) if whole else None,
        after=fmean(before + change for before, change, _ in known) if whole else None,
        before_per_token=fmean(before / count for before, _, count in known) if whole else None,
        after_per_token=fmean((before + change) / count for before, change, count in known) if whole else None,
        tokens=quartiles(tokens) if len(tokens) == len(rows) else None,
    )
