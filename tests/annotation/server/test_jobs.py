"""jobs: what stays off says so; what Argilla would hand to a worker is done all the same."""

import time

import pytest

from annotation.api import Api, Refused
from tests.annotation.server.examples import make_dataset, make_workspace, put_records, record_id, respond


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("GET", "/jobs/some-job", "not listed"),
        ("POST", "/datasets/{dataset}/import", "through the hub are off"),
        ("POST", "/datasets/{dataset}/export", "through the hub are off"),
        ("POST", "/webhooks", "webhooks are off"),
        ("PATCH", "/webhooks/{dataset}", "webhooks are off"),
        ("DELETE", "/webhooks/{dataset}", "webhooks are off"),
        ("POST", "/webhooks/{dataset}/ping", "webhooks are off"),
        ("GET", "/oauth2/providers/huggingface/authentication", "signs in with a password or a key"),
        ("GET", "/oauth2/providers/huggingface/access-token", "signs in with a password or a key"),
    ],
)
def test_a_feature_that_is_off_says_so(owner: Api, contract: str, method: str, path: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        owner.call(method, path.format(dataset=contract), {})
    assert refused.value.status == 501


def test_the_page_is_told_of_no_feature_that_is_off(owner: Api) -> None:
    assert owner.get("/oauth2/providers") == {"items": []}
    assert owner.get("/webhooks") == {"items": []}
    assert owner.get("/settings") == {"argilla": {"share_your_progress_enabled": False}}


def test_records_follow_when_another_number_of_responses_is_wanted(persons: dict[str, Api]) -> None:
    """Argilla leaves that to a worker; without one a record would stay as it was."""
    owner = persons["owner"]
    workspace = make_workspace(owner, "followed", ("doctor-kim",))
    dataset = make_dataset(owner, workspace, "followed", each=2)
    put_records(owner, dataset, [{"external_id": "one", "fields": {"text": "질문"}}])
    respond(persons["doctor-kim"], record_id(owner, dataset, "one"), {"label": "yes"})
    assert owner.get(f"/datasets/{dataset}/progress")["completed"] == 0
    owner.patch(f"/datasets/{dataset}", {"distribution": {"strategy": "overlap", "min_submitted": 1}})
    for _ in range(200):
        if owner.get(f"/datasets/{dataset}/progress")["completed"]:
            return
        time.sleep(0.05)
    pytest.fail("the record is still pending")
