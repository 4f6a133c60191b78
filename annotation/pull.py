"""pull: what annotators entered so far in, appended to a JSONL file of responses where it is new or changed."""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import argilla

from annotation.connection import users
from annotation.dataset import datasets, pushed, records, response
from annotation.rounds import Round
from stages.core.artifacts import lock
from stages.core.records import Response, append_jsonl, read_appended
from stages.core.votes import newest

log = logging.getLogger("kormed")


@dataclass(frozen=True)
class Pulled:
    """The newest response of each annotator to each of the round's comparisons and repeats, by status."""

    submitted: int
    draft: int
    discarded: int
    appended: int  # lines that the file did not have: new responses, and changed ones again
    unknown: int  # responses to other comparisons, from older candidates; they stay on the server


def pull(client: argilla.Argilla, round: Round) -> Pulled:
    """The round's file is append-only; of several lines for one comparison and annotator the last one counts.

    Every dataset of the round's kind is read, so that a comparison that stayed the same in newer candidates keeps what
    was said of it. What comes in now stands behind what came before, whatever the server's clock says of it, so a
    changed answer counts; only among those that come in together the clock decides. An answer that was withdrawn or
    deleted on the server stays in the file.

    Raises:
        KormedError: these comparisons were never pushed.
    """
    pushed(client, round)
    found = list(_responses(client, round))
    file = round.file
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock(file.parent, "the responses"):  # two pulls at once would cut each other's lines
        lines = read_appended(file, Response)
        new = _missing(found, lines, round)
        if new:
            append_jsonl(file, new)
    counting = newest([*lines, *new], round.known, round.name)
    statuses = [answer.status for by_annotator in counting.values() for answer in by_annotator.values()]
    return Pulled(
        submitted=statuses.count("submitted"),
        draft=statuses.count("draft"),
        discarded=statuses.count("discarded"),
        appended=len(new),
        unknown=sum(answer.comparison_id not in round.known for answer in found),
    )


def count_missing(client: argilla.Argilla, round: Round) -> int:
    """Responses that a pull would append now."""
    return len(_missing(_responses(client, round), read_appended(round.file, Response), round))


def _missing(found: Iterable[Response], lines: Iterable[Response], round: Round) -> list[Response]:
    """Those of the round that the file does not have, the oldest first."""
    there = set(lines)
    new = {answer for answer in found if answer.comparison_id in round.known and answer not in there}
    return sorted(new, key=lambda answer: (answer.submitted_at, answer.comparison_id, answer.annotator))


def _responses(client: argilla.Argilla, round: Round) -> Iterator[Response]:
    names = {user["id"]: user["username"] for user in users(client, round.workspace)}
    ours = re.compile(re.escape(round.dataset[:-8]) + "[0-9a-f]{8}")
    nameless = 0
    for dataset in datasets(client, round.workspace):
        if dataset["status"] != "ready" or not ours.fullmatch(dataset["name"]):
            continue
        for item in records(client, dataset["id"], with_responses=True):
            for answer in item["responses"]:
                if answer["user_id"] in names:
                    yield response(round.name, item["external_id"], names[answer["user_id"]], answer)
                else:
                    nameless += 1
    if nameless:  # an admin sees the names of members only
        log.warning(
            "%s: %d responses are of people who left workspace %s, whose names only an owner's key shows; they stay on "
            "the server until you pull with one",
            client.api_url,
            nameless,
            round.workspace,
        )
