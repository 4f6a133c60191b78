"""Simulated annotators: they answer comparisons by a rule over the two texts, each with its own key, through the API.

They stand in for people in the demo and in tests, and prove the way from answer to preference, not any medicine. Their
names start with `simulated-` everywhere; people who label beside them are never answered for.

The rule. Each answer gets a score from 0 to 1, the weighted mean of
    3  no repetition: distinct among all runs of 8 characters
    2  Korean: hangul among all letters (0.6 and more counts as all; drug names are Latin)
    2  length: 60 to 600 characters count fully, shorter and longer ones in proportion
    2  finished: not cut off by the token limit
    1  advice to see a doctor, have an examination or, where needed, go to an emergency room
Both below 0.35: both_bad. Nearer to each other than annotation.simulation.tie_margin: tie. Else the higher one.
With chance annotation.simulation.disagreement an annotator draws one of the four values instead. The draw depends on
the seed, the annotator and the comparison, on nothing else, so a repeated run answers the same.

Where fewer responses a comparison are wanted than there are annotators, they take turns; who begins is drawn by seed.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from annotation.api import Api
from annotation.dataset import COMMENT, PREFERENCE, dataset_name
from stages.core.errors import KormedError
from stages.core.recipe import Annotation, Simulation
from stages.core.records import Candidate, Choice, Comparison

PREFIX = "simulated-"
FLOOR = 0.35
RUN = 8  # characters
ADVICE = re.compile(r"병원|의원|진료|내원|전문의|응급실|119|검사를|진찰|의사와|의료진|상담하")
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


def score(candidate: Candidate) -> float:
    text = candidate.text.strip()
    if not text:
        return 0.0
    runs = [text[start : start + RUN] for start in range(max(1, len(text) - RUN + 1))]
    letters = [letter for letter in text if letter.isalpha()]
    hangul = sum("가" <= letter <= "힣" for letter in letters) / len(letters) if letters else 0.0
    parts = (
        (3, len(set(runs)) / len(runs)),
        (2, min(1.0, hangul / 0.6)),
        (2, min(1.0, len(text) / 60, 600 / len(text))),
        (2, float(candidate.finished)),
        (1, float(bool(ADVICE.search(text)))),
    )
    return sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)


def judge(a: Candidate, b: Candidate, tie_margin: float) -> Choice:
    score_a, score_b = score(a), score(b)
    if max(score_a, score_b) < FLOOR:
        return "both_bad"
    if abs(score_a - score_b) <= tie_margin:
        return "tie"
    return "a" if score_a > score_b else "b"


def vote(comparison: Comparison, annotator: str, simulation: Simulation, seed: int) -> Choice:
    """The rule's answer, or a random one where this annotator disagrees."""
    rng = random.Random(f"{seed}/{annotator}/{comparison.id}")
    if rng.random() < simulation.disagreement:
        return rng.choice(get_args(Choice))
    return judge(comparison.a, comparison.b, simulation.tie_margin)


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
