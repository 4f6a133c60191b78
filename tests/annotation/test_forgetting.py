"""forget: all that one annotator entered goes, nothing of anybody else, and it says what it does not reach."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import argilla
import pytest

from annotation.api import Api, Refused
from annotation.conflicts import told
from annotation.database import copy
from annotation.dataset import SAID, find_pushed, records
from annotation.embedded import Server
from annotation.forgetting import forget_annotator
from annotation.people import credentials, ensure_people, workspaces
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import Round, label_round
from stages.core.errors import KormedError
from stages.core.pipeline import RESPONSES, VERDICTS, Run
from stages.core.recipe import Annotation, load_recipe
from stages.core.records import Response, append_jsonl, read_jsonl
from tests.annotation.examples import comparisons, respond
from tests.annotation.test_embedded import sign_in

ROOT = Path(__file__).parents[2]
NUMBERS = count(1)  # each test has its own recipe on the session's server
COMMENT = "지어낸 의견: A가 응급 신호를 먼저 말합니다 <매우>"


@dataclass(frozen=True)
class Labelled:
    """A recipe of two annotators and an adjudicator, some answers of each, pulled."""

    run: Run
    label: Round
    adjudication: Round
    leaves: str
    stays: str
    decides: str


@pytest.fixture
def labelled(server: Server, client: argilla.Argilla, config: Annotation, tmp_path: Path) -> Labelled:
    recipe = f"forget-{next(NUMBERS)}"
    leaves, stays, decides = (f"{recipe}-{name}" for name in ("leaves", "stays", "decides"))
    people = {"annotators": (leaves, stays), "adjudicators": (decides,), "responses_per_comparison": 2}
    annotation = config.model_copy(update=people)
    demo = load_recipe(ROOT / "recipes" / "demo" / "demo.yaml")
    run = Run(demo.model_copy(update={"name": recipe, "annotation": annotation}), tmp_path / "models")
    ensure_people(server.home, server.url, workspaces(recipe, annotation))
    some = comparisons(3300, 4)
    label = label_round(recipe, some, annotation, run.entered(RESPONSES))
    push(client, label)
    for place, status in enumerate(("submitted", "submitted", "draft")):
        respond(as_person(server, leaves), some[place].id, "a", status=status, comment=COMMENT)
    for place in (0, 1, 3):
        respond(as_person(server, stays), some[place].id, "b", comment="지어낸 다른 의견")
    pull(client, label)
    said = {some[0].id: told(line for line in lines_of(run, RESPONSES) if line.comparison_id == some[0].id)}
    adjudication = Round(
        "adjudication", f"{recipe}-adjudication", tuple(some), (some[0],), (decides,), 1, label.file, said
    )
    push(client, adjudication)
    respond(as_person(server, decides), some[0].id, "a")
    pull(client, adjudication)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    verdicts = [
        Response(
            comparison_id="v1", annotator=name, value="a", status="submitted", submitted_at=moment, round="compare"
        )
        for name in (leaves, stays)
    ]
    append_jsonl(run.entered(VERDICTS), verdicts)
    return Labelled(run, label, adjudication, leaves, stays, decides)


def as_person(server: Server, name: str) -> Api:
    return Api(server.url, credentials(server.home)[name].api_key)


def lines_of(run: Run, artifact: str) -> list[Response]:
    return read_jsonl(run.entered(artifact), Response)


def responses_in(client: argilla.Argilla, round: Round) -> list[dict[str, Any]]:
    dataset = find_pushed(client, round)
    assert dataset is not None
    return [answer for item in records(client, dataset["id"], with_responses=True) for answer in item["responses"]]


def test_without_yes_it_says_what_would_go_and_nothing_does(
    server: Server, client: argilla.Argilla, labelled: Labelled
) -> None:
    before = [labelled.run.entered(name).read_bytes() for name in (RESPONSES, VERDICTS)]
    said = forget_annotator(labelled.run, labelled.leaves, really=False)
    assert "nothing is deleted yet" in said and "--yes" in said
    assert f"3 responses in {labelled.label.dataset}" in said
    assert f"3 lines of {labelled.run.entered(RESPONSES)}" in said
    assert f"1 lines of {labelled.run.entered(VERDICTS)}" in said
    assert "told to adjudicators in 1 records" in said and "the account" in said
    assert COMMENT not in said
    assert [labelled.run.entered(name).read_bytes() for name in (RESPONSES, VERDICTS)] == before
    assert len(responses_in(client, labelled.label)) == 6
    assert sign_in(server.url, credentials(server.home)[labelled.leaves])


def test_with_yes_all_of_theirs_goes_and_nothing_of_the_others(
    server: Server, client: argilla.Argilla, labelled: Labelled
) -> None:
    run, leaves = labelled.run, labelled.leaves
    theirs_no_more = [
        [line for line in run.entered(name).read_text(encoding="utf-8").splitlines() if f'"{leaves}"' not in line]
        for name in (RESPONSES, VERDICTS)
    ]
    left = credentials(server.home)[leaves]
    said = forget_annotator(run, leaves, really=True)
    assert f"3 responses on {server.url} and 4 lines here are deleted; so is the account" in said
    assert f"names {leaves}: take them out" in said and "backups" in said
    assert [
        run.entered(name).read_text(encoding="utf-8").splitlines() for name in (RESPONSES, VERDICTS)
    ] == theirs_no_more
    assert len(responses_in(client, labelled.label)) == 3 and len(responses_in(client, labelled.adjudication)) == 1
    assert leaves not in credentials(server.home)
    with pytest.raises(Refused, match="401"):
        Api(server.url, left.api_key).get("/me")
    with pytest.raises(Exception, match="401"):
        sign_in(server.url, left)
    assert pull(client, labelled.label).appended == 0
    assert as_person(server, labelled.stays).get("/me")["username"] == labelled.stays


def test_what_adjudicators_are_told_no_longer_holds_their_words(client: argilla.Argilla, labelled: Labelled) -> None:
    def seen() -> list[str]:
        dataset = find_pushed(client, labelled.adjudication)
        assert dataset is not None
        return [item["fields"][SAID] for item in records(client, dataset["id"], with_responses=False)]

    assert "응급 신호를" in seen()[0]
    forget_annotator(labelled.run, labelled.leaves, really=True)
    assert "응급 신호를" not in seen()[0] and "지어낸 다른 의견" in seen()[0]


def test_a_comparison_that_loses_an_answer_is_pending_again(
    server: Server, client: argilla.Argilla, labelled: Labelled
) -> None:
    dataset = find_pushed(client, labelled.label)
    assert dataset is not None

    def completed() -> int:
        return sum(item["status"] == "completed" for item in records(client, dataset["id"], with_responses=False))

    assert completed() == 2
    forget_annotator(labelled.run, labelled.leaves, really=True)
    assert completed() == 0


def test_no_byte_of_their_comment_is_left_in_the_database(
    server: Server, client: argilla.Argilla, labelled: Labelled
) -> None:
    """As JSON writes it. SQLite would only mark the bytes as free, were it not told to overwrite them."""
    word = "forgotten-word-of-a-comment"
    respond(as_person(server, labelled.leaves), labelled.label.shown[1].id, "a", comment=word)
    forget_annotator(labelled.run, labelled.leaves, really=True)
    copied = labelled.run.folder / "copy.db"
    copy(server.home / "argilla.db", copied)
    assert word.encode() not in copied.read_bytes()


def test_killed_at_any_request_and_repeated_it_finishes(
    server: Server, client: argilla.Argilla, labelled: Labelled
) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from annotation import forgetting; from annotation.api import Api\n"
        "from stages.core.pipeline import Run; from stages.core.recipe import Annotation, load_recipe\n"
        "left, call = int(sys.argv[1]), Api.call\n"
        "def counted(*arguments):\n"
        "    global left\n"
        "    answer, left = call(*arguments), left - 1\n"
        "    if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return answer\n"
        "Api.call = counted\n"
        f"recipe = load_recipe(Path({str(ROOT / 'recipes/demo/demo.yaml')!r})).model_copy(update={{\n"
        f"    'name': {labelled.run.recipe.name!r},\n"
        f"    'annotation': Annotation(seed=1, annotators=('somebody',))}})\n"
        f"run = Run(recipe, Path({str(labelled.run.folder.parent)!r}))\n"
        f"print(forgetting.forget_annotator(run, {labelled.leaves!r}, really=True))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ends = []
    for requests in (2, 3, 5, 3):  # of them one asks whether the server runs
        done = subprocess.run([sys.executable, "-c", program, str(requests)], env=env, capture_output=True, text=True)
        ends.append(done.returncode)
    assert ends[0] == ends[1] == -signal.SIGKILL, done.stderr
    subprocess.run([sys.executable, "-c", program, "-1"], env=env, capture_output=True)
    assert labelled.leaves not in credentials(server.home)
    assert not any(labelled.leaves in labelled.run.entered(name).read_text() for name in (RESPONSES, VERDICTS))
    assert len(responses_in(client, labelled.label)) == 3
    with pytest.raises(KormedError, match="nobody has this name"):
        forget_annotator(labelled.run, labelled.leaves, really=True)


def test_who_answered_in_another_recipe_keeps_the_account_and_those_answers(
    server: Server, client: argilla.Argilla, labelled: Labelled, tmp_path: Path
) -> None:
    leaves = labelled.leaves
    other = f"{labelled.run.recipe.name}-other"
    config = labelled.run.recipe.annotation.model_copy(update={"annotators": (leaves,), "adjudicators": ()})
    ensure_people(server.home, server.url, workspaces(other, config))
    elsewhere = label_round(other, comparisons(3390, 1), config, tmp_path / "other.jsonl")
    push(client, elsewhere)
    respond(as_person(server, leaves), elsewhere.shown[0].id, "a")
    said = forget_annotator(labelled.run, leaves, really=True)
    assert f"the account stays, since they answered in {elsewhere.dataset} too" in said
    assert leaves in credentials(server.home)
    assert len(responses_in(client, elsewhere)) == 1 and len(responses_in(client, labelled.label)) == 3


def test_on_a_teams_own_argilla_the_answers_go_and_the_account_is_left_to_it(
    server: Server, owner: Api, labelled: Labelled, client: argilla.Argilla, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = credentials(server.home)
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(labelled.run.folder / "none"))
    monkeypatch.setenv("ARGILLA_API_URL", server.url)
    monkeypatch.setenv("ARGILLA_API_KEY", owner.key)
    said = forget_annotator(labelled.run, labelled.leaves, really=True)
    assert "the team's to delete" in said
    assert len(responses_in(client, labelled.label)) == 3
    assert as_person(server, labelled.leaves).get("/me") and credentials(server.home) == before


def test_who_is_not_there_is_told_and_so_is_the_owner(labelled: Labelled) -> None:
    with pytest.raises(KormedError, match="doctor-nobody: nobody has this name.*user list RECIPE"):
        forget_annotator(labelled.run, "doctor-nobody", really=True)
    with pytest.raises(KormedError, match="owner: is who kormed itself signs in as"):
        forget_annotator(labelled.run, "owner", really=True)
