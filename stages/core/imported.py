"""A row of the user's own table as a raw consult or an exam question, or why it cannot be one."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from typing import get_args

from stages.core import chat
from stages.core.errors import KormedError
from stages.core.kormedmcqa import Split
from stages.core.recipe import Subset
from stages.core.records import LETTERS, ExamQuestion, RawAnswer, RawConsult
from stages.core.tables import Row, as_text, flaw

SUBSETS: dict[str, Subset] = {
    **{subset: subset for subset in get_args(Subset)},
    "의사": "doctor",
    "간호사": "nurse",
    "약사": "pharm",
    "치과의사": "dentist",
}
SPLITS: dict[str, Split] = {**{split: split for split in get_args(Split)}, "validation": "dev"}
ALL = "all"  # the split of a file that names none

Texts = Mapping[str, str]  # by field of the mapping; "" where the cell is empty


class Unusable(Exception):
    """Why a row cannot be used, the same words for the same reason; `hit`: the id or place of the row it repeats."""

    def __init__(self, reason: str, hit: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.hit = reason, hit


def texts_of(row: Row, columns: Mapping[str, str]) -> Texts:
    texts = {}
    for field, column in columns.items():
        cell = row.cells.get(column)
        text = ", ".join(map(str, cell)) if field == "tags" and isinstance(cell, list) else as_text(cell)
        if text is None:
            raise Unusable(f"{field} is no text but {type(cell).__name__}")
        if found := flaw(text):
            raise Unusable(f"{field} holds {found}")
        texts[field] = text
    return texts


def raw_consult(place: str, texts: Texts) -> RawConsult:
    question, answer, title = texts["question"], texts["answer"], texts.get("title", "")
    for field in ("question", "answer"):
        if not texts[field]:
            raise Unusable(f"{field} is empty")
    patient = patient_information(texts)
    asked = "\0".join((title, question, patient or ""))  # not the user's own id, which may be a chart number
    id = f"consult-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
    return RawConsult(
        id=id,
        url=place,
        title=title,
        body=question,
        answers=(
            RawAnswer(
                id=f"{id}/1",
                text=answer,
                doctor=texts.get("doctor", ""),
                clinic=texts.get("clinic", ""),
                recommendations=recommendations(texts.get("recommendations", "")),
                source=place,
            ),
        ),
        date=iso_date(texts.get("date", "")),
        tags=tuple(filter(None, (tag.strip() for tag in re.split(r"[,;|#]", texts.get("tags", ""))))),
        department=texts.get("department", ""),
        patient_information=patient,
        own_ids=tuple(filter(None, [texts.get("id")])),
    )


def patient_information(texts: Texts) -> str | None:
    instruction = texts.get("instruction")
    if instruction and not instruction.startswith(chat.CONSULT_INSTRUCTION):
        raise Unusable("instruction does not open with the report's sentence")
    if instruction is not None:
        return instruction.removeprefix(chat.CONSULT_INSTRUCTION).strip()
    return texts.get("patient_information")


def recommendations(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,3}(,\d{3})*|\d{1,9}", text, re.ASCII):
        raise Unusable("recommendations is no number")
    return int(text.replace(",", ""))


def iso_date(text: str) -> str:
    """`2026.6.8`, `2026년 6월 8일`, `2026-06-08 10:15` as 2026-06-08; anything else as it is."""
    found = re.match(r"(\d{4})\s*[-./년]\s*(\d{1,2})\s*[-./월]\s*(\d{1,2})(?!\d)", text)
    try:
        return date(*map(int, found.groups())).isoformat() if found else text
    except ValueError:  # the 31st of February
        return text


def subset_of(texts: Texts, default: Subset) -> Subset:
    text = texts.get("subset", "")
    if text and text.casefold() not in SUBSETS:
        raise Unusable(f"unknown subset; wanted one of {', '.join(SUBSETS)}")
    return SUBSETS[text.casefold()] if text else default


def split_of(texts: Texts) -> str:
    if "split" not in texts:
        return ALL
    if texts["split"].casefold() not in SPLITS:
        raise Unusable(f"unknown split; wanted one of {', '.join(SPLITS)}")
    return SPLITS[texts["split"].casefold()]


def exam_question(place: str, texts: Texts, signs_only: bool) -> ExamQuestion:
    for field in ("question", "answer"):
        if not texts[field]:
            raise Unusable(f"{field} is empty")
    choices = [texts[letter] for letter in LETTERS]
    if not all(choices):
        raise Unusable("fewer than five choices")
    if texts["answer"] == "0" and "0" not in choices:
        raise KormedError(f"{place}: answer 0; answers count from 1 (or A): if these count from 0, add 1 to each")
    answer = answer_number(texts["answer"], [] if signs_only else choices)
    named = dict(zip(LETTERS, choices, strict=True))
    return ExamQuestion(question=texts["question"], **named, answer=answer, source=place)


def answer_number(text: str, choices: Sequence[str]) -> int:
    """1 to 5 of 1 to 5, A to E in either case and any width, ① to ⑤, or the text of exactly one choice.

    Where a choice reads like the sign of another one (of 0, 1, 2, 3, 4 the second is 1), and other answers of the file
    are texts of choices, nobody can tell which was meant. `choices` is empty where all answers of the file are signs.
    """
    by_sign = {number for number, letter in enumerate(LETTERS, start=1) if fold(text) in (letter, str(number))}
    by_text = {number for number, choice in enumerate(choices, start=1) if choice == text}
    meant = by_sign | by_text
    if len(meant) > 1:
        raise Unusable("answer fits more than one choice")
    if not meant:
        raise Unusable("more than five choices" if fold(text) in ("6", "F") else "answer names none of the choices")
    return meant.pop()


def is_sign(answer: str) -> bool:
    return re.fullmatch("[0-9A-Z]", fold(answer)) is not None


def fold(answer: str) -> str:
    return unicodedata.normalize("NFKC", answer).upper()  # ① is 1 in it
