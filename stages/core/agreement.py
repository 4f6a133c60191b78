"""How far annotators agree, with each other and with themselves, and what else moves their choice. Pure functions.

Comparisons and responses of the labelling round in, an `Agreement` out. Repeats (comparisons shown once more with their
sides swapped) tell self-consistency; everything else counts each annotator's answer to a comparison once.

An annotator is named to the analyst, and never dropped, where
  - the answers are less often those of the majority of the other annotators than the others' answers are of theirs, or
  - fewer of their own repeats were answered the same, or
  - A was chosen more often or more seldom than by the others, and not as by a coin either (exact binomial test against
    1/2, p < 0.05: somebody who is far off would else make the others look so),
    each by Fisher's exact test against the others pooled, two-sided, p < 0.05 after Holm's correction over the
    annotators; or
  - the median time between two submissions is under a third of the others', with at least ten such times on both sides.
    Simulated annotators submit in bulk, so their pace says nothing and is not judged.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, combinations
from statistics import median
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from stages.core.pairing import swap
from stages.core.recipe import Agreement as Settings
from stages.core.records import Choice, Comparison, Flag, Response, is_simulated
from stages.core.statistics import LEVEL, cohens_h, coin, fisher, holm, wilson
from stages.core.votes import Votes, gaps, is_conflict, majority, newest, submitted

VALUES: tuple[Choice, ...] = get_args(Choice)
SIDES = ("a", "b")
SWAPPED: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}
FEWEST_GAPS = 10  # for a pace to be judged
HURRIED = 1 / 3  # of the others' median

About = Literal["majority", "consistency", "side"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A count of some, Wilson's 95 % interval (0-1), and the exact binomial test against 1/2 where that is asked.

    `low` and `high` are None where there is nothing to count, `p` also where 1/2 means nothing.
    """

    count: int
    of: int
    low: float | None
    high: float | None
    p: float | None = None

    @property
    def value(self) -> float | None:
        """Within 0-1."""
        return self.count / self.of if self.of else None

    @property
    def shown(self) -> bool:
        """Whether it was shown to differ from 1/2."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class Lean:
    """What all annotators together lean to. Responses to one comparison are not independent of each other, so the test
    and its interval are over comparisons: in how many of those with more votes for one answer it was the one leant to.
    """

    chosen: int
    decided: int  # responses that chose an answer
    comparisons: Share

    @property
    def value(self) -> float | None:
        return self.chosen / self.decided if self.decided else None


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha over comparisons with at least two responses, its bootstrap interval, and its parts.

    Attributes:
        value: None where nothing was judged twice, or all responses are the same value.
        low: None where resampling says nothing: under two comparisons, no disagreement at all, or too many resamples
            with one value only (`one_valued`), for which alpha is not defined.
        same: share of pairs of responses to one comparison that gave the same value.
        by_chance: what that share would be if values were dealt out at random.
    """

    value: float | None
    low: float | None
    high: float | None
    comparisons: int
    responses: int
    same: float | None
    by_chance: float | None
    one_valued: int


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two annotators on the comparisons that both judged. None: not defined there."""

    one: str
    other: str
    comparisons: int
    value: float | None


@dataclass(frozen=True)
class Repeats:
    """Comparisons answered again with sides swapped. Of answers that differ, some kept the side and not the text."""

    same: Share
    always_a: int
    always_b: int
    p: float  # exact binomial test of always_a against always_b


@dataclass(frozen=True)
class Length:
    """Whether the longer answer, in characters, is chosen. `equal` responses chose between equally long ones."""

    longer: Lean
    equal: int
    h: float | None  # Cohen's h of the share of responses against 1/2
    median_difference: float | None  # characters, chosen minus other


@dataclass(frozen=True)
class Pace:
    """Seconds between an annotator's own successive submissions; `breaks` are longer gaps, which are left out."""

    gaps: int
    breaks: int
    percentiles: tuple[float, float, float, float, float] | None  # 5, 25, 50, 75, 95; None: no gaps

    @property
    def median(self) -> float | None:
        return self.percentiles[2] if self.percentiles else None


@dataclass(frozen=True)
class Annotator:
    """One annotator's numbers. `with_majority` is over comparisons where the other annotators have a majority."""

    name: str
    responses: int
    values: dict[Choice, int]
    with_majority: Share
    repeats: Repeats
    side_a: Share
    longer: Share
    pace: Pace | None  # None: simulated
    flagged: int  # comparisons of which an answer was marked unsafe

    @property
    def is_simulated(self) -> bool:
        return is_simulated(self.name)


class Flagged(NamedTuple):
    """A person's mark of an answer as unsafe; the side is that of the comparison, wherever a repeat showed it."""

    comparison_id: str
    side: str
    reason: Flag
    person: str


@dataclass(frozen=True)
class Flags:
    """Answers that were marked unsafe by annotators and adjudicators, each mark of a person counted once."""

    comparisons: int
    by_several: int  # comparisons of which the same answer was marked by at least two people
    reasons: dict[Flag, int]
    sides: dict[str, int]  # marks of A and of B as drawn in the comparison
    people: dict[str, int]  # marks by name


@dataclass(frozen=True)
class Remark:
    """An annotator whose share differs from the others', and the p-value after Holm's correction."""

    annotator: str
    about: About
    own: Share
    others: Share
    p: float


@dataclass(frozen=True)
class Hurry:
    """An annotator whose median time between submissions is under a third of the others'. Seconds."""

    annotator: str
    median: float
    gaps: int
    others_median: float
    others_gaps: int


@dataclass(frozen=True)
class Fell:
    """How many comparisons got `of` responses, `same` of them for their most frequent value."""

    same: int
    of: int
    comparisons: int


@dataclass(frozen=True)
class Undecided:
    """A comparison that its annotators left without a majority, and what an adjudicator said, if one did."""

    comparison_id: str
    values: dict[Choice, int]
    adjudicated: Choice | None


@dataclass(frozen=True)
class Agreement:
    """agreement.json."""

    comparisons: int
    judged: int  # comparisons with at least one response
    responses: int
    repeated: int  # responses to repeats, besides
    alpha: Alpha
    kappas: tuple[Kappa, ...]
    repeats: Repeats
    side_a: Lean
    length: Length
    pattern: tuple[Fell, ...]
    undecided: tuple[Undecided, ...]
    flags: Flags
    annotators: tuple[Annotator, ...]
    remarks: tuple[Remark, ...]
    hurries: tuple[Hurry, ...]
    resamples: int
    longest_gap_minutes: float

    @property
    def far_off(self) -> frozenset[str]:
        """Who is named for anything."""
        return frozenset(remark.annotator for remark in self.remarks) | {hurry.annotator for hurry in self.hurries}


def measure(comparisons: Sequence[Comparison], responses: Sequence[Response], config: Settings) -> Agreement:
    """Everything that agreement.html shows. There may be no response at all."""
    by_id = {comparison.id: comparison for comparison in comparisons}
    repeat_of = {swap(one).id: one.id for one in comparisons if one.a.text != one.b.text}
    votes = _submitted(newest(responses, by_id))
    again = _submitted(newest(responses, repeat_of))
    decisions = _submitted(newest(responses, by_id, "adjudication"))
    names = sorted({response.annotator for found in votes.values() for response in found})
    own = {name: [r for found in votes.values() for r in found if r.annotator == name] for name in names}
    repeated = {name: _repeated(name, votes, again, repeat_of) for name in names}
    paces = {name: _gaps(own[name], again, name, config) for name in names if not is_simulated(name)}
    flags = _flags(chain(*votes.values(), *decisions.values()), chain(*again.values()), repeat_of)
    annotators = tuple(
        Annotator(
            name=name,
            responses=len(own[name]),
            values=_count(own[name]),
            with_majority=_with_majority(name, votes),
            repeats=repeats(repeated[name]),
            side_a=share(*_chosen(own[name], lambda response: response.value == "a"), against_half=True),
            longer=share(*_chosen(*_by_length(own[name], by_id)), against_half=True),
            pace=pace(*paces[name]) if name in paces else None,
            flagged=len({mark.comparison_id for mark in flags if mark.person == name}),
        )
        for name in names
    )
    return Agreement(
        comparisons=len(comparisons),
        judged=sum(bool(found) for found in votes.values()),
        responses=sum(map(len, own.values())),
        repeated=sum(len(found) for found in again.values()),
        alpha=alpha(counts(votes), config.resamples, config.seed),
        kappas=tuple(kappa(one, other, own[one], own[other]) for one, other in combinations(names, 2)),
        repeats=repeats([pair for pairs in repeated.values() for pair in pairs]),
        side_a=lean(votes, lambda response: response.value == "a"),
        length=length(votes, by_id),
        pattern=pattern(votes),
        undecided=tuple(
            Undecided(id, _count(found), majority(decisions[id]))
            for id, found in votes.items()
            if is_conflict(found, 2)
        ),
        flags=count_flags(flags),
        annotators=annotators,
        remarks=remarks(annotators),
        hurries=hurries({name: seconds for name, (seconds, _) in paces.items()}),
        resamples=config.resamples,
        longest_gap_minutes=config.longest_gap_minutes,
    )


def share(count: int, of: int, *, against_half: bool = False) -> Share:
    if not of:
        return Share(count, of, None, None)
    interval = wilson(count, of)
    return Share(count, of, interval.low, interval.high, coin(count, of) if against_half else None)


def counts(votes: Mapping[str, Sequence[Response]]) -> NDArray[np.int64]:
    """How often each value was given, comparisons x VALUES; only comparisons with at least two responses."""
    rows = [[row[value] for value in VALUES] for found in votes.values() if len(found) > 1 for row in [_count(found)]]
    return np.array(rows, dtype=np.int64).reshape(-1, len(VALUES))


def alpha(table: NDArray[np.int64], resamples: int, seed: int) -> Alpha:
    """Krippendorff's alpha for nominal data, any number of observers, missing values, from a table of units x values.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: of the n values given in units with at
    least two of them, alpha = 1 - (n - 1) * sum over units and values of n_uc (n_u - n_uc) / (n_u - 1), divided by the
    sum over values of n_c (n - n_c).

    The interval is the 2.5th and 97.5th percentile over resampled units. Units with the same counts are
    interchangeable, so a resample is one multinomial draw over the different rows of the table. From few units it is
    too short: of 600 simulated sets of three observers (for each of a true alpha of 0.08, 0.33 and 0.79) it held the
    true alpha in 68-88 % at 5 units, 80-97 % at 10, 89-95 % at 20 and 93-95 % at 40.

    No library: `krippendorff` is GPL-3, which this package is not; irrCAC wants one old version of scipy; nltk's is
    right, and a test holds this one to it, but one alpha of 10,000 units by 3 observers takes it 80 ms, and this
    function 12 ms for 2,000 resamples of them (2 cores).
    """
    rows, often = np.unique(table, axis=0, return_counts=True)
    units, responses = len(table), int(table.sum())
    if not units:
        return Alpha(None, None, None, 0, 0, None, None, 0)
    value = float(alphas(rows, often[np.newaxis])[0])
    pairs = (table.sum(axis=1) * (table.sum(axis=1) - 1)).sum()
    same = float((table * (table - 1)).sum() / pairs)
    totals = table.sum(axis=0)
    by_chance = float((totals * (totals - 1)).sum() / (responses * (responses - 1)))
    drawn = alphas(rows, np.random.default_rng(seed).multinomial(units, often / units, size=resamples))
    defined = drawn[~np.isnan(drawn)]
    one_valued = resamples - len(defined)
    says_nothing = units < 2 or same == 1 or one_valued > resamples * LEVEL / 2  # then an end might be undefined
    low, high = (None, None) if says_nothing else map(float, np.quantile(defined, (LEVEL / 2, 1 - LEVEL / 2)))
    return Alpha(None if np.isnan(value) else value, low, high, units, responses, same, by_chance, one_valued)


def alphas(rows: NDArray[np.int64], often: NDArray[np.int64]) -> Floats:
    """Alpha for each line of `often`: how many units have the counts of each row. NaN where there is one value only."""
    responses = rows.sum(axis=1)
    disagreement = (rows * (responses[:, np.newaxis] - rows)).sum(axis=1) / (responses - 1)
    totals = often @ rows
    given = totals.sum(axis=1)
    expected = given**2 - (totals**2).sum(axis=1)
    found: Floats = np.full(len(often), np.nan)
    np.divide((given - 1) * (often @ disagreement), expected, out=found, where=expected > 0)
    return 1 - found


def kappa(one: str, other: str, ones: Sequence[Response], others: Sequence[Response]) -> Kappa:
    """Cohen's kappa (1960), not defined where nothing is shared or both gave one and the same value throughout."""
    first, second = ({response.comparison_id: str(response.value) for response in own} for own in (ones, others))
    shared = sorted(first.keys() & second.keys())
    pair = [first[id] for id in shared], [second[id] for id in shared]
    if len({*pair[0], *pair[1]}) < 2:
        return Kappa(one, other, len(shared), None)
    return Kappa(one, other, len(shared), float(cohen_kappa_score(*pair)))


def repeats(pairs: Sequence[tuple[Choice, Choice]]) -> Repeats:
    """Of answers to a comparison and to its swapped repeat, each as it was given: A twice kept the side, not the text.

    Answers that changed in another way, such as from a side to a tie, differ too and favour no side.
    """
    same = sum(first == SWAPPED[second] for first, second in pairs)
    always_a, always_b = pairs.count(("a", "a")), pairs.count(("b", "b"))
    return Repeats(share(same, len(pairs)), always_a, always_b, coin(always_a, always_a + always_b))


def lean(votes: Mapping[str, Sequence[Response]], leans: Callable[[Response], bool]) -> Lean:
    """How often decided responses chose the answer that `leans` tells, and the comparisons with more votes for it."""
    by_comparison = [_chosen(found, leans) for found in votes.values()]
    ahead = sum(2 * chosen > decided for chosen, decided in by_comparison)
    behind = sum(2 * chosen < decided for chosen, decided in by_comparison)
    return Lean(
        sum(chosen for chosen, _ in by_comparison),
        sum(decided for _, decided in by_comparison),
        share(ahead, ahead + behind, against_half=True),
    )


def length(votes: Mapping[str, Sequence[Response]], comparisons: Mapping[str, Comparison]) -> Length:
    everything = [response for found in votes.values() for response in found]
    unequal, is_longer = _by_length(everything, comparisons)
    kept = {id: [r for r in found if longer_by(r, comparisons) != 0] for id, found in votes.items()}
    longer = lean(kept, is_longer)
    decided = [more for response in everything if (more := longer_by(response, comparisons)) is not None]
    return Length(
        longer,
        len(everything) - len(unequal),
        None if longer.value is None else cohens_h(longer.value, 0.5),
        float(median(decided)) if decided else None,
    )


def longer_by(response: Response, comparisons: Mapping[str, Comparison]) -> int | None:
    """Characters by which the chosen answer is longer than the other, blanks around it aside; None: none was chosen."""
    if response.value not in SIDES:
        return None
    comparison = comparisons[response.comparison_id]
    more = len(comparison.a.text.strip()) - len(comparison.b.text.strip())
    return more if response.value == "a" else -more


def pattern(votes: Mapping[str, Sequence[Response]]) -> tuple[Fell, ...]:
    """Comparisons by how many of their responses gave the most frequent value, the most responses first."""
    found = Counter((len(given), max(_count(given).values())) for given in votes.values() if given)
    return tuple(Fell(same, of, found[of, same]) for of, same in sorted(found, reverse=True))


def pace(seconds: Sequence[float], breaks: int) -> Pace:
    if not seconds:
        return Pace(0, breaks, None)
    p5, p25, p50, p75, p95 = map(float, np.percentile(seconds, (5, 25, 50, 75, 95)))
    return Pace(len(seconds), breaks, (p5, p25, p50, p75, p95))


def remarks(annotators: Sequence[Annotator]) -> tuple[Remark, ...]:
    """Annotators whose shares are far from the others', by the rule that stands at the top."""
    asked: dict[About, dict[str, Share]] = {
        "majority": {one.name: one.with_majority for one in annotators},
        "consistency": {one.name: one.repeats.same for one in annotators},
        "side": {one.name: one.side_a for one in annotators},
    }
    return tuple(remark for about, shares in asked.items() for remark in _far_off(about, shares))


def _far_off(about: About, shares: Mapping[str, Share]) -> list[Remark]:
    total = share(sum(own.count for own in shares.values()), sum(own.of for own in shares.values()))
    rest = {name: share(total.count - own.count, total.of - own.of) for name, own in shares.items()}
    tested = [name for name, own in shares.items() if own.of and rest[name].of]
    p_values = holm([fisher(*((one.count, one.of) for one in (shares[name], rest[name]))) for name in tested])
    return [
        Remark(name, about, shares[name], rest[name], p)
        for name, p in zip(tested, p_values, strict=True)
        if p < LEVEL and _is_worse(about, shares[name], rest[name])
    ]


def _is_worse(about: About, own: Share, others: Share) -> bool:
    return own.shown if about == "side" else own.count * others.of < others.count * own.of


def hurries(seconds: Mapping[str, Sequence[float]]) -> tuple[Hurry, ...]:
    """Annotators who are far quicker than the others, by the rule that stands at the top."""
    found = []
    for name, own in seconds.items():
        others = [gap for other, theirs in seconds.items() if other != name for gap in theirs]
        if min(len(own), len(others)) >= FEWEST_GAPS and median(own) < HURRIED * median(others):
            found.append(Hurry(name, median(own), len(own), median(others), len(others)))
    return tuple(found)


def count_flags(marks: frozenset[Flagged]) -> Flags:
    people = Counter((id, side) for id, side, _ in {(mark.comparison_id, mark.side, mark.person) for mark in marks})
    reasons = Counter(mark.reason for mark in marks)
    return Flags(
        comparisons=len({mark.comparison_id for mark in marks}),
        by_several=len({id for (id, _), count in people.items() if count > 1}),
        reasons={reason: reasons[reason] for reason in get_args(Flag) if reasons[reason]},
        sides={side: sum(mark.side == side for mark in marks) for side in SIDES},
        people=dict(sorted(Counter(mark.person for mark in marks).items())),
    )


def _flags(given: Iterable[Response], again: Iterable[Response], repeat_of: Mapping[str, str]) -> frozenset[Flagged]:
    """Every mark once, whether it was given at the first sight or at the repeat: what is B there is A here."""
    first = [(response.comparison_id, response, response.unsafe_a, response.unsafe_b) for response in given]
    second = [(repeat_of[response.comparison_id], response, response.unsafe_b, response.unsafe_a) for response in again]
    return frozenset(
        Flagged(id, side, reason, response.annotator)
        for id, response, of_a, of_b in (*first, *second)
        for side, reasons in zip(SIDES, (of_a, of_b), strict=True)
        for reason in reasons
    )


def _submitted(votes: Votes) -> dict[str, list[Response]]:
    return {id: submitted(by_annotator) for id, by_annotator in votes.items()}


def _count(responses: Sequence[Response]) -> dict[Choice, int]:
    return {value: sum(response.value == value for response in responses) for value in VALUES}


def _chosen(responses: Sequence[Response], leans: Callable[[Response], bool]) -> tuple[int, int]:
    """Of the responses that chose an answer, how many chose the one that `leans` tells."""
    decided = [response for response in responses if response.value in SIDES]
    return sum(map(leans, decided)), len(decided)


def _by_length(
    responses: Sequence[Response], comparisons: Mapping[str, Comparison]
) -> tuple[list[Response], Callable[[Response], bool]]:
    """The responses without those that chose between equally long answers, and whether one chose the longer."""
    unequal = [response for response in responses if longer_by(response, comparisons) != 0]
    return unequal, lambda response: (longer_by(response, comparisons) or 0) > 0


def _with_majority(name: str, votes: Mapping[str, Sequence[Response]]) -> Share:
    """How often an annotator said what the majority of the other annotators of the comparison said."""
    pairs = [
        (own.value, said)
        for found in votes.values()
        for own in found
        if own.annotator == name and (said := majority(r for r in found if r.annotator != name)) is not None
    ]
    return share(sum(value == said for value, said in pairs), len(pairs))


def _repeated(
    name: str,
    votes: Mapping[str, Sequence[Response]],
    again: Mapping[str, Sequence[Response]],
    repeat_of: Mapping[str, str],
) -> list[tuple[Choice, Choice]]:
    """An annotator's answers to a comparison and to its repeat, where both were given."""
    return [
        (first.value, second.value)
        for id, seconds in again.items()
        for second in seconds
        for first in votes[repeat_of[id]]
        if first.annotator == second.annotator == name and first.value is not None and second.value is not None
    ]


def _gaps(
    own: Sequence[Response], again: Mapping[str, Sequence[Response]], name: str, config: Settings
) -> tuple[list[float], int]:
    """Seconds between successive submissions, repeats among them, and how many longer ones were left out."""
    theirs = [*own, *(response for found in again.values() for response in found if response.annotator == name)]
    moments = sorted(response.submitted_at for response in theirs)
    kept = gaps(moments, timedelta(minutes=config.longest_gap_minutes))
    return kept, max(0, len(moments) - 1 - len(kept))
