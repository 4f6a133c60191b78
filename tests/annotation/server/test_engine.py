"""engine: what the page's search box, filters and sort menu rely on, through the running server."""

from collections.abc import Sequence
from typing import Any

import argilla
import pytest

from annotation.api import Api
from annotation.push import push
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparison, respond, round_of

QUESTIONS = {
    "기침": "아이가 사흘째 기침을 합니다. 해열제를 먹여도 되나요?",
    "두통": "두통이 심하고 눈이 부십니다. MRI 검사가 필요한가요?",
    "혈압": "혈압이 150/95입니다. 100% 나을 수 있나요? 약_이름은 모릅니다.",
}


@pytest.fixture(scope="module")
def dataset(client: argilla.Argilla, config: Annotation) -> str:
    some = [
        comparison(number, a="쉬세요.", b="물을 드세요.", question=question)
        for number, question in enumerate(QUESTIONS.values(), start=600)
    ]
    pushed = push(client, round_of(some, config))
    found = client.datasets(name=pushed.dataset, workspace=WORKSPACE)
    assert found is not None
    return str(found.id)


def search(api: Api, dataset: str, body: dict[str, Any], page: str = "") -> list[str]:
    found = api.post(f"/me/datasets/{dataset}/records/search?{page}", body)
    return [item["record"]["external_id"] for item in found["items"]]


def text(query: str) -> dict[str, Any]:
    return {"query": {"text": {"q": query}}}


def terms(scope: dict[str, str], *values: str) -> dict[str, Any]:
    return {"filters": {"and": [{"type": "terms", "scope": scope, "values": list(values)}]}}


COUGH, HEADACHE, PRESSURE = "comparison-0600", "comparison-0601", "comparison-0602"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("기침", {COUGH}),  # two syllables
        ("침", {COUGH}),  # one, inside a word
        ("해열제", {COUGH}),
        ("열제를", {COUGH}),  # across noun and particle
        ("두통 검사", {HEADACHE}),  # both words
        ("두통 기침", set()),
        ("두통 | 기침", {HEADACHE, COUGH}),
        ('"눈이 부십니다"', {HEADACHE}),
        ('"부십니다 눈이"', set()),
        ("요 -기침", {HEADACHE, PRESSURE}),
        ("mri", {HEADACHE}),
        ("100%", {PRESSURE}),
        ("%", {PRESSURE}),  # a letter, not a wildcard
        ("약_이름", {PRESSURE}),
        ("약이이름", set()),
        ('"unclosed', set()),
        ("'; DROP TABLE records; --", set()),
        ("없는말", set()),
    ],
)
def test_search_finds_korean_words_of_any_length(doctor: Api, dataset: str, query: str, expected: set[str]) -> None:
    assert set(search(doctor, dataset, text(query))) == expected


def test_search_can_be_limited_to_one_field(doctor: Api, dataset: str) -> None:
    assert search(doctor, dataset, {"query": {"text": {"q": "기침", "field": "question"}}}) == [COUGH]
    assert search(doctor, dataset, {"query": {"text": {"q": "기침", "field": "answer_a"}}}) == []
    assert len(search(doctor, dataset, {"query": {"text": {"q": "쉬세요", "field": "answer_a"}}})) == 3


def test_the_sdk_searches_the_same_way(client: argilla.Argilla, dataset: str) -> None:
    found = client.datasets(id=dataset)
    assert found is not None
    assert [record.id for record in found.records("두통")] == [HEADACHE]


def test_status_filters_tell_pending_from_draft_from_submitted(doctor: Api, owner: Api, dataset: str) -> None:
    status = {"entity": "response", "property": "status"}
    assert len(search(doctor, dataset, terms(status, "pending"))) == 3
    respond(doctor, COUGH, "a")
    respond(doctor, HEADACHE, "b", status="draft")
    assert search(doctor, dataset, terms(status, "pending")) == [PRESSURE]
    assert search(doctor, dataset, terms(status, "submitted")) == [COUGH]
    assert search(doctor, dataset, terms(status, "draft")) == [HEADACHE]
    assert search(doctor, dataset, terms(status, "discarded")) == []
    assert set(search(doctor, dataset, terms(status, "pending", "draft"))) == {HEADACHE, PRESSURE}
    assert len(search(owner, dataset, terms(status, "pending"))) == 3  # the owner's own queue
    answer = {"entity": "response", "question": "preference"}
    assert search(doctor, dataset, terms(answer, "a")) == [COUGH]
    assert set(search(doctor, dataset, terms({"entity": "record", "property": "status"}, "pending"))) == {
        COUGH,
        HEADACHE,
        PRESSURE,
    }  # one of two answers is not complete


def test_an_analyst_filters_and_sorts_by_metadata(owner: Api, dataset: str) -> None:
    by_candidate = {"entity": "metadata", "metadata_property": "candidate_a"}
    assert search(owner, dataset, terms(by_candidate, "candidate-0601-a")) == [HEADACHE]
    assert search(owner, dataset, {"sort": [{"scope": by_candidate, "order": "desc"}]}) == [PRESSURE, HEADACHE, COUGH]
    properties = owner.get(f"/me/datasets/{dataset}/metadata-properties")["items"]
    checkpoint = next(item for item in properties if item["name"] == "checkpoint_a")
    metrics = owner.get(f"/metadata-properties/{checkpoint['id']}/metrics")
    assert metrics == {"type": "terms", "total": 3, "values": [{"term": "sft", "count": 3}]}


@pytest.mark.parametrize("name", ["inserted_at", "updated_at"])
def test_ranges_and_sorts_over_time_are_utc_whatever_the_offset(owner: Api, dataset: str, name: str) -> None:
    scope = {"entity": "record", "property": name}
    ordered = search(owner, dataset, {"sort": [{"scope": scope, "order": "asc"}]})
    assert sorted(ordered) == [COUGH, HEADACHE, PRESSURE]

    def since(moment: str) -> list[str]:
        return search(owner, dataset, {"filters": {"and": [{"type": "range", "scope": scope, "ge": moment}]}})

    record = owner.get(f"/datasets/{dataset}/records?limit=1")["items"][0]
    moment = record[name]
    assert len(since(moment + "+00:00")) >= 1
    assert len(since(moment + "-09:00")) == 0  # nine hours later
    assert len(since(moment + "+09:00")) == 3  # nine hours earlier
    with pytest.raises(Exception, match="422"):
        since("yesterday")


def test_pages_do_not_overlap_and_each_annotators_queue_is_mixed_and_stable(
    doctor: Api, owner: Api, dataset: str
) -> None:
    pages: list[Sequence[str]] = [search(doctor, dataset, {}, f"offset={offset}&limit=1") for offset in range(4)]
    assert sorted(one for page in pages for one in page) == [COUGH, HEADACHE, PRESSURE]
    assert search(doctor, dataset, {}) == [one for page in pages for one in page]
    assert search(doctor, dataset, {}) == search(doctor, dataset, {})


def test_a_drafts_progress_is_empty_and_a_deleted_dataset_is_gone(client: argilla.Argilla, owner: Api) -> None:
    workspace = next(item for item in owner.get("/me/workspaces")["items"] if item["name"] == WORKSPACE)
    draft = owner.post("/datasets", {"name": "half-made", "workspace_id": workspace["id"]})
    assert owner.get(f"/datasets/{draft['id']}/progress")["total"] == 0
    owner.call("DELETE", f"/datasets/{draft['id']}")
    assert "half-made" not in {item["name"] for item in owner.get("/me/datasets")["items"]}


def test_vectors_are_compared_by_cosine(client: argilla.Argilla) -> None:
    settings = argilla.Settings(
        fields=[argilla.TextField("text", client=client)],
        questions=[argilla.LabelQuestion("label", labels=["x", "y"], client=client)],
        vectors=[argilla.VectorField("meaning", dimensions=2)],
    )
    dataset = argilla.Dataset("vectors", workspace=WORKSPACE, settings=settings, client=client).create()
    points = {"east": [1.0, 0.0], "north": [0.0, 1.0], "west": [-2.0, 0.0]}
    dataset.records.log(
        [argilla.Record(id=name, fields={"text": name}, vectors={"meaning": point}) for name, point in points.items()]
    )
    near = argilla.Query(similar=argilla.Similar("meaning", [3.0, 1.0]))
    assert [record.id for record, _ in dataset.records(near)] == ["east", "north", "west"]
    far = argilla.Query(similar=argilla.Similar("meaning", [3.0, 1.0], most_similar=False))
    assert [record.id for record, _ in dataset.records(far)] == ["west", "north", "east"]
