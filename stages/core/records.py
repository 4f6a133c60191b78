"""What flows between stages: frozen, typed records, one JSON object a line on disk."""

import json
import math
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.core.errors import KormedError

LETTERS = ("A", "B", "C", "D", "E")
SIMULATED = "simulated-"  # how the names of simulated annotators begin, and nobody else's

Letter = Literal["A", "B", "C", "D", "E"]
Part = Literal["sft", "preference", "heldout"]
Choice = Literal["a", "b", "tie", "both_bad"]
RoundName = Literal["label", "adjudication", "compare"]
Flag = Literal[  # why an answer may do harm, as an annotator marks it
    "missed_emergency",
    "dangerous_treatment",
    "wrong_information",
    "false_certainty",
    "discourages_care",
    "personal_data",
    "other",
]
Mark = Literal["empty", "truncated", "repeating", "near_identical"]
Checkpoint = Literal["base", "sft", "dpo"]
Variant = Literal["zero_shot", "chat_form"]  # other forms of the exam, asked beside the headline's


class Record(BaseModel):
    """Base of every record: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExamQuestion(Record):
    """One KorMedMCQA item. `answer` is the hub's integer, 1 for A to 5 for E."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # subject, year, period, q_number are not needed

    question: str = Field(pattern=r"\S")  # not blank
    A: str
    B: str
    C: str
    D: str
    E: str
    answer: int = Field(ge=1, le=5)
    cot: str = ""
    source: str = ""  # file and line of an imported question; empty: its place in the benchmark says it

    @model_validator(mode="before")
    @classmethod
    def _five_choices(cls, row: object) -> object:
        """A sixth choice that nobody reads might be the right one."""
        if isinstance(row, dict) and row.get("F") not in (None, ""):
            raise ValueError("five choices were wanted, A to E, and there is an F; take the row out")
        return row

    @property
    def choices(self) -> tuple[str, str, str, str, str]:
        return (self.A, self.B, self.C, self.D, self.E)

    @property
    def letter(self) -> str:
        return LETTERS[self.answer - 1]


class RawAnswer(Record):
    """One doctor's answer as it stands on the page. `doctor` and `clinic` are there to be masked, nothing else."""

    id: str
    text: str
    doctor: str = ""
    clinic: str = ""
    recommendations: int | None = None  # None: the source counts none
    source: str = ""  # file and line of an imported answer; empty: the consult's page says it


class RawConsult(Record):
    """A consult as it was collected or imported: nothing masked, nothing rewritten."""

    id: str
    url: str  # the page; for an imported row file and line
    title: str
    body: str
    answers: tuple[RawAnswer, ...]
    date: str = ""  # as the source has it, 2026-06-08 where that could be read
    tags: tuple[str, ...] = ()
    department: str = ""
    patient_information: str | None = None  # None: not told apart from the body, as on a web page
    own_ids: tuple[str, ...] = ()  # of an imported consult; they may be chart numbers, so they go no further than this


class Consult(Record):
    """A patient's question to a doctor, with what is known of the patient and the doctor's answer."""

    id: str
    question: str
    patient_information: str
    answer: str
    source: str
    raw_id: str | None = None  # the RawConsult it was made of; None: it came in this form


class Example(Record):
    """One row of SFT: the user turn is instruction, blank line, question; the model's turn is the answer."""

    id: str
    question: str
    instruction: str
    answer: str
    source: str


class Dropped(Record):
    """A row that did not make it, and why. `hit` is the id of what it collided with, where it collided."""

    id: str
    reason: str
    text: str
    hit: str | None = None
    similarity: float | None = None  # 0 to 1, to `hit`; None: there is nothing to compare with

    @property
    def kind(self) -> str:
        """The reason without what is told of this row alone, behind the first colon: what rows are counted by."""
        return self.reason.partition(":")[0]


class Decision(Record):
    """What a rule did to a row that went on: for `kormed trace`, and so that it can be taken back."""

    id: str
    rule: str
    detail: str
    before: str | None = None  # the text that the rule changed, never one that holds personal data


class Candidate(Record):
    """A model's answer to a consult. `finished` is False where the token limit cut it off; temperature 0 is greedy."""

    id: str
    consult_id: str
    text: str
    checkpoint: Checkpoint
    temperature: float
    top_p: float
    seed: int
    tokens: int | None  # None: not counted
    finished: bool
    marks: tuple[Mark, ...] = ()


class Comparison(Record):
    """Two candidates as the annotator sees them; which one is A was drawn by seed."""

    id: str
    consult_id: str
    question: str
    patient_information: str
    a: Candidate
    b: Candidate


class Response(Record):
    """What one annotator said of one comparison. Only `submitted` ones count as an opinion.

    A hidden repeat has the id of its swapped comparison (`pairing.swap`), and its sides are those that were shown.
    """

    comparison_id: str
    annotator: str
    value: Choice | None  # None: a draft or a discarded record without an answer
    status: Literal["submitted", "draft", "discarded"]
    comment: str = ""
    submitted_at: datetime
    round: RoundName = "label"
    unsafe_a: tuple[Flag, ...] = ()
    unsafe_b: tuple[Flag, ...] = ()


def is_simulated(annotator: str) -> bool:
    return annotator.startswith(SIMULATED)


class Message(Record):
    """One chat turn in TRL's conversational format."""

    role: Literal["user", "assistant"]
    content: str


class Preference(Record):
    """TRL's conversational preference row, with the annotators' votes behind it. `agreement` is the winner's share.

    Where an adjudicator decided, the votes are still the annotators' and the agreement may be small.
    """

    id: str
    consult_id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    votes: dict[Choice, int]
    agreement: float
    adjudicated: bool = False


class Judged(Record):
    """A held-out pair under DPO's policy: its margin is beta times what the policy moved the chosen answer up from the
    reference, less the same of the rejected one. Above 0 the policy agrees with the people.

    Log-probabilities are natural and of a whole answer, the token that ends it among its tokens.
    """

    id: str
    margin: float
    loss: float
    chosen_change: float  # of the chosen answer's log-probability since SFT
    rejected_change: float
    # under SFT; None: the file is from before this was written down, or the loss is length-desensitised, so that a sum
    # over the tokens weighs them differently and is no log-probability of an answer
    chosen_before: float | None = None
    rejected_before: float | None = None
    chosen_tokens: int | None = None  # None: as above, the first reason
    rejected_tokens: int | None = None


class Answer(Record):
    """One benchmark item as a checkpoint answered it. Pairs across checkpoints by `doc_hash` within a subset."""

    subset: str
    doc_id: int
    doc_hash: str
    target: str
    text: str
    extracted: str  # what lm-eval's filter made of `text`; "[invalid]" where it found no letter
    correct: bool
    # natural log-probability of A to E as the next token after the same prompt; None: a letter is no single token of
    # the base's tokenizer, or the file is from before this was written down
    letters: tuple[float, ...] | None = Field(None, min_length=5, max_length=5)
    read: Letter | None = None  # what a reading of `text` that knows Korean endings finds; None: nothing, or as above

    @property
    def likeliest(self) -> str | None:
        """The letter with the highest log-probability; of equal ones the first."""
        return None if self.letters is None else LETTERS[self.letters.index(max(self.letters))]

    @property
    def confidence(self) -> float | None:
        """The likeliest letter's probability, 0-1, among the five letters alone."""
        if self.letters is None:
            return None
        return 1 / sum(math.exp(letter - max(self.letters)) for letter in self.letters)


class VariantAnswer(Answer):
    """One benchmark item as a checkpoint answered it in another form than the headline's."""

    variant: Variant


class HeldoutAnswer(Record):
    """A checkpoint's answer to a consult that no training step saw."""

    consult_id: str
    question: str
    patient_information: str
    reference: str
    text: str
    finished: bool


R = TypeVar("R", bound=BaseModel)


def read_jsonl(path: Path, kind: type[R]) -> list[R]:
    """Every record of a JSONL file.

    Raises:
        KormedError: the file is missing, is not UTF-8, or a line does not fit; names file, line and field.
    """
    return [record for _, record in read_numbered(path, kind)]


def read_numbered(path: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
    """Like `read_jsonl`, each record with its line number (from 1). Blank lines are passed over."""
    yield from _records(path, read_rows(path), kind)


def _records(path: Path, rows: Iterable[tuple[int, dict[str, object]]], kind: type[R]) -> Iterator[tuple[int, R]]:
    for line, row in rows:
        try:
            yield line, kind.model_validate(row)
        except ValidationError as error:
            raise KormedError(f"{path}:{line}: {describe(error)}") from None


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Line numbers (from 1) and raw JSON objects of a JSONL file, for files whose columns are not ours."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise KormedError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise KormedError(f"{path}: a JSONL file was wanted, this is a folder") from None
    yield from _rows(path, content)


def _rows(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        lines = content.decode("utf-8-sig").split("\n")  # not splitlines: U+2028 may stand inside a string
    except UnicodeDecodeError as error:
        raise KormedError(
            f"{path}: not UTF-8 (byte {error.start}); convert it, for example: iconv -f CP949 -t UTF-8"
        ) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise KormedError(f"{path}:{number}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(row, dict):
            raise KormedError(f"{path}:{number}: a JSON object was wanted, found {type(row).__name__}")
        for field, value in row.items():  # JSON's \ud83d is half a character, which no UTF-8 file can hold
            if isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
                raise KormedError(f"{path}:{number}: field {field!r}: half a character (a lone surrogate)")
        yield number, row


def describe(error: ValidationError) -> str:
    """One line for a person: every field that does not fit, what was wanted and what was there."""
    problems = []
    for detail in error.errors():
        field = ".".join(map(str, detail["loc"])) or "row"
        found = "" if detail["type"] == "missing" else f" (found {shown(detail['input'])})"
        problems.append(f"field {field!r}: {detail['msg'].removeprefix('Value error, ')}{found}")
    return "; ".join(problems)


def shown(value: object) -> str:
    """A value as an error message may show it: a text is a patient's, and messages end in logs and tickets."""
    if isinstance(value, str) and not (len(value) <= 8 and value.isascii()):
        return f"text of {len(value):,} characters"
    if isinstance(value, dict | list):
        return type(value).__name__
    return repr(value)[:60]


def write_jsonl(path: Path, records: Iterable[BaseModel]) -> int:
    """Write records to `path` through a temporary file: a half-written one never has its name. Returns how many."""
    return _write_lines(path, (to_line(record) for record in records))


def write_rows(path: Path, rows: Iterable[dict[str, object]]) -> int:
    """Like `write_jsonl`, for rows whose columns are not ours."""
    return _write_lines(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write_lines(path: Path, lines: Iterable[str]) -> int:
    count = 0
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # there only if something went wrong on the way
    return count


def append_jsonl(path: Path, records: Iterable[BaseModel]) -> None:
    """Add records to the end of `path` and wait until they are on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(to_line(record) for record in records)
        file.flush()
        os.fsync(file.fileno())


def read_appended(path: Path, kind: type[R]) -> list[R]:
    """Records that `append_jsonl` wrote; a half-written last line (a kill in the middle) is cut off the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return read_jsonl(path, kind)


def read_whole_lines(path: Path, kind: type[R]) -> list[R]:
    """Like `read_appended`, but touches nothing: someone may be appending; a line without its end is not there yet."""
    content = path.read_bytes()
    rows = _rows(path, content[: content.rfind(b"\n") + 1])
    return [record for _, record in _records(path, rows, kind)]


def to_line(record: BaseModel) -> str:
    return json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n"
