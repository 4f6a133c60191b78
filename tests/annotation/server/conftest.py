"""One dataset for all tests that only read it."""

import pytest

from annotation.api import Api
from annotation.embedded import Server
from annotation.people import Credential
from tests.annotation.server.examples import (
    KINDS,
    RECORDS,
    make_dataset,
    make_workspace,
    put_records,
    record_id,
    respond,
    suggest,
)


@pytest.fixture(scope="session")
def persons(server: Server, people: dict[str, Credential]) -> dict[str, Api]:
    return {name: Api(server.url, person.api_key) for name, person in people.items()}


@pytest.fixture
def first(persons: dict[str, Api]) -> Api:
    """An annotator who is not the doctor."""
    return persons["simulated-1"]


@pytest.fixture(scope="session")
def contract(persons: dict[str, Api]) -> str:
    """Id of a dataset with five records, some with responses and suggestions. Tests read it and leave it as it is.

    one    label yes by the doctor and no by the first annotator; 5 and 2 stars; suggestions of all kinds
    two    label no, topics fever and cough, a draft of the doctor
    three  discarded by the doctor
    """
    owner, doctor, first = persons["owner"], persons["doctor-kim"], persons["simulated-1"]
    workspace = make_workspace(owner, "contract", ("doctor-kim", "simulated-1"))
    dataset = make_dataset(owner, workspace, "contract", questions=tuple(KINDS))
    put_records(owner, dataset, RECORDS)
    one, two, three = (record_id(owner, dataset, name) for name in ("one", "two", "three"))
    everything = {
        "label": "yes",
        "topics": ["pain"],
        "stars": 5,
        "order": [{"value": "a", "rank": 1}, {"value": "b", "rank": 2}],
        "marks": [{"label": "drug", "start": 0, "end": 2}],
        "comment": "잘 썼습니다",
    }
    respond(doctor, one, everything)
    respond(first, one, {"label": "no", "stars": 2})
    respond(doctor, two, {"label": "no", "topics": ["fever", "cough"], "stars": 4}, "draft")
    respond(doctor, three, None, "discarded")
    suggest(owner, dataset, one, "label", value="yes", score=0.9, agent="model-a", type="model")
    suggest(owner, dataset, one, "topics", value=["pain", "cough"], score=[0.2, 0.8], agent="model-b", type="human")
    suggest(owner, dataset, two, "label", value="no", score=0.4, agent="model-b", type="human")
    suggest(owner, dataset, two, "stars", value=3)
    suggest(owner, dataset, three, "stars", value=5, score=0.1)
    return dataset
