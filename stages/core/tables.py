"""A user's own table, JSONL, CSV, TSV or parquet, read as numbered rows of columns, one after the other.

What cannot be read is handed on too, as an `Unread` with its reason, so that nothing is lost without being counted.
CSV is read by the standard library and not by pyarrow: pyarrow gives no line numbers and stops at the first broken
row, where here the row after it is read again.
"""

import csv
import difflib
import json
import logging
import math
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Literal

from stages.core import chat
from stages.core.errors import KormedError

log = logging.getLogger("kormed")

Cells = Mapping[str, object]
Encoding = Literal["utf-8", "cp949", "mixed", "utf-16-le", "utf-16-be"]

SEPARATORS = ",;\t|"  # of a .csv file; the first of two that fit as well
NOTHING = {"nan", "NaN", "None", "null", "NULL", "NaT", "<NA>", "#N/A"}  # what pandas and Excel write for an empty cell
SAMPLE_BYTES = 4096
BATCH_ROWS = 1000


@dataclass(frozen=True)
class Row:
    """`number`: the line on which the row begins, from 1; in a parquet file the row."""

    number: int
    cells: Cells


@dataclass(frozen=True)
class Unread:
    """A row that could not be read, why, and what there is of it."""

    number: int
    reason: str
    text: str


@dataclass(frozen=True)
class Table:
    """A file whose columns are known; `rows` reads it from the start."""

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row | Unread]]


def open_table(path: Path) -> Table:
    """The table at `path`, its kind told by the file's ending.

    Raises:
        KormedError: no such file, an ending or a content that cannot be read, or no columns in it.
    """
    if path.is_dir() or not path.exists():
        raise KormedError(f"{path}: {'a folder; one file was wanted' if path.is_dir() else 'no such file'}")
    ending = path.suffix.lower()
    if ending not in READERS:
        raise KormedError(f"{path}: {OTHERS.get(ending, 'an unknown kind of file')}; wanted {', '.join(READERS)}")
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise KormedError(f"{path}: the file is empty")
    if start[:2] == b"PK" or start == b"\xd0\xcf\x11\xe0":
        raise KormedError(f"{path}: {EXCEL}, whatever its name says")
    table = READERS[ending](path)
    if not table.columns:
        raise KormedError(f"{path}: no columns in it")
    return table


EXCEL = "an Excel workbook; save the sheet as CSV (in Excel: File, Save As, CSV UTF-8) and name that file"
OTHERS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb"), EXCEL),
    **dict.fromkeys((".gz", ".zip", ".xz", ".bz2", ".zst"), "a compressed file; unpack it"),
}


def as_text(value: object) -> str | None:
    """A cell in words; empty where there is nothing (None, NaN, what pandas and Excel write for it).

    None: it cannot be text (a list, an object, bytes).
    """
    match value:
        case None:
            return ""
        case str():
            stripped = value.strip()
            return "" if stripped in NOTHING else stripped
        case float():
            if math.isnan(value):
                return ""
            return str(int(value)) if value.is_integer() else str(value)  # 3.0: an integer column with gaps, in pandas
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case bool() | int() | date() | Decimal():
            return as_text(str(value))
    return None


def flaw(text: str) -> str | None:
    """What in a text no later stage can take, in words; None: nothing."""
    if "\0" in text:
        return "a NUL byte"
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        return "half a character (a lone surrogate)"
    if token := chat.control_token(text):
        return f"{token}, a control token of Gemma's"
    return None


def encodable(text: str) -> str:
    r"""The text with half characters written out (`\ud83d`), which no UTF-8 file can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def mapping_problems(key: str, named: Mapping[str, str], table: Table) -> list[str]:
    """What is wrong with a recipe's mapping of fields to columns, a line each; `key` is where it stands there."""
    there = ", ".join(map(repr, table.columns))
    folded = {column.casefold(): column for column in table.columns}
    problems = []
    for name, column in named.items():
        if column not in table.columns:
            near = difflib.get_close_matches(column.casefold(), folded, n=1, cutoff=0.5)
            hint = f"did you mean {folded[near[0]]!r}? " if near else ""
            problems.append(f"{key}.{name}: no column {column!r} in {table.path}; {hint}there are {there}")
    for column in dict.fromkeys(named.values()):
        fields = [name for name, other in named.items() if other == column]
        if len(fields) > 1:
            problems.append(f"{key}: {' and '.join(fields)} are the same column, {column!r}; each wants its own")
    return problems


# Encodings


@dataclass(frozen=True)
class Line:
    """A line of a file with its end; where it could not be decoded, with U+FFFD in it."""

    number: int
    text: str
    is_decoded: bool = True


def told_encoding(path: Path) -> Encoding:
    encoding = encoding_of(path)
    if encoding != "utf-8":
        log.info("%s: not UTF-8; read as %s", path, "UTF-8 or CP949, line by line" if encoding == "mixed" else encoding)
    return encoding


def encoding_of(path: Path) -> Encoding:
    """UTF-16 by its mark or its zero bytes; CP949 where all lines are that and most are not UTF-8; otherwise by line.

    A line of CP949 can be UTF-8 by chance (짜 is C2 A5 there), so the file decides and not the line; and a UTF-8 file
    that was cut off in the middle of a character is still one.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16-le" if sample[:2] == b"\xff\xfe" else "utf-16-be"
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > max(len(sample) / 20, 4 * min(even, odd)):  # ASCII has one; of Hangul, 가 has the other
        return "utf-16-be" if even > odd else "utf-16-le"
    utf_8 = others = 0
    is_cp949 = True
    with path.open("rb") as file:
        for line in file:
            if line.isascii():
                continue
            if decodes(line, "utf-8"):
                utf_8 += 1
            else:
                others += 1
            is_cp949 = is_cp949 and decodes(line, "cp949")
    if not others:
        return "utf-8"
    return "cp949" if is_cp949 and others > utf_8 else "mixed"


def decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def decode(line: bytes) -> str | None:
    """A line of a file with several encodings; None: it is neither UTF-8 nor Korean in CP949.

    A damaged UTF-8 line can be CP949 by chance; then it reads as Chinese characters and rare syllables, not as the
    2,350 syllables of KS X 1001 in which Korean is written.
    """
    for encoding in ("utf-8", "cp949"):
        if decodes(line, encoding):
            text = line.decode(encoding)
            return text if encoding == "utf-8" or reads_as_korean(text) else None
    return None


def reads_as_korean(text: str) -> bool:
    letters = [c for c in text if not c.isascii() and c.isalpha()]
    common = [c for c in letters if "가" <= c <= "힣" and len(c.encode("euc_kr", "ignore")) == 2]
    return 2 * len(common) > len(letters)


def read_lines(path: Path, encoding: Encoding) -> Iterator[Line]:
    if encoding.startswith("utf-16"):
        with path.open(encoding=encoding, errors="replace", newline="\n") as text_file:
            for number, text in enumerate(text_file, start=1):
                yield Line(number, text.removeprefix("\ufeff"))
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            decoded = line.decode("cp949") if encoding == "cp949" else decode(line)
            if decoded is None:
                yield Line(number, line.decode("utf-8", "replace"), is_decoded=False)
            else:
                yield Line(number, decoded.removeprefix("\ufeff"))


UNDECODED = "neither UTF-8 nor CP949"


# JSONL


def open_jsonl(path: Path) -> Table:
    """Columns are the keys of all rows: a rare one may stand in the last row first, so the file is read twice."""
    with path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        raise KormedError(
            f"{path}: one JSON array; a JSON object a line was wanted, as this makes: jq -c '.[]' {path} > rows.jsonl"
        )
    encoding = told_encoding(path)
    columns = dict.fromkeys(column for row in read_json(path, encoding) if isinstance(row, Row) for column in row.cells)
    if not columns:
        reasons = [f"line {row.number}: {row.reason}" for row in read_json(path, encoding) if isinstance(row, Unread)]
        raise KormedError(f"{path}: not one JSON object in it; {reasons[0] if reasons else 'all lines are blank'}")
    return Table(path, tuple(columns), partial(read_json, path, encoding))


def read_json(path: Path, encoding: Encoding) -> Iterator[Row | Unread]:
    for line in read_lines(path, encoding):
        if line.text.strip():
            yield parse_json(line)


def parse_json(line: Line) -> Row | Unread:
    if not line.is_decoded:
        return Unread(line.number, UNDECODED, line.text)
    try:
        row = json.loads(line.text, object_pairs_hook=unique)
    except KeyError as error:
        return Unread(line.number, str(error.args[0]), line.text)
    except (ValueError, RecursionError):
        cut_off = "" if line.text.endswith("\n") else ": the last line, cut off"
        return Unread(line.number, f"not JSON{cut_off}", line.text)
    return Row(line.number, row) if isinstance(row, dict) else Unread(line.number, "no JSON object", line.text)


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON keeps the last of two equal keys and says nothing; here that is a row that cannot be read."""
    if len(dict(pairs)) < len(pairs):
        raise KeyError("a key stands in it twice")
    return dict(pairs)


# CSV


@dataclass
class Feed:
    """Lines for `csv.reader`, which can be taken back after a broken record; `used`: those of the present one."""

    lines: Iterator[Line]
    used: list[Line] = field(default_factory=list)
    again: deque[Line] = field(default_factory=deque)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.used.append(self.again.popleft() if self.again else next(self.lines))
        return self.used[-1].text

    def take_back(self) -> None:
        self.again.extendleft(reversed(self.used[1:]))


def open_csv(path: Path) -> Table:
    encoding = told_encoding(path)
    separator = separator_of(next((line.text for line in read_lines(path, encoding) if line.text.strip()), ""))
    if separator != ",":
        log.info("%s: columns are separated by %r", path, separator)
    return table_of(path, encoding, separator)


def open_tsv(path: Path) -> Table:
    return table_of(path, told_encoding(path), "\t")


def table_of(path: Path, encoding: Encoding, separator: str) -> Table:
    header = next(read_records(read_lines(path, encoding), separator), None)
    match header:
        case None:
            raise KormedError(f"{path}: no header in it; the first line must name the columns")
        case Unread():
            raise KormedError(f"{path}:{header.number}: the header cannot be read: {header.reason}")
    columns = [column.strip() for column in header[1]]
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise KormedError(f"{path}: the header names a column twice: {', '.join(twice)}; rename one")

    def rows() -> Iterator[Row | Unread]:
        records = read_records(read_lines(path, encoding), separator)
        next(records)
        return read_csv(columns, records)

    return Table(path, tuple(filter(None, columns)), rows)


def separator_of(header: str) -> str:
    """The one that stands most often outside quotes: names of columns seldom hold one, texts always do."""
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=unquoted.count)


def read_csv(columns: list[str], records: Iterable[tuple[int, list[str]] | Unread]) -> Iterator[Row | Unread]:
    for record in records:
        if isinstance(record, Unread):
            yield record
            continue
        number, cells = record
        if len(cells) == len(columns):
            yield Row(number, {column: cell for column, cell in zip(columns, cells, strict=True) if column})
        else:
            more = "more" if len(cells) > len(columns) else "fewer"
            yield Unread(number, f"{more} columns than the header names", " ".join(cells))


def read_records(lines: Iterator[Line], separator: str) -> Iterator[tuple[int, list[str]] | Unread]:
    """Records with the number of the line they begin on. After a broken one, the next line begins a new one:
    a quote that is opened and never closed costs its own row, not the rest of the file.
    """
    csv.field_size_limit(sys.maxsize)  # the library's own 128 KiB would stop the file at a long consult
    feed = Feed(lines)
    reader = csv.reader(feed, delimiter=separator, strict=True)
    while True:
        feed.used.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Unread(feed.used[0].number, f"not CSV ({error})", feed.used[0].text)
            feed.take_back()
            continue
        number = feed.used[0].number
        if not all(line.is_decoded for line in feed.used):
            yield Unread(number, UNDECODED, " ".join(cells))
        elif cells:
            yield number, cells


# Parquet


def open_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise KormedError(f"{path}: not a whole parquet file ({' '.join(str(error).split())[:120]})") from None
    columns = tuple(file.schema_arrow.names)
    if len(set(columns)) < len(columns):
        raise KormedError(f"{path}: two columns have the same name; rename one. There are {', '.join(columns)}")
    return Table(path, columns, partial(read_parquet, path))


def read_parquet(path: Path) -> Iterator[Row | Unread]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS):
            for at in range(len(batch)):
                number += 1
                try:
                    (cells,) = batch.slice(at, 1).to_pylist()
                except UnicodeDecodeError:
                    yield Unread(number, "not UTF-8", "")
                else:
                    yield Row(number, cells)
    except (pa.ArrowException, OSError) as error:
        raise KormedError(f"{path}: damaged after row {number} ({' '.join(str(error).split())[:120]})") from None


READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": open_jsonl,
    ".ndjson": open_jsonl,
    ".json": open_jsonl,
    ".csv": open_csv,
    ".tsv": open_tsv,
    ".parquet": open_parquet,
}
