"""import: consults and exam questions of the user's own in, raw consults and questions by subset and split out.

Writes `consults.jsonl` (RawConsult) and `questions/<subset>/<split>.jsonl` (ExamQuestion; `all.jsonl` where the file
names no splits, which prepare then draws), and what could not be used of either, with the reason, to `dropped.jsonl`
and `questions/dropped.jsonl` (Dropped; the id is `<file>:<line>` where the row has none of its own). Texts stay as they
are: HTML, greetings and names are for later stages to see.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from stages.core.errors import KormedError
from stages.core.imported import (
    Texts,
    Unusable,
    exam_question,
    is_sign,
    raw_consult,
    split_of,
    subset_of,
    texts_of,
)
from stages.core.recipe import ConsultColumns, Import, ImportConsults, ImportQuestions, QuestionColumns, Subset
from stages.core.records import Dropped, ExamQuestion, RawConsult, write_jsonl
from stages.core.tables import Row, Table, Unread, as_text, encodable, mapping_problems, open_table

log = logging.getLogger("kormed")

Questions = dict[tuple[Subset, str], list[ExamQuestion]]  # by subset and split


def run(config: Import, out: Path) -> dict[str, float]:
    tables = open_tables(config)
    consults: dict[str, RawConsult] = {}
    questions: Questions = {}
    dropped: list[Dropped] = []
    dropped_questions: list[Dropped] = []
    if config.consults:
        consults, dropped = read_consults(tables["consults"], config.consults)
    if config.questions:
        questions, dropped_questions = read_questions(tables["questions"], config.questions)
    write_jsonl(out / "consults.jsonl", consults.values())
    write_jsonl(out / "dropped.jsonl", dropped)
    (out / "questions").mkdir(exist_ok=True)
    write_jsonl(out / "questions" / "dropped.jsonl", dropped_questions)
    for (subset, split), rows in questions.items():
        (out / "questions" / subset).mkdir(exist_ok=True)
        write_jsonl(out / "questions" / subset / f"{split}.jsonl", rows)
    return {
        "consults": len(consults),
        "answers": sum(len(consult.answers) for consult in consults.values()),
        "questions": sum(map(len, questions.values())),
        "dropped": len(dropped) + len(dropped_questions),
    }


def open_tables(config: Import) -> dict[str, Table]:
    """The files by section, with every column there that the recipe names.

    Raises:
        KormedError: a file cannot be read, or the mapping does not fit; lists all problems of both files.
    """
    tables = {}
    problems: list[str] = []
    for key, part in (("consults", config.consults), ("questions", config.questions)):
        if part:
            if not part.path.exists():
                raise KormedError(f"{part.path}: no such file; name yours in import.{key}.path")
            tables[key] = open_table(part.path)
            problems += mapping_problems(f"import.{key}.columns", named(part.columns), tables[key])
    if config.consults and config.consults.columns.instruction and config.consults.columns.patient_information:
        problems.append("import.consults.columns: instruction holds the patient information; name one of the two")
    if problems:
        raise KormedError("\n  ".join([f"{len(problems)} problem{'s' * (len(problems) != 1)}", *problems]))
    return tables


def named(columns: ConsultColumns | QuestionColumns) -> dict[str, str]:
    return {field: column for field, column in columns if column is not None}


def read(key: str, table: Table, columns: Mapping[str, str], take: Callable[[str, Texts, Row], None]) -> list[Dropped]:
    """Hand `take` every row's place, texts by field, and cells; the rows that it or the file refuses come back.

    Raises:
        KormedError: not one row could be used.
    """
    dropped: dict[int, Dropped] = {}
    rows = 0
    for row in table.rows():
        rows += 1
        place = f"{table.path}:{row.number}"
        try:
            if isinstance(row, Unread):
                raise Unusable(row.reason)
            take(place, texts_of(row, columns), row)
        except Unusable as why:
            dropped[row.number] = refused(place, row, columns, why)
    reasons: dict[str, list[int]] = defaultdict(list)
    for number, drop in dropped.items():
        reasons[drop.reason].append(number)
    told = [f"{len(at)} of {rows}: {reason} (the first: {table.path}:{at[0]})" for reason, at in reasons.items()]
    if len(dropped) == rows:
        raise KormedError(
            "\n  ".join(
                [f"{table.path}: no row of it can be used; import.{key}.columns says which column is what", *told]
            )
        )
    for line in told:
        log.info("import: dropped %s", line)
    return list(dropped.values())


def refused(place: str, row: Row | Unread, columns: Mapping[str, str], why: Unusable) -> Dropped:
    """A row that repeats another one's id goes under its place, since the id is the other one's."""
    id = text = None
    if isinstance(row, Row):
        text = as_text(row.cells.get(columns["question"]))
        id = as_text(row.cells.get(columns["id"])) if "id" in columns and not why.hit else None
    else:
        text = row.text
    return Dropped(id=encodable(id or place), reason=why.reason, text=encodable(text or ""), hit=why.hit)


# Consults


def read_consults(table: Table, config: ImportConsults) -> tuple[dict[str, RawConsult], list[Dropped]]:
    """Consults by id, and the rows that could not be used. A question that comes again brings one more answer."""
    consults: dict[str, RawConsult] = {}
    owners: dict[str, str] = {}

    def take(place: str, texts: Texts, row: Row) -> None:
        add(consults, owners, raw_consult(place, texts))

    dropped = read("consults", table, named(config.columns), take)
    return consults, dropped


def add(consults: dict[str, RawConsult], owners: dict[str, str], new: RawConsult) -> None:
    """A new consult, or one more answer to one; `owners` holds the consult of each of the user's own ids."""
    for own in new.own_ids:
        if owners.setdefault(own, new.id) != new.id:
            raise Unusable("its id stands there before, with another question", hit=owners[own])
    first = consults.setdefault(new.id, new)
    if first is new:
        return
    (answer,) = new.answers
    if any(answer.text == known.text for known in first.answers):
        raise Unusable("repeats an earlier row", hit=first.id)
    another = answer.model_copy(update={"id": f"{first.id}/{len(first.answers) + 1}"})
    own_ids = tuple(dict.fromkeys((*first.own_ids, *new.own_ids)))
    consults[new.id] = first.model_copy(update={"answers": (*first.answers, another), "own_ids": own_ids})


# Exam questions


def read_questions(table: Table, config: ImportQuestions) -> tuple[Questions, list[Dropped]]:
    """Questions by subset and split, and the rows that could not be used.

    Raises:
        KormedError: answers count from 0.
    """
    questions: Questions = defaultdict(list)
    seen: dict[tuple[str, ...], tuple[str, int]] = {}
    too_many = [column for column in sixth(config.columns.E) if column in table.columns]
    signs_only = all(
        is_sign(as_text(row.cells.get(config.columns.answer)) or "1") for row in table.rows() if isinstance(row, Row)
    )

    def take(place: str, texts: Texts, row: Row) -> None:
        if any(as_text(row.cells.get(column)) != "" for column in too_many):
            raise Unusable("more than five choices")
        group = (subset_of(texts, config.subset), split_of(texts))
        question = exam_question(place, texts, signs_only)
        first, answer = seen.setdefault((*group, question.question, *question.choices), (place, question.answer))
        if first != place:
            same = answer == question.answer
            raise Unusable(
                "repeats an earlier row" if same else "repeats an earlier row with another answer", hit=first
            )
        questions[group].append(question)

    dropped = read("questions", table, named(config.columns), take)
    return questions, dropped


def sixth(column: str) -> list[str]:
    """The names that a sixth choice would have after the fifth one's: F after E, 보기6 after 보기5."""
    return [column[:-1] + after for last, after in zip("Ee5⑤", "Ff6⑥", strict=True) if column.endswith(last)]
