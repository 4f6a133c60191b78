"""What Argilla hands to Redis and its workers, done in the server process or refused with a sentence.

A record's status is updated in the request itself, so only one job matters here: the one that goes over all records
of a dataset after its settings changed. Import from and export to the hub, the job list and webhooks stay off: the
first three would carry patients' questions off this machine or bring nothing that a recipe does not.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from argilla_server.jobs import dataset_jobs
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("kormed.argilla")

TRIES = 4

OFF = (
    (("GET",), re.compile(r"/api/v1/jobs/.*"), "jobs run inside this server and are not listed"),
    (("POST",), re.compile(r"/api/v1/datasets/[^/]+/(import|export)"), "import and export through the hub are off"),
    (("POST", "PATCH"), re.compile(r"/api/v1/webhooks(/.*)?"), "webhooks are off"),
)

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


class Off:
    """Middleware: answers what stays off with 501 and a sentence; without it these paths would wait for Redis."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for methods, path, sentence in OFF:
                if scope["method"] in methods and path.fullmatch(scope["path"]):
                    refusal = JSONResponse({"detail": f"kormed's embedded Argilla: {sentence}"}, status_code=501)
                    await refusal(scope, receive, send)
                    return
        await self.app(scope, receive, send)
