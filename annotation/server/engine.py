"""A search engine without an index: it answers Argilla's searches from the server's own tables (SQLite).

The server commits each write before it tells its search engine, so the tables already hold the truth. That is why
every write hook here does nothing, and why search cannot drift from what is stored.
"""

import hashlib
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy
from argilla_server.database import AsyncSessionLocal
from argilla_server.enums import MetadataPropertyType, RecordStatus, ResponseStatus, SimilarityOrder, SuggestionType
from argilla_server.errors.future import UnprocessableEntityError
from argilla_server.models import (
    Dataset,
    Field,
    MetadataProperty,
    Question,
    Record,
    Response,
    Suggestion,
    User,
    Vector,
    VectorSettings,
)
from argilla_server.search_engine.base import (
    AndFilter,
    Filter,
    FloatMetadataMetrics,
    IntegerMetadataMetrics,
    MetadataFilterScope,
    MetadataMetrics,
    Order,
    RangeFilter,
    RecordFilterScope,
    ResponseFilterScope,
    SearchEngine,
    SearchResponseItem,
    SearchResponses,
    SuggestionFilterScope,
    TermsFilter,
    TermsMetrics,
    TextQuery,
)
from sqlalchemy import Float, String, and_, cast, exists, false, func, literal, not_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

NAME = "tables"

RECORD_COLUMNS = {
    "id": Record.id,
    "external_id": Record.external_id,
    "status": Record.status,
    "inserted_at": Record.inserted_at,
    "updated_at": Record.updated_at,
}

Condition = Any  # a SQLAlchemy boolean expression; its own types do not survive composition


@SearchEngine.register(NAME)
class TableSearchEngine(SearchEngine):
    @classmethod
    async def new_instance(cls) -> "TableSearchEngine":
        return cls()  # the server asks for one in every request: it must cost nothing

    async def close(self) -> None: ...

    async def ping(self) -> bool:
        async with AsyncSessionLocal() as db:
            return (await db.scalar(select(literal(1)))) == 1

    async def info(self) -> dict[str, str]:
        return {"name": NAME, "version": "1"}

    # Write hooks: nothing to keep in step.
    async def create_index(self, dataset: Dataset) -> None: ...
    async def delete_index(self, dataset: Dataset) -> None: ...
    async def configure_metadata_property(self, dataset: Dataset, metadata_property: MetadataProperty) -> None: ...
    async def configure_index_vectors(self, vector_settings: VectorSettings) -> None: ...
    async def index_records(self, dataset: Dataset, records: Any) -> None: ...
    async def partial_record_update(self, record: Record, **update: Any) -> None: ...
    async def delete_records(self, dataset: Dataset, records: Any) -> None: ...
    async def update_record_response(self, response: Response) -> None: ...
    async def delete_record_response(self, response: Response) -> None: ...
    async def update_record_suggestion(self, suggestion: Suggestion) -> None: ...
    async def delete_record_suggestion(self, suggestion: Suggestion) -> None: ...

    async def get_dataset_progress(self, dataset: Dataset) -> dict[str, int]:
        query = select(Record.status, func.count()).where(Record.dataset_id == dataset.id).group_by(Record.status)
        return await _progress(dataset, query)

    async def get_dataset_user_progress(self, dataset: Dataset, user: User) -> dict[str, int]:
        query = (
            select(Response.status, func.count())
            .join(Record)
            .where(Record.dataset_id == dataset.id, Response.user_id == user.id)
            .group_by(Response.status)
        )
        return await _progress(dataset, query)

    async def search(
        self,
        dataset: Dataset,
        query: TextQuery | str | None = None,
        filter: Filter | None = None,
        sort: list[Order] | None = None,
        offset: int = 0,
        limit: int = 100,
        user_id: UUID | None = None,  # not in the base class, yet the annotation page always passes it
    ) -> SearchResponses:
        async with AsyncSessionLocal() as db:
            where = await _conditions(db, dataset, query, filter)
            if user_id is not None and not sort:
                # The stock engine mixes the queue for each annotator, always the same way for the same one.
                ids = _mixed((await db.scalars(select(Record.id).where(*where))).all(), user_id)
                return _found(ids[offset : offset + limit], total=len(ids))
            order = [column for wanted in sort or [] for column in _order(wanted)]
            ordered = select(Record.id).where(*where).order_by(*order, Record.inserted_at, Record.id)
            total = await db.scalar(select(func.count()).select_from(Record).where(*where))
            return _found((await db.scalars(ordered.offset(offset).limit(limit))).all(), total=total or 0)

    async def similarity_search(
        self,
        dataset: Dataset,
        vector_settings: VectorSettings,
        value: list[float] | None = None,
        record: Record | None = None,
        query: TextQuery | str | None = None,
        filter: Filter | None = None,
        max_results: int = 100,
        order: SimilarityOrder = SimilarityOrder.most_similar,
        threshold: float | None = None,
    ) -> SearchResponses:
        """Exact cosine similarity over every vector, mapped to 0..1 as Elasticsearch does."""
        if bool(value) == bool(record):
            raise ValueError("Must provide either vector value or record to compute the similarity search")
        wanted = value or record.vector_value_by_vector_settings(vector_settings)
        if not wanted:
            raise ValueError("Cannot find a vector value to apply with provided info")
        async with AsyncSessionLocal() as db:
            where = await _conditions(db, dataset, query, filter)
            where.append(Vector.vector_settings_id == vector_settings.id)
            if record is not None:
                where.append(Record.id != record.id)
            rows = (await db.execute(select(Record.id, Vector.value).join(Vector).where(*where))).all()
        if not rows:
            return SearchResponses(items=[], total=0)
        matrix = numpy.asarray([vector for _, vector in rows], dtype=numpy.float32)
        target = numpy.asarray(wanted, dtype=numpy.float32)
        lengths = numpy.linalg.norm(matrix, axis=1) * numpy.linalg.norm(target)
        scores = (1 + (matrix @ target) / numpy.maximum(lengths, 1e-12)) / 2
        if order == SimilarityOrder.least_similar:
            scores = 1 - scores
        best = numpy.argsort(-scores, kind="stable")[:max_results]
        items = [
            SearchResponseItem(record_id=rows[row][0], score=float(scores[row]))
            for row in best
            if threshold is None or scores[row] >= threshold
        ]
        return SearchResponses(items=items, total=len(items))

    async def compute_metrics_for(self, metadata_property: MetadataProperty) -> MetadataMetrics:
        values = func.json_each(Record.metadata_, _path(metadata_property.name)).table_valued("value", "type")
        where = (Record.dataset_id == metadata_property.dataset_id, values.c.type != "null")
        async with AsyncSessionLocal() as db:
            if metadata_property.type == MetadataPropertyType.terms:
                counts = select(values.c.value, func.count()).select_from(Record).join(values, true()).where(*where)
                ranked = counts.group_by(values.c.value).order_by(func.count().desc(), values.c.value)
                rows = (await db.execute(ranked)).all()
                terms = [TermsMetrics.TermCount(term=str(term), count=count) for term, count in rows]
                return TermsMetrics(total=sum(term.count for term in terms), values=terms)
            extremes = select(func.min(values.c.value), func.max(values.c.value)).select_from(Record)
            lowest, highest = (await db.execute(extremes.join(values, true()).where(*where))).one()
        is_integer = metadata_property.type == MetadataPropertyType.integer
        return (IntegerMetadataMetrics if is_integer else FloatMetadataMetrics)(min=lowest, max=highest)


async def _progress(dataset: Dataset, query: Any) -> dict[str, int]:
    if dataset.is_draft:
        return {}  # the API leaves every number out of a draft's progress
    async with AsyncSessionLocal() as db:
        counts = {status.value: count for status, count in (await db.execute(query)).all()}
    return {"total": sum(counts.values()), **counts}


def _mixed(ids: Any, user_id: UUID) -> list[UUID]:
    key = UUID(str(user_id)).bytes
    return sorted(ids, key=lambda record_id: hashlib.blake2b(record_id.bytes, key=key, digest_size=8).digest())


def _found(ids: Any, total: int) -> SearchResponses:
    return SearchResponses(items=[SearchResponseItem(record_id=record_id, score=1.0) for record_id in ids], total=total)


async def _conditions(
    db: AsyncSession, dataset: Dataset, query: TextQuery | str | None, wanted: Filter | None
) -> list[Condition]:
    conditions: list[Condition] = [Record.dataset_id == dataset.id]
    if query is not None:
        conditions.append(await _text(db, dataset, TextQuery(q=query) if isinstance(query, str) else query))
    if wanted is not None:
        conditions.append(_filter(wanted))
    return conditions


async def _text(db: AsyncSession, dataset: Dataset, query: TextQuery) -> Condition:
    """Every term somewhere in the fields, as part of a word too: Korean particles stick to their noun.

    Of Elasticsearch's simple query strings this knows what the page documents: "a phrase", -without, this | that.
    """
    fields = (await db.scalars(select(Field).where(Field.dataset_id == dataset.id))).all()
    names = [field.name for field in fields if not field.is_image and (not query.field or field.name == query.field)]
    if not names:
        return false()
    try:
        tokens = shlex.split(query.q)
    except ValueError:  # an open quotation mark
        tokens = query.q.split()
    alternatives: list[list[Condition]] = [[]]
    for token in tokens:
        if token == "|":
            alternatives.append([])
        elif token.startswith("-") and len(token) > 1:
            alternatives[-1].append(not_(_holds(names, token[1:])))
        elif term := token.strip("+*"):
            alternatives[-1].append(_holds(names, term))
    wanted = [and_(*terms) for terms in alternatives if terms]
    return or_(*wanted) if wanted else true()


def _holds(names: list[str], term: str) -> Condition:
    """The term stands in one of the fields.

    json_tree decodes: the column itself holds Korean as \\uXXXX, so a LIKE on it finds nothing. It also walks into
    chat fields (a list of role and content) and custom fields (an object). SQLite's trigram index is no help, it
    returns nothing for the two-syllable words that most Korean nouns are.
    """
    escaped = term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = []
    for name in names:
        tree = func.json_tree(Record.fields, _path(name)).table_valued("value", "type", "key")
        is_text = and_(tree.c.type == "text", func.coalesce(tree.c.key, "") != "role")
        found.append(
            exists(select(literal(1)).select_from(tree).where(is_text, tree.c.value.like(f"%{escaped}%", escape="\\")))
        )
    return or_(*found)


def _filter(wanted: Filter) -> Condition:
    if isinstance(wanted, AndFilter):
        return and_(*[_filter(part) for part in wanted.filters]) if wanted.filters else true()
    match wanted.scope:
        case ResponseFilterScope():
            return _response_filter(wanted, wanted.scope)
        case MetadataFilterScope(metadata_property=name):
            return _any_value(Record.metadata_, _path(name), _fits(wanted))
        case SuggestionFilterScope():
            return _suggestion_filter(wanted, wanted.scope)
        case RecordFilterScope(property=name):
            return _record_filter(wanted, name)
    raise UnprocessableEntityError(f"cannot filter by {wanted.scope}")


def _response_filter(wanted: TermsFilter | RangeFilter, scope: ResponseFilterScope) -> Condition:
    theirs = [Response.record_id == Record.id]
    if scope.user is not None:
        theirs.append(Response.user_id == scope.user.id)
    answered = exists(select(literal(1)).select_from(Response).where(*theirs).correlate(Record))
    if scope.question:
        value = _any_value(Response.values, _path(scope.question, "value"), _fits(wanted))
        return exists(select(literal(1)).select_from(Response).where(*theirs, value).correlate(Record))
    if scope.property != "status" or not isinstance(wanted, TermsFilter):
        raise UnprocessableEntityError(f"cannot filter responses by {scope.property}")
    statuses = {str(getattr(value, "value", value)) for value in wanted.values}
    alternatives = []
    if "pending" in statuses:  # not a status in the table: it means that there is no response yet
        alternatives.append(not_(answered))
    stored = [status for status in ResponseStatus if status.value in statuses]
    if stored:
        in_status = Response.status.in_(stored)
        alternatives.append(
            exists(select(literal(1)).select_from(Response).where(*theirs, in_status).correlate(Record))
        )
    return or_(*alternatives) if alternatives else false()


def _suggestion_filter(wanted: TermsFilter | RangeFilter, scope: SuggestionFilterScope) -> Condition:
    question = aliased(Question)
    where = [
        Suggestion.record_id == Record.id,
        Suggestion.question_id == question.id,
        question.name == scope.question,
    ]
    match scope.property.rsplit(".", 1)[-1]:
        case "value":
            where.append(_any_value(Suggestion.value, "$", _fits(wanted)))
        case "score":
            where.append(_any_value(Suggestion.score, "$", _fits(wanted)))
        case "agent" if isinstance(wanted, TermsFilter):
            where.append(Suggestion.agent.in_([str(value) for value in wanted.values]))
        case "type" if isinstance(wanted, TermsFilter):
            where.append(Suggestion.type.in_([kind for kind in SuggestionType if kind.value in wanted.values]))
        case other:
            raise UnprocessableEntityError(f"cannot filter suggestions by {other}")
    return exists(select(literal(1)).select_from(Suggestion).join(question, true()).where(*where).correlate(Record))


def _record_filter(wanted: TermsFilter | RangeFilter, name: str) -> Condition:
    column = RECORD_COLUMNS[name]
    if isinstance(wanted, TermsFilter):
        values = [_record_value(name, value) for value in wanted.values]
        return column.in_([value for value in values if value is not None])
    ends = []
    if wanted.ge is not None:
        ends.append(column >= _record_value(name, wanted.ge))
    if wanted.le is not None:
        ends.append(column <= _record_value(name, wanted.le))
    return and_(*ends)


def _record_value(name: str, value: Any) -> Any:
    """A filter's value in the column's type; None where no record can have it."""
    if name in ("inserted_at", "updated_at"):
        return _utc(value)
    try:
        if name == "id":
            return UUID(str(value))
        return RecordStatus(str(getattr(value, "value", value))) if name == "status" else str(value)
    except ValueError:
        return None


def _utc(value: Any) -> datetime:
    """The tables hold UTC without an offset. Numbers are milliseconds since 1970, as in Elasticsearch."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000, UTC).replace(tzinfo=None)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise UnprocessableEntityError(f"not a date: {value}") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _fits(wanted: TermsFilter | RangeFilter) -> Callable[[Any], Condition]:
    """The filter as a condition on one value out of a JSON column."""
    if isinstance(wanted, TermsFilter):
        values = [str(value) for value in wanted.values]
        return lambda row: cast(row.c.value, String).in_(values)

    def within(row: Any) -> Condition:
        conditions = [row.c.type.in_(["integer", "real"])]
        if wanted.ge is not None:
            conditions.append(cast(row.c.value, Float) >= _number(wanted.ge))
        if wanted.le is not None:
            conditions.append(cast(row.c.value, Float) <= _number(wanted.le))
        return and_(*conditions)

    return within


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise UnprocessableEntityError(f"not a number: {value}") from None


def _any_value(column: Any, path: str, fits: Callable[[Any], Condition]) -> Condition:
    """One of the values at the path fits: a scalar is one value, a list (multi-label, several terms) as many."""
    row = func.json_each(column, path).table_valued("value", "type")
    return exists(select(literal(1)).select_from(row).where(fits(row)))


def _order(wanted: Order) -> list[Any]:
    descending = str(getattr(wanted.order, "value", wanted.order)) == "desc"
    column = _order_column(wanted.scope)
    return [(column.desc() if descending else column.asc()).nulls_last()]  # both ways, as Elasticsearch does


def _order_column(scope: Any) -> Any:
    match scope:
        case RecordFilterScope(property=name):
            return cast(Record.status, String) if name == "status" else RECORD_COLUMNS[name]
        case MetadataFilterScope(metadata_property=name):
            return func.json_extract(Record.metadata_, _path(name))
        case SuggestionFilterScope():
            column = {
                "value": func.json_extract(Suggestion.value, "$"),
                "score": func.json_extract(Suggestion.score, "$"),
                "agent": Suggestion.agent,
                "type": cast(Suggestion.type, String),
            }[scope.property.rsplit(".", 1)[-1]]
            query = select(column).join(Question, Question.id == Suggestion.question_id)
            query = query.where(Suggestion.record_id == Record.id, Question.name == scope.question).limit(1)
        case ResponseFilterScope():
            if scope.question:
                column = func.avg(func.json_extract(Response.values, _path(scope.question, "value")))
            else:
                column = func.max(cast(Response.status, String))
            query = select(column).where(Response.record_id == Record.id)
            if scope.user is not None:
                query = query.where(Response.user_id == scope.user.id)
        case _:
            raise UnprocessableEntityError(f"cannot sort by {scope}")
    return query.correlate(Record).scalar_subquery()


def _path(*keys: str) -> str:
    quoted = (key.replace('"', '\\"') for key in keys)
    return "$" + "".join(f'."{key}"' for key in quoted)
