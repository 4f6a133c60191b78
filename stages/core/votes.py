"""What the responses to a comparison come to: each annotator's newest one, and what a strict majority of them says."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from stages.core.records import Choice, Response, RoundName

Votes = dict[str, dict[str, Response]]  # by comparison id, then annotator: each one's newest response, of any status


def newest(responses: Iterable[Response], known: Collection[str], round: RoundName = "label") -> Votes:
    """The newest response of each annotator to each known comparison in one round; later lines win.

    Repeats have ids of their own (`pairing.swap`), so they are in it only if their ids are among the known.
    """
    votes: Votes = {id: {} for id in known}
    for response in responses:
        if response.round == round and response.comparison_id in votes:
            votes[response.comparison_id][response.annotator] = response
    return votes


def submitted(by_annotator: dict[str, Response]) -> list[Response]:
    """The responses that count as an opinion, by annotator's name."""
    return [r for _, r in sorted(by_annotator.items()) if r.status == "submitted" and r.value is not None]


def majority(responses: Iterable[Response]) -> Choice | None:
    """What more than half of the responses say; None where nothing has so many."""
    counts = Counter(response.value for response in responses if response.value is not None)
    if not counts:
        return None
    value, count = counts.most_common(1)[0]
    return value if count * 2 > counts.total() else None


def is_conflict(responses: list[Response], wanted: int) -> bool:
    """Whether as many as `wanted` responses, and at least two, came to no majority: what an adjudicator decides."""
    return len(responses) >= max(2, wanted) and majority(responses) is None


def gaps(moments: Sequence[datetime], longest: timedelta) -> list[float]:
    """Seconds between one annotator's successive submissions; those longer than `longest` are breaks, and left out."""
    ordered = sorted(moments)
    between = [later - earlier for earlier, later in pairwise(ordered)]
    return [gap.total_seconds() for gap in between if gap <= longest]
