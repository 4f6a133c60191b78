"""progress: how far the labelling of a set of comparisons is, in all and by annotator."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import argilla

from annotation.connection import get
from annotation.dataset import pushed
from stages.core.records import Comparison

STATUSES = ("submitted", "draft", "discarded")


@dataclass(frozen=True)
class Share:
    """One annotator's responses by status."""

    annotator: str
    submitted: int
    draft: int
    discarded: int


@dataclass(frozen=True)
class Progress:
    """`completed` comparisons have as many submitted responses as the recipe asks for."""

    dataset: str
    total: int
    completed: int
    pending: int
    shares: tuple[Share, ...]


def progress(client: argilla.Argilla, workspace: str, comparisons: Sequence[Comparison]) -> Progress:
    """Members of the workspace without a response stand there with zeros.

    Raises:
        KormedError: these comparisons were never pushed.
    """
    dataset = pushed(client, workspace, comparisons)
    whole = get(client, f"/datasets/{dataset['id']}/progress")
    users = {user["username"]: user for user in get(client, f"/datasets/{dataset['id']}/users/progress")["users"]}
    members = {user["username"] for user in get(client, f"/workspaces/{dataset['workspace_id']}/users")["items"]}
    shares = []
    for name in sorted(members | users.keys()):
        halves = [users.get(name, {}).get(half) or {} for half in ("completed", "pending")]
        counts = {status: sum(half.get(status) or 0 for half in halves) for status in STATUSES}
        shares.append(Share(name, **counts))
    return Progress(
        dataset["name"],
        total=whole.get("total") or 0,
        completed=whole.get("completed") or 0,
        pending=whole.get("pending") or 0,
        shares=tuple(shares),
    )


def render(state: Progress) -> str:
    """A small table for a terminal."""
    percent = 100 * state.completed / state.total if state.total else 0
    rows = [("annotator", *STATUSES)]
    rows += [(share.annotator, str(share.submitted), str(share.draft), str(share.discarded)) for share in state.shares]
    width = max(_columns(row[0]) for row in rows)
    lines = [f"{state.completed} of {state.total} comparisons completed ({percent:.0f} %), {state.pending} pending"]
    for name, *counts in rows:
        lines.append("  ".join([name + " " * (width - _columns(name)), *(count.rjust(9) for count in counts)]))
    return "\n".join(lines)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)  # Korean is two wide
