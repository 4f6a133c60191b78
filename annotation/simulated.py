"""Simulated annotators: they answer comparisons by a rule (rule.py), each with its own key, through the API.

They stand in for people in the demo and in tests, and prove the way from answer to preference, not any medicine. Their
names start with `simulated-` everywhere; people who label beside them are never answered for.

Where fewer responses a comparison are wanted than there are annotators, they take turns; who begins is drawn by seed.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.api import Api
from annotation.dataset import COMMENT, PREFERENCE, dataset_name
from annotation.rule import vote
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from stages.core.records import Choice, Comparison

PREFIX = "simulated-"
PAGE = 500
BATCH = 50  # responses a request; the server takes up to 100


@dataclass(frozen=True)
class Simulated:
    """Responses submitted just now, by annotator."""

    submitted: dict[str, int]


def simulate(
    url: str,
    credentials: Mapping[str, str],
    workspace: str,
    comparisons: Sequence[Comparison],
    config: Annotation,
    seed: int,
) -> Simulated:
    """Answer what is still pending for each annotator. `credentials`: API keys by username.

    Raises:
        KormedError: every annotator is a person, a key is missing, or the comparisons were not pushed.
    """
    names = simulated_names(config)
    if missing := [name for name in names if name not in credentials]:
        raise KormedError(f"no API key of {', '.join(missing)} for {url}")
    turns = _turns(comparisons, names, min(config.responses_per_comparison, len(names)), seed)
    known = {comparison.id: comparison for comparison in comparisons}
    submitted = {}
    for name in names:
        api = Api(url, credentials[name])
        dataset_id = _dataset_id(api, workspace, dataset_name(workspace, comparisons))
        answers = [
            _answer(record_id, vote(known[comparison_id], name, config.simulation, seed))
            for comparison_id, record_id in sorted(_pending(api, dataset_id))
            if name in turns.get(comparison_id, ())
        ]
        for start in range(0, len(answers), BATCH):
            _submit(api, answers[start : start + BATCH])
        submitted[name] = len(answers)
    return Simulated(submitted)


def simulated_names(config: Annotation) -> list[str]:
    """The recipe's annotators that may be simulated.

    Raises:
        KormedError: there is none.
    """
    names = [name for name in config.annotators if name.startswith(PREFIX)]
    if not names:
        raise KormedError(
            f"{', '.join(config.annotators)}: nothing is ever answered in a person's name; simulated annotators are "
            f"called {PREFIX}…, for example --set 'annotation.annotators=[{PREFIX}1, {PREFIX}2]'"
        )
    return names


def _turns(comparisons: Sequence[Comparison], names: Sequence[str], each: int, seed: int) -> dict[str, set[str]]:
    ids = sorted(comparison.id for comparison in comparisons)
    random.Random(seed).shuffle(ids)
    return {
        comparison_id: {names[(place * each + turn) % len(names)] for turn in range(each)}
        for place, comparison_id in enumerate(ids)
    }


def _dataset_id(api: Api, workspace: str, name: str) -> str:
    found = [dataset for dataset in api.get("/me/datasets?status=ready")["items"] if dataset["name"] == name]
    if not found:
        raise KormedError(
            f"{api.url}: no dataset {name} in workspace {workspace} for these people; run `kormed annotate push` first"
        )
    return str(found[0]["id"])


def _pending(api: Api, dataset_id: str) -> Iterator[tuple[str, str]]:
    """Comparison id and record id of what the annotator's own queue shows as pending."""
    wanted = [_terms("response", "pending"), _terms("record", "pending")]
    offset = 0
    while True:
        path = f"/me/datasets/{dataset_id}/records/search?offset={offset}&limit={PAGE}"
        page = api.post(path, {"filters": {"and": wanted}})["items"]
        yield from ((item["record"]["external_id"], item["record"]["id"]) for item in page)
        if len(page) < PAGE:
            return
        offset += PAGE


def _terms(entity: str, value: str) -> dict[str, Any]:
    return {"type": "terms", "scope": {"entity": entity, "property": "status"}, "values": [value]}


def _answer(record_id: str, value: Choice) -> dict[str, Any]:
    values = {PREFERENCE: {"value": value}, COMMENT: {"value": "simulated"}}
    return {"record_id": record_id, "values": values, "status": "submitted"}


def _submit(api: Api, answers: Sequence[dict[str, Any]]) -> None:
    """Upsert, so that a repeated request is no conflict."""
    done = api.post("/me/responses/bulk", {"items": list(answers)})["items"]
    if refused := [item["error"]["detail"] for item in done if item["error"]]:
        raise KormedError(f"{api.url}: {len(refused)} of {len(answers)} responses refused, the first: {refused[0]}")
