"""The embedded Argilla's people: who they are, how they sign in, which workspaces they work in."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from annotation.api import Api
from stages.core.errors import KormedError
from stages.core.recipe import Annotation

Role = Literal["owner", "annotator", "adjudicator", "analyst"]
# What Argilla calls them. An adjudicator differs from an annotator by workspace alone.
ARGILLA_ROLES: dict[Role, str] = {
    "owner": "owner",
    "annotator": "annotator",
    "adjudicator": "annotator",
    "analyst": "admin",
}


@dataclass(frozen=True)
class Credential:
    """How somebody signs in."""

    username: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    role: Role


def credentials(home: Path) -> dict[str, Credential]:
    """Everybody in credentials.json by username; empty before the first start."""
    path = home / "credentials.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        people = [content["owner"], *content["annotators"].values()]
        return {person["username"]: Credential(**person) for person in people}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KormedError(
            f"{path}: not the credentials that we wrote; move it away and start the server again for new passwords"
        ) from None


def workspaces(recipe: str, config: Annotation) -> dict[str, tuple[str, ...]]:
    """Who works where: one workspace a recipe, and beside it one where adjudicators alone see what was undecided."""
    found = {recipe: config.annotators}
    if config.adjudicators:
        found[adjudication_workspace(recipe)] = config.adjudicators
    return found


def adjudication_workspace(recipe: str) -> str:
    return f"{recipe}-adjudication"


def ensure_people(home: Path, url: str, members: Mapping[str, Sequence[str]]) -> tuple[Credential, ...]:
    """Each workspace of `members` exists with its people in it, all with known credentials. Returns those made now.

    Killed in the middle and repeated, or in two processes at once, it comes to the same.

    Raises:
        KormedError: a member may see where answers came from, so could not judge blindly.
    """
    with changing(home):
        known = credentials(home)
        api = Api(url, known["owner"].api_key)
        users = {user["username"]: user for user in api.get("/users")["items"]}
        deciding = {adjudication_workspace(workspace) for workspace in members}
        new = []
        for workspace, names in members.items():
            for name in names:
                if name in users and users[name]["role"] != "annotator":
                    raise KormedError(
                        f"{name}: named in the recipe to judge answers in {workspace}, and an analyst on {url}, who "
                        "sees where they came from; name somebody else, or give this person a second account"
                    )
                if is_known(users.get(name), known):
                    continue
                role: Role = "adjudicator" if workspace in deciding else "annotator"
                users[name], person = let_in(api, users.get(name), name, role)
                known[name] = person
                new.append(person)
                write_credentials(home, known)
            join_workspace(api, workspace, [users[name] for name in names])
    return tuple(new)


def is_known(user: Mapping[str, Any] | None, known: Mapping[str, Credential]) -> bool:
    """Whether the server's user signs in with what credentials.json says."""
    return user is not None and user["username"] in known and known[user["username"]].api_key == user["api_key"]


def let_in(api: Api, user: dict[str, Any] | None, name: str, role: Role) -> tuple[dict[str, Any], Credential]:
    """The server's user, made now if there is none, with a new password."""
    password = secrets.token_urlsafe(12)
    if user is None:
        account = {"first_name": name, "username": name, "role": ARGILLA_ROLES[role], "password": password}
        user = api.post("/users", account)
    else:  # credentials.json was lost, or never told of them: the person stays, the password is new
        api.patch(f"/users/{user['id']}", {"password": password})
    return user, Credential(name, password, user["api_key"], role)


def join_workspace(api: Api, workspace: str, users: Sequence[Mapping[str, Any]]) -> None:
    """Make the workspace if it is not there, and the users its members if they are not."""
    found = next((item for item in api.get("/me/workspaces")["items"] if item["name"] == workspace), None)
    if found is None:
        found = api.post("/workspaces", {"name": workspace})
    path = f"/workspaces/{found['id']}/users"
    members = {user["username"] for user in api.get(path)["items"]}
    for user in users:
        if user["username"] not in members:
            api.post(path, {"user_id": user["id"]})


def ensure_owner(home: Path) -> tuple[Credential, bool]:
    """The owner's credentials, and whether they were made now."""
    with changing(home):
        known = credentials(home)
        if "owner" in known:
            return known["owner"], False
        owner = Credential("owner", secrets.token_urlsafe(12), secrets.token_urlsafe(48), "owner")
        write_credentials(home, {"owner": owner, **known})
    return owner, True


@contextmanager
def changing(home: Path) -> Iterator[None]:
    """One process at a time changes who gets in; the others wait, since each change takes a second at most."""
    try:
        lock = os.fdopen(private(str(home / "people.lock"), os.O_RDWR | os.O_CREAT), "rb+")
    except OSError as error:
        raise KormedError(f"{home}: cannot be written: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_credentials(home: Path, people: Mapping[str, Credential]) -> None:
    content = {
        "owner": asdict(people["owner"]),
        "annotators": {name: asdict(person) for name, person in people.items() if name != "owner"},
    }
    write_private(home / "credentials.json", json.dumps(content, indent=2) + "\n")


def write_private(path: Path, content: str) -> None:
    """Through a temporary file, so that a full disk or a kill leaves the old content."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", opener=private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise KormedError(f"{path}: cannot be written: {error.strerror}") from None


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
