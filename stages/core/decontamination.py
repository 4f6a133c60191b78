"""Exact contamination: training rows whose question stands in the benchmark's test or few-shot items.

Near duplicates (shingles, MinHash) are another matter; this finds what is equal once spacing, punctuation and case
are folded, which on KorMedMCQA v1 already catches eight train questions that are test questions.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from stages.core.records import Dropped, ExamQuestion

Match = Literal["stem", "stem_and_choices"]


@dataclass(frozen=True)
class Stem:
    """A question under its id, for comparison: the stem, and the choices where there are any."""

    id: str
    text: str
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, id: str, question: ExamQuestion) -> "Stem":
        return cls(id, question.question, question.choices)

    @property
    def folded(self) -> str:
        return fold(self.text)

    @property
    def folded_choices(self) -> frozenset[str]:
        """As a set: the same choices in another order are the same question."""
        return frozenset(map(fold_choice, self.choices))


MEANT = re.compile(r"(?<=\d)\.(?=\d)|(?<![\w)])[-+](?=\d)|[<>≤≥]")  # 1.5, -1, pH < 7.35


def fold(text: str) -> str:
    """NFKC, lower case, letters and numbers only: `HbA1c 검사는?` is `hba1c검사는`, but `1.5 mg` is not `15 mg`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    meant = {match.start() for match in MEANT.finditer(folded)}
    return "".join(c for at, c in enumerate(folded) if at in meant or unicodedata.category(c)[0] in "LNM")


def fold_choice(text: str) -> str:
    """Less than `fold`: in a choice, the point of `1.5 mg` and the sign of `-1` are what it is about."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".")


def contaminated(rows: Iterable[Stem], protected: Iterable[Stem], match: Match) -> list[Dropped]:
    """The rows that repeat a protected item, each with the item it hit and whether the choices are the same too."""
    by_stem: dict[str, list[Stem]] = {}
    for item in protected:
        by_stem.setdefault(item.folded, []).append(item)
    dropped = []
    for row in rows:
        hits = by_stem.get(row.folded, [])
        same_choices = [hit for hit in hits if hit.folded_choices == row.folded_choices]
        if same_choices:
            dropped.append(
                Dropped(
                    id=row.id, reason="stem and choices stand in the benchmark", text=row.text, hit=same_choices[0].id
                )
            )
        elif hits and match == "stem":
            dropped.append(Dropped(id=row.id, reason="stem stands in the benchmark", text=row.text, hit=hits[0].id))
    return dropped


def repeated(rows: Iterable[Stem]) -> list[Dropped]:
    """The rows that repeat an earlier one, stem and choices."""
    first: dict[tuple[str, frozenset[str]], str] = {}
    dropped = []
    for row in rows:
        key = (row.folded, row.folded_choices)
        if key in first:
            dropped.append(Dropped(id=row.id, reason="repeats an earlier row", text=row.text, hit=first[key]))
        else:
            first[key] = row.id
    return dropped
