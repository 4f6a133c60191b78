"""progress: the numbers that tell a coordinator whom to remind, and how long it will take."""

from datetime import UTC, datetime, timedelta

import argilla
import pytest

from annotation.api import Api
from annotation.embedded import Server
from annotation.people import Credential
from annotation.progress import Progress, Share, columns, pace, progress, render, round_up, spoken
from annotation.push import push
from stages.core.pairing import swap
from stages.core.recipe import Annotation
from tests.annotation.examples import comparisons, respond, round_of

LONGEST = timedelta(minutes=10)
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


def share(name: str, *, left: int = 0, minutes: tuple[float, ...] = ()) -> Share:
    moments = tuple(NINE + timedelta(minutes=minute) for minute in minutes)
    return Share(name, submitted=len(moments), draft=0, discarded=0, left=left, moments=moments)


def state(*shares: Share, conflicts: int = 0, repeats: int = 0) -> Progress:
    return Progress("some-dataset", 60, 15, 45, conflicts, repeats, 0, shares)


def test_a_comparison_is_complete_after_as_many_answers_as_the_recipe_asks_for(
    client: argilla.Argilla, config: Annotation, server: Server, people: dict[str, Credential], doctor: Api
) -> None:
    some = comparisons(3300, 3)
    push(client, round_of(some, config))
    colleague = Api(server.url, people["simulated-1"].api_key)
    for one in some[:2]:
        respond(doctor, one.id, "a")
    respond(colleague, some[0].id, "b")
    respond(colleague, some[1].id, "b", status="draft")
    respond(colleague, some[2].id, None, status="discarded")

    found = progress(client, round_of(some, config))
    assert (found.total, found.completed, found.pending, found.conflicts) == (3, 1, 2, 1)
    shares = {one.annotator: one for one in found.shares}
    assert {name: (one.submitted, one.draft, one.discarded) for name, one in shares.items()} == {
        "doctor-kim": (2, 0, 0),
        "simulated-1": (1, 1, 1),
        "simulated-2": (0, 0, 0),
    }
    assert [len(one.moments) for one in found.shares] == [2, 1, 0]
    # One answer is missing to the second, which two may give, and two to the third, which only two still may.
    assert {name: one.left for name, one in shares.items()} == {"doctor-kim": 1, "simulated-1": 1, "simulated-2": 2}


def test_progress_of_a_fresh_push_is_all_pending(client: argilla.Argilla, config: Annotation) -> None:
    some = comparisons(3310, 2)
    push(client, round_of(some, config))
    found = progress(client, round_of(some, config))
    assert (found.total, found.completed, found.pending, found.conflicts) == (2, 0, 2, 0)
    assert "no response yet: doctor-kim, simulated-1, simulated-2" in render(found, LONGEST)


def test_a_hidden_repeat_is_never_counted_as_a_comparison(
    client: argilla.Argilla, config: Annotation, doctor: Api
) -> None:
    some = comparisons(3320, 4)
    round = round_of(some, config.model_copy(update={"repeats": 0.25, "responses_per_comparison": 1}))
    push(client, round)
    (repeat,) = round.repeats
    respond(doctor, repeat, "a")
    found = progress(client, round)
    assert (found.total, found.completed, found.repeats, found.completed_repeats) == (4, 0, 1, 1)
    table = render(found, LONGEST)
    assert "4 comparisons and 1 hidden repeat in" in table
    assert "1 of 1 hidden repeats completed" in table
    assert {swap(one).id for one in some} >= {repeat}


def test_what_is_left_takes_as_long_as_ones_own_pace_says() -> None:
    """Gaps of 1, 2 and 3 minutes, and a break of an hour, which is no pace."""
    doctor = share("doctor-kim", left=45, minutes=(0, 1, 3, 6, 66))
    assert pace(doctor, LONGEST) == 120
    row = next(line for line in render(state(doctor), LONGEST).splitlines() if line.startswith("doctor-kim"))
    assert row.split() == ["doctor-kim", "5", "0", "0", "45", "120", "s", "1", "h", "30", "min"]


@pytest.mark.parametrize(
    "somebody",
    [
        share("doctor-lee", left=9),
        share("doctor-lee", left=9, minutes=(0, 1, 2)),
        share("doctor-lee", left=9, minutes=(0, 20, 40, 60, 80)),
        share("simulated-1", left=9, minutes=(0, 0.001, 0.002, 0.003, 0.004)),
    ],
    ids=["no answer", "two gaps", "only breaks", "simulated"],
)
def test_where_a_pace_means_nothing_none_is_told(somebody: Share) -> None:
    assert pace(somebody, LONGEST) is None
    row = next(line for line in render(state(somebody), LONGEST).splitlines() if line.startswith(somebody.annotator))
    assert row.split()[-3:] == ["9", "-", "-"]


def test_the_table_is_aligned_with_korean_names_too() -> None:
    lines = render(state(share("김의사", left=3), share("doctor-lee", left=12)), LONGEST).splitlines()
    table = lines[lines.index("") + 1 :][:3]
    assert len({columns(line) for line in table}) == 1
    assert table[1].startswith("김의사")


def test_conflicts_are_told_with_the_command_that_settles_them() -> None:
    assert "2 in conflict (`kormed annotate conflicts`)" in render(state(conflicts=2), LONGEST)
    assert "conflicts`" not in render(state(), LONGEST)


def test_three_thirds_of_a_response_are_one() -> None:
    assert [round_up(1 / 3 + 1 / 3 + 1 / 3), round_up(1.2), round_up(0)] == [1, 2, 0]
    assert [spoken(0), spoken(20), spoken(600), spoken(3660)] == ["0 min", "under 1 min", "10 min", "1 h 01 min"]
