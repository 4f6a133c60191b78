"""connection: the same commands against the embedded server and a team's own, and one sentence when it fails."""

from pathlib import Path

import pytest

from annotation import embedded
from annotation.api import Api
from annotation.connection import connect
from annotation.embedded import Server
from annotation.people import Credential, join_workspace
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import label_round
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from stages.core.records import Response, read_jsonl
from tests.annotation.examples import WORKSPACE, comparisons, free_port, respond, round_of


def use_team_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, key: str) -> None:
    """As somebody who has no embedded server: only the address and a key."""
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("ARGILLA_API_URL", url)
    monkeypatch.setenv("ARGILLA_API_KEY", key)


def test_a_teams_own_server_is_used_and_never_started_or_stopped(
    server: Server,
    people: dict[str, Credential],
    config: Annotation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    use_team_server(monkeypatch, tmp_path, server.url, people["owner"].api_key)
    more = config.model_copy(update={"annotators": ("doctor-kim", "doctor-unknown")})
    with connect(more, "team-recipe", create=True) as client:
        assert (
            push(client, label_round("team-recipe", comparisons(500, 2), config, tmp_path / "responses.jsonl")).new == 2
        )
        workspace = client.workspaces("team-recipe")
        assert workspace is not None
        assert [user.username for user in workspace.users] == ["doctor-kim"]
    assert "doctor-unknown" in caplog.text
    assert not (tmp_path / "none").exists()
    assert server.is_alive


@pytest.mark.parametrize(
    ("present", "missing"), [("ARGILLA_API_URL", "ARGILLA_API_KEY"), ("ARGILLA_API_KEY", "ARGILLA_API_URL")]
)
def test_address_without_key_and_key_without_address_are_named(
    config: Annotation, monkeypatch: pytest.MonkeyPatch, present: str, missing: str
) -> None:
    monkeypatch.setenv(present, "http://127.0.0.1:1")
    with pytest.raises(KormedError, match=f"{missing} is not set"), connect(config, WORKSPACE):
        pass


def test_a_refused_key_is_one_sentence(
    server: Server, config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_team_server(monkeypatch, tmp_path, server.url, "wrong")
    with pytest.raises(KormedError, match="refuses the API key"), connect(config, WORKSPACE):
        pass


def test_an_annotators_key_is_too_small_a_role(
    server: Server, people: dict[str, Credential], config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_team_server(monkeypatch, tmp_path, server.url, people["doctor-kim"].api_key)
    with pytest.raises(KormedError, match="doctor-kim's, with the role annotator"), connect(config, WORKSPACE):
        pass


def test_an_admin_of_the_workspace_pushes_pulls_and_looks(
    owner: Api,
    doctor: Api,
    server: Server,
    config: Annotation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin = made_admin(owner, "admin-choi")
    users = {user["username"]: user for user in owner.get("/users")["items"]}
    join_workspace(owner, "admins-own", [users["admin-choi"], users["doctor-kim"]])
    use_team_server(monkeypatch, tmp_path, server.url, admin.key)
    monkeypatch.setenv("ARGILLA_WORKSPACE", "admins-own")
    round = label_round("admins-own", comparisons(3700, 2), config, tmp_path / "responses.jsonl")
    with connect(config, "whatever-recipe", create=True) as client:
        assert push(client, round).new == 2
        respond(doctor, "comparison-3700", "b")
        assert pull(client, round).submitted == 1
        assert [share.annotator for share in progress(client, round).shares] == ["doctor-kim"]
    assert "simulated-1, simulated-2 not in workspace admins-own" in caplog.text
    assert [response.annotator for response in read_jsonl(round.file, Response)] == ["doctor-kim"]


def test_what_an_admin_cannot_see_waits_on_the_server_for_an_owner(
    owner: Api,
    doctor: Api,
    server: Server,
    people: dict[str, Credential],
    config: Annotation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin = made_admin(owner, "admin-yun")
    users = {user["username"]: user for user in owner.get("/users")["items"]}
    join_workspace(owner, "somebody-left", [users["admin-yun"], users["doctor-kim"]])
    round = label_round("somebody-left", comparisons(3710, 1), config, tmp_path / "responses.jsonl")
    use_team_server(monkeypatch, tmp_path, server.url, admin.key)
    with connect(config, "somebody-left") as client:
        push(client, round)
        respond(doctor, "comparison-3710", "b")
        workspace = next(item for item in owner.get("/me/workspaces")["items"] if item["name"] == "somebody-left")
        owner.call("DELETE", f"/workspaces/{workspace['id']}/users/{users['doctor-kim']['id']}")
        assert pull(client, round).submitted == 0
    assert "1 responses are of people who left workspace somebody-left" in caplog.text
    use_team_server(monkeypatch, tmp_path, server.url, people["owner"].api_key)
    with connect(config, "somebody-left") as client:
        assert pull(client, round).submitted == 1


def test_an_admin_without_the_workspace_is_told_whom_to_ask(
    owner: Api, server: Server, config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_team_server(monkeypatch, tmp_path, server.url, made_admin(owner, "admin-seo").key)
    with (
        pytest.raises(KormedError, match="admin-seo is in no workspace closed-to-us.*ask an owner"),
        connect(config, "closed-to-us", create=True),
    ):
        pass


def made_admin(owner: Api, name: str) -> Api:
    """The API as an admin who is new on the server."""
    user = owner.post("/users", {"first_name": name, "username": name, "role": "admin", "password": "a-long-password"})
    return Api(owner.url, user["api_key"])


def test_a_server_that_is_down_is_one_sentence(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_team_server(monkeypatch, tmp_path, f"http://127.0.0.1:{free_port()}", "key")
    with pytest.raises(KormedError, match="is the server up"), connect(config, WORKSPACE):
        pass


def test_before_the_first_push_there_is_nothing_to_connect_to(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "none"))
    with pytest.raises(KormedError, match="make label"), connect(config, WORKSPACE):
        pass
    assert not (tmp_path / "none").exists()


def test_an_embedded_server_that_does_not_run_is_started_for_the_command_and_stopped_after_it(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    config = config.model_copy(update={"annotators": ("doctor-kim",), "port": free_port()})
    with connect(config, WORKSPACE, create=True) as client:
        assert client.me.username == "owner"
        assert embedded.find_running(home) == client.api_url
    assert embedded.find_running(home) is None


def test_a_server_that_goes_away_in_the_middle_is_one_sentence(
    server: Server, people: dict[str, Credential], config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_team_server(monkeypatch, tmp_path, server.url, people["owner"].api_key)
    with pytest.raises(KormedError, match="went away"), connect(config, WORKSPACE) as client:
        client.http_client.base_url = f"http://127.0.0.1:{free_port()}"  # where nothing listens
        push(client, round_of(comparisons(1, 1), config))
