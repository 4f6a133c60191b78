"""accounts: add, list and reset, and what each kind of account is good for."""

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

import argilla
import pytest

from annotation import accounts
from annotation.api import Api, Refused
from annotation.embedded import Server
from annotation.people import credentials
from annotation.push import push
from annotation.rounds import label_round
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Annotation, load_recipe
from tests.annotation.examples import comparisons, respond
from tests.annotation.test_embedded import sign_in, whoami

DEMO = Path(__file__).parents[2] / "recipes" / "demo" / "demo.yaml"


@pytest.fixture
def run_of(server: Server, config: Annotation, tmp_path: Path) -> Callable[..., Run]:
    """A run of this name with these annotators and adjudicators, on the session's server."""

    def make(name: str, annotators: tuple[str, ...] = ("doctor-kim",), adjudicators: tuple[str, ...] = ()) -> Run:
        people = {"annotators": annotators, "adjudicators": adjudicators, "responses_per_comparison": 1}
        recipe = load_recipe(DEMO).model_copy(update={"name": name, "annotation": config.model_copy(update=people)})
        return Run(recipe, tmp_path / "models")

    return make


def password_in(told: str) -> str:
    return told.partition("password ")[2].split()[0]


def rows(table: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()}


def test_an_added_annotator_signs_in_and_sees_the_recipes_comparisons_alone(
    server: Server, client: argilla.Argilla, run_of: Callable[..., Run], config: Annotation
) -> None:
    run = run_of("added")
    told = accounts.add(run, "doctor-added", "annotator")
    push(client, label_round("added", comparisons(3100, 2), run.recipe.annotation, run.responses))
    added = credentials(server.home)["doctor-added"]
    assert password_in(told) == added.password
    assert "annotation.annotators: [doctor-kim, doctor-added]" in told
    assert whoami(server.url, sign_in(server.url, added)) == "doctor-added"
    seen = Api(server.url, added.api_key).get("/me/datasets")["items"]
    assert [dataset["name"][:6] for dataset in seen] == ["added-"]
    assert stat.S_IMODE((server.home / "credentials.json").stat().st_mode) == 0o600


def test_adjudicators_see_the_undecided_alone_and_analysts_both(server: Server, run_of: Callable[..., Run]) -> None:
    run = run_of("roles")
    accounts.add(run, "roles-adjudicator", "adjudicator")
    accounts.add(run, "roles-analyst", "analyst")
    known = credentials(server.home)
    assert (known["roles-adjudicator"].role, known["roles-analyst"].role) == ("adjudicator", "analyst")
    workspaces = {
        name: sorted(
            workspace["name"] for workspace in Api(server.url, known[name].api_key).get("/me/workspaces")["items"]
        )
        for name in ("roles-adjudicator", "roles-analyst")
    }
    assert workspaces == {
        "roles-adjudicator": ["roles-adjudication"],
        "roles-analyst": ["roles", "roles-adjudication"],
    }


def test_who_is_there_already_is_not_added_again(server: Server, run_of: Callable[..., Run]) -> None:
    run = run_of("twice")
    accounts.add(run, "twice-1", "annotator")
    before = credentials(server.home)
    for role, why in (
        ("annotator", "twice-1: is annotator here already.*user reset RECIPE twice-1"),
        ("adjudicator", "decides between others"),
        ("analyst", "has an account as annotator, which cannot become analyst"),
    ):
        with pytest.raises(KormedError, match=why):
            accounts.add(run, "twice-1", role)
    assert credentials(server.home) == before


def test_somebody_from_another_recipe_joins_with_the_password_as_it_was(
    server: Server, run_of: Callable[..., Run]
) -> None:
    accounts.add(run_of("first-recipe"), "joins", "annotator")
    before = credentials(server.home)["joins"]
    assert "password as it was" in accounts.add(run_of("second-recipe"), "joins", "annotator")
    assert credentials(server.home)["joins"] == before
    seen = Api(server.url, before.api_key).get("/me/workspaces")["items"]
    assert {workspace["name"] for workspace in seen} == {"first-recipe", "second-recipe"}


def test_an_account_that_a_kill_left_half_made_is_finished(
    server: Server, owner: Api, run_of: Callable[..., Run]
) -> None:
    account = {"first_name": "half", "username": "half", "role": "annotator", "password": "lost with the kill"}
    owner.post("/users", account)
    told = accounts.add(run_of("half"), "half", "annotator")
    assert password_in(told) == credentials(server.home)["half"].password
    assert whoami(server.url, sign_in(server.url, credentials(server.home)["half"])) == "half"


@pytest.mark.parametrize("name", ["owner", "의사", "two words", "-x", "", "a/b"])
def test_a_name_that_cannot_be_is_told_before_anything_is_started(run_of: Callable[..., Run], name: str) -> None:
    with pytest.raises(KormedError, match="letters, digits, - and _ were wanted"):
        accounts.add(run_of("names"), name, "annotator")


def test_another_role_is_told(run_of: Callable[..., Run]) -> None:
    with pytest.raises(KormedError, match="owner: annotator, adjudicator or analyst was wanted"):
        accounts.add(run_of("names"), "somebody", "owner")


def test_the_list_has_everybody_with_what_they_did(
    server: Server, client: argilla.Argilla, run_of: Callable[..., Run]
) -> None:
    run = run_of("listed", ("doctor-kim",), ("listed-han",))
    accounts.add(run, "listed-lee", "annotator")
    accounts.add(run, "listed-yoon", "analyst")
    some = comparisons(3200, 3)
    push(client, label_round("listed", some, run.recipe.annotation, run.responses))
    lee = Api(server.url, credentials(server.home)["listed-lee"].api_key)
    respond(lee, some[0].id, "a")
    respond(lee, some[1].id, "tie")
    respond(lee, some[2].id, "b", status="draft")
    later = run_of("listed", ("doctor-kim", "listed-park"), ("listed-han",))
    found = rows(accounts.table(later))
    assert found["listed-lee"] == ["annotator", "listed", "2", "no"]
    assert found["listed-yoon"] == ["analyst", "listed,", "listed-adjudication", "0", "no"]
    assert found["listed-han"] == ["adjudicator", "listed-adjudication", "0", "yes"]
    assert found["listed-park"] == ["annotator", "no", "account", "yet", "0", "yes"]
    assert found["owner"] == ["owner", "everywhere", "0", "no"]
    assert not [secret for secret in secrets_of(server) if secret in accounts.table(later)]


def test_after_a_reset_the_old_password_the_old_key_and_the_open_log_in_open_nothing(
    server: Server, run_of: Callable[..., Run]
) -> None:
    run = run_of("reset")
    accounts.add(run, "reset-1", "analyst")
    old = credentials(server.home)["reset-1"]
    token = sign_in(server.url, old)
    time.sleep(1)  # a token tells its time in whole seconds
    told = accounts.reset(run, "reset-1")
    new = credentials(server.home)["reset-1"]
    assert password_in(told) == new.password != old.password
    assert new.api_key != old.api_key and new.role == "analyst"
    with pytest.raises(Exception, match="401"):
        sign_in(server.url, old)
    with pytest.raises(Refused, match="401"):
        Api(server.url, old.api_key).get("/me")
    assert Api(server.url, new.api_key).get("/me")["username"] == "reset-1"
    assert whoami(server.url, sign_in(server.url, new)) == "reset-1"
    with pytest.raises(Exception, match="401"):
        whoami(server.url, token)  # the log-in that was open


def test_somebody_without_credentials_is_let_in_again_by_a_reset(server: Server, run_of: Callable[..., Run]) -> None:
    run = run_of("regained")
    accounts.add(run, "regained", "adjudicator")
    file = server.home / "credentials.json"
    content = json.loads(file.read_text())
    del content["annotators"]["regained"]
    file.write_text(json.dumps(content))
    accounts.reset(run, "regained")
    assert credentials(server.home)["regained"].role == "adjudicator"
    assert whoami(server.url, sign_in(server.url, credentials(server.home)["regained"])) == "regained"


def test_nobody_of_that_name_is_told_with_the_names_there_are(run_of: Callable[..., Run]) -> None:
    with pytest.raises(KormedError, match="doctor-kin: nobody here has this name; there are .*doctor-kim"):
        accounts.reset(run_of("unknown"), "doctor-kin")


def test_a_teams_own_argilla_is_listed_and_its_people_left_to_it(
    server: Server, owner: Api, run_of: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("of-the-team")
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("ARGILLA_API_URL", server.url)
    monkeypatch.setenv("ARGILLA_API_KEY", owner.key)
    assert rows(accounts.table(run))["doctor-kim"][-1] == "yes"
    before = owner.get("/users")
    with pytest.raises(KormedError, match="team's own.*docs.argilla.io"):
        accounts.add(run, "new", "annotator")
    with pytest.raises(KormedError, match="team's own.*docs.argilla.io"):
        accounts.reset(run, "doctor-kim")
    assert owner.get("/users") == before


def secrets_of(server: Server) -> list[str]:
    return [secret for one in credentials(server.home).values() for secret in (one.password, one.api_key)]
