"""pull: what people entered arrives once, whole, and is never lost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import argilla
import pytest

from annotation.api import Api
from annotation.pull import pull
from annotation.push import push
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from stages.core.records import Response, read_jsonl
from tests.annotation.examples import WORKSPACE, comparisons, respond


def test_every_answer_arrives_with_its_annotator_value_comment_and_time(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(200, 4), tmp_path / "responses.jsonl"
    push(client, WORKSPACE, some, config)
    for one, value in zip(some, ("a", "b", "tie", "both_bad"), strict=True):
        respond(doctor, one.id, value, comment="A는 진료를 권하지 않음")
    pulled = pull(client, WORKSPACE, some, file)
    assert (pulled.submitted, pulled.appended) == (4, 4)
    responses = read_jsonl(file, Response)
    assert [response.value for response in responses] == ["a", "b", "tie", "both_bad"]
    assert {response.annotator for response in responses} == {"doctor-kim"}
    assert {response.comment for response in responses} == {"A는 진료를 권하지 않음"}
    assert all(abs(datetime.now(UTC) - response.submitted_at) < timedelta(minutes=1) for response in responses)


def test_pulling_twice_appends_nothing_and_a_changed_answer_one_line(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(210, 3), tmp_path / "responses.jsonl"
    push(client, WORKSPACE, some, config)
    for one in some:
        respond(doctor, one.id, "a")
    pull(client, WORKSPACE, some, file)
    before = file.read_text(encoding="utf-8")
    assert pull(client, WORKSPACE, some, file).appended == 0
    assert file.read_text(encoding="utf-8") == before

    respond(doctor, some[1].id, "b")
    assert pull(client, WORKSPACE, some, file).appended == 1
    after = file.read_text(encoding="utf-8")
    assert after.startswith(before)
    assert read_jsonl(file, Response)[-1].value == "b"
    assert pull(client, WORKSPACE, some, file).appended == 0


def test_drafts_and_discarded_ones_are_kept_but_not_as_submitted(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(220, 3), tmp_path / "responses.jsonl"
    push(client, WORKSPACE, some, config)
    respond(doctor, some[0].id, "a")
    respond(doctor, some[1].id, "b", status="draft")
    respond(doctor, some[2].id, None, status="discarded")
    pulled = pull(client, WORKSPACE, some, file)
    assert (pulled.submitted, pulled.draft, pulled.discarded) == (1, 1, 1)
    statuses = {response.comparison_id: (response.status, response.value) for response in read_jsonl(file, Response)}
    assert statuses[some[1].id] == ("draft", "b")
    assert statuses[some[2].id] == ("discarded", None)


def test_no_answers_yet_is_zero_and_makes_no_file(client: argilla.Argilla, config: Annotation, tmp_path: Path) -> None:
    some, file = comparisons(230, 1), tmp_path / "responses.jsonl"
    push(client, WORKSPACE, some, config)
    pulled = pull(client, WORKSPACE, some, file)
    assert (pulled.submitted, pulled.draft, pulled.discarded, pulled.appended) == (0, 0, 0, 0)
    assert not file.exists()


def test_comparisons_that_were_never_pushed_are_named_with_the_way_out(client: argilla.Argilla, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="kormed annotate push"):
        pull(client, WORKSPACE, comparisons(240, 1), tmp_path / "responses.jsonl")


def test_answers_to_older_candidates_break_nothing_and_serve_where_the_comparison_stayed(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    old, new = comparisons(250, 2), comparisons(251, 2)  # 251 stands in both
    push(client, WORKSPACE, old, config)
    for one in old:
        respond(doctor, one.id, "tie")
    push(client, WORKSPACE, new, config)
    pulled = pull(client, WORKSPACE, new, file := tmp_path / "responses.jsonl")
    assert [response.comparison_id for response in read_jsonl(file, Response)] == [old[1].id]
    assert pulled.submitted == 1
    assert pulled.unknown >= 1  # other tests' datasets in this workspace count as well
