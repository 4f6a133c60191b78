"""preferences: comparisons and annotators' responses in, chosen/rejected pairs out.

Only submitted responses count, an annotator's newest one; a strict majority decides. Writes `train.jsonl` and
`heldout.jsonl` (Preference, split by consult), `dropped.jsonl` (comparisons that make none, with the reason) and
`labels.json` (who said what how often, and how far they agree).
"""

import logging
import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import get_args

from stages.core import chat
from stages.core.artifacts import write_json
from stages.core.errors import KormedError
from stages.core.recipe import Preferences
from stages.core.records import (
    Choice,
    Comparison,
    Dropped,
    Preference,
    Response,
    read_jsonl,
    read_whole_lines,
    write_jsonl,
)

log = logging.getLogger("kormed")

Votes = dict[str, dict[str, Response]]  # by comparison, then annotator: each one's newest response


def run(config: Preferences, out: Path, *, candidates: Path, responses: Path) -> dict[str, float]:
    comparisons = read_jsonl(candidates / "comparisons.jsonl", Comparison)
    votes = newest(read_whole_lines(responses, Response), {comparison.id for comparison in comparisons})
    submitted = {
        id: {name: r for name, r in by_name.items() if r.status == "submitted" and r.value}
        for id, by_name in votes.items()
    }
    if not any(submitted.values()):
        raise KormedError(
            f"{responses}: no submitted response to the {len(comparisons)} comparisons of {candidates}; "
            f"label some (make label), then make pull"
        )
    judged = [judge(comparison, list(submitted[comparison.id].values()), config) for comparison in comparisons]
    preferences = [row for row in judged if isinstance(row, Preference)]
    dropped = [row for row in judged if isinstance(row, Dropped)]
    train, heldout = split(preferences, config)
    write_jsonl(out / "train.jsonl", train)
    write_jsonl(out / "heldout.jsonl", heldout)
    write_jsonl(out / "dropped.jsonl", dropped)
    write_json(out / "labels.json", labels(votes, preferences, dropped))
    for reason, count in Counter(row.reason for row in dropped).items():
        log.info("preferences: dropped %d of %d: %s", count, len(comparisons), reason)
    if not train:
        raise KormedError(
            f"preferences: none of {len(comparisons)} comparisons has a winner to train on; label more, then make pull"
        )
    return {"preferences": len(preferences), "train": len(train), "heldout": len(heldout), "dropped": len(dropped)}


def newest(responses: list[Response], known: set[str]) -> Votes:
    """The newest response of each annotator to each known comparison; the file is append-only, later lines win."""
    votes: Votes = {id: {} for id in known}
    strangers = 0
    for response in responses:
        if response.comparison_id in known:
            votes[response.comparison_id][response.annotator] = response
        else:
            strangers += 1
    if strangers:
        log.info("preferences: %d responses are to comparisons of other candidates; they stay in the file", strangers)
    return votes


def judge(comparison: Comparison, responses: list[Response], config: Preferences) -> Preference | Dropped:
    """More than half of the submitted responses must say the same, and it must be a side."""
    if len(responses) < config.min_responses:
        reason = "no response" if not responses else f"fewer than {config.min_responses} responses"
        return Dropped(id=comparison.id, reason=reason, text=comparison.question)
    votes: Counter[Choice] = Counter(r.value for r in responses if r.value is not None)
    value, count = votes.most_common(1)[0]
    if count * 2 <= len(responses):
        return Dropped(id=comparison.id, reason="undecided", text=comparison.question)
    if value in ("tie", "both_bad"):
        return Dropped(id=comparison.id, reason=value, text=comparison.question)
    chosen, rejected = (comparison.a, comparison.b) if value == "a" else (comparison.b, comparison.a)
    return Preference(
        id=comparison.id,
        consult_id=comparison.consult_id,
        prompt=chat.consult_prompt(comparison.question, comparison.patient_information),
        chosen=chat.reply(chosen.text),
        rejected=chat.reply(rejected.text),
        votes=dict(votes),
        agreement=count / len(responses),
    )


def split(preferences: list[Preference], config: Preferences) -> tuple[list[Preference], list[Preference]]:
    """Train and held-out by consult, so that none stands on both sides."""
    consults = sorted({preference.consult_id for preference in preferences})
    random.Random(config.seed).shuffle(consults)
    n_heldout = min(len(consults) - 1, round(len(consults) * config.heldout)) if consults else 0
    kept_back = set(consults[:n_heldout])
    train = [preference for preference in preferences if preference.consult_id not in kept_back]
    return train, [preference for preference in preferences if preference.consult_id in kept_back]


def labels(votes: Votes, preferences: list[Preference], dropped: list[Dropped]) -> dict[str, object]:
    responses = [response for by_name in votes.values() for response in by_name.values()]
    submitted = [response for response in responses if response.status == "submitted"]
    pairs = [
        (one.value, other.value)
        for by_name in votes.values()
        for one, other in combinations([r for r in by_name.values() if r.status == "submitted"], 2)
    ]
    return {
        "responses": {s: sum(r.status == s for r in responses) for s in ("submitted", "draft", "discarded")},
        "values": _count(submitted),
        "annotators": {
            name: {"submitted": len(own), **_count(own)}
            for name in sorted({r.annotator for r in submitted})
            if (own := [r for r in submitted if r.annotator == name])
        },
        "comparisons": len(votes),
        "labelled": sum(any(r.status == "submitted" for r in by_name.values()) for by_name in votes.values()),
        "kept": len(preferences),
        "dropped": dict(Counter(row.reason for row in dropped)),
        "agreement": sum(one == other for one, other in pairs) / len(pairs) if pairs else None,
    }


def _count(responses: list[Response]) -> dict[str, int]:
    return {value: sum(r.value == value for r in responses) for value in get_args(Choice)}
