"""engine: everything that Argilla's API can ask of a search engine, asked of the running server.

What the page sends was read from its script (0280bb9.js, getRecordsByAdvanceSearch), what the API takes from
argilla_server/api/schemas/v1/records.py, what it should mean from argilla_server/search_engine/commons.py.
"""

import argilla
import pytest

from annotation.api import Api, Refused
from tests.annotation.server.examples import (
    RESPONSE_STATUS,
    Scope,
    answer,
    by,
    is_in,
    make_dataset,
    make_workspace,
    metadata,
    put_records,
    record,
    record_id,
    respond,
    search,
    search_all,
    suggest,
    suggestion,
    text,
    where,
    within,
)

ALL = {"one", "two", "three", "four", "five"}


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("기침", None, {"one", "four"}),
        ("해열제", None, {"one"}),  # in a chat
        ("user", None, set()),  # a message's role is no text
        ("오한", None, {"one"}),  # in a custom field's list,
        ("근육통", None, {"one"}),  # and deeper,
        ("38.5", None, {"one"}),  # and a number
        ("체온", None, set()),  # its keys belong to the template
        ("png", None, set()),  # pictures are not searched
        ("해열제", "talk", {"one"}),
        ("해열제", "text", set()),
        ("오한", "form", {"one"}),
        ("png", "picture", set()),
        ("기침 해열제", None, {"one"}),  # words may stand in different fields
    ],
)
def test_text_is_found_in_every_kind_of_field(
    owner: Api, contract: str, query: str, field: str | None, expected: set[str]
) -> None:
    assert set(search(owner, contract, text(query, field))) == expected
    assert set(search_all(owner, contract, text(query, field))) == expected


@pytest.mark.parametrize(
    ("scope", "values", "expected"),
    [
        (metadata("department"), ["내과"], {"one"}),  # one of its several
        (metadata("department"), ["소아과", "신경과"], {"one", "two"}),
        (metadata("department"), ["없는과"], set()),
        (metadata("age"), [45], {"two", "three"}),
        (metadata("age"), ["45", "7"], {"one", "two", "three"}),
        (metadata("age"), ["forty"], set()),
        (metadata("weight"), [61], {"two"}),  # 61.0
        (metadata("weight"), ["70.250"], {"four"}),
        (record("external_id"), ["one", "five", "six"], {"one", "five"}),
        (record("id"), ["not-an-id"], set()),
        (record("status"), ["pending"], {"two", "three", "four", "five"}),
        (record("status"), ["completed"], {"one"}),
        (record("status"), ["pending", "completed"], ALL),
        (record("status"), ["lost"], set()),
        (answer("label"), ["yes"], {"one"}),
        (answer("label"), ["no"], {"two"}),  # the other annotator's no to one is not this one's
        (answer("label"), ["yes", "no"], {"one", "two"}),
        (answer("topics"), ["fever"], {"two"}),
        (answer("topics"), ["pain", "cough"], {"one", "two"}),
        (answer("stars"), [5], {"one"}),
        (RESPONSE_STATUS, ["pending"], {"four", "five"}),
        (RESPONSE_STATUS, ["draft"], {"two"}),
        (RESPONSE_STATUS, ["submitted"], {"one"}),
        (RESPONSE_STATUS, ["discarded"], {"three"}),
        (RESPONSE_STATUS, ["pending", "discarded"], {"three", "four", "five"}),
        (suggestion("label"), ["yes"], {"one"}),
        (suggestion("label"), ["yes", "no"], {"one", "two"}),
        (suggestion("topics"), ["cough"], {"one"}),
        (suggestion("stars"), [3], {"two"}),
        (suggestion("label", "agent"), ["model-b"], {"two"}),
        (suggestion("topics", "agent"), ["model-b"], {"one"}),
        (suggestion("label", "type"), ["human"], {"two"}),
        (suggestion("label", "type"), ["robot"], set()),
        (suggestion("label", "score"), [0.9], {"one"}),
    ],
)
def test_terms_filters_find_one_of_the_values(
    doctor: Api, contract: str, scope: Scope, values: list[object], expected: set[str]
) -> None:
    assert set(search(doctor, contract, where(is_in(scope, *values)))) == expected


@pytest.mark.parametrize(
    ("scope", "ends", "expected"),
    [
        (metadata("age"), {"ge": 30}, {"two", "three", "four"}),
        (metadata("age"), {"le": 30}, {"one", "four"}),
        (metadata("age"), {"ge": 8, "le": 44}, {"four"}),
        (metadata("age"), {"ge": 46}, set()),
        (metadata("weight"), {"ge": 22.5, "le": 61}, {"one", "two"}),  # both ends belong to it
        (metadata("weight"), {"ge": "60.5"}, {"two", "four"}),  # a number in quotation marks
        (metadata("department"), {"ge": 0}, set()),  # words are no numbers
        (answer("stars"), {"ge": 5}, {"one"}),
        (answer("stars"), {"ge": 3, "le": 4}, {"two"}),
        (suggestion("stars"), {"ge": 4, "le": 5}, {"three"}),
        (suggestion("label", "score"), {"le": 0.5}, {"two"}),
        (suggestion("topics", "score"), {"ge": 0.7}, {"one"}),  # one of its several
        (record("external_id"), {"ge": "o", "le": "two"}, {"one", "three", "two"}),
    ],
)
def test_range_filters_include_their_ends(
    doctor: Api, contract: str, scope: Scope, ends: dict[str, object], expected: set[str]
) -> None:
    assert set(search(doctor, contract, where(within(scope, **ends)))) == expected


def test_each_user_filters_by_their_own_responses_and_an_analyst_by_everybodys(
    doctor: Api, first: Api, owner: Api, contract: str
) -> None:
    no = where(is_in(answer("label"), "no"))
    assert search(doctor, contract, no) == ["two"]
    assert search(first, contract, no) == ["one"]
    assert search(owner, contract, no) == []
    assert set(search_all(owner, contract, no)) == {"one", "two"}
    assert set(search_all(owner, contract, where(is_in(RESPONSE_STATUS, "pending")))) == {"four", "five"}
    assert set(search_all(owner, contract, where(is_in(RESPONSE_STATUS, "pending", "submitted")))) == {
        "one",
        "four",
        "five",
    }
    with pytest.raises(Refused, match="403"):
        search_all(doctor, contract)


def test_filters_hold_together_with_each_other_and_with_text(doctor: Api, contract: str) -> None:
    pending = is_in(RESPONSE_STATUS, "pending")
    as_the_page_asks = where(pending, is_in(record("status"), "pending"))
    assert set(search(doctor, contract, as_the_page_asks)) == {"four", "five"}
    assert search(doctor, contract, text("기침") | where(pending)) == ["four"]
    assert search(doctor, contract, where(pending, within(metadata("age"), ge=20), within(metadata("age"), le=40))) == [
        "four"
    ]
    assert search(doctor, contract, where(is_in(answer("topics"), "fever"), is_in(answer("topics"), "cough"))) == [
        "two"
    ]
    assert search(doctor, contract, where(is_in(answer("topics"), "pain"), is_in(answer("topics"), "cough"))) == []


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([(metadata("age"), "asc")], ["one", "four", "two", "three", "five"]),  # no age: last,
        ([(metadata("age"), "desc")], ["two", "three", "four", "one", "five"]),  # both ways
        ([(metadata("age"), "desc"), (record("external_id"), "asc")], ["three", "two", "four", "one", "five"]),
        ([(metadata("weight"), "desc")], ["four", "two", "one", "three", "five"]),
        ([(metadata("department"), "asc")], ["one", "two", "three", "four", "five"]),
        ([(metadata("department"), "desc")], ["three", "two", "one", "four", "five"]),  # one's first is then 소아과
        ([(record("external_id"), "desc")], ["two", "three", "one", "four", "five"]),
        ([(record("inserted_at"), "asc")], ["one", "two", "three", "four", "five"]),
        ([(record("inserted_at"), "desc")], ["five", "four", "three", "two", "one"]),
        ([(record("status"), "asc")], ["one", "two", "three", "four", "five"]),  # completed before pending
        ([(answer("stars"), "asc")], ["two", "one", "three", "four", "five"]),
        ([(answer("stars"), "desc")], ["one", "two", "three", "four", "five"]),
        ([(answer("label"), "desc")], ["one", "two", "three", "four", "five"]),
        ([(answer("topics"), "asc")], ["two", "one", "three", "four", "five"]),  # cough before pain
        ([(RESPONSE_STATUS, "asc")], ["three", "two", "one", "four", "five"]),
        ([(suggestion("stars"), "desc")], ["three", "two", "one", "four", "five"]),
        ([(suggestion("label"), "asc")], ["two", "one", "three", "four", "five"]),
        ([(suggestion("label", "score"), "desc")], ["one", "two", "three", "four", "five"]),
        ([(suggestion("label", "agent"), "desc")], ["two", "one", "three", "four", "five"]),
        ([(suggestion("label", "type"), "asc")], ["two", "one", "three", "four", "five"]),
        ([(suggestion("stars", "score"), "asc")], ["three", "one", "two", "four", "five"]),
    ],
)
def test_sorts_put_what_has_no_value_last(
    doctor: Api, contract: str, orders: list[tuple[Scope, str]], expected: list[str]
) -> None:
    assert search(doctor, contract, by(*orders)) == expected


def test_an_analysts_sort_takes_the_mean_of_everybodys_ratings(owner: Api, contract: str) -> None:
    assert search_all(owner, contract, by((answer("stars"), "desc")))[:2] == ["two", "one"]  # 4, (5 + 2) / 2


def test_identifiers_and_times_of_records_filter_and_sort(owner: Api, contract: str) -> None:
    two = record_id(owner, contract, "two")
    assert search_all(owner, contract, where(is_in(record("id"), two))) == ["two"]
    assert "two" in search_all(owner, contract, where(within(record("id"), ge=two)))
    assert set(search_all(owner, contract, by((record("id"), "asc")))) == ALL
    moment = owner.get(f"/datasets/{contract}/records?offset=1&limit=1")["items"][0]["inserted_at"]
    assert search_all(owner, contract, where(is_in(record("inserted_at"), moment))) == ["two"]
    since = search_all(owner, contract, where(within(record("inserted_at"), ge=moment)))
    until = search_all(owner, contract, where(within(record("inserted_at"), le=moment)))
    assert (set(since), set(until)) == ({"two", "three", "four", "five"}, {"one", "two"})
    assert set(search_all(owner, contract, where(within(record("inserted_at"), ge=0)))) == ALL  # milliseconds


def test_pages_are_cut_from_one_order_and_past_the_end_there_is_nothing(owner: Api, contract: str) -> None:
    for order in ({}, by((metadata("age"), "asc")), by((record("status"), "desc"))):
        whole = search(owner, contract, order)
        pages = [search(owner, contract, order, f"offset={offset}&limit=2") for offset in (0, 2, 4, 6, 600)]
        assert [one for page in pages for one in page] == whole
        assert [len(page) for page in pages] == [2, 2, 1, 0, 0]
    found = owner.post(f"/me/datasets/{contract}/records/search?offset=4&limit=1", {})
    assert found["total"] == 5


REFUSED = [
    where(within(metadata("age"), ge="old")),
    where(within(record("inserted_at"), ge="yesterday")),
    where(within(record("inserted_at"), ge=1e300)),
    where(within(record("inserted_at"), ge="0001-01-01T00:00:00+09:00")),
    where(is_in(record("updated_at"), "tomorrow")),
    where(within(RESPONSE_STATUS, ge=1)),
    where(is_in({"entity": "response"}, "x")),
    where(is_in(answer("comment"), "잘 썼습니다")),
    where(is_in(answer("order"), "a")),
    where(is_in(answer("marks"), "drug")),
    where(within(answer("label"), ge="a")),
    where(is_in(answer("nothing"), "a")),
    where(is_in(suggestion("comment"), "a")),
    where(is_in({"entity": "suggestion", "question": "label", "property": None}, "a")),  # type: ignore[dict-item]
    where(within(suggestion("label", "agent"), ge=1)),
    where(within(suggestion("label", "type"), le=1)),
    where(is_in(metadata("nothing"), "a")),
    where(is_in(metadata("age"))),
    where(within(metadata("age"))),
    where(within(metadata("age"), ge=2, le=1)),
    where(within(metadata("age"), gt=2)),  # the API has no open ends
    by(({"entity": "response"}, "asc")),
    by((answer("comment"), "asc")),
    by((answer("order"), "asc")),
    by((answer("nothing"), "asc")),
    by((suggestion("marks"), "asc")),
    by(({"entity": "suggestion", "question": "label", "property": None}, "asc")),  # type: ignore[dict-item]
    by((metadata("nothing"), "asc")),
    by((metadata("age"), "sideways")),
    text("a", "nothing"),
    text(" ".join(["말"] * 501)),
    text("말" * 5001),
    where(within(metadata("age"), ge=1, le="2")),  # Argilla itself would fail at these three
    {"filters": {}},
    {"filters": {"and": None}},
    {"query": {"vector": {"name": "nothing", "value": [1, 0]}}},
    {"query": {"vector": {"name": "meaning", "value": [1, 0, 0]}}},
    {"query": {"vector": {"name": "meaning", "value": [float("nan"), 0]}}},
    {"query": {"vector": {"name": "meaning"}}},
]


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_answered_is_refused_with_a_sentence(owner: Api, contract: str, body: dict[str, object]) -> None:
    for ask in (search, search_all):
        with pytest.raises(Refused, match="422") as refused:
            ask(owner, contract, body)
        assert len(str(refused.value).partition("422")[2]) > 10


def test_infinite_and_missing_numbers_in_filters_are_no_error(owner: Api, contract: str) -> None:
    assert len(search(owner, contract, where(within(metadata("age"), le=float("inf"))))) == 4
    assert search(owner, contract, where(within(metadata("age"), ge=float("inf")))) == []
    assert search(owner, contract, where(is_in(metadata("age"), "nan", "inf"))) == []


def similar(**wanted: object) -> dict[str, object]:
    return {"query": {"vector": {"name": "meaning", **wanted}}}


def test_similarity_orders_by_cosine_by_value_and_by_record(owner: Api, contract: str) -> None:
    assert search(owner, contract, similar(value=[3.0, 1.0])) == ["one", "two", "three"]
    assert search(owner, contract, similar(value=[3.0, 1.0], order="least_similar")) == ["three", "two", "one"]
    one, five = (record_id(owner, contract, name) for name in ("one", "five"))
    assert search(owner, contract, similar(record_id=one)) == ["two", "three"]  # not itself
    assert search(owner, contract, similar(record_id=one, order="least_similar")) == ["three", "two"]
    with pytest.raises(Refused, match="422"):
        search(owner, contract, similar(record_id=five))  # has no vector


def test_similarity_gives_a_score_between_none_and_one(owner: Api, contract: str) -> None:
    found = owner.post(f"/me/datasets/{contract}/records/search", similar(value=[1.0, 0.0]))
    assert [item["query_score"] for item in found["items"]] == [1.0, 0.5, 0.0]
    assert owner.post(f"/me/datasets/{contract}/records/search", similar(value=[0.0, 0.0]))["total"] == 3


def test_similarity_keeps_to_filters_text_and_pages(owner: Api, contract: str) -> None:
    near = similar(value=[3.0, 1.0])
    assert search(owner, contract, near | where(is_in(metadata("age"), 45))) == ["two", "three"]
    vector_and_text = {"query": {**near["query"], **text("허리")["query"]}}  # type: ignore[dict-item]
    assert search(owner, contract, vector_and_text) == ["three"]
    assert search(owner, contract, near, "limit=2") == ["one", "two"]
    assert search(owner, contract, near, "offset=1&limit=1") == ["two"]
    assert search(owner, contract, near, "offset=3&limit=5") == []


def test_metrics_count_terms_and_give_the_ends_of_numbers(owner: Api, contract: str) -> None:
    properties = {
        item["name"]: item["id"] for item in owner.get(f"/me/datasets/{contract}/metadata-properties")["items"]
    }
    department, age, weight = (
        owner.get(f"/metadata-properties/{properties[name]}/metrics") for name in ("department", "age", "weight")
    )
    counts = {item["term"]: item["count"] for item in department["values"]}
    assert counts == {"내과": 1, "소아과": 1, "신경과": 1, "정형외과": 1}
    assert department["total"] == 4
    assert (age["min"], age["max"]) == (7, 45)
    assert (weight["min"], weight["max"]) == (22.5, 70.25)


def test_progress_counts_records_and_each_users_responses(doctor: Api, first: Api, owner: Api, contract: str) -> None:
    progress = owner.get(f"/datasets/{contract}/progress")
    assert {name: progress[name] for name in ("total", "completed", "pending")} == {
        "total": 5,
        "completed": 1,
        "pending": 4,
    }
    doctors = doctor.get(f"/me/datasets/{contract}/metrics")["responses"]
    assert doctors == {"total": 5, "submitted": 1, "discarded": 1, "draft": 1, "pending": 2}
    firsts = first.get(f"/me/datasets/{contract}/metrics")["responses"]
    assert firsts == {"total": 5, "submitted": 1, "discarded": 0, "draft": 0, "pending": 4}
    users = {user["username"]: user for user in owner.get(f"/datasets/{contract}/users/progress")["users"]}
    assert users["doctor-kim"]["completed"]["submitted"] == users["simulated-1"]["completed"]["submitted"] == 1
    assert users["doctor-kim"]["pending"] == {"submitted": 0, "discarded": 1, "draft": 1}


def test_the_page_offers_the_agents_of_suggestions(doctor: Api, contract: str) -> None:
    options = doctor.get(f"/datasets/{contract}/records/search/suggestions/options")["items"]
    agents = {item["question"]["name"]: sorted(item["agents"]) for item in options}
    assert agents == {
        "label": ["model-a", "model-b"],
        "topics": ["model-b"],
        "stars": [],
        "order": [],
        "marks": [],
        "comment": [],
    }


def test_the_sdk_searches_filters_and_finds_what_is_similar(client: argilla.Argilla, contract: str) -> None:
    dataset = client.datasets(id=contract)
    assert dataset is not None
    dataset.get()

    def found(**wanted: object) -> list[str]:
        # Without responses: argilla 2.8 fails on a discarded one that has no values.
        records = dataset.records(argilla.Query(**wanted), with_responses=False)
        return [str((item[0] if isinstance(item, tuple) else item).id) for item in records]

    assert set(found(query="기침")) == {"one", "four"}
    assert found(filter=("status", "==", "completed")) == ["one"]
    assert set(found(filter=("response.status", "in", ["draft", "discarded"]))) == {"two", "three"}
    assert found(filter=[("metadata.age", ">=", 8), ("metadata.age", "<=", 44)]) == ["four"]
    assert set(found(filter=("label.response", "==", "no"))) == {"one", "two"}
    assert found(filter=("stars.suggestion", ">=", 4)) == ["three"]
    assert found(filter=("label.score", "<=", 0.5)) == ["two"]
    assert found(filter=("label.agent", "==", "model-a")) == ["one"]
    assert found(filter=("id", "==", "two")) == ["two"]
    assert found(similar=argilla.Similar("meaning", [3.0, 1.0])) == ["one", "two", "three"]
    assert found(similar=argilla.Similar("meaning", [3.0, 1.0], most_similar=False), query="기침") == ["one"]


@pytest.fixture(scope="module")
def workspace(persons: dict[str, Api]) -> str:
    return make_workspace(persons["owner"], "changing", ("doctor-kim",))


def test_nothing_of_another_dataset_or_workspace_is_found(owner: Api, contract: str, workspace: str) -> None:
    """The same external id, text and metadata in three datasets, two of them in one workspace."""
    here, beside = (make_dataset(owner, workspace, name, questions=("label",)) for name in ("here", "beside"))
    for dataset, words in ((here, "여기 기침"), (beside, "저기 기침")):
        put_records(owner, dataset, [{"external_id": "one", "fields": {"text": words}, "metadata": {"age": 7}}])
    assert search(owner, here, text("저기")) == []
    assert search(owner, here, text("여기")) == ["one"]
    for dataset in (here, beside):
        found = owner.post(f"/me/datasets/{dataset}/records/search", where(is_in(metadata("age"), 7)))
        assert found["total"] == 1
        assert owner.get(f"/datasets/{dataset}/progress")["total"] == 1
    respond(owner, record_id(owner, here, "one"), {"label": "yes"})
    assert search(owner, beside, where(is_in(RESPONSE_STATUS, "pending"))) == ["one"]
    owner.call("DELETE", f"/datasets/{here}")
    assert search(owner, beside, text("기침")) == ["one"]
    with pytest.raises(Refused, match="404"):
        search(owner, here)


def test_an_annotator_of_another_workspace_is_refused(persons: dict[str, Api], contract: str) -> None:
    with pytest.raises(Refused, match="403"):
        search(persons["simulated-2"], contract)


def test_changes_and_deletions_show_in_the_next_search(owner: Api, workspace: str) -> None:
    dataset = make_dataset(owner, workspace, "changed", questions=("label", "stars"))
    put_records(owner, dataset, [{"external_id": name, "fields": {"text": "두통"}} for name in ("kept", "gone")])
    kept, gone = (record_id(owner, dataset, name) for name in ("kept", "gone"))
    owner.patch(f"/records/{kept}", {"fields": {"text": "기침"}, "metadata": {"department": "내과", "age": 3}})
    assert search(owner, dataset, text("두통")) == ["gone"]
    assert search(owner, dataset, text("기침")) == ["kept"]
    assert search(owner, dataset, where(is_in(metadata("department"), "내과"))) == ["kept"]
    assert search(owner, dataset, by((record("updated_at"), "desc"))) == ["kept", "gone"]

    suggest(owner, dataset, kept, "stars", value=4)
    assert search(owner, dataset, where(within(suggestion("stars"), ge=4))) == ["kept"]
    (suggested,) = owner.get(f"/records/{kept}/suggestions")["items"]
    owner.call("DELETE", f"/records/{kept}/suggestions?ids={suggested['id']}")
    assert search(owner, dataset, where(within(suggestion("stars"), ge=4))) == []

    response = respond(owner, kept, {"label": "yes"}, "draft")
    assert search(owner, dataset, where(is_in(RESPONSE_STATUS, "draft"))) == ["kept"]
    owner.call("PUT", f"/responses/{response}", {"status": "submitted", "values": {"label": {"value": "no"}}})
    assert search(owner, dataset, where(is_in(answer("label"), "no"))) == ["kept"]
    owner.call("DELETE", f"/responses/{response}")
    assert set(search(owner, dataset, where(is_in(RESPONSE_STATUS, "pending")))) == {"kept", "gone"}

    owner.call("DELETE", f"/datasets/{dataset}/records?ids={gone}")
    assert search(owner, dataset) == ["kept"]
    assert owner.get(f"/datasets/{dataset}/progress")["total"] == 1
    age = next(p for p in owner.get(f"/me/datasets/{dataset}/metadata-properties")["items"] if p["name"] == "age")
    owner.call("DELETE", f"/metadata-properties/{age['id']}")
    with pytest.raises(Refused, match="422"):
        search(owner, dataset, where(is_in(metadata("age"), 3)))
    owner.call("DELETE", f"/records/{kept}")
    assert search(owner, dataset) == []


def test_a_metadata_property_that_comes_later_counts_only_values_of_its_type(owner: Api, workspace: str) -> None:
    dataset = make_dataset(owner, workspace, "later")
    values = ["사십", 40, 41.5, None]
    put_records(
        owner,
        dataset,
        [{"external_id": f"r{n}", "fields": {"text": "x"}, "metadata": {"late": v}} for n, v in enumerate(values)],
    )
    settings = {"name": "late", "title": "late", "settings": {"type": "integer"}, "visible_for_annotators": True}
    late = owner.post(f"/datasets/{dataset}/metadata-properties", settings)
    assert owner.get(f"/metadata-properties/{late['id']}/metrics") == {"type": "integer", "min": 40, "max": 40}
    assert search(owner, dataset, where(within(metadata("late"), ge=41))) == ["r2"]


def test_an_empty_dataset_and_a_draft_have_empty_metrics_and_no_records(owner: Api, workspace: str) -> None:
    dataset = make_dataset(owner, workspace, "empty", questions=("label", "stars"))
    assert search(owner, dataset, text("무엇이든")) == []
    assert search(owner, dataset, similar(value=[1.0, 0.0])) == []
    for item in owner.get(f"/me/datasets/{dataset}/metadata-properties")["items"]:
        metrics = owner.get(f"/metadata-properties/{item['id']}/metrics")
        assert metrics.get("total", 0) == 0
        assert metrics.get("min") is metrics.get("max") is None
    assert owner.get(f"/me/datasets/{dataset}/metrics")["responses"]["total"] == 0

    draft = owner.post("/datasets", {"name": "draft", "workspace_id": workspace})["id"]
    assert owner.get(f"/datasets/{draft}/progress")["total"] == 0
    assert search(owner, draft) == []
