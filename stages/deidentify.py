"""deidentify: JSONL rows with a `text` in, the same rows with the masked text and its `spans` out. No recipe, no model.

`spans` hold what was masked (type, start, end in the original text, text): keep that output as private as the input.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.core.deidentification import Span, deidentify
from stages.core.errors import KormedError
from stages.core.records import read_rows, shown, write_rows
from stages.core.span_scores import Scores, score

Row = dict[str, object]


def masked_rows(path: Path) -> Iterator[Row]:
    """Every row of the file with `text` masked and `spans` added (or replaced); other columns stay as they are.

    Raises:
        KormedError: no such file, a line that is no JSON object, or one without `text`.
    """
    for line, row in read_rows(path):
        masked = deidentify(text_of(path, line, row))
        yield row | {"text": masked.text, "spans": [span.model_dump() for span in masked.spans]}


def mask_file(path: Path, output: Path) -> int:
    """Write the masked rows to `output`, which must not be there yet. Returns how many."""
    if output.exists():
        raise KormedError(f"{output}: stands there already, and nothing is written over; name another file")
    return write_rows(output, masked_rows(path))


def measure(path: Path) -> dict[str, Scores]:
    """Precision and recall on a labelled file, whose rows have `text` and the right `spans`, by type and over `all`.

    Raises:
        KormedError: a row has no labels, or one whose text is not what stands at its place.
    """
    found, labelled = [], []
    for line, row in read_rows(path):
        text = text_of(path, line, row)
        labelled.append(labels_of(path, line, text, row))
        found.append(deidentify(text).spans)
    if not labelled:
        raise KormedError(f"{path}: no rows in it; labelled rows {{text, spans}} were wanted")
    return score(found, labelled)


def text_of(path: Path, line: int, row: Row) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        found = f"columns {', '.join(row)}" if "text" not in row else shown(text)
        raise KormedError(f"{path}:{line}: field 'text': text was wanted, found {found}")
    return text


def labels_of(path: Path, line: int, text: str, row: Row) -> Sequence[Span]:
    spans = row.get("spans")
    if not isinstance(spans, list):
        raise KormedError(f"{path}:{line}: field 'spans': a list of labels was wanted, found {shown(spans)}")
    try:
        labels = [Span.model_validate(span) for span in spans]
    except ValueError as error:
        raise KormedError(f"{path}:{line}: field 'spans': {' '.join(str(error).split())[:200]}") from None
    for label in labels:
        if text[label.start : label.end] != label.text:
            raise KormedError(
                f"{path}:{line}: {label.text!r} was wanted at {label.start}-{label.end}, "
                f"there stands {text[label.start : label.end]!r}"
            )
    return labels


def table(scores: dict[str, Scores]) -> str:
    """Precision and recall by type, a type a line, `all` last."""
    lines = [f"{'type':<18}{'labelled':>9}{'found':>7}{'right':>7}{'precision':>11}{'recall':>8}"]
    for kind in sorted(scores, key=lambda kind: (kind == "all", kind)):
        one = scores[kind]
        lines.append(
            f"{kind:<18}{one.labelled:>9}{one.found:>7}{one.right:>7}{ratio(one.precision):>11}{ratio(one.recall):>8}"
        )
    return "\n".join(lines)


def ratio(value: float | None) -> str:
    """Three decimals; a dash where nothing was found or labelled, and so nothing can be said."""
    return "-" if value is None else f"{value:.3f}"
