"""preferences: comparisons and annotators' responses in, chosen/rejected pairs out.

Only submitted responses count, an annotator's newest one; a strict majority decides, or the adjudicators where they
were asked. Hidden repeats measure annotators and never vote. Writes `train.jsonl` and `heldout.jsonl` (Preference,
split by consult), `dropped.jsonl` (comparisons that make none, with the reason), `labels.json` (who said what how
often, and how far they agree) and `dataset/` (train and held-out as `datasets.load_dataset` reads them, with a card).
"""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from stages.core import chat, preference_dataset
from stages.core.artifacts import read_manifest, write_json
from stages.core.errors import KormedError
from stages.core.pairing import swap
from stages.core.preference_labels import labels
from stages.core.recipe import Preferences
from stages.core.records import (
    Choice,
    Comparison,
    Dropped,
    Flag,
    Preference,
    Response,
    read_jsonl,
    read_whole_lines,
    write_jsonl,
)
from stages.core.votes import Votes, majority, newest, submitted

log = logging.getLogger("kormed")


def run(config: Preferences, out: Path, *, candidates: Path, responses: Path) -> dict[str, float]:
    comparisons = read_jsonl(candidates / "comparisons.jsonl", Comparison)
    entered = read_whole_lines(responses, Response)
    note_strangers(entered, comparisons)
    ids = [comparison.id for comparison in comparisons]
    votes, rulings = newest(entered, ids, "label"), newest(entered, ids, "adjudication")
    if not any(map(submitted, votes.values())):
        raise KormedError(
            f"{responses}: no submitted response to the {len(comparisons)} comparisons of {candidates}; "
            f"label some (make label), then make pull"
        )
    note_overruled(votes, rulings)
    judged = [judge(row, submitted(votes[row.id]), submitted(rulings[row.id]), config) for row in comparisons]
    preferences = [row for row in judged if isinstance(row, Preference)]
    dropped = [row for row in judged if isinstance(row, Dropped)]
    train, heldout = split(preferences, config)
    counts = labels(votes, rulings, preferences, dropped)
    write_jsonl(out / "train.jsonl", train)
    write_jsonl(out / "heldout.jsonl", heldout)
    write_jsonl(out / "dropped.jsonl", dropped)
    write_json(out / "labels.json", counts)
    for kind, count in Counter(row.kind for row in dropped).items():
        log.info("preferences: dropped %d of %d: %s", count, len(comparisons), kind)
    if not train:
        raise KormedError(
            f"preferences: none of {len(comparisons)} comparisons has a winner to train on; label more, then make pull"
        )
    if warning := counts["lengths"]["warning"]:
        log.warning("preferences: %s", warning)
    made = read_manifest(candidates)
    preference_dataset.write(
        out / "dataset",
        {"train": train, "test": heldout},
        comparisons,
        counts,
        name=candidates.resolve().parent.name,
        base=made.config["model"]["base"] if made else None,
        unsafe=config.unsafe,
    )
    return {"preferences": len(preferences), "train": len(train), "heldout": len(heldout), "dropped": len(dropped)}


def note_strangers(entered: Sequence[Response], comparisons: Sequence[Comparison]) -> None:
    known = {one.id for comparison in comparisons for one in (comparison, swap(comparison))}
    if strangers := sum(response.comparison_id not in known for response in entered):
        log.info("preferences: %d responses are to comparisons of other candidates; they stay in the file", strangers)


def note_overruled(votes: Votes, rulings: Votes) -> None:
    for id, by_annotator in votes.items():
        own, ruling = majority(submitted(by_annotator)), majority(submitted(rulings[id]))
        if own and ruling and own != ruling:
            log.info("preferences: %s: the adjudicators' %s stands over the annotators' %s", id, ruling, own)


def judge(
    comparison: Comparison, responses: Sequence[Response], rulings: Sequence[Response], config: Preferences
) -> Preference | Dropped:
    """What the annotators' submitted `responses` and the adjudicators' `rulings` make of a comparison.

    More than half must say the same, and it must be a side. Where adjudicators agree, theirs is the last word, also
    over a majority that annotators come to afterwards by changing their minds: they were asked to end the matter, they
    had read what the others said, and they can take it back (discard it), while a word that a later vote undoes is
    lost without anybody being told.
    """

    def drop(reason: str) -> Dropped:
        return Dropped(id=comparison.id, reason=reason, text=comparison.question)

    if len(responses) < config.min_responses:
        return drop(f"fewer than {config.min_responses} responses" if responses else "no response")
    ruling = majority(rulings)
    value = ruling or majority(responses)
    if value is None:
        return drop("undecided: the adjudicators do not agree either" if rulings else "undecided")
    if value == "tie" or value == "both_bad":
        return drop(value)
    flags = unsafe(value, [*responses, *rulings])
    if flags and config.unsafe == "drop":
        return drop(f"the better answer was marked unsafe: {', '.join(flags)}")
    chosen, rejected = (comparison.a, comparison.b) if value == "a" else (comparison.b, comparison.a)
    votes = Counter(response.value for response in responses if response.value is not None)
    return Preference(
        id=comparison.id,
        consult_id=comparison.consult_id,
        prompt=chat.consult_prompt(comparison.question, comparison.patient_information),
        chosen=chat.reply(chosen.text),
        rejected=chat.reply(rejected.text),
        votes=dict(votes),
        agreement=votes[value] / len(responses),
        adjudicated=ruling is not None,
    )


def unsafe(side: Choice, responses: Sequence[Response]) -> list[Flag]:
    """What anybody marked the answer on a side for, each reason once, in the order of the page."""
    marked = {flag for r in responses for flag in (r.unsafe_a if side == "a" else r.unsafe_b)}
    return [flag for flag in get_args(Flag) if flag in marked]


def split(preferences: Sequence[Preference], config: Preferences) -> tuple[list[Preference], list[Preference]]:
    """Train and held-out by consult, so that none stands on both sides."""
    consults = sorted({preference.consult_id for preference in preferences})
    random.Random(config.seed).shuffle(consults)
    n_heldout = min(len(consults) - 1, round(len(consults) * config.heldout)) if consults else 0
    kept_back = set(consults[:n_heldout])
    train = [preference for preference in preferences if preference.consult_id not in kept_back]
    return train, [preference for preference in preferences if preference.consult_id in kept_back]
