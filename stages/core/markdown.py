"""Tables and sentences that read in a terminal of 100 columns as they stand, and that are Markdown too."""

import textwrap
from collections.abc import Sequence

COLUMNS = 100


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table of which the first row is the header; the first column stands left, all others right."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(_padded(cells, widths))} |" for cells in (rows[0], rule, *rows[1:]))


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]


def paragraph(sentence: str, mark: str = "") -> str:
    """Wrapped; paths and commands are not broken. `mark` opens a list item, whose lines stand under each other."""
    return textwrap.fill(
        mark + sentence,
        COLUMNS,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
