"""What Argilla hands to Redis and its workers, done in the server process or refused with a sentence.

A record's status is updated in the request itself, so only one job matters here: the one that goes over all records
of a dataset after its settings changed. What stays off would carry patients' questions off this machine, let
strangers in, or bring nothing that a recipe does not: import from and export to the hub, the job list that only
these two fill, webhooks, and signing in through other sites. The page still has a button for each of the first two;
its import asks the hub before us, which the page's policy (app.py) forbids.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from argilla_server.jobs import dataset_jobs
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("kormed.argilla")

TRIES = 4

OFF = (
    (("GET",), re.compile(r"/api/v1/jobs/.*"), "jobs run inside this server and are not listed"),
    (("POST",), re.compile(r"/api/v1/datasets/[^/]+/(import|export)"), "import and export through the hub are off"),
    (("POST", "PATCH", "DELETE"), re.compile(r"/api/v1/webhooks(/.*)?"), "webhooks are off"),
    (("GET",), re.compile(r"/api/v1/oauth2/providers/.+"), "everybody signs in with a password or a key"),
)

SEARCH = re.compile(r"/api/v1/(me/)?datasets/[^/]+/records/search")

running: set[asyncio.Task[None]] = set()  # the event loop keeps only weak references to its tasks


def run_in_process() -> None:
    job = dataset_jobs.update_dataset_records_status_job

    def delay(*args: Any, **kwargs: Any) -> None:
        task = asyncio.get_running_loop().create_task(_until_done(job, *args, **kwargs))
        running.add(task)
        task.add_done_callback(running.discard)

    job.delay = delay


async def _until_done(job: Callable[..., Awaitable[None]], *args: Any, **kwargs: Any) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            await job(*args, **kwargs)
            return
        except Exception:
            log.exception("%s failed, try %d of %d", job.__name__, attempt, TRIES)
            await asyncio.sleep(0.5 * 2**attempt)


def _flaw(body: bytes) -> str | None:
    """What of a search argilla_server 2.8 takes, fails at and answers with 500."""
    try:
        filters = json.loads(body)["filters"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(filters, dict):
        return None
    if filters.get("and") is None:
        return "filters need a list named and"
    parts = [part for part in filters["and"] if isinstance(part, dict)] if isinstance(filters["and"], list) else []
    ends = [{isinstance(part[end], str) for end in ("ge", "le") if part.get(end) is not None} for part in parts]
    return "both ends of a range must be numbers, or both in quotation marks" if {True, False} in ends else None


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and what gives it to the application once more."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    again = [{"type": "http.request", "body": body}]

    async def receive_again() -> Message:
        return again.pop() if again else await receive()

    return body, receive_again


class Off:
    """Middleware: answers what stays off with 501 and a sentence; without it these paths would wait for Redis.

    Also searches that the server would fail at with a bare 500: they get 422 and a sentence.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for methods, path, sentence in OFF:
                if scope["method"] in methods and path.fullmatch(scope["path"]):
                    await _refuse(501, sentence)(scope, receive, send)
                    return
            if scope["method"] == "POST" and SEARCH.fullmatch(scope["path"]):
                body, receive = await _read(receive)
                if flaw := _flaw(body):
                    await _refuse(422, flaw)(scope, receive, send)
                    return
        await self.app(scope, receive, send)


def _refuse(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": f"kormed's embedded Argilla: {sentence}"}, status_code=status)
