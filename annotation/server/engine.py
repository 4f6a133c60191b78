"""A search engine without an index: it answers Argilla's searches from the server's own tables (SQLite).

The server commits each write before it tells its search engine, so the tables already hold the truth. That is why
every write hook here does nothing, and why search cannot drift from what is stored.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy
import turns
import words
from argilla_server.database import AsyncSessionLocal
from argilla_server.enums import MetadataPropertyType, QuestionType, ResponseStatus, SimilarityOrder, UserRole
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
    WorkspaceUser,
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
from sqlalchemy import (
    Float,
    String,
    and_,
    cast,
    event,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession

NAME = "tables"
REPEAT_OF = "repeat_of"  # metadata of a hidden repeat: its original's external id (annotation/dataset.py)

RECORD_COLUMNS = {
    "id": type_coerce(Record.id, String),  # 32 hexadecimal digits
    "external_id": Record.external_id,
    "status": cast(Record.status, String),
    "inserted_at": Record.inserted_at,
    "updated_at": Record.updated_at,
}
DATES = ("inserted_at", "updated_at")

# Elasticsearch indexes the answers to these; to filter by others finds nothing there, and is refused here.
LABELS = (QuestionType.label_selection, QuestionType.multi_label_selection)
RATING = QuestionType.rating

Condition = Any  # a SQLAlchemy boolean expression; its own types do not survive composition
Questions = Mapping[str, Question]


@event.listens_for(Engine, "connect")
def _add_function(connection: Any, _record: object) -> None:
    connection.create_function("kormed_matches", 2, words.matches, deterministic=True)


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
            questions = await _questions(db, dataset)
            where = await _conditions(db, dataset, questions, query, filter)
            if user_id is not None and not sort:
                ids = await _queue(db, dataset, where, UUID(str(user_id)))
            else:
                order = [_order(wanted, questions) for wanted in sort or []]
                ordered = select(RECORD_COLUMNS["id"]).where(*where).order_by(*order, Record.inserted_at, Record.id)
                ids = (await db.scalars(ordered)).all()  # one statement, so that total and page are of one moment
            return _found(ids[offset : offset + limit], total=len(ids))

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
        if len(wanted) != vector_settings.dimensions or not all(map(math.isfinite, wanted)):
            raise UnprocessableEntityError(f"vector {vector_settings.name} takes {vector_settings.dimensions} numbers")
        async with AsyncSessionLocal() as db:
            where = await _conditions(db, dataset, await _questions(db, dataset), query, filter)
            where.append(Vector.vector_settings_id == vector_settings.id)
            if record is not None:
                where.append(Record.id != record.id)
            rows = (await db.execute(select(Record.id, Vector.value).join(Vector).where(*where))).all()
        if not rows:
            return SearchResponses(items=[], total=0)
        scores = _similarity(numpy.asarray([vector for _, vector in rows], dtype=float), numpy.asarray(wanted))
        if order == SimilarityOrder.least_similar:
            scores = 1 - scores
        best = [row for row in numpy.argsort(-scores, kind="stable") if threshold is None or scores[row] >= threshold]
        items = [SearchResponseItem(record_id=rows[row][0], score=float(scores[row])) for row in best[:max_results]]
        return SearchResponses(items=items, total=len(items))

    async def compute_metrics_for(self, metadata_property: MetadataProperty) -> MetadataMetrics:
        """Values of another type than the property's, stored before there was one, do not count."""
        values = func.json_each(Record.metadata_, _path(metadata_property.name)).table_valued("value", "type")
        kinds = {
            MetadataPropertyType.terms: ("text",),
            MetadataPropertyType.integer: ("integer",),
            MetadataPropertyType.float: ("integer", "real"),
        }[metadata_property.type]
        where = (Record.dataset_id == metadata_property.dataset_id, values.c.type.in_(kinds))
        async with AsyncSessionLocal() as db:
            if metadata_property.type == MetadataPropertyType.terms:
                counts = select(values.c.value, func.count()).select_from(Record).join(values, true()).where(*where)
                ranked = counts.group_by(values.c.value).order_by(func.count().desc(), values.c.value)
                rows = (await db.execute(ranked)).all()
                terms = [TermsMetrics.TermCount(term=term, count=count) for term, count in rows]
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


async def _queue(db: AsyncSession, dataset: Dataset, where: list[Condition], user_id: UUID) -> list[str]:
    """Ids of all records that fit, as the user is to see them: those of their own turn, then the others, both mixed.

    The stock engine only mixes, so that everybody begins anywhere: with k responses a record and more than k
    annotators, half-way through many records have some responses and few have all. Here each record is the turn of
    k of the workspace's annotators, and a hidden repeat of those who have its original.
    """
    members = select(User.id).join(WorkspaceUser, WorkspaceUser.user_id == User.id)
    annotates = (WorkspaceUser.workspace_id == dataset.workspace_id, User.role == UserRole.annotator)
    people = [one.bytes for one in (await db.scalars(members.where(*annotates))).all()]
    original = func.json_extract(Record.metadata_, _path(REPEAT_OF))
    columns = (RECORD_COLUMNS["id"], Record.external_id, original)
    rows = (await db.execute(select(*columns).where(*where))).all()
    keys = [str(repeated or external_id or record_id) for record_id, external_id, repeated in rows]
    me = user_id.bytes
    each = dataset.distribution["min_submitted"]
    mine = turns.are_mine(keys, people, people.index(me), each) if me in people else [True] * len(rows)
    places = (turns.place(key, me, is_repeat=bool(row[2])) for key, row in zip(keys, rows, strict=True))
    order = sorted((not own, place, row[0]) for own, place, row in zip(mine, places, rows, strict=True))
    return [record_id for _, _, record_id in order]


def _found(ids: Sequence[str], total: int) -> SearchResponses:
    return SearchResponses(items=[SearchResponseItem(record_id=UUID(one), score=1.0) for one in ids], total=total)


def _similarity(matrix: Any, target: Any) -> Any:
    lengths = numpy.linalg.norm(matrix, axis=1) * numpy.linalg.norm(target)
    return numpy.nan_to_num((1 + (matrix @ target) / numpy.maximum(lengths, 1e-12)) / 2)


async def _questions(db: AsyncSession, dataset: Dataset) -> Questions:
    found = (await db.scalars(select(Question).where(Question.dataset_id == dataset.id))).all()
    return {question.name: question for question in found}


async def _conditions(
    db: AsyncSession,
    dataset: Dataset,
    questions: Questions,
    query: TextQuery | str | None,
    wanted: Filter | None,
) -> list[Condition]:
    conditions: list[Condition] = [Record.dataset_id == dataset.id]
    if wanted is not None:
        conditions.append(_filter(wanted, questions))
    if query is not None:
        conditions.append(await _text(db, dataset, TextQuery(q=query) if isinstance(query, str) else query))
    return conditions


async def _text(db: AsyncSession, dataset: Dataset, query: TextQuery) -> Condition:
    """A blank line wants nothing, so everything fits; in the stock engine nothing would.

    SQLite's own ways do not fit: LIKE finds no Korean in the column, which holds it as \\uXXXX; a trigram index returns
    nothing for words of two syllables, which most Korean nouns are; and neither composes syllables nor folds É.
    """
    try:
        alternatives = words.terms(query.q)
    except ValueError as error:
        raise UnprocessableEntityError(str(error)) from None
    if not alternatives:
        return true()
    fields = (await db.scalars(select(Field).where(Field.dataset_id == dataset.id))).all()
    searched = [field for field in fields if not field.is_image and (not query.field or query.field == field.name)]
    wanted = {
        "chats": [field.name for field in searched if field.is_chat],
        "others": [field.name for field in searched if not field.is_chat],
        "is_whole": not query.field and all(field.is_text for field in fields),
        "alternatives": alternatives,
    }
    return func.kormed_matches(Record.fields, json.dumps(wanted)) == 1


def _filter(wanted: Filter, questions: Questions) -> Condition:
    if isinstance(wanted, AndFilter):
        return and_(true(), *[_filter(part, questions) for part in wanted.filters])
    match wanted.scope:
        case ResponseFilterScope(question=name) if name:
            return _answer_filter(wanted, wanted.scope, questions[name])
        case ResponseFilterScope():
            return _response_filter(wanted, wanted.scope)
        case MetadataFilterScope(metadata_property=name):
            return _any_value(Record.metadata_, _path(name), _fits(wanted))
        case SuggestionFilterScope(question=name):
            return _suggestion_filter(wanted, wanted.scope, questions[name])
        case RecordFilterScope(property=name):
            return _record_filter(wanted, name)
    raise UnprocessableEntityError(f"cannot filter by {wanted.scope}")


def _answer_filter(wanted: TermsFilter | RangeFilter, scope: ResponseFilterScope, question: Question) -> Condition:
    """Drafts and discarded responses count too, as in the stock engine."""
    _check_type(wanted, question)
    value = _any_value(Response.values, _path(question.name, "value"), _fits(wanted))
    return _has_response(scope, value)


def _check_type(wanted: TermsFilter | RangeFilter, question: Question) -> None:
    if question.type == RATING or (question.type in LABELS and isinstance(wanted, TermsFilter)):
        return
    raise UnprocessableEntityError(
        f"question {question.name} ({question.type.value}): filters take labels by terms, ratings by terms and range"
    )


def _response_filter(wanted: TermsFilter | RangeFilter, scope: ResponseFilterScope) -> Condition:
    if scope.property != "status" or not isinstance(wanted, TermsFilter):
        raise UnprocessableEntityError("responses are filtered by a question's value, or by property status with terms")
    statuses = {_plain(value) for value in wanted.values}
    alternatives = [_has_response(scope, Response.status.in_([one for one in ResponseStatus if one in statuses]))]
    if "pending" in statuses:  # not a status in the table: it means that there is no response yet
        alternatives.append(not_(_has_response(scope)))
    return or_(*alternatives)


def _has_response(scope: ResponseFilterScope, *where: Condition) -> Condition:
    """Of the user whom the request is about; of anybody where it is about nobody."""
    theirs = [Response.record_id == Record.id, *where]
    if scope.user is not None:
        theirs.append(Response.user_id == scope.user.id)
    return exists(select(literal(1)).select_from(Response).where(*theirs).correlate(Record))


def _suggestion_filter(
    wanted: TermsFilter | RangeFilter, scope: SuggestionFilterScope, question: Question
) -> Condition:
    where = [Suggestion.record_id == Record.id, Suggestion.question_id == question.id]
    match scope.property:
        case "value":
            _check_type(wanted, question)
            where.append(_any_value(Suggestion.value, "$", _fits(wanted)))
        case "score":
            where.append(_any_value(Suggestion.score, "$", _fits(wanted)))
        case "agent" if isinstance(wanted, TermsFilter):
            where.append(Suggestion.agent.in_(wanted.values))
        case "type" if isinstance(wanted, TermsFilter):
            where.append(cast(Suggestion.type, String).in_([_plain(value) for value in wanted.values]))
        case _:
            raise UnprocessableEntityError("suggestions are filtered by value and score, by agent and type with terms")
    return exists(select(literal(1)).select_from(Suggestion).where(*where).correlate(Record))


def _record_filter(wanted: TermsFilter | RangeFilter, name: str) -> Condition:
    column = RECORD_COLUMNS[name]
    if isinstance(wanted, TermsFilter):
        return column.in_([_record_value(name, value) for value in wanted.values])
    ends = [true()]
    if wanted.ge is not None:
        ends.append(column >= _record_value(name, wanted.ge))
    if wanted.le is not None:
        ends.append(column <= _record_value(name, wanted.le))
    return and_(*ends)


def _record_value(name: str, value: Any) -> Any:
    if name in DATES:
        return _utc(value)
    return _plain(value).replace("-", "").lower() if name == "id" else _plain(value)


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))  # of an enumeration's member its value


def _utc(value: Any) -> datetime:
    """The tables hold UTC without an offset. Numbers are milliseconds since 1970, as in Elasticsearch."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000, UTC).replace(tzinfo=None)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError, OSError):
        raise UnprocessableEntityError(f"not a date: {value}") from None


def _fits(wanted: TermsFilter | RangeFilter) -> Callable[[Any], Condition]:
    """The filter as a condition on one value out of a JSON column. Numbers are compared as such: 3 is 3.0."""
    is_number = ("integer", "real")
    if isinstance(wanted, TermsFilter):
        values = [_plain(value) for value in wanted.values]
        numbers = [number for value in values if (number := _number(value)) is not None]
        return lambda row: or_(
            and_(row.c.type == "text", row.c.value.in_(values)),
            and_(row.c.type.in_(is_number), cast(row.c.value, Float).in_(numbers)),
        )
    lowest, highest = (_bound(end) for end in (wanted.ge, wanted.le))

    def within(row: Any) -> Condition:
        number = cast(row.c.value, Float)
        ends = [number >= lowest] if lowest is not None else []
        ends += [number <= highest] if highest is not None else []
        return and_(row.c.type.in_(is_number), *ends)

    return within


def _bound(value: Any) -> float | None:
    if value is not None and _number(value) is None:
        raise UnprocessableEntityError(f"not a number: {value}")
    return _number(value)


def _number(value: Any) -> float | None:
    try:
        return None if value is None or math.isnan(float(value)) else float(value)
    except (ValueError, OverflowError):
        return None


def _any_value(column: Any, path: str, fits: Callable[[Any], Condition]) -> Condition:
    """One of the values at the path fits: a scalar is one value, a list (multi-label, several terms) as many."""
    row = func.json_each(column, path).table_valued("value", "type")
    return exists(select(literal(1)).select_from(row).where(fits(row)))


def _order(wanted: Order, questions: Questions) -> Any:
    """Records without a value come last both ways; of several values the first in that direction counts.

    Both as in Elasticsearch, which takes the mean of several people's ratings, too.
    """
    is_descending = _plain(wanted.order) == "desc"
    first = func.max if is_descending else func.min
    column = _order_column(wanted.scope, questions, first)
    return (column.desc() if is_descending else column.asc()).nulls_last()


def _order_column(scope: Any, questions: Questions, first: Any) -> Any:
    match scope:
        case RecordFilterScope(property=name):
            return RECORD_COLUMNS[name]
        case MetadataFilterScope(metadata_property=name):
            row = func.json_each(Record.metadata_, _path(name)).table_valued("value")
            query = select(first(row.c.value)).select_from(row)
        case SuggestionFilterScope(question=name, property=wanted):
            query = _suggestion_order(wanted, questions[name], first)
        case ResponseFilterScope(question=name, user=user):
            query = _response_order(scope, questions.get(name), first).where(Response.record_id == Record.id)
            if user is not None:
                query = query.where(Response.user_id == user.id)
        case _:
            raise UnprocessableEntityError(f"cannot sort by {scope}")
    return query.correlate(Record).scalar_subquery()


def _suggestion_order(wanted: str, question: Question, first: Any) -> Any:
    match wanted:
        case "value" if question.type == RATING or question.type in LABELS:
            return _suggested(Suggestion.value, question, first)
        case "score":
            return _suggested(Suggestion.score, question, first)
        case "agent":
            query = select(Suggestion.agent)
        case "type":
            query = select(cast(Suggestion.type, String))
        case _:
            raise UnprocessableEntityError(
                f"question {question.name} ({question.type.value}): suggestions are sorted by score, agent and type, "
                "and by value where it is a label or a rating"
            )
    return query.where(Suggestion.record_id == Record.id, Suggestion.question_id == question.id)


def _suggested(column: Any, question: Question, first: Any) -> Any:
    row = func.json_each(column).table_valued("value")
    query = select(first(row.c.value)).select_from(Suggestion).join(row, true())
    return query.where(Suggestion.record_id == Record.id, Suggestion.question_id == question.id)


def _response_order(scope: ResponseFilterScope, question: Question | None, first: Any) -> Any:
    if question is None and scope.property == "status":
        return select(first(cast(Response.status, String)))
    if question is not None and (question.type == RATING or question.type in LABELS):
        row = func.json_each(Response.values, _path(question.name, "value")).table_valued("value")
        pick = func.avg if question.type == RATING else first
        return select(pick(row.c.value)).select_from(Response).join(row, true())
    raise UnprocessableEntityError("responses are sorted by property status, or by a question of labels or ratings")


def _path(*names: str) -> str:
    return "$" + "".join(f'."{name}"' for name in names)  # Argilla's names are letters, digits, - and _
