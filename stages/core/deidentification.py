"""De-identification: a text in, the same with typed marks in place of what names a person, and where each stood.

Rules, not a model. On the labelled development set kiwipiepy 0.24, its proper nouns (NNP) taken as names, found 38 % of
the names at a precision of 14 %: it tags drugs, diseases, towns and banks alike, and misses rare and foreign names. It
also needs 146 MB on disk, 2.5 s to load and 0.5 GB of memory. Presidio would bring the frame only: its recogniser of
names is a spaCy model, and spaCy's Korean ones are not on the package index. What is sought here has a shape (numbers,
addresses) or a neighbour that gives it away (님, 원장, 성명:), and both can be written down, read and tested.

Each kind has one finder (finding_numbers, finding_places, finding_names). They read a *folded* text (full-width digits,
single Hangul letters, invisible characters undone) in which marks are one opaque character; what was found becomes such
a character too, and the finders run again until they find nothing. So masking a masked text changes nothing. Every
pattern is anchored or bounded, so time is linear in the text's length.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from stages.core.finding_names import find_names
from stages.core.finding_numbers import (
    find_account_numbers,
    find_birth_dates,
    find_card_numbers,
    find_chart_numbers,
    find_emails,
    find_licence_numbers,
    find_messenger_ids,
    find_passport_numbers,
    find_phones,
    find_resident_numbers,
    find_urls,
)
from stages.core.finding_places import find_addresses, find_hospitals
from stages.core.folding import MARK, MARKS, Kind, Range, fold, hide
from stages.core.records import Record
from stages.core.word_lists import load_drugs

__all__ = ["MARK", "MARKS", "Kind", "Masked", "Span", "deidentify", "find_spans", "full_names", "load_drugs"]

FINDERS: tuple[tuple[Kind, Callable[[str], Iterator[Range]]], ...] = (  # the earlier one keeps what two want
    ("email", find_emails),
    ("messenger_id", find_messenger_ids),
    ("url", find_urls),
    ("chart_number", find_chart_numbers),
    ("licence_number", find_licence_numbers),
    ("passport_number", find_passport_numbers),
    ("card_number", find_card_numbers),
    ("birth_date", find_birth_dates),
    ("resident_number", find_resident_numbers),
    ("account_number", find_account_numbers),
    ("phone", find_phones),
    ("address", find_addresses),
    ("hospital", find_hospitals),
    ("name", find_names),
)


class Span(Record):
    """What was found, with its offsets in the original text: `text == original[start:end]`."""

    type: Kind
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Masked:
    """The text with marks, and the spans (of the text before) that they stand for."""

    text: str
    spans: tuple[Span, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many spans of each type."""
        return Counter(span.type for span in self.spans)


def deidentify(text: str, known_names: Collection[str] = ()) -> Masked:
    """`text` with every span replaced by its mark. `known_names` (a page's doctor) are masked wherever they stand."""
    spans = find_spans(text, known_names)
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], MARKS[span.type]]
        at = span.end
    return Masked("".join([*parts, text[at:]]), spans)


def full_names(text: str) -> set[str]:
    """Names of three letters and more that give themselves away somewhere in the text; shorter ones look like words."""
    return {span.text for span in find_spans(text) if span.type == "name" and len(span.text) > 2}


def find_spans(text: str, known_names: Collection[str] = ()) -> tuple[Span, ...]:
    """What identifies a person in `text`, sorted, none overlapping another."""
    folded = fold(text)
    known = sorted({fold(name).text.strip() for name in known_names} - {""}, key=len, reverse=True)
    spans: list[Span] = []
    while found := _find_once(folded.text, known):
        for kind, (start, end) in found:
            first, last = folded.starts[start], folded.ends[end - 1]
            spans.append(Span(type=kind, start=first, end=last, text=text[first:last]))
        folded = hide(folded, found)
    return tuple(sorted(spans, key=lambda span: span.start))


def _find_once(text: str, known_names: Sequence[str]) -> list[tuple[Kind, Range]]:
    """Every finder's ranges; where two overlap, the earlier finder in FINDERS keeps its own. Sorted by start."""
    taken = bytearray(len(text))
    found: list[tuple[Kind, Range]] = []

    def take(kind: Kind, ranges: Iterator[Range]) -> None:
        for start, end in ranges:
            if start < end and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append((kind, (start, end)))

    for name in known_names:
        take("name", (match.span() for match in re.finditer(re.escape(name), text)))
    for kind, finder in FINDERS:
        take(kind, finder(text))
    return sorted(found, key=lambda one: one[1])
