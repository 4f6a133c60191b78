"""What happens when the disk refuses to take an answer: it is full, broken or read-only.

The request gets 507 and a sentence, whatever the code in between made of the error, and SQLite keeps either all of a
transaction or nothing. Nobody has to start anything again: the next request is tried as if nothing had been.

An answer and its record's status are two transactions in Argilla. Where the second alone fails, or the server dies
between them, the answer is there and acknowledged, and the status is mended afterwards.
"""

import asyncio
import logging
import sqlite3
from contextvars import ContextVar
from typing import Any

import backoff
from argilla_server.contexts import distribution
from argilla_server.database import AsyncSessionLocal
from argilla_server.enums import RecordStatus, ResponseStatus
from argilla_server.models import Dataset, Record, Response
from sqlalchemy import case, event, func, literal, select, update
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("kormed.argilla")

CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
MEND_SECONDS = 5

noted: ContextVar[list[str] | None] = ContextVar("noted", default=None)  # refusals during the current request
mending: set[asyncio.Task[None]] = set()  # at most one


def is_refusal(error: BaseException) -> bool:
    cause = getattr(error, "orig", error)  # SQLAlchemy wraps sqlite3's
    # The low byte is the kind; the rest tells kinds of I/O errors apart. https://sqlite.org/rescode.html
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in CODES


@event.listens_for(Engine, "handle_error")
def _note(context: ExceptionContext) -> None:
    found = noted.get()
    if found is not None and is_refusal(context.original_exception):
        found.append(str(context.original_exception))


class Refusals:
    """Middleware: 507 for a request that the disk refused, even where Argilla made a 200 of it (in bulk)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusals: list[str] = []
        noted.set(refusals)
        answer: JSONResponse | None = None

        async def send_or_refuse(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start" and refusals:
                log.error("the disk refuses: %s", refusals[0])
                answer = _refusal(refusals[0])
                await answer(scope, receive, send)
            elif answer is None:
                await send(message)

        try:
            await self.app(scope, receive, send_or_refuse)
        except Exception:
            if answer is None:  # else it is told already; Argilla answers an error and raises it once more
                raise


def _refusal(reason: str) -> JSONResponse:
    sentence = (
        f"kormed's embedded Argilla: the disk refuses ({reason}); what you sent may not be kept: make room on the "
        "disk that holds the answers, then send it again"
    )
    return JSONResponse({"detail": sentence}, status_code=507)


def acknowledge_what_is_kept() -> None:
    """An answer that is stored is acknowledged, even if the disk then refuses its record's status."""
    once = distribution.update_record_status.__wrapped__
    patience = distribution.MAX_TIME_RETRY_SQLALCHEMY_ERROR
    patiently = backoff.on_exception(backoff.expo, SQLAlchemyError, max_time=patience, giveup=is_refusal)(once)

    async def update_record_status(*args: Any, **kwargs: Any) -> Record | None:
        try:
            return await patiently(*args, **kwargs)
        except SQLAlchemyError as error:
            if not is_refusal(error):
                raise
            if (refusals := noted.get()) is not None:
                refusals.clear()
            _mend_later()
            return None  # nobody looks at it

    distribution.update_record_status = update_record_status


def _mend_later() -> None:
    if not mending:
        task = asyncio.get_running_loop().create_task(_until_mended())
        mending.add(task)
        task.add_done_callback(mending.discard)


async def _until_mended() -> None:
    while True:
        await asyncio.sleep(MEND_SECONDS)
        try:
            await mend_statuses()
            return
        except SQLAlchemyError as error:
            log.warning("records' statuses could not be mended yet: %s", error)


async def mend_statuses() -> None:
    """Each record is completed exactly when it has the submitted responses that its dataset asks for."""
    submitted = (
        select(func.count())
        .select_from(Response)
        .where(Response.record_id == Record.id, Response.status == ResponseStatus.submitted)
        .correlate(Record)
        .scalar_subquery()
    )
    asked = select(func.json_extract(Dataset.distribution, "$.min_submitted")).where(Dataset.id == Record.dataset_id)
    kind = Record.__table__.c.status.type
    is_complete = submitted >= asked.correlate(Record).scalar_subquery()
    right = case((is_complete, literal(RecordStatus.completed, kind)), else_=literal(RecordStatus.pending, kind))
    async with AsyncSessionLocal() as db:
        wrong = update(Record).where(Record.status != right).values(status=right)
        done = await db.execute(wrong.execution_options(synchronize_session=False))
        await db.commit()
    if done.rowcount:
        log.warning("mended the status of %d records", done.rowcount)
