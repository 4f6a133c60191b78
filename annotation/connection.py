"""An Argilla to work with: a team's own where ARGILLA_API_URL and ARGILLA_API_KEY say so, else the embedded one."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import argilla
import httpx
from argilla._exceptions import ArgillaCredentialsError, ArgillaError  # the SDK has no public names for them

from annotation import embedded
from annotation.api import LOOPBACK, Api
from stages.core.errors import KormedError
from stages.core.recipe import Annotation

log = logging.getLogger("kormed")


@contextmanager
def connect(config: Annotation, workspace: str, *, create: bool = False) -> Iterator[argilla.Argilla]:
    """A client with an owner's rights. The embedded server is used where it runs, else started for the duration.

    With `create`, the workspace and its members are seen to, and the embedded server may be set up from nothing.

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
                _join_known(Api(url, key), workspace, config.annotators)
            yield client
        return
    home = embedded.home_folder()
    running = embedded.find_running(home)
    if running is None and not create and not (home / "argilla.db").exists():
        raise KormedError(f"{home}: nothing was pushed from here yet; run `make label` (kormed annotate serve) first")
    if running is None:
        with embedded.running(config, workspace) as server, _client(server.url, _owner_key()) as client:
            _point_to_new(server.new)
            yield client
        return
    with _client(running, _owner_key()) as client:
        if create:
            _point_to_new(embedded.ensure_people(home, running, workspace, config.annotators))
        yield client


def api_keys(client: argilla.Argilla, names: Sequence[str]) -> dict[str, str]:
    """API keys of the named users, which an owner may see.

    Raises:
        KormedError: names those that the server does not have.
    """
    known = {user["username"]: user["api_key"] for user in get(client, "/users")["items"]}
    if missing := [name for name in names if name not in known]:
        raise KormedError(
            f"{client.api_url} has no user {', '.join(missing)}; make them there (Argilla's user settings), "
            "or change annotation.annotators in the recipe"
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
        if role != "owner":
            raise KormedError(
                f"{url}: an owner's API key was wanted, this one is {client.me.username}'s, with the role {role.value}"
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
    return embedded.credentials(embedded.home_folder())["owner"].api_key


def _join_known(api: Api, workspace: str, annotators: Sequence[str]) -> None:
    """On a team's own server we make no people: those it knows join the workspace, the others are named."""
    users = {user["username"]: user for user in api.get("/users")["items"]}
    embedded.join_workspace(api, workspace, [users[name] for name in annotators if name in users])
    if missing := [name for name in annotators if name not in users]:
        log.warning("%s has no user %s: they cannot label until you make them there", api.url, ", ".join(missing))


def _point_to_new(new: Sequence[embedded.Credential]) -> None:
    if new:
        names = ", ".join(person.username for person in new)
        log.info("new passwords for %s are in %s", names, embedded.home_folder() / "credentials.json")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
