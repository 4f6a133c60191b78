"""push: whatever happens on the way, every comparison stands in Argilla exactly once."""

import time

import argilla
import pytest

from annotation import push as push_module
from annotation.api import Api
from annotation.dataset import dataset_name, records
from annotation.progress import progress
from annotation.push import push
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparison, comparisons, respond


def ids_on_server(client: argilla.Argilla, name: str) -> list[str]:
    dataset = client.datasets(name=name, workspace=WORKSPACE)
    return sorted(item["external_id"] for item in records(client, str(dataset.id), with_responses=False))


def test_pushing_twice_adds_nothing_twice(client: argilla.Argilla, config: Annotation) -> None:
    some = comparisons(100, 5)
    first, second = push(client, WORKSPACE, some, config), push(client, WORKSPACE, some, config)
    assert (first.total, first.new) == (5, 5)
    assert (second.dataset, second.total, second.new) == (first.dataset, 5, 0)
    assert ids_on_server(client, first.dataset) == [one.id for one in some]


def test_a_push_killed_between_two_batches_and_repeated_gives_the_same_set(
    client: argilla.Argilla, config: Annotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = comparisons(110, 7)
    send, sent = client.api.records.bulk_upsert, []

    def killed_at_the_second(**request: object) -> object:
        sent.append(request)
        if len(sent) == 2:
            raise KeyboardInterrupt
        return send(**request)

    with monkeypatch.context() as patch:
        patch.setattr(push_module, "BATCH", 3)
        patch.setattr(client.api.records, "bulk_upsert", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            push(client, WORKSPACE, some, config)
    assert len(ids_on_server(client, dataset_name(WORKSPACE, some))) == 3
    assert push(client, WORKSPACE, some, config).new == 4
    assert ids_on_server(client, dataset_name(WORKSPACE, some)) == [one.id for one in some]


def test_a_push_killed_before_the_dataset_was_published_starts_it_anew(
    client: argilla.Argilla, config: Annotation, owner: Api
) -> None:
    some = comparisons(120, 2)
    workspace = next(item for item in owner.get("/me/workspaces")["items"] if item["name"] == WORKSPACE)
    owner.post("/datasets", {"name": dataset_name(WORKSPACE, some), "workspace_id": workspace["id"]})
    assert push(client, WORKSPACE, some, config).new == 2


def test_new_candidates_make_a_new_dataset_and_leave_the_old_one(client: argilla.Argilla, config: Annotation) -> None:
    old, new = comparisons(130, 2), comparisons(131, 2)
    first, second = push(client, WORKSPACE, old, config), push(client, WORKSPACE, new, config)
    assert first.dataset != second.dataset
    assert ids_on_server(client, first.dataset) == [one.id for one in old]


def test_annotators_see_the_texts_in_korean_and_never_where_they_came_from(
    client: argilla.Argilla, config: Annotation, owner: Api, doctor: Api
) -> None:
    pushed = push(client, WORKSPACE, [comparison(140)], config)
    dataset = next(item for item in doctor.get("/me/datasets")["items"] if item["name"] == pushed.dataset)
    fields = doctor.get(f"/datasets/{dataset['id']}/fields")["items"]
    assert [field["title"] for field in fields] == ["환자 정보", "질문", "답변 A", "답변 B"]
    questions = doctor.get(f"/datasets/{dataset['id']}/questions")["items"]
    assert [option["text"] for option in questions[0]["settings"]["options"]] == [
        "A가 더 낫다",
        "B가 더 낫다",
        "비슷하다",
        "둘 다 부적절하다",
    ]
    assert (questions[0]["required"], questions[1]["required"]) == (True, False)
    assert "안전성" in dataset["guidelines"]

    path = f"/me/datasets/{dataset['id']}/records/search?include=suggestions"
    seen, whole = (api.post(path, {})["items"][0]["record"] for api in (doctor, owner))
    assert seen["metadata"] in ({}, None)
    assert seen["suggestions"] == []
    assert "sft" not in str(seen) and "candidate-" not in str(seen)
    assert whole["metadata"]["checkpoint_a"] == "sft" and whole["metadata"]["candidate_b"] == "candidate-0140-b"
    assert doctor.get(f"/me/datasets/{dataset['id']}/metadata-properties")["items"] == []


def test_another_number_of_responses_in_the_recipe_reaches_records_that_were_answered_before(
    client: argilla.Argilla, config: Annotation, doctor: Api
) -> None:
    some = comparisons(150, 2)
    push(client, WORKSPACE, some, config)
    respond(doctor, some[0].id, "a")
    assert progress(client, WORKSPACE, some).completed == 0
    push(client, WORKSPACE, some, config.model_copy(update={"responses_per_comparison": 1}))
    deadline = time.monotonic() + 10  # a job of the server, beside the request
    while progress(client, WORKSPACE, some).completed == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert progress(client, WORKSPACE, some).completed == 1


def test_no_comparisons_is_an_error_and_makes_no_dataset(client: argilla.Argilla, config: Annotation) -> None:
    with pytest.raises(KormedError, match="no comparisons"):
        push(client, WORKSPACE, [], config)


def test_a_patient_without_information_can_be_pushed(client: argilla.Argilla, config: Annotation) -> None:
    nothing_known = comparison(160).model_copy(update={"patient_information": ""})
    assert push(client, WORKSPACE, [nothing_known], config).new == 1
