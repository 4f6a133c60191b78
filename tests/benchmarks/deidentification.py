"""De-identification on a labelled file: per type, how much was found and how much of it was right.

    python -m tests.benchmarks.deidentification FILE [--errors]

FILE is JSONL with `text` and `spans` ({type, start, end, text}), as recipes/demo/deidentification/dev.jsonl. A span
counts where type and both bounds agree. `visible` is how many labelled characters no span covers. --errors lists
what differs, row by row.
"""

import argparse
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stages.core.deidentification import Span, find_spans
from stages.core.records import read_jsonl
from stages.core.span_scores import Scores, score


class LabelledText(BaseModel):
    """A row of the labelled file; columns beside these do not matter here."""

    model_config = ConfigDict(extra="ignore")

    id: str
    text: str
    spans: tuple[Span, ...]


def table(scores: dict[str, Scores]) -> str:
    """Markdown, one row a type."""
    lines = ["| type | labelled | found | precision | recall | visible |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for kind, of in scores.items():
        lines.append(
            f"| {kind} | {of.labelled} | {of.found} | {share(of.precision)} | {share(of.recall)} | {of.visible} |"
        )
    return "\n".join(lines)


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def errors(row: LabelledText, found: tuple[Span, ...]) -> list[str]:
    missed = [f"missed {span.type} {span.text!r}" for span in row.spans if span not in found]
    wrong = [f"wrong {span.type} {span.text!r}" for span in found if span not in row.spans]
    return [f"{row.id}: {', '.join(missed + wrong)}: {row.text!r}"] if missed or wrong else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--errors", action="store_true")
    asked = parser.parse_args()
    rows = read_jsonl(asked.file, LabelledText)
    found = [find_spans(row.text) for row in rows]
    if asked.errors:
        for row, spans in zip(rows, found, strict=True):
            for line in errors(row, spans):
                print(line)
    print(table(score(found, [row.spans for row in rows])))
    print(f"\n{len(rows)} texts, {sum(len(row.text) for row in rows):,} characters")


if __name__ == "__main__":
    main()
