"""What stock Argilla 2.8 tells or lets too many: mended here, so that annotators judge blindly and for themselves.

One record by its id comes with everybody's answers and all metadata, to every member of its workspace; the page asks
for it where a link names a record. Search filters and sorts by metadata that the one who asks may not see. The list of
a workspace's members comes with their API keys, to every admin of it. A log-in outlives the password that it was made
with. The log of a request that does not fit shows what stood in it, which may be a patient's words.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from argilla_server.api.handlers.v1 import records, workspaces
from argilla_server.api.handlers.v1.datasets import records as dataset_records
from argilla_server.api.policies.v1 import MetadataPropertyPolicy, WorkspaceUserPolicy, authorize
from argilla_server.api.routes import api_v1
from argilla_server.api.schemas.v1.records import Record
from argilla_server.api.schemas.v1.users import User as ShownUser
from argilla_server.contexts import accounts
from argilla_server.database import get_async_db
from argilla_server.models import User, WorkspaceUser
from argilla_server.security import auth
from argilla_server.security.authentication.db import BearerTokenAuthenticationBackend
from argilla_server.security.authentication.jwt import JWT
from fastapi import APIRouter, Depends, Security
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

Database = Annotated[AsyncSession, Depends(get_async_db)]
Asking = Annotated[User, Security(auth.get_current_user)]

router = APIRouter()


def keep() -> None:
    """Once, before the server answers."""
    api_v1.router.routes[:0] = router.routes
    dataset_records._get_search_responses = _search  # looked up as a global of the module
    WorkspaceUserPolicy.delete = _only_an_owner
    BearerTokenAuthenticationBackend.authenticate = _authenticate
    logging.getLogger("argilla").addFilter(_without_contents)


def _without_contents(record: logging.LogRecord) -> bool:
    """Of what did not fit only where it stood and what was wrong with it, not what it said."""
    error = record.exc_info[1] if record.exc_info else record.msg
    if isinstance(error, RequestValidationError | ValidationError):
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors())
        record.msg, record.args, record.exc_info = f"{type(error).__name__}: {wrong}", (), None
    return True


@router.get("/records/{record_id}")
async def get_record(
    record_id: UUID,
    db: Database,
    current_user: Asking,
) -> JSONResponse:
    """An annotator sees their own answer, and no metadata: ours is for analysts, all of it."""
    record = Record.model_validate(await records.get_record(db=db, record_id=record_id, current_user=current_user))
    if current_user.is_annotator:
        own = [response for response in record.responses or [] if response.user_id == current_user.id]
        record = record.model_copy(update={"responses": own, "metadata": {}})
    return JSONResponse(jsonable_encoder(record))


@router.get("/workspaces/{workspace_id}/users")
async def list_workspace_users(
    workspace_id: UUID,
    db: Database,
    current_user: Asking,
) -> JSONResponse:
    """With a key somebody answers in another's name; only the owner sees others'."""
    found = await workspaces.list_workspace_users(db=db, workspace_id=workspace_id, current_user=current_user)
    return JSONResponse(jsonable_encoder({"items": [_shown(user, current_user) for user in found.items]}))


def _shown(user: ShownUser, to: User) -> ShownUser:
    return user if to.is_owner or user.id == to.id else user.model_copy(update={"api_key": ""})


def _only_an_owner(_workspace_user: WorkspaceUser) -> Any:
    """As for adding a member; the stock answer would hold the removed member's key."""

    async def is_allowed(actor: User) -> bool:
        return bool(actor.is_owner)

    return is_allowed


_stock_search = dataset_records._get_search_responses


async def _search(**arguments: Any) -> Any:
    """403 for what would tell hidden metadata by what it finds."""
    user, query = arguments.get("user"), arguments.get("search_records_query")
    for name in _metadata_in(query.model_dump()) if user and query else ():
        found = arguments["dataset"].metadata_property_by_name(name)
        if found:
            await authorize(user, MetadataPropertyPolicy.get(found))
    return await _stock_search(**arguments)


def _metadata_in(query: Any) -> Iterator[str]:
    """Names of the metadata properties anywhere in a query."""
    if isinstance(query, dict):
        if "metadata_property" in query:
            yield query["metadata_property"]
        query = list(query.values())
    if isinstance(query, list):
        for part in query:
            yield from _metadata_in(part)


_stock_authenticate = BearerTokenAuthenticationBackend.authenticate


async def _authenticate(self: BearerTokenAuthenticationBackend, request: Any) -> Any:
    """A log-in that was made before the account last changed, as its password does in a reset, opens nothing.

    In whole seconds, as a token tells its time.
    """
    found = await _stock_authenticate(self, request)
    if found is None:
        return None
    token = await self.scheme(request)
    begun = datetime.fromtimestamp(JWT.decode(token.credentials)["exp"] - JWT.expires, UTC)
    user = await accounts.get_user_by_username(request.state.db, found[1].username)
    changed = user.updated_at.replace(microsecond=0, tzinfo=UTC)
    return found if begun >= changed else None
