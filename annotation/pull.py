"""pull: what annotators entered so far in, appended to a JSONL file of responses where it is new or changed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import argilla

from annotation.connection import get
from annotation.dataset import COMMENT, PREFERENCE, datasets, pushed, records
from stages.core.artifacts import lock
from stages.core.records import Comparison, Response, append_jsonl, read_appended


@dataclass(frozen=True)
class Pulled:
    """Responses to the given comparisons as the server has them now, by status."""

    submitted: int
    draft: int
    discarded: int
    appended: int  # lines that the file did not have: new responses, and changed ones again
    unknown: int  # responses to other comparisons, from older candidates; they stay on the server


def pull(client: argilla.Argilla, workspace: str, comparisons: Sequence[Comparison], file: Path) -> Pulled:
    """The file is append-only; of several lines for one comparison and annotator the last one counts.

    Every dataset of the recipe is read, so that a comparison that stayed the same in newer candidates keeps what was
    said of it. An answer that an annotator withdrew on the server stays in the file.

    Raises:
        KormedError: these comparisons were never pushed.
    """
    pushed(client, workspace, comparisons)
    known = {comparison.id for comparison in comparisons}
    found = list(_responses(client, workspace))
    newest: dict[tuple[str, str], Response] = {}
    for response in sorted(found, key=lambda response: response.submitted_at):
        if response.comparison_id in known:
            newest[response.comparison_id, response.annotator] = response
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock(file.parent, "the responses"):  # two pulls at once would cut each other's lines
        before = {(line.comparison_id, line.annotator): line for line in read_appended(file, Response)}
        changed = [response for key, response in sorted(newest.items()) if before.get(key) != response]
        if changed:
            append_jsonl(file, changed)
    statuses = [response.status for response in newest.values()]
    return Pulled(
        submitted=statuses.count("submitted"),
        draft=statuses.count("draft"),
        discarded=statuses.count("discarded"),
        appended=len(changed),
        unknown=sum(response.comparison_id not in known for response in found),
    )


def _responses(client: argilla.Argilla, workspace: str) -> Iterator[Response]:
    usernames = {user["id"]: user["username"] for user in get(client, "/users")["items"]}
    ours = re.compile(re.escape(workspace) + "-[0-9a-f]{8}")
    for dataset in datasets(client, workspace):
        if dataset["status"] != "ready" or not ours.fullmatch(dataset["name"]):
            continue
        for item in records(client, dataset["id"], with_responses=True):
            for answer in item["responses"]:
                yield _response(item["external_id"], usernames[answer["user_id"]], answer)


def _response(comparison_id: str, annotator: str, answer: dict[str, Any]) -> Response:
    moment = datetime.fromisoformat(answer["updated_at"])
    values = {name: value["value"] for name, value in (answer["values"] or {}).items()}
    return Response.model_validate(
        {
            "comparison_id": comparison_id,
            "annotator": annotator,
            "value": values.get(PREFERENCE),
            "status": answer["status"],
            "comment": values.get(COMMENT) or "",
            "submitted_at": moment if moment.tzinfo else moment.replace(tzinfo=UTC),  # the server leaves it out
        }
    )
