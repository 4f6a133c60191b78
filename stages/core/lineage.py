"""Every line of every artifact of a run that is about one row, in the order of the pipeline.

Artifacts keep one id from birth to report, so lineage is a search and needs no books of its own: a consult is followed
up to the raw consult it was made of and down to its candidates, comparisons, responses and preferences. A comparison's
hidden repeat is made when it is shown and stands in no artifact, so its id is worked out of the comparison.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.artifacts import read_manifest
from stages.core.pairing import comparison_id
from stages.core.pipeline import ENTERED, PIPELINE, RESPONSES
from stages.core.records import read_rows

UP = ("raw_id", "consult_id", "comparison_id")  # fields that name what a row was made of
OWN = ("id", "row_id", "own_ids")  # fields that name the row itself

Row = Mapping[str, object]


@dataclass(frozen=True)
class Line:
    """One line of an artifact's JSONL file."""

    artifact: str
    file: Path
    number: int
    row: Row

    @property
    def place(self) -> str:
        return f"{self.file}:{self.number}"


def read_lines(run: Path) -> list[Line]:
    """All lines of the run's complete artifacts, in the order of the pipeline; what people entered after them."""
    lines = []
    for artifact in (*(stage.name for stage in PIPELINE), RESPONSES):
        folder = run / artifact
        if artifact != RESPONSES and read_manifest(folder) is None:
            continue
        for file in sorted(folder.rglob("*.jsonl")):
            lines += [Line(artifact, file, number, row) for number, row in read_rows(file)]
    return lines


def outdated(run: Path) -> dict[str, str]:
    """Complete artifacts that were made of something else than what stands there now, each with what that is."""
    found = {}
    for stage in PIPELINE:
        manifest = read_manifest(run / stage.name)
        for name, was in (manifest.inputs if manifest else {}).items():
            artifact, _, part = name.partition(":")
            below = read_manifest(run / artifact) if artifact not in ENTERED else None
            if below is not None and was != (below.part(part) if part else below.content):
                found[stage.name] = artifact
    return found


def related(lines: Sequence[Line], id: str) -> set[str]:
    """The ids that the row was made of and those that were made of it; not those of its siblings."""
    above = {id}
    for line in reversed(lines):  # what a row was made of stands before it
        if own_names(line.row) & above:
            above |= own_names(line.row) | names(line.row, UP)
    below = {id}
    for line in lines:
        if id in names(line.row, ("own_ids",)):
            below |= own_names(line.row)
        if names(line.row, UP) & below:
            below |= own_names(line.row)
    return above | below


def names(row: Row, fields: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for field in fields:
        value = row.get(field)
        found.update(map(str, value) if isinstance(value, list) else [] if value is None else [str(value)])
    return found


def own_names(row: Row) -> set[str]:
    """The ids of the row itself, and of its hidden repeat where it is a comparison."""
    repeat = repeat_id(row)
    return names(row, OWN) | ({repeat} if repeat else set())


def repeat_id(row: Row) -> str | None:
    """The id under which a comparison is shown once more with sides swapped (`pairing.swap`); None for other rows."""
    match row:
        case {"consult_id": str(consult), "a": {"text": str(a)}, "b": {"text": str(b)}}:
            return comparison_id(consult, b, a)
    return None


def about(lines: Sequence[Line], id: str) -> Iterator[Line]:
    """The lines about the row, and those about what it was made of and what was made of it."""
    ids = related(lines, id)
    for line in lines:
        own = own_names(line.row)
        if own & ids or (not own and names(line.row, UP) & ids):
            yield line


def describe(row: Row, repeats: Collection[str] = ()) -> str:
    """A line in words; `repeats` are the ids of hidden repeats. Raw texts are not shown: they are not de-identified."""
    match row:
        case {"rule": rule, "detail": detail}:
            return f"{rule}: {detail}"
        case {"hit_id": hit, "reason": reason}:
            return f"{'dropped' if row.get('dropped') else 'kept'}: {reason} ({hit})"
        case {"reason": reason, "text": _}:
            hit = f" ({row['hit']})" if row.get("hit") else ""
            return f"dropped: {reason}{hit}"
        case {"answers": list() as answers, "url": url}:
            return f"raw consult from {url}, {len(answers)} answer{'s' * (len(answers) != 1)}"
        case {"patient_information": _, "reference": _}:
            return f"answered on the held-out part: {short(row['text'])}"
        case {"a": {"checkpoint": a}, "b": {"checkpoint": b}, "consult_id": _} if a != b:
            return f"answers of {a} (A) and {b} (B) put up for comparison"
        case {"a": _, "b": _, "consult_id": _}:
            return "two candidates put up for comparison"
        case {"annotator": annotator, "status": status, "value": value}:
            role = ", as adjudicator" if row.get("round") == "adjudication" else ""
            again = ", shown again with sides swapped" if row.get("comparison_id") in repeats else ""
            return f"{annotator}{role}{again}: {value} ({status}){marked_unsafe(row)}"
        case {"checkpoint": checkpoint, "text": text}:
            return f"candidate of {checkpoint}: {short(text)}"
        case {"chosen": _, "votes": votes}:
            return f"preference, votes {votes}{', decided by an adjudicator' if row.get('adjudicated') else ''}"
        case {"instruction": _, "answer": answer, "source": source}:
            return f"training row of {source}: {short(row['question'])} -> {short(answer)}"
        case {"patient_information": _, "answer": answer}:
            return f"consult: {short(row['question'])} -> {short(answer)}"
        case {"rejections": list() as rejections, "question": question}:
            told = f"rewritten: {short(question)}" if question else "every rewrite was rejected"
            return "; ".join([told, *(f"rejected before: {rejection['reason']}" for rejection in rejections)])
        case {"question": question}:
            return f"question: {short(question)}"
    return ", ".join(f"{key} {short(value)}" for key, value in row.items() if key not in OWN)


def marked_unsafe(row: Row) -> str:
    marks = {side: row.get(f"unsafe_{side}") for side in ("a", "b")}
    return "".join(
        f"; {side.upper()} marked unsafe: {', '.join(flags)}"
        for side, flags in marks.items()
        if isinstance(flags, list) and flags
    )


def short(text: object) -> str:
    one_line = " ".join(str(text).split())
    return one_line if len(one_line) <= 60 else f"{one_line[:57]} …"
