"""votes: whose answer counts, what a majority is, and what is left for an adjudicator."""

from datetime import UTC, datetime, timedelta

import pytest

from stages.core.records import Choice, Response
from stages.core.votes import gaps, is_conflict, majority, newest, submitted

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


def response(value: Choice | None = "a", annotator: str = "doctor-kim", **changes: object) -> Response:
    plain = Response(
        comparison_id="comparison-1", annotator=annotator, value=value, status="submitted", submitted_at=NINE
    )
    return plain.model_copy(update=changes)


def votes(*values: Choice) -> list[Response]:
    return [response(value, f"doctor-{at}") for at, value in enumerate(values)]


def test_an_annotators_later_line_counts_whatever_the_clock_says() -> None:
    earlier = response("b", submitted_at=NINE - timedelta(days=1))
    found = newest([response("a"), earlier], ["comparison-1"])
    assert found["comparison-1"] == {"doctor-kim": earlier}


def test_rounds_are_counted_apart() -> None:
    ruling = response("b", "professor-han", round="adjudication")
    lines = [response("a"), ruling, response("tie", round="compare")]
    assert newest(lines, ["comparison-1"])["comparison-1"] == {"doctor-kim": response("a")}
    assert newest(lines, ["comparison-1"], "adjudication")["comparison-1"] == {"professor-han": ruling}


def test_comparisons_that_are_not_known_and_ones_that_nobody_answered() -> None:
    assert newest([response()], ["comparison-2"]) == {"comparison-2": {}}


def test_only_what_was_submitted_is_an_opinion_and_a_word_taken_back_is_none() -> None:
    lines = [
        response("a"),
        response("b", "doctor-lee", status="draft"),
        response("b", "doctor-park"),
        response(None, "doctor-park", status="discarded"),
    ]
    assert submitted(newest(lines, ["comparison-1"])["comparison-1"]) == [response("a")]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["a"], "a"),
        (["a", "a", "b"], "a"),
        (["tie", "tie", "b"], "tie"),
        (["a", "b"], None),
        (["a", "a", "b", "tie"], None),
        ([], None),
    ],
)
def test_more_than_half_must_say_the_same(values: list[Choice], wanted: Choice | None) -> None:
    assert majority(votes(*values)) == wanted


def test_a_conflict_has_all_its_responses_and_no_majority() -> None:
    assert is_conflict(votes("a", "b"), 2)
    assert not is_conflict(votes("a", "a"), 2)
    assert not is_conflict(votes("a", "b"), 3), "the third may decide"
    assert is_conflict(votes("a", "b"), 1), "one was enough, and a second one disagreed"
    assert not is_conflict(votes("a"), 1)
    assert not is_conflict([], 1)


def test_gaps_are_between_successive_submissions_in_whatever_order_they_come() -> None:
    moments = [NINE + timedelta(seconds=seconds) for seconds in (90, 0, 30)]
    assert gaps(moments, timedelta(minutes=10)) == [30, 60]


def test_a_break_is_no_gap() -> None:
    moments = [NINE, NINE + timedelta(minutes=10), NINE + timedelta(minutes=20, seconds=1)]
    assert gaps(moments, timedelta(minutes=10)) == [600]
    assert gaps(moments[:1], timedelta(minutes=10)) == []
