"""Simulated annotators: they answer comparisons by a rule (rule.py), each with its own key, through the API.

They stand in for people in the demo and in tests, and prove the way from answer to preference, not any medicine. Their
names start with `simulated-` everywhere; people who label beside them are never answered for.

Where fewer responses a comparison are wanted than there are annotators, they take turns; who begins is drawn by seed.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.api import Api
from annotation.dataset import COMMENT, HOW_TO_PUSH, PREFERENCE, UNSAFE
from annotation.rounds import Round
from annotation.rule import flags, vote
from stages.core.errors import KormedError
from stages.core.pairing import swap
from stages.core.recipe import Annotation, Simulation
from stages.core.records import SIMULATED, Comparison, is_simulated

PAGE = 500
BATCH = 50  # responses a request; the server takes up to 100


@dataclass(frozen=True)
class Simulated:
    """Responses submitted just now, by annotator."""

    submitted: dict[str, int]


def simulate(
    url: str,
    credentials: Mapping[str, str],
    round: Round,
    config: Annotation,
    seed: int,
) -> Simulated:
    """Answer what is still pending for each annotator. `credentials`: API keys by username.

    Raises:
        KormedError: every annotator is a person, a key is missing, or the comparisons were not pushed.
    """
    names = simulated_names(round)
    if missing := [name for name in names if name not in credentials]:
        raise KormedError(f"no API key of {', '.join(missing)} for {url}")
    turns = _turns(round, names, min(round.responses_each, len(names)), seed)
    known = {one.id: one for comparison in round.comparisons for one in (comparison, swap(comparison))}
    submitted = {}
    for name in names:
        api = Api(url, credentials[name])
        dataset_id = _dataset_id(api, round)
        questions = {item["name"] for item in api.get(f"/datasets/{dataset_id}/questions")["items"]}
        answers = [
            _answer(record_id, known[comparison_id], name, config.simulation, seed, questions)
            for comparison_id, record_id in sorted(_pending(api, dataset_id))
            if name in turns.get(comparison_id, ())
        ]
        for start in range(0, len(answers), BATCH):
            _submit(api, answers[start : start + BATCH])
        submitted[name] = len(answers)
    return Simulated(submitted)


def simulated_names(round: Round) -> list[str]:
    """The round's people that may be simulated.

    Raises:
        KormedError: there is none.
    """
    names = [name for name in round.people if is_simulated(name)]
    if not names:
        raise KormedError(
            f"{', '.join(round.people) or 'nobody'}: nothing is ever answered in a person's name; who is simulated is "
            f"called {SIMULATED}…, for example --set 'annotation.{_key(round)}=[{SIMULATED}1, {SIMULATED}2]'"
        )
    return names


def _key(round: Round) -> str:
    return "adjudicators" if round.name == "adjudication" else "annotators"


def _turns(round: Round, names: Sequence[str], each: int, seed: int) -> dict[str, set[str]]:
    """Who answers which; a repeat goes to those who had the original."""
    comparisons = sorted(round.comparisons, key=lambda comparison: comparison.id)
    random.Random(seed).shuffle(comparisons)
    turns: dict[str, set[str]] = {}
    for place, comparison in enumerate(comparisons):
        these = {names[(place * each + turn) % len(names)] for turn in range(each)}
        turns[comparison.id] = turns[swap(comparison).id] = these
    return turns


def _dataset_id(api: Api, round: Round) -> str:
    found = [dataset for dataset in api.get("/me/datasets?status=ready")["items"] if dataset["name"] == round.dataset]
    if not found:
        raise KormedError(
            f"{api.url}: no dataset {round.dataset} in workspace {round.workspace} for these people; "
            f"run `{HOW_TO_PUSH[round.name]}` first"
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


def _answer(
    record_id: str, comparison: Comparison, name: str, simulation: Simulation, seed: int, questions: Collection[str]
) -> dict[str, Any]:
    """What the annotator submits, to those questions that the dataset asks."""
    values: dict[str, Any] = {
        PREFERENCE: vote(comparison, name, simulation, seed),
        COMMENT: "simulated",
        **{UNSAFE[side]: found for side, found in flags(comparison).items() if found},
    }
    answered = {question: {"value": value} for question, value in values.items() if question in questions}
    return {"record_id": record_id, "values": answered, "status": "submitted"}


def _submit(api: Api, answers: Sequence[dict[str, Any]]) -> None:
    """Upsert, so that a repeated request is no conflict."""
    done = api.post("/me/responses/bulk", {"items": list(answers)})["items"]
    if refused := [item["error"]["detail"] for item in done if item["error"]]:
        raise KormedError(f"{api.url}: {len(refused)} of {len(answers)} responses refused, the first: {refused[0]}")
