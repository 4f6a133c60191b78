"""Who gets at what on the running server: nobody without credentials, nobody across workspaces or above their role.

What is refused is asked of every path in the server's own description of its API, so that a new one is not forgotten.
"""

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import argilla
import pytest

from annotation import accounts
from annotation.api import Api, Refused
from annotation.dataset import METADATA, find_pushed, records
from annotation.embedded import Server
from annotation.people import Credential, credentials, ensure_people, workspaces
from annotation.push import push
from annotation.rounds import Round, label_round
from stages.core.pipeline import Run
from stages.core.recipe import Annotation, load_recipe
from tests.annotation.examples import comparisons, respond
from tests.annotation.test_embedded import sign_in, whoami

DEMO = Path(__file__).parents[2] / "recipes" / "demo" / "demo.yaml"
SECRET = "남이 보면 안 되는 지어낸 의견"
PUBLIC = {"/version", "/status", "/settings", "/token", "/oauth2/providers"}  # the page asks them before somebody is in
OFF = ("/jobs", "/webhooks")  # answer 501 to everybody
REFUSED = (401, 403, 404)


@dataclass(frozen=True)
class Scene:
    """A recipe with two annotators, an adjudicator and an analyst, another one with an annotator, and answers."""

    people: dict[str, Credential]
    label: dict[str, str]  # what stands for {dataset_id} and the others in a path
    adjudication: dict[str, str]


@pytest.fixture(scope="module")
def scene(
    server: Server, client: argilla.Argilla, config: Annotation, tmp_path_factory: pytest.TempPathFactory
) -> Scene:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KORMED_ARGILLA_HOME", str(server.home))
        folder = tmp_path_factory.mktemp("access")
        names = {"annotators": ("access-kim", "access-lee"), "adjudicators": ("access-han",)}
        annotation = config.model_copy(update=names)
        run = Run(load_recipe(DEMO).model_copy(update={"name": "access", "annotation": annotation}), folder)
        ensure_people(server.home, server.url, workspaces("access", annotation))
        ensure_people(server.home, server.url, {"access-other": ("access-stranger",)})
        accounts.add(run, "access-yoon", "analyst")
        some = comparisons(3400, 3)
        label = label_round("access", some, annotation, folder / "responses.jsonl")
        adjudication = Round(
            "adjudication", "access-adjudication", tuple(some), (some[0],), ("access-han",), 1, label.file,
            {some[0].id: SECRET},
        )  # fmt: skip
        push(client, label)
        push(client, adjudication)
        people = credentials(server.home)
        respond(Api(server.url, people["access-lee"].api_key), some[0].id, "a", comment=SECRET)
        respond(Api(server.url, people["access-han"].api_key), some[0].id, "a", comment=SECRET)
        return Scene(people, ids(client, label), ids(client, adjudication))


def ids(client: argilla.Argilla, round: Round) -> dict[str, str]:
    dataset = find_pushed(client, round)
    assert dataset is not None
    api = Api(client.api_url, client.api_key)
    record = next(iter(records(client, dataset["id"], with_responses=True)))
    of_dataset = f"/datasets/{dataset['id']}"
    return {
        "dataset_id": dataset["id"],
        "workspace_id": dataset["workspace_id"],
        "record_id": record["id"],
        "response_id": record["responses"][0]["id"],
        "user_id": record["responses"][0]["user_id"],
        "field_id": api.get(f"{of_dataset}/fields")["items"][0]["id"],
        "question_id": api.get(f"{of_dataset}/questions")["items"][0]["id"],
        "metadata_property_id": api.get(f"/me{of_dataset}/metadata-properties")["items"][0]["id"],
    }


def bodies(target: Mapping[str, str]) -> dict[tuple[str, str], Any]:
    """What makes a request valid where an empty object does not, so that it is refused for who sends it."""
    answer = {"values": {"preference": {"value": "b"}}, "status": "submitted"}
    setting = {"name": "new", "title": "new", "settings": {"type": "text", "use_markdown": False}}
    term = {"name": "new", "title": "new", "settings": {"type": "terms"}}
    return {
        ("POST", "/datasets"): {"name": "new", "workspace_id": target["workspace_id"]},
        ("POST", "/datasets/{dataset_id}/fields"): setting,
        ("POST", "/datasets/{dataset_id}/questions"): setting,
        ("POST", "/datasets/{dataset_id}/metadata-properties"): term,
        ("POST", "/datasets/{dataset_id}/vectors-settings"): {"name": "new", "title": "new", "dimensions": 2},
        ("POST", "/datasets/{dataset_id}/records/bulk"): {"items": [{"fields": {"question": "new"}}]},
        ("PUT", "/datasets/{dataset_id}/records/bulk"): {"items": [{"id": target["record_id"], "fields": {}}]},
        ("PATCH", "/questions/{question_id}"): {"title": "new"},
        ("PATCH", "/metadata-properties/{metadata_property_id}"): {"title": "new"},
        ("POST", "/records/{record_id}/responses"): answer,
        ("PUT", "/responses/{response_id}"): answer,
        ("PUT", "/records/{record_id}/suggestions"): {"question_id": target["question_id"], "value": "a"},
        ("POST", "/users"): {"first_name": "new", "username": "new-user", "password": "long enough", "role": "owner"},
        ("PATCH", "/users/{user_id}"): {"role": "owner"},
        ("POST", "/workspaces"): {"name": "new"},
        ("POST", "/workspaces/{workspace_id}/users"): {"user_id": target["user_id"]},
    }


def requests(server: Server, target: Mapping[str, str]) -> Iterator[tuple[str, str, str, Any]]:
    """Method, path in the description, path as asked, body: of everything that the server has about this dataset."""
    with urllib.request.urlopen(f"{server.url}/api/v1/openapi.json", timeout=30) as answer:
        described = json.load(answer)["paths"]
    given = bodies(target)
    for path, methods in described.items():
        for method in methods:
            known = {name: target.get(name, target["record_id"]) for name in names_in(path)}
            asked = path.format(**known)
            if path.endswith("/suggestions") and method == "delete":
                asked += f"?ids={target['record_id']}"
            if path == "/datasets/{dataset_id}/records" and method == "delete":
                asked += f"?ids={target['record_id']}"
            body = given.get((method.upper(), path), None if method in ("get", "delete") else {})
            yield method.upper(), path, asked, body


def names_in(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def ask(server: Server, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and text of the answer."""
    data = None if body is None else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"} if body is not None else {}
    url = f"{server.url}/api/v1{path}"
    request = urllib.request.Request(url, data=data, headers={**kind, **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def as_person(person: Credential) -> dict[str, str]:
    return {"X-Argilla-Api-Key": person.api_key}


def token_of(payload: Mapping[str, Any], key: str, algorithm: str = "HS256") -> str:
    """A JWT as the server makes them (RFC 7519)."""
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": algorithm, "typ": "JWT"}, payload)]
    signed = ".".join(parts)
    signature = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest() if algorithm != "none" else b""
    return f"{signed}.{encoded(signature)}"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def payload_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return payload


def test_without_or_with_wrong_credentials_every_path_is_refused(server: Server, scene: Scene) -> None:
    forged = token_of({"username": "owner", "exp": time.time() + 3600}, "guessed")
    for headers in ({}, {"X-Argilla-Api-Key": "wrong"}, {"Authorization": f"Bearer {forged}"}):
        answered = {}
        for method, path, asked, body in requests(server, scene.label):
            if path in PUBLIC or path.startswith(OFF) or path.startswith("/oauth2"):
                continue
            answered[method, path] = ask(server, method, asked, body, headers)
        assert len(answered) > 50
        wrong = {key: status for key, (status, text) in answered.items() if status not in (401, 501) or SECRET in text}
        assert wrong == {}


@pytest.mark.parametrize(
    ("who", "of"),
    [("access-stranger", "label"), ("access-han", "label"), ("access-kim", "adjudication")],
    ids=["of another recipe", "adjudicator to annotators", "annotator to adjudicators"],
)
def test_of_another_workspace_nothing_is_told_and_nothing_changed(
    server: Server, scene: Scene, owner: Api, who: str, of: str
) -> None:
    target = getattr(scene, of)
    before = state(owner, target)
    answered = {}
    for method, path, asked, body in requests(server, target):
        if "{" not in path or path.startswith(OFF) or path.startswith("/oauth2"):
            continue  # those without an id are asked below
        answered[method, path] = ask(server, method, asked, body, as_person(scene.people[who]))
    answers = [{"record_id": target["record_id"], "values": {"preference": {"value": "b"}}, "status": "submitted"}]
    _, text = ask(server, "POST", "/me/responses/bulk", {"items": answers}, as_person(scene.people[who]))
    assert json.loads(text)["items"][0]["item"] is None
    for path in ("/me/datasets", "/me/workspaces", f"/me/datasets?workspace_id={target['workspace_id']}"):
        text += ask(server, "GET", path, None, as_person(scene.people[who]))[1]
    wrong = {key: status for key, (status, _) in answered.items() if status not in (*REFUSED, 501)}
    assert wrong.pop(("PATCH", "/vectors-settings/{vector_settings_id}")) == 422  # there is none
    assert wrong == {}
    told = text + "".join(text for _, text in answered.values())
    assert SECRET not in told and "머리가 아픕니다" not in told and target["dataset_id"] not in told
    assert state(owner, target) == before


def state(owner: Api, target: Mapping[str, str]) -> list[Any]:
    """What a change of the dataset, its answers or its people would show in."""
    of_dataset = f"/datasets/{target['dataset_id']}"
    paths = [of_dataset, f"{of_dataset}/records?include=responses", f"{of_dataset}/questions", f"{of_dataset}/fields"]
    return [owner.get(path) for path in (*paths, f"/me{of_dataset}/metadata-properties", "/users", "/me/workspaces")]


def test_an_annotator_changes_nothing_but_their_own_answers(server: Server, scene: Scene, owner: Api) -> None:
    before = state(owner, scene.label)
    allowed = {("POST", "/records/{record_id}/responses"), ("POST", "/me/datasets/{dataset_id}/records/search")}
    answered = {}
    for method, path, asked, body in requests(server, scene.label):
        if method == "GET" or path in PUBLIC or path.startswith(OFF) or (method, path) in allowed:
            continue
        answered[method, path] = ask(server, method, asked, body, as_person(scene.people["access-kim"]))[0]
    assert answered.pop(("POST", "/me/responses/bulk")) == 422  # an empty one; its own items are judged one by one
    assert answered.pop(("PATCH", "/vectors-settings/{vector_settings_id}")) == 422
    assert {key: status for key, status in answered.items() if status not in (*REFUSED, 501)} == {}
    assert ("PATCH", "/users/{user_id}") in answered and ("PUT", "/datasets/{dataset_id}/publish") in answered
    assert state(owner, scene.label) == before


def test_an_annotator_reads_no_others_answer_and_no_metadata_by_any_path(server: Server, scene: Scene) -> None:
    """Argilla itself gives one record with everybody's answers and all metadata to each member."""
    dataset, kim = scene.label["dataset_id"], as_person(scene.people["access-kim"])
    told = ""
    for method, path, asked, body in requests(server, scene.label):
        if method == "GET" and path not in PUBLIC and not path.startswith(OFF):
            told += ask(server, method, asked, body, kim)[1]
    for include in ("responses", "metadata", "vectors"):
        told += ask(server, "POST", f"/me/datasets/{dataset}/records/search?include={include}", {}, kim)[1]
        told += ask(server, "POST", f"/datasets/{dataset}/records/search?include={include}", {}, kim)[1]
        told += ask(server, "GET", f"/datasets/{dataset}/records?include={include}", None, kim)[1]
    assert "머리가 아픕니다" in told  # the questions are theirs to read
    assert SECRET not in told
    assert not [name for name in METADATA if f'"{name}"' in told]
    assert "candidate-3400" not in told
    keys = [person.api_key for name, person in scene.people.items() if name != "access-kim"]
    assert not [key for key in keys if key in told]


def test_hidden_metadata_is_not_told_by_what_a_filter_finds_or_how_a_sort_orders(
    server: Server, scene: Scene, owner: Api
) -> None:
    scope = {"entity": "metadata", "metadata_property": "candidate_a"}
    filtered = {"filters": {"and": [{"type": "terms", "scope": scope, "values": ["candidate-3401-a"]}]}}
    for body in (filtered, {"sort": [{"scope": scope, "order": "asc"}]}):
        path = f"/me/datasets/{scene.label['dataset_id']}/records/search"
        status, text = ask(server, "POST", path, body, as_person(scene.people["access-kim"]))
        assert status == 403 and "comparison" not in text
        status, text = ask(server, "POST", path, body, as_person(scene.people["access-yoon"]))
        assert status == 200 and "comparison-3401" in text


def test_an_annotator_sees_their_own_answer_in_a_record(server: Server, scene: Scene) -> None:
    status, text = ask(
        server, "GET", f"/records/{scene.label['record_id']}", None, as_person(scene.people["access-lee"])
    )
    assert status == 200 and SECRET in text


def test_an_analyst_sees_answers_and_metadata_and_makes_or_becomes_nobody(
    server: Server, scene: Scene, owner: Api
) -> None:
    yoon, users = as_person(scene.people["access-yoon"]), owner.get("/users")
    dataset = scene.label["dataset_id"]
    status, text = ask(server, "GET", f"/datasets/{dataset}/records?include=responses", None, yoon)
    assert status == 200 and SECRET in text and "candidate-3400-a" in text
    status, text = ask(server, "GET", f"/workspaces/{scene.label['workspace_id']}/users", None, yoon)
    assert status == 200 and "access-kim" in text
    assert not [name for name, person in scene.people.items() if person.api_key in text and name != "access-yoon"]
    person = {"first_name": "new", "username": "new-owner", "password": "long enough", "role": "owner"}
    me, workspace = f"/users/{user_id(owner, 'access-yoon')}", scene.label["workspace_id"]
    for method, path, body in (
        ("POST", "/users", person),
        ("GET", "/users", None),
        ("PATCH", me, {"role": "owner"}),
        ("PATCH", f"/users/{scene.label['user_id']}", {"password": "of the analyst"}),
        ("DELETE", f"/users/{scene.label['user_id']}", None),
        ("POST", "/workspaces", {"name": "new"}),
        ("POST", f"/workspaces/{workspace}/users", {"user_id": user_id(owner, "access-stranger")}),
        ("DELETE", f"/workspaces/{workspace}/users/{scene.label['user_id']}", None),
    ):
        assert ask(server, method, path, body, yoon)[0] == 403, (method, path)
    assert owner.get("/users") == users


def user_id(owner: Api, name: str) -> str:
    return next(str(user["id"]) for user in owner.get("/users")["items"] if user["username"] == name)


def test_a_tampered_an_expired_and_an_unsigned_log_in_are_refused(server: Server, scene: Scene) -> None:
    key = (server.home / "secret_key").read_text(encoding="ascii")
    token = sign_in(server.url, scene.people["access-kim"])
    payload = payload_of(token)
    head, _, signature = token.split(".")
    assert 0 < payload["exp"] - time.time() <= 24 * 60 * 60
    assert whoami(server.url, token_of(payload, key)) == "access-kim"  # so the others are refused for what is wrong
    for wrong in (
        f"{head}.{encoded(json.dumps(payload | {'username': 'owner'}).encode())}.{signature}",
        f"{token[:-4]}{'AAAA' if token[-4:] != 'AAAA' else 'BBBB'}",
        token_of(payload | {"exp": time.time() - 60}, key),
        token_of(payload | {"username": "owner"}, "", algorithm="none"),
        token_of(payload | {"username": "nobody-of-this-name"}, key),
        "x",
    ):
        status, text = ask(server, "GET", "/me", None, {"Authorization": f"Bearer {wrong}"})
        assert status == 401, text


def test_a_wrong_password_tells_nothing_of_who_exists(server: Server, scene: Scene) -> None:
    """The same words for both. Argilla counts no tries and locks nobody out: our passwords are 96 random bits."""
    told = set()
    for name in ("access-kim", "nobody-of-this-name"):
        form = f"username={name}&password=guessed-by-hand".encode()
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(f"{server.url}/api/v1/token", data=form, timeout=30)
        told.add(refused.value.read())
    assert len(told) == 1
    assert all(len(person.password) == 16 for name, person in scene.people.items() if name.startswith("access-"))
    for _ in range(10):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{server.url}/api/v1/token", data=b"username=access-kim&password=no", timeout=30)
    assert sign_in(server.url, scene.people["access-kim"])  # still let in


def test_the_log_of_a_request_that_does_not_fit_does_not_show_what_stood_in_it(
    scene: Scene, owner: Api, server: Server
) -> None:
    with pytest.raises(Refused, match="422"):
        owner.post(
            f"/datasets/{scene.label['dataset_id']}/records/bulk",
            {"items": [{"fields": "제 환자 김하늘은 어지럽다고 합니다"}]},
        )
    told = (server.home / "server.log").read_text(encoding="utf-8")
    assert "body.items.0.fields" in told and "dict_type" in told  # where and why it was refused
    assert "어지럽다고" not in told
