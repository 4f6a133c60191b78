"""Fictional comparisons and what people say of them, for the tests of what is made of both."""

from datetime import UTC, datetime
from typing import Literal

from stages.core.records import Candidate, Choice, Comparison, Flag, Response, RoundName

Status = Literal["submitted", "draft", "discarded"]


def comparison(id: str, consult_id: str | None = None) -> Comparison:
    def candidate(side: str) -> Candidate:
        return Candidate(
            id=f"{id}-{side}",
            consult_id=consult_id or f"consult-{id}",
            text=f"{id}의 {side} 답",
            checkpoint="sft",
            temperature=0.9,
            top_p=0.95,
            seed=0,
            tokens=9,
            finished=True,
        )

    return Comparison(
        id=id,
        consult_id=consult_id or f"consult-{id}",
        question=f"{id} 물음",
        patient_information=f"{id} 환자",
        a=candidate("a"),
        b=candidate("b"),
    )


def says(
    annotator: str,
    value: Choice | None,
    id: str = "c1",
    *,
    status: Status = "submitted",
    round: RoundName = "label",
    unsafe_a: tuple[Flag, ...] = (),
    unsafe_b: tuple[Flag, ...] = (),
) -> Response:
    return Response(
        comparison_id=id,
        annotator=annotator,
        value=value,
        status=status,
        submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
        round=round,
        unsafe_a=unsafe_a,
        unsafe_b=unsafe_b,
    )


def rules(value: Choice | None, id: str = "c1", *, name: str = "dr-choi", status: Status = "submitted") -> Response:
    """What an adjudicator decides."""
    return says(name, value, id, status=status, round="adjudication")
