"""agreement: from comparisons and responses on disk to agreement.json and agreement.html."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from stages import agreement
from stages.core.agreement import Agreement as Found
from stages.core.errors import KormedError
from stages.core.recipe import Agreement
from stages.core.records import Candidate, Choice, Comparison, Response, append_jsonl, write_jsonl
from tests.pages import assert_asks_nothing_of_the_network, words

TEXT = "지어낸 답: 사흘 넘게 열이 나면 진료를 받으세요."
QUESTION = "지어낸 질문: 열이 사흘째 납니다."


def comparison(number: int) -> Comparison:
    def candidate(side: str) -> Candidate:
        return Candidate(
            id=f"{number}-{side}",
            consult_id=f"consult-{number}",
            text=f"{TEXT} {side}" * (2 if side == "a" else 1),
            checkpoint="sft",
            temperature=0.9,
            top_p=0.95,
            seed=0,
            tokens=9,
            finished=True,
        )

    return Comparison(
        id=f"comparison-{number}",
        consult_id=f"consult-{number}",
        question=QUESTION,
        patient_information="34세 여성",
        a=candidate("a"),
        b=candidate("b"),
    )


def says(name: str, number: int, value: Choice, **more: Any) -> Response:
    return Response(
        comparison_id=f"comparison-{number}",
        annotator=name,
        value=value,
        submitted_at=datetime(2026, 5, 4, 9, tzinfo=UTC) + timedelta(seconds=40 * number),
        **({"status": "submitted"} | more),
    )


def made(folder: Path, responses: list[Response]) -> dict[str, float]:
    (folder / "candidates").mkdir()
    (folder / "agreement").mkdir()
    write_jsonl(folder / "candidates" / "comparisons.jsonl", [comparison(number) for number in range(12)])
    append_jsonl(folder / "responses.jsonl", responses)
    return agreement.run(
        Agreement(seed=42, resamples=200),
        folder / "agreement",
        candidates=folder / "candidates",
        responses=folder / "responses.jsonl",
    )


def two_people() -> list[Response]:
    kim = [says("kim", number, "a" if number % 3 else "b") for number in range(12)]
    return [*kim, *(says("lee", number, "a" if number % 4 else "tie") for number in range(12))]


def test_numbers_come_back_and_the_json_is_the_record(tmp_path: Path) -> None:
    metrics = made(tmp_path, two_people())
    written = json.loads((tmp_path / "agreement" / "agreement.json").read_text(encoding="utf-8"))
    found = TypeAdapter(Found).validate_python(written)
    assert metrics["responses"] == found.responses == 24
    assert metrics["alpha"] == found.alpha.value
    assert metrics["undecided"] == len(found.undecided) == 6
    assert all(isinstance(value, int | float) for value in metrics.values())


def test_what_is_not_known_is_no_metric(tmp_path: Path) -> None:
    metrics = made(tmp_path, [says("kim", 0, "tie")])
    assert metrics["responses"] == 1
    assert not metrics.keys() & {"alpha", "alpha_low", "self_consistency", "share_of_a", "share_of_longer"}


def test_the_page_holds_ids_and_no_patients_text(tmp_path: Path) -> None:
    made(tmp_path, two_people())
    html = (tmp_path / "agreement" / "agreement.html").read_text(encoding="utf-8")
    assert_asks_nothing_of_the_network(html)
    assert "comparison-4" in words(html)
    assert TEXT not in html
    assert QUESTION not in html
    assert "34세" not in html


def test_the_same_responses_give_the_same_artifact(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "other"):
        (tmp_path / name / "run").mkdir(parents=True)
        made(tmp_path / name / "run", two_people())
        contents.append(
            [(tmp_path / name / "run/agreement" / f"agreement.{kind}").read_bytes() for kind in ("json", "html")]
        )
    assert contents[0] == contents[1]


def test_nothing_submitted_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match=r"responses\.jsonl: no submitted response to the 12 comparisons.*make label"):
        made(tmp_path, [says("kim", 0, "a", status="draft")])


def test_who_is_far_off_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kormed")
    made(tmp_path, [*two_people(), *(says("park", number, "a") for number in range(12))])
    assert "agreement: No annotator is shown to be far off the others." in caplog.messages
