"""An Argilla to work with: a team's own where ARGILLA_API_URL and ARGILLA_API_KEY say so, else the embedded one.

On a team's own server the recipe's workspace is named like the recipe, or as ARGILLA_WORKSPACE says. An admin of the
workspace may push, pull and look; to make a workspace and let people into it takes an owner (Argilla's own rule).
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import argilla
import httpx
from argilla._exceptions import ArgillaCredentialsError, ArgillaError  # the SDK has no public names for them

from annotation import embedded, people
from annotation.api import LOOPBACK, Api
from annotation.rounds import workspace_of
from stages.core.errors import KormedError
from stages.core.recipe import Annotation

log = logging.getLogger("kormed")


@contextmanager
def connect(config: Annotation, recipe: str, *, create: bool = False) -> Iterator[argilla.Argilla]:
    """A client with an owner's or admin's rights. The embedded server is used where it runs, else started meanwhile.

    With `create`, the recipe's workspaces and members are seen to, and the embedded server may be set up from nothing.

    Raises:
        KormedError: no server, no answer, a refused key, a key of too small a role; also for what goes wrong with the
            server while the block runs.
    """
    url, key = os.environ.get("ARGILLA_API_URL"), os.environ.get("ARGILLA_API_KEY")
    if url or key:
        if not (url and key):
            missing = "ARGILLA_API_KEY" if url else "ARGILLA_API_URL"
            raise KormedError(
                f"{missing} is not set: a team's own Argilla needs both ARGILLA_API_URL and ARGILLA_API_KEY; "
                "unset both to use the embedded one"
            )
        if urlsplit(url).scheme == "http" and urlsplit(url).hostname not in LOOPBACK:
            log.warning("%s is not https: patients' questions and the key travel in the open", url)
        with _client(url, key) as client:
            if create:
                _see_to_members(client, Api(url, key), people.workspaces(workspace_of(recipe), config))
            yield client
        return
    home = embedded.home_folder()
    running = embedded.find_running(home)
    if running is None and not create and not (home / "argilla.db").exists():
        raise KormedError(f"{home}: nothing was pushed from here yet; run `make label` (kormed annotate serve) first")
    if running is None:
        with embedded.running(config, recipe) as server, _client(server.url, _owner_key()) as client:
            _point_to_new(server.new)
            yield client
        return
    with _client(running, _owner_key()) as client:
        if create:
            _point_to_new(people.ensure_people(home, running, people.workspaces(recipe, config)))
        yield client


def is_teams() -> bool:
    """Whether the environment names a team's own Argilla, and so not the embedded one."""
    return bool(os.environ.get("ARGILLA_API_URL") or os.environ.get("ARGILLA_API_KEY"))


def users(client: argilla.Argilla, workspace: str) -> list[dict[str, Any]]:
    """The accounts that we may see: for an owner everybody, for an admin the members of the workspace."""
    if client.me.role == "owner":
        found: list[dict[str, Any]] = get(client, "/users")["items"]
        return found
    ours = [item for item in get(client, "/me/workspaces")["items"] if item["name"] == workspace]
    return [user for item in ours for user in get(client, f"/workspaces/{item['id']}/users")["items"]]


def api_keys(client: argilla.Argilla, workspace: str, names: Sequence[str]) -> dict[str, str]:
    """API keys of the named users, which an owner may see, and an admin those of the workspace's members.

    Raises:
        KormedError: names those that the server does not have.
    """
    known = {user["username"]: user["api_key"] for user in users(client, workspace)}
    if missing := [name for name in names if name not in known]:
        raise KormedError(
            f"{client.api_url} has no user {', '.join(missing)}; make them there (Argilla's user settings), "
            "or change who is named in the recipe's section annotation"
        )
    return {name: known[name] for name in names}


def get(client: argilla.Argilla, path: str, **parameters: str | int) -> Any:
    """A parsed answer of the REST API, for what the SDK leaves out."""
    answer = client.http_client.get(f"/api/v1{path}", params=parameters)
    answer.raise_for_status()
    return answer.json()


@contextmanager
def _client(url: str, key: str) -> Iterator[argilla.Argilla]:
    """A client whose failures are one sentence each, while it is made and while it is used."""
    try:
        client = argilla.Argilla(api_url=url, api_key=key, retries=1)
        role = client.me.role
    except ArgillaCredentialsError:
        raise KormedError(f"{url}: the server refuses the API key; copy it anew from Argilla's user settings") from None
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise KormedError(f"{url}: no answer ({error}); is the server up, and the address right?") from None
    except (ArgillaError, ValueError) as error:
        raise KormedError(f"{url}: does not answer like an Argilla server: {_one_line(error)}") from None
    try:
        if role not in ("owner", "admin"):
            raise KormedError(
                f"{url}: the API key of an owner, or of an admin of the workspace, was wanted; this one is "
                f"{client.me.username}'s, with the role {role.value}"
            )
        yield client
    except httpx.HTTPStatusError as error:
        raise KormedError(f"{url}: {error.response.status_code} {_one_line(error.response.text)}") from None
    except httpx.TransportError as error:
        raise KormedError(
            f"{url}: the server went away ({_one_line(error)}); start it and run the same again"
        ) from None
    except ArgillaError as error:
        raise KormedError(f"{url}: {_one_line(error)}") from None
    finally:
        client.http_client.close()


def _owner_key() -> str:
    return people.credentials(embedded.home_folder())["owner"].api_key


def _see_to_members(client: argilla.Argilla, api: Api, members: Mapping[str, Sequence[str]]) -> None:
    """On a team's own server we make no people. For an owner those it knows join the workspaces, made where missing.

    Raises:
        KormedError: a workspace is missing, or closed to this admin.
    """
    if client.me.role == "owner":
        known = {user["username"]: user for user in api.get("/users")["items"]}
        for workspace, names in members.items():
            people.join_workspace(api, workspace, [known[name] for name in names if name in known])
        missing = [name for names in members.values() for name in names if name not in known]
        if missing:
            log.warning("%s has no user %s: they cannot label until you make them there", api.url, ", ".join(missing))
        return
    open_to_us = {item["name"] for item in get(client, "/me/workspaces")["items"]}
    if closed := [workspace for workspace in members if workspace not in open_to_us]:
        raise KormedError(
            f"{api.url}: {client.me.username} is in no workspace {', '.join(closed)}, and an admin cannot make one: "
            "ask an owner to make it and let you and the annotators in, name one of yours with ARGILLA_WORKSPACE, or "
            "use an owner's API key"
        )
    for workspace, names in members.items():
        inside = {user["username"] for user in users(client, workspace)}
        if missing := [name for name in names if name not in inside]:
            log.warning(
                "%s: %s not in workspace %s, and an admin cannot let them in: they cannot label until an owner does",
                api.url,
                ", ".join(missing),
                workspace,
            )


def _point_to_new(new: Sequence[people.Credential]) -> None:
    if new:
        names = ", ".join(person.username for person in new)
        log.info("new passwords for %s are in %s", names, embedded.home_folder() / "credentials.json")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
