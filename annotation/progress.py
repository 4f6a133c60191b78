"""progress: how far a round is, in all and by annotator, and how long the rest will take."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import argilla

from annotation.connection import get, users
from annotation.dataset import pushed, records, response
from annotation.rounds import Round
from stages.core.records import Response, is_simulated
from stages.core.votes import gaps, is_conflict, submitted

FEWEST_GAPS = 3  # for a pace to mean anything
NONE = "-"
HEADER = ("annotator", "submitted", "draft", "discarded", "left", "pace", "time left")


@dataclass(frozen=True)
class Share:
    """One annotator's responses by status, hidden repeats among them.

    Attributes:
        left: of the responses that are still missing, those that fall to this annotator if all who have not answered
            a record take part alike.
        moments: when the submitted ones were submitted.
    """

    annotator: str
    submitted: int
    draft: int
    discarded: int
    left: int
    moments: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Progress:
    """`completed` comparisons have as many submitted responses as the recipe asks for; repeats are counted apart.

    `conflicts` have them too, and no majority.
    """

    dataset: str
    total: int
    completed: int
    pending: int
    conflicts: int
    repeats: int
    completed_repeats: int
    shares: tuple[Share, ...]


def progress(client: argilla.Argilla, round: Round) -> Progress:
    """Annotators of the workspace without a response stand there with zeros.

    Raises:
        KormedError: these comparisons were never pushed.
    """
    dataset = pushed(client, round)
    accounts = users(client, round.workspace)
    names = {user["id"]: user["username"] for user in accounts}
    inside = get(client, f"/workspaces/{dataset['workspace_id']}/users")["items"]
    everybody = {user["username"] for user in inside if user["role"] == "annotator"}
    done: Counter[bool] = Counter()  # by whether it is a repeat
    all_of_them: Counter[bool] = Counter()
    conflicts = 0
    left: defaultdict[str, float] = defaultdict(float)
    responses: list[Response] = []
    for item in records(client, dataset["id"], with_responses=True):
        id, is_repeat = item["external_id"], item["external_id"] not in round.originals
        here = {
            names[answer["user_id"]]: response(round.name, id, names[answer["user_id"]], answer)
            for answer in item["responses"]
            if answer["user_id"] in names
        }
        responses += here.values()
        all_of_them[is_repeat] += 1
        if item["status"] == "completed":
            done[is_repeat] += 1
        else:
            _share_out(left, here.values(), everybody, round.responses_each)
        conflicts += not is_repeat and is_conflict(submitted(here), round.responses_each)
    people = sorted(everybody | {answer.annotator for answer in responses})
    return Progress(
        dataset["name"],
        total=all_of_them[False],
        completed=done[False],
        pending=all_of_them[False] - done[False],
        conflicts=conflicts,
        repeats=all_of_them[True],
        completed_repeats=done[True],
        shares=tuple(_share(name, responses, round_up(left[name])) for name in people),
    )


def _share_out(left: dict[str, float], here: Iterable[Response], everybody: set[str], each: int) -> None:
    """Add what one incomplete record still needs to `left`, in equal parts to all who may still give it."""
    finished = {answer.annotator for answer in here if answer.status != "draft"}
    needed = each - sum(answer.status == "submitted" for answer in here)
    free = everybody - finished
    for name in free:
        left[name] += min(1.0, needed / len(free))


def round_up(count: float) -> int:
    """Thirds add up to a little more than a whole, which is no response more."""
    return -int(-(count - 1e-6) // 1)


def _share(name: str, responses: Sequence[Response], left: int) -> Share:
    own = [answer for answer in responses if answer.annotator == name]
    counts = Counter(answer.status for answer in own)
    moments = tuple(sorted(answer.submitted_at for answer in own if answer.status == "submitted"))
    return Share(name, counts["submitted"], counts["draft"], counts["discarded"], left, moments)


def pace(share: Share, longest: timedelta) -> float | None:
    """Median seconds from one submission to the next, breaks left out; None where too few say nothing.

    Simulated annotators submit many at once, which is nobody's pace.
    """
    between = [] if is_simulated(share.annotator) else gaps(share.moments, longest)
    return median(between) if len(between) >= FEWEST_GAPS else None


def render(state: Progress, longest: timedelta) -> str:
    """For a terminal. A gap over `longest` between two submissions is a break."""
    percent = 100 * state.completed / state.total if state.total else 0
    lines = [
        f"{counted(state.total, state.repeats)} in {state.dataset}",
        f"{state.completed} comparisons completed ({percent:.0f} %), {state.pending} pending, "
        f"{state.conflicts} in conflict" + (" (`kormed annotate conflicts`)" if state.conflicts else ""),
    ]
    if state.repeats:
        lines.append(f"{state.completed_repeats} of {state.repeats} hidden repeats completed")
    rows: list[tuple[str, ...]] = [HEADER]
    for share in state.shares:
        seconds = pace(share, longest)
        rows.append(
            (
                share.annotator,
                *(str(count) for count in (share.submitted, share.draft, share.discarded, share.left)),
                NONE if seconds is None else f"{seconds:.0f} s",
                NONE if seconds is None else spoken(share.left * seconds),
            )
        )
    lines += ["", *table(rows), ""]
    silent = [share.annotator for share in state.shares if not share.submitted + share.draft + share.discarded]
    if silent:
        lines.append(f"no response yet: {', '.join(silent)}")
    minutes = longest.total_seconds() / 60
    lines.append(f"pace: median time between one's own submissions, those over {minutes:g} minutes left out")
    return "\n".join(lines)


def counted(total: int, repeats: int) -> str:
    """`total` comparisons in words, and the hidden repeats beside them."""
    comparisons = f"{total} comparison{'s' * (total != 1)}"
    return f"{comparisons} and {repeats} hidden repeat{'s' * (repeats != 1)}" if repeats else comparisons


def spoken(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes == 0:
        return "under 1 min" if seconds else "0 min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned in a terminal: the first column to the left, the others to the right."""
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - columns(cell)) if at == 0 else " " * (width - columns(cell)) + cell
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def columns(text: str) -> int:
    """Of a terminal: Korean is two wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
