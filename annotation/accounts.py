"""Who may sign in: people added, listed, and given new passwords; `kormed annotate user`.

An annotator and an adjudicator are the same to Argilla and differ by workspace. An analyst is what Argilla calls an
admin: member of both workspaces, sees everybody's answers and the metadata that annotators do not see, and may change
and delete the workspaces' datasets.
"""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import argilla

from annotation import people
from annotation.api import Api
from annotation.connection import connect, get, is_teams
from annotation.dataset import counted, datasets
from annotation.embedded import home_folder
from annotation.people import ARGILLA_ROLES, Role, adjudication_workspace
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Annotation, is_username

LET_IN = ("annotator", "adjudicator", "analyst")
COLUMNS = ("name", "role", "workspaces", "submitted", "in the recipe")


def add(run: Run, name: str, role: str) -> str:
    """Somebody joins the recipe's work. Returns a sentence with their new password, which is shown this once.

    Who has an account already, from another recipe, keeps it and its password.

    Raises:
        KormedError: not a possible name or role, somebody is there under this name already, or a team's own Argilla.
    """
    _embedded_only("user add")
    wanted = _role(role)
    if not is_username(name):
        raise KormedError(f"{name!r}: letters, digits, - and _ were wanted for a name, and not 'owner'")
    home, recipe = home_folder(), run.recipe.name
    with _owner(run) as api, people.changing(home):
        users = {user["username"]: user for user in api.get("/users")["items"]}
        known = people.credentials(home)
        is_known = people.is_known(users.get(name), known)
        if name in users:
            _refuse_second(users[name], wanted, _members(api, users)[name], recipe, whole=is_known)
        password = None
        if not is_known:
            users[name], known[name] = people.let_in(api, users.get(name), name, wanted)
            people.write_credentials(home, known)
            password = known[name].password
        for workspace in _workspaces(recipe, wanted):
            people.join_workspace(api, workspace, [users[name]])
    opened = (
        f"password {password} (shown once; it is in {home / 'credentials.json'})" if password else "password as it was"
    )
    return f"{name}: {wanted} in {', '.join(_workspaces(recipe, wanted))}, {opened}{_how_to_keep(run, name, wanted)}"


def table(run: Run) -> str:
    """Everybody on the server and everybody in the recipe, one line each; `submitted` counts this recipe's datasets."""
    config, recipe = run.recipe.annotation, run.recipe.name
    with connect(config, recipe) as client:
        users = {user["username"]: user for user in get(client, "/users")["items"]}
        api = Api(client.api_url, client.api_key)
        there = _members(api, users)
        submitted = _submitted(client, recipe)
    named = _named(config)
    rows = [COLUMNS]
    for name in [*users, *(name for name in named if name not in users)]:
        role = _role_of(users[name], there[name], recipe) if name in users else named[name]
        where = (
            ("everywhere" if role == "owner" else ", ".join(sorted(there[name]))) if name in users else "no account yet"
        )
        rows.append((name, role, where or "none", f"{submitted[name]}", "yes" if name in named else "no"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def reset(run: Run, name: str) -> str:
    """A new password and a new API key for somebody. Returns a sentence with the password, which is shown this once.

    Raises:
        KormedError: nobody has this name, or a team's own Argilla.
    """
    _embedded_only("user reset")
    home = home_folder()
    with _owner(run) as api, people.changing(home):
        users = {user["username"]: user for user in api.get("/users")["items"]}
        if name not in users:
            raise KormedError(f"{name}: nobody here has this name; there are {', '.join(sorted(users))}")
        known = people.credentials(home)
        role = known[name].role if name in known else _role_of(users[name], _members(api, users)[name], run.recipe.name)
        # The key first: killed before the end, it is another than in credentials.json, by which the next `reset` or
        # `add`, or for who is named in the recipe the next start, knows that there is a password to be given.
        users[name]["api_key"] = _new_key(home / "argilla.db", name)
        if name == "owner":
            api = replace(api, key=users[name]["api_key"])
        _, known[name] = people.let_in(api, users[name], name, role)
        people.write_credentials(home, known)
    return (
        f"{name}: new password {known[name].password} (shown once; it is in {home / 'credentials.json'}) and a new "
        "API key; the old ones, and whoever is still signed in with them, are out"
    )


@contextmanager
def _owner(run: Run) -> Iterator[Api]:
    """The embedded server as its owner, with the recipe's workspaces and people seen to."""
    with connect(run.recipe.annotation, run.recipe.name, create=True) as client:
        yield Api(client.api_url, client.api_key)


def _embedded_only(command: str) -> None:
    if is_teams():
        raise KormedError(
            f"kormed annotate {command} is for the embedded Argilla, and ARGILLA_API_URL or ARGILLA_API_KEY names a "
            "team's own: its owner makes people and passwords there "
            "(https://docs.argilla.io/latest/how_to_guides/user); unset both for the embedded one"
        )


def _role(role: str) -> Role:
    if role not in LET_IN:
        raise KormedError(f"{role}: {', '.join(LET_IN[:-1])} or {LET_IN[-1]} was wanted as a role")
    return next(known for known in get_args(Role) if known == role)


def _workspaces(recipe: str, role: Role) -> tuple[str, ...]:
    match role:
        case "annotator":
            return (recipe,)
        case "adjudicator":
            return (adjudication_workspace(recipe),)
    return (recipe, adjudication_workspace(recipe))


def _members(api: Api, users: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Names of each user's workspaces; the owner's are all."""
    return {
        name: {workspace["name"] for workspace in api.get(f"/users/{user['id']}/workspaces")["items"]}
        for name, user in users.items()
    }


def _refuse_second(user: Mapping[str, Any], wanted: Role, there: set[str], recipe: str, whole: bool) -> None:
    """Raises KormedError where the account is another kind, decides over itself, or is there already and `whole`."""
    name, role = user["username"], _role_of(user, there, recipe)
    if user["role"] != ARGILLA_ROLES[wanted]:
        raise KormedError(f"{name}: has an account as {role}, which cannot become {wanted}; choose another name")
    judging, deciding = recipe in there, adjudication_workspace(recipe) in there
    if (wanted == "adjudicator" and judging) or (wanted == "annotator" and deciding):
        raise KormedError(
            f"{name}: is {role} here already, and an adjudicator decides between others, so is no annotator; "
            "choose another name"
        )
    if whole and there.issuperset(_workspaces(recipe, wanted)):
        raise KormedError(
            f"{name}: is {role} here already, and the password is in {home_folder() / 'credentials.json'}; "
            f"`kormed annotate user reset RECIPE {name}` gives a new one"
        )


def _role_of(user: Mapping[str, Any], there: set[str], recipe: str) -> Role:
    """What we call the role that the server's user has in this recipe."""
    match user["role"]:
        case "owner":
            return "owner"
        case "admin":
            return "analyst"
    return "adjudicator" if adjudication_workspace(recipe) in there else "annotator"


def _named(config: Annotation) -> dict[str, Role]:
    annotators: dict[str, Role] = dict.fromkeys(config.annotators, "annotator")
    return annotators | dict.fromkeys(config.adjudicators, "adjudicator")


def _how_to_keep(run: Run, name: str, role: Role) -> str:
    """An account lasts; but only who is named in the recipe is counted on by its rounds, and made anew elsewhere."""
    config = run.recipe.annotation
    if role == "analyst" or name in _named(config):
        return ""
    names: Sequence[str] = config.annotators if role == "annotator" else config.adjudicators
    return f". To count on them, name them in the recipe: annotation.{role}s: [{', '.join((*names, name))}]"


def _submitted(client: argilla.Argilla, recipe: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for workspace in (recipe, adjudication_workspace(recipe)):
        for dataset in datasets(client, workspace):
            if dataset["status"] == "ready":
                for name, counts in counted(client, dataset["id"]).items():
                    found[name] += counts["submitted"]
    return found


def _new_key(database: Path, name: str) -> str:
    """Argilla's API cannot change a key, so the server's own table gets it; each request looks there anew."""
    key = secrets.token_urlsafe(48)
    with closing(sqlite3.connect(database, timeout=15)) as connection, connection:
        connection.execute("UPDATE users SET api_key = ? WHERE username = ?", (key, name))
    return key
