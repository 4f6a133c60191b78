"""conflicts: comparisons that have all their responses and no majority, and what an adjudicator is told of them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from annotation.dataset import FLAGS, LABELS
from stages.core.records import Choice, Comparison, Response
from stages.core.votes import is_conflict, majority, newest, submitted


@dataclass(frozen=True)
class Conflict:
    """A comparison that annotators left undecided, with their submitted responses."""

    comparison: Comparison
    responses: tuple[Response, ...]

    @property
    def votes(self) -> dict[Choice, int]:
        counts = Counter(response.value for response in self.responses)
        return {value: counts[value] for value in get_args(Choice)}


@dataclass(frozen=True)
class Conflicts:
    """
    Attributes:
        undecided: for an adjudicator to decide.
        decided: how many an adjudicator has decided.
        resolved: how many were put before an adjudicator, who said nothing, and the annotators agree by now.
        open: how many have fewer responses than wanted and no majority so far; the next ones may decide.
    """

    undecided: tuple[Conflict, ...]
    decided: int
    resolved: int
    open: int


def find(
    comparisons: Sequence[Comparison], entered: Iterable[Response], wanted: int, before: Collection[str]
) -> Conflicts:
    """`entered`: the run's responses, rulings among them. `before`: ids of what adjudicators see already."""
    ids, entered = [comparison.id for comparison in comparisons], list(entered)
    votes, rulings = newest(entered, ids, "label"), newest(entered, ids, "adjudication")
    said = {id: submitted(by_annotator) for id, by_annotator in votes.items()}
    decided = {id for id in ids if majority(submitted(rulings[id])) is not None}
    conflicts = {id for id in ids if is_conflict(said[id], wanted)}
    return Conflicts(
        undecided=tuple(
            Conflict(comparison, tuple(said[comparison.id]))
            for comparison in comparisons
            if comparison.id in conflicts - decided
        ),
        decided=len(decided),
        resolved=sum(id in before and id not in conflicts | decided for id in ids),
        open=sum(id not in conflicts and len(said[id]) > 1 and majority(said[id]) is None for id in ids),
    )


def told(responses: Iterable[Response]) -> str:
    """What the annotators said, in Korean and without their names, for the adjudicator. Ordered by what was said."""
    return "\n".join(sorted(f"· {_told(response)}" for response in responses))


def _told(response: Response) -> str:
    assert response.value is not None  # submitted
    parts = [LABELS[response.value]]
    for side, marked in (("A", response.unsafe_a), ("B", response.unsafe_b)):
        if marked:
            parts.append(f"답변 {side}의 안전 문제: {', '.join(FLAGS[flag] for flag in marked)}")
    if comment := " ".join(response.comment.split()):
        parts.append(f"의견: {comment}")
    return " / ".join(parts)
