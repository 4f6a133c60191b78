"""Datasets with every kind of field, question, metadata and vector, and searches as the page and the SDK send them."""

from typing import Any

from annotation.api import Api

Scope = dict[str, str]

KINDS: dict[str, dict[str, Any]] = {
    "label": {"type": "label_selection", "options": [{"value": value, "text": value} for value in ("yes", "no")]},
    "topics": {
        "type": "multi_label_selection",
        "options": [{"value": value, "text": value} for value in ("pain", "fever", "cough")],
    },
    "stars": {"type": "rating", "options": [{"value": value} for value in range(1, 6)]},
    "order": {"type": "ranking", "options": [{"value": value, "text": value} for value in ("a", "b")]},
    "marks": {"type": "span", "field": "text", "options": [{"value": "drug", "text": "drug"}]},
    "comment": {"type": "text"},
}
RECORDS: list[dict[str, Any]] = [
    {
        "external_id": "one",
        "fields": {
            "text": "기침이 납니다.",
            "talk": [{"role": "user", "content": "해열제를 먹었어요"}],
            "form": {"체온": 38.5, "증상": ["오한", {"더": "근육통"}]},
        },
        "metadata": {"department": ["내과", "소아과"], "age": 7, "weight": 22.5},
        "vectors": {"meaning": [1.0, 0.0]},
    },
    {
        "external_id": "two",
        "fields": {"text": "두통이 심합니다.", "talk": [{"role": "user", "content": "빛이 싫어요"}]},
        "metadata": {"department": "신경과", "age": 45, "weight": 61.0},
        "vectors": {"meaning": [0.0, 1.0]},
    },
    {
        "external_id": "three",
        "fields": {"text": "허리가 아픕니다.", "picture": "data:image/png;base64,iVBORw0KGgo="},
        "metadata": {"department": "정형외과", "age": 45},
        "vectors": {"meaning": [-2.0, 0.0]},
    },
    {"external_id": "four", "fields": {"text": "감기 기침과 두통입니다."}, "metadata": {"age": 30, "weight": 70.25}},
    {"external_id": "five", "fields": {"text": "검진 결과가 궁금합니다."}},
]


def search(api: Api, dataset: str, body: dict[str, Any] | None = None, page: str = "") -> list[str]:
    """External ids, as the annotation page asks: about the user's own responses."""
    found = api.post(f"/me/datasets/{dataset}/records/search?{page}", body or {})
    return [item["record"]["external_id"] for item in found["items"]]


def search_all(api: Api, dataset: str, body: dict[str, Any] | None = None, page: str = "") -> list[str]:
    """External ids, as the SDK asks: about everybody's responses."""
    found = api.post(f"/datasets/{dataset}/records/search?{page}", body or {})
    return [item["record"]["external_id"] for item in found["items"]]


def text(query: str, field: str | None = None) -> dict[str, Any]:
    return {"query": {"text": {"q": query, **({"field": field} if field else {})}}}


def where(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"filters": {"and": list(filters)}}


def is_in(scope: Scope, *values: object) -> dict[str, Any]:
    return {"type": "terms", "scope": scope, "values": list(values)}


def within(scope: Scope, **ends: object) -> dict[str, Any]:
    return {"type": "range", "scope": scope, **ends}


def by(*orders: tuple[Scope, str]) -> dict[str, Any]:
    return {"sort": [{"scope": scope, "order": order} for scope, order in orders]}


def record(name: str) -> Scope:
    return {"entity": "record", "property": name}


def metadata(name: str) -> Scope:
    return {"entity": "metadata", "metadata_property": name}


def answer(question: str) -> Scope:
    return {"entity": "response", "question": question}


def suggestion(question: str, wanted: str = "value") -> Scope:
    return {"entity": "suggestion", "question": question, "property": wanted}


RESPONSE_STATUS: Scope = {"entity": "response", "property": "status"}


def make_workspace(owner: Api, name: str, members: tuple[str, ...]) -> str:
    workspace = owner.post("/workspaces", {"name": name})
    users = {user["username"]: user["id"] for user in owner.get("/users")["items"]}
    for member in members:
        owner.post(f"/workspaces/{workspace['id']}/users", {"user_id": users[member]})
    return str(workspace["id"])


def make_dataset(owner: Api, workspace: str, name: str, *, each: int = 2, questions: tuple[str, ...] = ()) -> str:
    """Published; with the given questions it has all the fields, metadata and vectors, without only text and label."""
    distribution = {"strategy": "overlap", "min_submitted": each}
    made = owner.post("/datasets", {"name": name, "workspace_id": workspace, "distribution": distribution})
    path = f"/datasets/{made['id']}"
    _add(owner, f"{path}/fields", "text", {"type": "text"}, required=True)
    for question in questions or ("label",):
        _add(owner, f"{path}/questions", question, KINDS[question], required=question == "label")
    if questions:
        _add(owner, f"{path}/fields", "talk", {"type": "chat"})
        _add(owner, f"{path}/fields", "picture", {"type": "image"})
        _add(owner, f"{path}/fields", "form", {"type": "custom", "template": "<p></p>"})
        for kind, metadata in (("terms", "department"), ("integer", "age"), ("float", "weight")):
            settings = {"name": metadata, "title": metadata, "settings": {"type": kind}}
            owner.post(f"{path}/metadata-properties", {**settings, "visible_for_annotators": True})
        owner.post(f"{path}/vectors-settings", {"name": "meaning", "title": "meaning", "dimensions": 2})
    owner.call("PUT", f"{path}/publish")
    return str(made["id"])


def _add(owner: Api, path: str, name: str, settings: dict[str, Any], *, required: bool = False) -> None:
    owner.post(path, {"name": name, "title": name, "required": required, "settings": settings})


def put_records(owner: Api, dataset: str, records: list[dict[str, Any]]) -> None:
    owner.call("PUT", f"/datasets/{dataset}/records/bulk", {"items": records})


def record_id(owner: Api, dataset: str, external_id: str) -> str:
    wanted = where(is_in(record("external_id"), external_id))
    (found,) = owner.post(f"/datasets/{dataset}/records/search", wanted)["items"]
    return str(found["record"]["id"])


def respond(person: Api, record_id: str, values: dict[str, Any] | None, status: str = "submitted") -> str:
    """The response's id."""
    answers = {name: {"value": value} for name, value in values.items()} if values else None
    made = person.post(f"/records/{record_id}/responses", {"status": status, "values": answers})
    return str(made["id"])


def suggest(owner: Api, dataset: str, record_id: str, question: str, **what: object) -> None:
    questions = {item["name"]: item["id"] for item in owner.get(f"/datasets/{dataset}/questions")["items"]}
    owner.call("PUT", f"/records/{record_id}/suggestions", {"question_id": questions[question], **what})
