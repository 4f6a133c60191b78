"""push: comparisons in, a published Argilla dataset with one record each out. Again or after a kill: the same set."""

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import argilla
import httpx
from argilla._exceptions import ConflictError, InternalServerError, SettingsError  # no public names for them

from annotation.connection import get
from annotation.dataset import METADATA, UNSAFE, find, guidelines, record, records, settings
from annotation.rounds import Round
from stages.core.errors import KormedError
from stages.core.records import Comparison

log = logging.getLogger("kormed")

BATCH = 500  # records a request; the server takes no more
TIMES = 6  # that a push looks again at what is there, where another one comes between
# Another push made the same dataset or put the same records in: the server wants each once, answers 500 and closes the
# connection, which may only be noticed when the next request uses it.
CAME_BETWEEN = (ConflictError, InternalServerError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
DRAFT_SECONDS = 10.0  # after which a draft is one that an earlier push left; making one takes a second or two


@dataclass(frozen=True)
class Pushed:
    """What the dataset has now. `repeats` are the hidden ones among `total`."""

    dataset: str
    total: int
    repeats: int
    new: int  # records that were not there before


def push(client: argilla.Argilla, round: Round) -> Pushed:
    """Settings are published first, records then go in by their comparison's id: what is there is left as it is.

    Raises:
        KormedError: no comparisons.
    """
    if not round.shown:
        raise KormedError("no comparisons to push; run `kormed candidates` and look at its metrics")
    for times in range(1, TIMES):
        try:
            return _push(client, round)
        except CAME_BETWEEN:
            time.sleep(random.uniform(0, 0.2 * 2**times))  # in step, two pushes would meet again at every batch
    return _push(client, round)


def _push(client: argilla.Argilla, round: Round) -> Pushed:
    found = _published(client, round) or _made(client, round)
    _update(client, found, round)
    before = _present(client, found)
    new = [comparison for comparison in round.shown if comparison.id not in before]
    _send(client, found, new, round)
    there = _present(client, found) if new else before  # reads every record, whose texts Argilla cannot leave out
    return Pushed(round.dataset, total=len(there), repeats=len(there - round.originals), new=len(there - before))


def _send(client: argilla.Argilla, found: Mapping[str, Any], new: Sequence[Comparison], round: Round) -> None:
    for start in range(0, len(new), BATCH):
        models = [record(round, comparison).api_model() for comparison in new[start : start + BATCH]]
        client.api.records.bulk_upsert(dataset_id=found["id"], records=models)


def _present(client: argilla.Argilla, found: Mapping[str, Any]) -> set[str]:
    return {item["external_id"] for item in records(client, found["id"], with_responses=False)}


def _published(client: argilla.Argilla, round: Round) -> dict[str, Any] | None:
    """The round's dataset; None where it is not there. A draft is waited for: another push may be making it."""
    until = time.monotonic() + DRAFT_SECONDS
    while (found := find(client, round.workspace, round.dataset)) and found["status"] == "draft":
        if time.monotonic() > until:
            log.info("dataset %s was left half-made by an earlier push; making it anew", round.dataset)
            client.api.datasets.delete(found["id"])  # a draft holds no records
            return None
        time.sleep(0.5)
    return found


def _made(client: argilla.Argilla, round: Round) -> dict[str, Any]:
    new = argilla.Dataset(
        name=round.dataset, workspace=round.workspace, settings=settings(client, round), client=client
    )
    try:
        new.create()
    except (ConflictError, SettingsError):
        if (found := _published(client, round)) is None:  # not another push's
            raise
        return found
    found = find(client, round.workspace, round.dataset)
    assert found is not None
    return found


def _update(client: argilla.Argilla, found: Mapping[str, Any], round: Round) -> None:
    """Follow the recipe, the guidelines and newer versions of kormed where they changed since the dataset was made."""
    path = f"/datasets/{found['id']}"
    wanted = {
        "guidelines": guidelines(round.name),
        "distribution": {"strategy": "overlap", "min_submitted": round.responses_each},
    }
    if changes := {key: value for key, value in wanted.items() if found[key] != value}:
        # Argilla 2.8 takes another number of responses at any time, and updates the status of every record by itself.
        client.http_client.patch(f"/api/v1{path}", json=changes).raise_for_status()
    properties = {item["name"] for item in get(client, f"/me{path}/metadata-properties")["items"]}
    for name, title in METADATA.items():
        if name not in properties:
            body = {"name": name, "title": title, "settings": {"type": "terms"}, "visible_for_annotators": False}
            client.http_client.post(f"/api/v1{path}/metadata-properties", json=body).raise_for_status()
    questions = {item["name"] for item in get(client, f"{path}/questions")["items"]}
    if missing := [name for name in UNSAFE.values() if name not in questions]:
        log.warning(
            "dataset %s was made by an older kormed and does not ask %s; Argilla adds no question to a published "
            "dataset, so these comparisons are labelled without; those of new candidates will have it",
            found["name"],
            ", ".join(missing),
        )
