"""Fictional annotators who judge the same thirty comparisons, for the tests of what is said of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from stages.core.agreement import Agreement, measure
from stages.core.pairing import swap
from stages.core.recipe import Agreement as Settings
from stages.core.records import Candidate, Choice, Comparison, Response


def _comparison(number: int) -> Comparison:
    a, b = (
        Candidate(
            id=f"{number}-{side}",
            consult_id=f"consult-{number}",
            text=side * length,
            checkpoint="sft",
            temperature=0.9,
            top_p=0.95,
            seed=0,
            tokens=9,
            finished=True,
        )
        for side, length in (("a", 20 + number % 3), ("b", 21))
    )
    return Comparison(
        id=f"comparison-{number:02}",
        consult_id=f"consult-{number}",
        question="지어낸 질문",
        patient_information="",
        a=a,
        b=b,
    )


COMPARISONS = [_comparison(number) for number in range(30)]
SIDES: list[Choice] = ["a", "b"]
TRUTH: list[Choice] = [*SIDES * 12, "tie", "tie", "both_bad", "a", "b", "b"]


def answers(name: str, values: Sequence[Choice], every: float = 30, repeats: int = 0, **more: Any) -> list[Response]:
    """One response to each of the first comparisons; the first `repeats` of them once more, side for side the same."""
    asked = [*zip(COMPARISONS, values, strict=False), *((swap(COMPARISONS[n]), values[n]) for n in range(repeats))]
    return [
        Response(
            comparison_id=one.id,
            annotator=name,
            value=value,
            status="submitted",
            submitted_at=datetime(2026, 5, 4, 9, tzinfo=UTC) + timedelta(seconds=every * at),
            **more,
        )
        for at, (one, value) in enumerate(asked)
    ]


def found(*responses: Sequence[Response]) -> Agreement:
    everything = [response for some in responses for response in some]
    return measure(COMPARISONS, everything, Settings(seed=42, resamples=200))


PEOPLE = (
    answers("kim", TRUTH, repeats=6),
    answers("lee", [*TRUTH[:20], "a", "a", "a", "a", *TRUTH[24:]], repeats=6),
    answers("park", ["a"] * 30, every=4, repeats=6),
)
