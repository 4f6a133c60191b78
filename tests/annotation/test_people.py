"""people: everybody of a recipe gets in once, whatever is killed or runs twice."""

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotation.api import Api
from annotation.embedded import Server
from annotation.people import Credential, changing, credentials, ensure_owner, ensure_people, workspaces
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.test_embedded import sign_in, whoami

ROOT = Path(__file__).parents[2]


def members_of(owner: Api, workspace: str) -> list[str]:
    (found,) = [item for item in owner.get("/me/workspaces")["items"] if item["name"] == workspace]
    return sorted(user["username"] for user in owner.get(f"/workspaces/{found['id']}/users")["items"])


def test_annotators_and_adjudicators_work_apart(server: Server, owner: Api) -> None:
    config = Annotation(seed=1, annotators=("apart-1", "apart-2"), adjudicators=("apart-3",))
    new = ensure_people(server.home, server.url, workspaces("apart", config))
    assert {person.username: person.role for person in new} == {
        "apart-1": "annotator",
        "apart-2": "annotator",
        "apart-3": "adjudicator",
    }
    assert members_of(owner, "apart") == ["apart-1", "apart-2"]
    assert members_of(owner, "apart-adjudication") == ["apart-3"]
    assert ensure_people(server.home, server.url, workspaces("apart", config)) == ()


def test_somebody_whom_a_kill_left_without_credentials_gets_a_new_password(server: Server, owner: Api) -> None:
    account = {"first_name": "halfway", "username": "halfway", "role": "annotator", "password": "lost with the kill"}
    owner.post("/users", account)
    (person,) = ensure_people(server.home, server.url, {"halfway": ("halfway",)})
    assert whoami(server.url, sign_in(server.url, person)) == "halfway"
    assert credentials(server.home)["halfway"] == person
    assert members_of(owner, "halfway") == ["halfway"]


def test_killed_at_any_request_and_repeated_everybody_gets_in(server: Server, owner: Api) -> None:
    names = ("killed-1", "killed-2")
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from annotation import people; from annotation.api import Api\n"
        "left, call = int(sys.argv[1]), Api.call\n"
        "def counted(*arguments):\n"
        "    global left\n"
        "    answer = call(*arguments)\n"
        "    left -= 1\n"
        "    if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return answer\n"
        "Api.call = counted\n"
        f"people.ensure_people(Path({str(server.home)!r}), {server.url!r}, {{'killed': {names!r}}})"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ends = []
    for requests in range(2, 6):  # after: user made, the other made, workspaces asked for, workspace made
        ends.append(subprocess.run([sys.executable, "-c", program, str(requests)], env=env).returncode)
    assert ends[0] == -signal.SIGKILL
    ensure_people(server.home, server.url, {"killed": names})
    for name in names:
        assert whoami(server.url, sign_in(server.url, credentials(server.home)[name])) == name
    assert members_of(owner, "killed") == list(names)


def test_two_commands_at_once_make_everybody_once_and_lose_nobody(server: Server, owner: Api) -> None:
    names = tuple(f"at-once-{number}" for number in range(4))

    def ensure(_: int) -> tuple[Credential, ...]:
        return ensure_people(server.home, server.url, {"at-once": names})

    with ThreadPoolExecutor(3) as pool:
        made = [person for new in pool.map(ensure, range(3)) for person in new]
    assert sorted(person.username for person in made) == list(names)
    for person in made:
        assert credentials(server.home)[person.username] == person
        assert whoami(server.url, sign_in(server.url, person)) == person.username


def test_who_sees_where_answers_came_from_judges_none(server: Server, owner: Api) -> None:
    account = {"first_name": "seer", "username": "seer", "role": "admin", "password": "made by hand"}
    owner.post("/users", account)
    with pytest.raises(KormedError, match="seer: named in the recipe to judge.*name somebody else"):
        ensure_people(server.home, server.url, {"seen": ("seer",)})


def test_credentials_of_an_older_kormed_are_read(tmp_path: Path) -> None:
    def person(name: str, role: str) -> dict[str, str]:
        return {"username": name, "password": "p", "api_key": "k", "role": role}

    content = {"owner": person("owner", "owner"), "annotators": {"doctor-lee": person("doctor-lee", "annotator")}}
    (tmp_path / "credentials.json").write_text(json.dumps(content))
    assert credentials(tmp_path)["doctor-lee"] == Credential("doctor-lee", "p", "k", "annotator")


def test_the_owner_is_made_once_and_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    owner, is_new = ensure_owner(tmp_path)
    assert is_new and ensure_owner(tmp_path) == (owner, False)
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert owner.password not in repr(owner) and owner.api_key not in repr(owner)


def test_credentials_that_are_not_ours_are_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"owner": 1}')
    with pytest.raises(KormedError, match="not the credentials that we wrote; move it away"):
        credentials(tmp_path)


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="cannot be written"), changing(tmp_path / "none"):
        pass
