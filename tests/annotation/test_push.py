"""push: whatever happens on the way, every comparison stands in Argilla exactly once."""

import time
from concurrent.futures import ThreadPoolExecutor

import argilla
import pytest

from annotation import push as push_module
from annotation.api import Api
from annotation.connection import connect
from annotation.dataset import records, settings
from annotation.progress import progress
from annotation.push import push
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparison, comparisons, respond, round_of


def ids_on_server(client: argilla.Argilla, name: str) -> list[str]:
    dataset = client.datasets(name=name, workspace=WORKSPACE)
    return sorted(item["external_id"] for item in records(client, str(dataset.id), with_responses=False))


def test_pushing_twice_adds_nothing_twice(client: argilla.Argilla, config: Annotation) -> None:
    some = comparisons(100, 5)
    first, second = push(client, round_of(some, config)), push(client, round_of(some, config))
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
            push(client, round_of(some, config))
    assert len(ids_on_server(client, round_of(some, config).dataset)) == 3
    assert push(client, round_of(some, config)).new == 4
    assert ids_on_server(client, round_of(some, config).dataset) == [one.id for one in some]


def test_a_push_killed_before_the_dataset_was_published_starts_it_anew(
    client: argilla.Argilla, config: Annotation, owner: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "DRAFT_SECONDS", 1.0)
    some = comparisons(120, 2)
    workspace = next(item for item in owner.get("/me/workspaces")["items"] if item["name"] == WORKSPACE)
    owner.post("/datasets", {"name": round_of(some, config).dataset, "workspace_id": workspace["id"]})
    assert push(client, round_of(some, config)).new == 2


def test_new_candidates_make_a_new_dataset_and_leave_the_old_one(client: argilla.Argilla, config: Annotation) -> None:
    old, new = comparisons(130, 2), comparisons(131, 2)
    first, second = push(client, round_of(old, config)), push(client, round_of(new, config))
    assert first.dataset != second.dataset
    assert ids_on_server(client, first.dataset) == [one.id for one in old]


def test_annotators_see_the_texts_in_korean_and_never_where_they_came_from(
    client: argilla.Argilla, config: Annotation, owner: Api, doctor: Api
) -> None:
    pushed = push(client, round_of([comparison(140)], config))
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
    assert [question["required"] for question in questions] == [True, False, False, False]
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
    push(client, round_of(some, config))
    respond(doctor, some[0].id, "a")
    assert progress(client, round_of(some, config)).completed == 0
    push(client, round_of(some, config.model_copy(update={"responses_per_comparison": 1})))
    deadline = time.monotonic() + 10  # a job of the server, beside the request
    while progress(client, round_of(some, config)).completed == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert progress(client, round_of(some, config)).completed == 1


def test_no_comparisons_is_an_error_and_makes_no_dataset(client: argilla.Argilla, config: Annotation) -> None:
    with pytest.raises(KormedError, match="no comparisons"):
        push(client, round_of([], config))


def test_a_patient_without_information_can_be_pushed(client: argilla.Argilla, config: Annotation) -> None:
    nothing_known = comparison(160).model_copy(update={"patient_information": ""})
    assert push(client, round_of([nothing_known], config)).new == 1


def test_two_pushes_at_once_give_the_same_set(
    client: argilla.Argilla, config: Annotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "BATCH", 5)
    round = round_of(comparisons(3000, 40), config)

    def one_push() -> push_module.Pushed:
        with connect(config, WORKSPACE) as own_client:
            return push(own_client, round)

    with ThreadPoolExecutor(3) as desks:
        pushes = [desk.result() for desk in [desks.submit(one_push) for _ in range(3)]]
    assert {pushed.total for pushed in pushes} == {40}
    assert ids_on_server(client, round.dataset) == [one.id for one in round.comparisons]


def test_repeats_are_hidden_and_say_only_to_the_analyst_what_they_repeat(
    client: argilla.Argilla, config: Annotation, owner: Api, doctor: Api
) -> None:
    round = round_of(comparisons(3050, 10), config.model_copy(update={"repeats": 0.2}))
    pushed = push(client, round)
    assert (pushed.total, pushed.repeats, pushed.new) == (12, 2, 12)
    dataset = next(item for item in doctor.get("/me/datasets")["items"] if item["name"] == pushed.dataset)
    whole = {item["external_id"]: item for item in records(client, dataset["id"], with_responses=False)}
    for repeat, original in round.repeats.items():
        assert whole[repeat]["metadata"]["repeat_of"] == original
        assert whole[repeat]["fields"]["answer_a"] == whole[original]["fields"]["answer_b"]
        assert whole[repeat]["fields"]["answer_b"] == whole[original]["fields"]["answer_a"]
    seen = doctor.post(f"/me/datasets/{dataset['id']}/records/search?limit=50", {})["items"]
    assert len(seen) == 12
    assert all(not item["record"]["metadata"] for item in seen)


def test_more_repeats_later_are_added_and_fewer_take_nothing_away(client: argilla.Argilla, config: Annotation) -> None:
    some = comparisons(3070, 10)

    def push_with(repeats: float) -> push_module.Pushed:
        return push(client, round_of(some, config.model_copy(update={"repeats": repeats})))

    assert [(pushed.repeats, pushed.new) for pushed in map(push_with, (0, 0.1, 0.3, 0.1))] == [
        (0, 10),
        (1, 1),
        (3, 2),
        (3, 0),
    ]


def test_a_dataset_of_an_older_kormed_goes_on_without_what_argilla_cannot_add(
    client: argilla.Argilla, config: Annotation, owner: Api, doctor: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """It had neither repeats nor questions on safety. Metadata can be added to it, questions cannot."""
    round = round_of(comparisons(3090, 4), config)
    older = settings(client, round)
    older = argilla.Settings(
        fields=list(older.fields),
        questions=[question for question in older.questions if not question.name.startswith("unsafe")],
        metadata=[item for item in older.metadata if item.name != "repeat_of"],
        guidelines="older",
        distribution=older.distribution,
    )
    argilla.Dataset(name=round.dataset, workspace=WORKSPACE, settings=older, client=client).create()
    more = round_of(comparisons(3090, 4), config.model_copy(update={"repeats": 0.25}))
    with caplog.at_level("WARNING", "kormed"):
        assert push(client, more).repeats == 1
    assert "does not ask unsafe_a, unsafe_b" in caplog.text
    respond(doctor, more.comparisons[0].id, "b")
    respond(doctor, next(iter(more.repeats)), "a")
    assert progress(client, more).total == 4
