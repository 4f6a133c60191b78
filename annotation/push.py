"""push: comparisons in, a published Argilla dataset with one record each out. Again or after a kill: the same set."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import argilla

from annotation.dataset import dataset_name, find, guidelines, record, records, settings
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from stages.core.records import Comparison

log = logging.getLogger("kormed")

BATCH = 500  # records a request; the server takes no more


@dataclass(frozen=True)
class Pushed:
    dataset: str
    total: int
    new: int  # records that were not there before


def push(client: argilla.Argilla, workspace: str, comparisons: Sequence[Comparison], config: Annotation) -> Pushed:
    """Settings are published first, records then go in by their comparison's id: what is there is left as it is.

    Raises:
        KormedError: no comparisons.
    """
    if not comparisons:
        raise KormedError("no comparisons to push; run `kormed candidates` and look at its metrics")
    name = dataset_name(workspace, comparisons)
    found = find(client, workspace, name)
    if found is not None and found["status"] == "draft":
        log.info("dataset %s was left half-made by an earlier push; making it anew", name)  # a draft holds no records
        client.api.datasets.delete(found["id"])
        found = None
    if found is None:
        argilla.Dataset(name=name, workspace=workspace, settings=settings(client, config), client=client).create()
        found = find(client, workspace, name)
        assert found is not None
    else:
        _update(client, found, config)
    present = {item["external_id"] for item in records(client, found["id"], with_responses=False)}
    new = [comparison for comparison in comparisons if comparison.id not in present]
    dataset = client.datasets(name=name, workspace=workspace)
    for start in range(0, len(new), BATCH):
        models = [record(comparison).api_model() for comparison in new[start : start + BATCH]]
        client.api.records.bulk_upsert(dataset_id=dataset.id, records=models)
    return Pushed(name, total=len(present) + len(new), new=len(new))


def _update(client: argilla.Argilla, found: dict[str, object], config: Annotation) -> None:
    """Follow the recipe and the guidelines where they changed since the dataset was made."""
    wanted = {
        "guidelines": guidelines(),
        "distribution": {"strategy": "overlap", "min_submitted": config.responses_per_comparison},
    }
    changes = {key: value for key, value in wanted.items() if found[key] != value}
    if not changes:
        return
    # Argilla 2.8 takes another number of responses at any time, and updates the status of every record by itself.
    client.http_client.patch(f"/api/v1/datasets/{found['id']}", json=changes).raise_for_status()
