"""forget: what one annotator entered goes, on the Argilla and here. Nothing else in kormed deletes what people entered.

The order is what adjudicators were told, the server's responses, the lines here, the account: a pull in between brings
nothing back that was forgotten, and a run that was killed leaves what the next one goes by.
"""

import html
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import argilla

from annotation import people
from annotation.api import Api, Refused
from annotation.conflicts import told
from annotation.connection import connect, get, is_teams
from annotation.dataset import SAID, counted, datasets, records
from annotation.embedded import home_folder
from annotation.people import adjudication_workspace
from stages.core.artifacts import lock
from stages.core.errors import KormedError
from stages.core.pipeline import ENTERED, RESPONSES, Run
from stages.core.records import Response, read_appended, read_whole_lines
from stages.core.votes import newest, submitted

BATCH = 500  # records a request; the server takes no more
FROM_RESPONSES = ("agreement", "preferences", "dpo", "evaluate/dpo", "head_to_head", "winrate", "report")


@dataclass(frozen=True)
class Traces:
    """What there is of one person.

    Attributes:
        user: their id on the server; None: there is no account.
        responses: by dataset of this recipe, how many of theirs there are, drafts and discarded ones too.
        elsewhere: datasets of other recipes with responses of theirs.
        told: how many records for adjudicators tell what they said.
        lines: by file, how many of its lines are theirs.
    """

    user: str | None
    responses: dict[str, int]
    elsewhere: tuple[str, ...]
    told: int
    lines: dict[Path, int]


def forget_annotator(run: Run, name: str, *, really: bool) -> str:
    """Delete everything that the annotator entered for this recipe. Without `really`: say what that is, delete nothing.

    Their account goes as well, on the embedded server and if they entered nothing for another recipe.

    Raises:
        KormedError: the owner, or nobody and nothing of that name.
    """
    if name == "owner":
        raise KormedError("owner: is who kormed itself signs in as, and stays; forget is for annotators")
    with connect(run.recipe.annotation, run.recipe.name) as client:
        traces = _traces(client, run, name)
        if traces.user is None and not traces.lines and name not in _credentials():
            raise KormedError(
                f"{name}: nobody has this name on {client.api_url}, and no line in {run.path('responses')} is theirs, "
                "so there is nothing to forget (`kormed annotate user list RECIPE` names everybody)"
            )
        if not really:
            return _would_go(run, client.api_url, name, traces)
        _retell(client, run, name)
        deleted = _delete_responses(client, run, traces.user) if traces.user else 0
        for file in traces.lines:
            _delete_lines(file, name)
        account = _delete_account(client, name, traces)
    lines = sum(traces.lines.values())
    return "\n".join(
        [
            f"{name}: {deleted} responses on {client.api_url} and {lines} lines here are deleted; {account}",
            *_left(run, name),
        ]
    )


def _traces(client: argilla.Argilla, run: Run, name: str) -> Traces:
    ours = {dataset["id"]: dataset["name"] for dataset in _datasets(client, run)}
    user = next((str(user["id"]) for user in get(client, "/users")["items"] if user["username"] == name), None)
    counts: dict[str, int] = {}
    elsewhere = []
    for dataset in get(client, "/me/datasets")["items"] if user else []:
        if dataset["status"] != "ready" or not (count := _count(client, dataset["id"], name)):
            continue
        if dataset["id"] in ours:
            counts[dataset["name"]] = count
        else:
            elsewhere.append(dataset["name"])
    lines = {}
    for file in map(run.entered, ENTERED):
        if file.exists() and (count := sum(line.annotator == name for line in read_whole_lines(file, Response))):
            lines[file] = count
    quoting = sum(len(theirs) for _, theirs in _told(client, run, name))
    return Traces(user, counts, tuple(elsewhere), quoting, lines)


def _datasets(client: argilla.Argilla, run: Run) -> list[dict[str, str]]:
    """Every dataset of the recipe that can have responses, those of older candidates too."""
    name = run.recipe.name
    found = [*datasets(client, name), *datasets(client, adjudication_workspace(name))]
    return [dataset for dataset in found if dataset["status"] == "ready"]


def _count(client: argilla.Argilla, dataset_id: str, name: str) -> int:
    found = counted(client, dataset_id)
    return found[name].total() if name in found else 0


def _told(client: argilla.Argilla, run: Run, name: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Dataset id and records of what adjudicators are asked where this annotator was among those who had disagreed.

    By the lines here: they were pulled before anything was put before an adjudicator.
    """
    file = run.entered(RESPONSES)
    lines = read_whole_lines(file, Response) if file.exists() else []
    judged = {line.comparison_id for line in lines if line.annotator == name and line.round == "label"}
    for dataset in datasets(client, adjudication_workspace(run.recipe.name)) if judged else []:
        if dataset["status"] == "ready":
            found = records(client, dataset["id"], with_responses=False)
            yield dataset["id"], [record for record in found if record["external_id"] in judged]


def _retell(client: argilla.Argilla, run: Run, name: str) -> None:
    """Adjudicators are told what the others said, without this annotator's vote and comment."""
    api = Api(client.api_url, client.api_key)
    for dataset, theirs in _told(client, run, name):
        ids = [record["external_id"] for record in theirs]
        others = [line for line in read_whole_lines(run.entered(RESPONSES), Response) if line.annotator != name]
        votes = newest(others, ids, "label")
        items = [
            {"id": record["id"], "fields": record["fields"] | {SAID: _said(votes[record["external_id"]])}}
            for record in theirs
        ]
        for start in range(0, len(items), BATCH):
            api.call("PUT", f"/datasets/{dataset}/records/bulk", {"items": items[start : start + BATCH]})


def _said(by_annotator: dict[str, Response]) -> str:
    """As a push would write it; the field cannot be empty."""
    return html.escape(told(submitted(by_annotator)), quote=False) or "·"


def _delete_responses(client: argilla.Argilla, run: Run, user: str) -> int:
    """One by one, as Argilla does: each record's status follows."""
    api, deleted = Api(client.api_url, client.api_key), 0
    for dataset in _datasets(client, run):
        theirs = [
            response["id"]
            for record in records(client, dataset["id"], with_responses=True)
            for response in record["responses"]
            if response["user_id"] == user
        ]
        for response in theirs:
            api.call("DELETE", f"/responses/{response}")
        deleted += len(theirs)
    return deleted


def _delete_lines(file: Path, name: str) -> None:
    """The file anew with everybody else's lines as they are, under the lock that a pull takes."""
    with lock(file.parent, "the responses"):
        read_appended(file, Response)  # cuts off what a killed pull left, and proves the rest
        lines = [line for line in file.read_bytes().splitlines(keepends=True) if line.strip()]
        temporary = file.with_name(f".{file.name}.tmp")
        with temporary.open("wb") as written:
            written.writelines(line for line in lines if json.loads(line)["annotator"] != name)
            written.flush()
            os.fsync(written.fileno())
        shutil.copymode(file, temporary)
        temporary.replace(file)


def _delete_account(client: argilla.Argilla, name: str, traces: Traces) -> str:
    """What became of it, in words."""
    if is_teams():
        return f"the account on {client.api_url} is the team's to delete, where they manage users"
    if traces.elsewhere:
        return f"the account stays, since they answered in {', '.join(traces.elsewhere)} too"
    home = home_folder()
    with people.changing(home):
        if traces.user:
            try:
                Api(client.api_url, client.api_key).call("DELETE", f"/users/{traces.user}")
            except Refused as error:
                if error.status != 404:  # another run of this was faster
                    raise
        people.write_credentials(home, {one: each for one, each in people.credentials(home).items() if one != name})
    return "so is the account"


def _would_go(run: Run, url: str, name: str, traces: Traces) -> str:
    going = [f"{count} responses in {dataset} on {url}" for dataset, count in traces.responses.items()]
    if traces.told:
        going.append(f"what they said, as it is told to adjudicators in {traces.told} records")
    going += [f"{count} lines of {file}" for file, count in traces.lines.items()]
    if traces.user and not is_teams() and not traces.elsewhere:
        going.append("the account and its password")
    heading = f"{name}: nothing is deleted yet; with --yes this would be, and cannot be brought back"
    return "\n".join(
        [f"{heading}:", *(f"  {one}" for one in going or ["nothing; there is only the name"]), *_left(run, name)]
    )


def _left(run: Run, name: str) -> list[str]:
    """Where copies are, or may be, that this does not reach."""
    config = run.recipe.annotation
    found = ["not reached: backups (kormed annotate backup) and what a restore or --force moved to .previous/"]
    if made := [stage for stage in FROM_RESPONSES if run.path(stage).exists()]:
        found.append(
            f"made with them, and stale afterwards: {', '.join(made)} in {run.folder}; make them anew (`kormed status "
            "RECIPE` shows how), and delete what is moved to .previous/"
        )
    if name in (*config.annotators, *config.adjudicators):
        found.append(f"{run.recipe.name} names {name}: take them out of it, or the next start makes an account again")
    return found


def _credentials() -> Sequence[str]:
    return () if is_teams() else tuple(people.credentials(home_folder()))
