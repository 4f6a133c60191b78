"""EDA: training rows in; their lengths, answer letters and extremes out, and what came of every row on the way to them.

Lengths in characters are Unicode code points. The `Eda` record is prepare's eda.json, from which data.html and the
final report are both written.
"""

import heapq
import math
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import Field

from stages.core import chat
from stages.core.records import LETTERS, Example, Record

What = Literal["exam questions", "consults"]
TextPart = Literal["row", "question", "patient information", "answer"]
Unit = Literal["characters", "tokens"]
Kind = Literal["in", "dropped", "set aside", "added", "unexplained", "out"]
CountTokens = Callable[[Sequence[str]], list[int]]

ALL, EXAM, CONSULTS = "all", "exam questions", "consults"  # sources that are sums of sources
KINDS: tuple[What, ...] = ("exam questions", "consults")
BINS = 30  # of a histogram, at most about; fewer where there are few rows
STEPS = sorted([n * 10**power for power in range(12) for n in (1, 2, 5)] + [25 * 10**power for power in range(11)])
BATCH = 2_000  # texts counted at a time, so that 100,000 encodings never stand in memory together

# As the published report gives them, that this project follows; copied, not measured by us.
PUBLISHED_QUESTIONS = {"train": 3_401, "dev": 1_059, "test": 3_009}
PUBLISHED_CONSULTS = 373
PUBLISHED_CONSULT_CHARACTERS = (577, 1_098, 2_108)  # minimum, median, maximum


class Bin(Record):
    """`rows` whose length is at least `low` and below `high`."""

    low: int
    high: int
    rows: int


class Lengths(Record):
    """How long one part of the rows of one source is, in one unit.

    `row` is the whole user turn and the answer, without the marks of the chat template. An exam question's `question`
    holds its choices. Bins of one kind of source (exam questions, consults), part and unit have the same edges; where
    few rows are far longer than all others, the last bin is wider and takes them all.
    """

    source: str
    what: What | None  # None: of both kinds
    letter: str | None = None  # None: whatever the right answer is
    part: TextPart
    unit: Unit
    rows: int
    minimum: int
    percentile_5: float
    percentile_25: float
    median: float
    percentile_75: float
    percentile_95: float
    maximum: int
    mean: float
    histogram: tuple[Bin, ...] = ()  # empty where a letter is given


class LabelTokens(Record):
    """What the loss of SFT is taken of in the rows of one source: their answers, each to its end of turn."""

    source: str
    what: What
    rows: int
    tokens: int


class FlowStep(Record):
    """What one step did to one kind of row: reasons and their rows that were dropped, or set aside for another use."""

    step: str
    what: What
    before: int
    dropped: dict[str, int] = Field(default_factory=dict)
    set_aside: dict[str, int] = Field(default_factory=dict)
    after: int

    @property
    def lost(self) -> int:
        return sum(self.dropped.values())

    @property
    def aside(self) -> int:
        return sum(self.set_aside.values())

    @property
    def unexplained(self) -> int:
        """Rows that went without a reason; negative where a step made more rows, as one for each doctor's answer."""
        return self.before - self.lost - self.aside - self.after


@dataclass(frozen=True)
class Move:
    """One bar of the waterfall: rows that come in, leave or are left over, between `low` and `high` of them."""

    kind: Kind
    step: str
    reason: str
    low: int
    high: int

    @property
    def rows(self) -> int:
        return self.high - self.low


class Hits(Record):
    """Rows that resemble an item of the benchmark for one reason, and what the recipe's rule did with them."""

    reason: str
    dropped: int
    kept: int


class Extreme(Record):
    id: str
    source: str
    characters: int  # of the whole row


class Extremes(Record):
    """The longest and the shortest rows of one kind, the most extreme first."""

    what: What
    longest: tuple[Extreme, ...]
    shortest: tuple[Extreme, ...]


class Eda(Record):
    """What prepare saw of its data. Holds numbers and row ids, and no text of any row."""

    benchmark: dict[str, dict[str, int]]  # questions by subset, then split, as they were read
    consult_parts: dict[str, int]  # consults that train SFT, get candidate answers, or are held out
    flow: tuple[FlowStep, ...]  # in the order of the pipeline
    lengths: tuple[Lengths, ...]  # of the training rows
    consult_lengths: tuple[Lengths, ...] = ()  # of the consults of all parts together
    label_tokens: tuple[LabelTokens, ...] = ()  # of the training rows, exam questions first; empty: not counted
    letters: dict[str, dict[str, int]]  # training rows by source, then right answer
    extremes: tuple[Extremes, ...] = ()
    tokenizer: str | None = None  # whose tokens are counted; None: none are
    tokens_missing: str | None = None  # why no tokens are counted
    quality: dict[str, int] | None = None  # rows that each quality rule changed or dropped; None: none was applied
    masks: dict[str, int] | None = None  # masked personal details by type; None: nothing was looked for
    hits: tuple[Hits, ...] | None = None  # None: nothing was looked for

    def of(self, source: str, unit: Unit, part: TextPart = "row", letter: str | None = None) -> Lengths | None:
        """None: not measured, or no such rows."""
        wanted = (source, unit, part, letter)
        return next((one for one in self.lengths if (one.source, one.unit, one.part, one.letter) == wanted), None)

    def parts(self, source: str, unit: Unit) -> list[Lengths]:
        """The whole row of a source, and each part of it."""
        return [one for one in self.lengths if (one.source, one.unit, one.letter) == (source, unit, None)]

    def sources(self, what: What) -> list[Lengths]:
        """Characters of whole rows by source of one kind; after several sources their sum."""
        wanted = (what, "row", "characters", None)
        found = [one for one in self.lengths if (one.what, one.part, one.unit, one.letter) == wanted]
        return found if len(found) > 2 else found[:1]

    def all_sources(self) -> list[Lengths]:
        """Characters of whole rows by source of both kinds; after both kinds the sum of everything."""
        exam, consults = (self.sources(what) for what in KINDS)
        everything = self.of(ALL, "characters")
        return [*exam, *consults, *([everything] if everything and exam and consults else [])]

    @property
    def rows(self) -> int:
        """All training rows."""
        whole = self.of(ALL, "characters")
        return whole.rows if whole else 0

    def labels(self, what: What) -> int:
        """Label tokens of all training rows of one kind."""
        return sum(one.tokens for one in self.label_tokens if one.what == what)

    def label_share(self, what: What) -> float:
        """Of all label tokens, 0 to 1. They were counted."""
        return self.labels(what) / sum(one.tokens for one in self.label_tokens)

    @property
    def published_benchmark(self) -> bool:
        """The benchmark has exactly as many questions in each split as the published report's."""
        return {split: self.questions(split) for split in PUBLISHED_QUESTIONS} == PUBLISHED_QUESTIONS

    def questions(self, split: str) -> int:
        """Questions of a split over all subsets."""
        return sum(splits.get(split, 0) for splits in self.benchmark.values())

    def all_consults(self) -> Lengths | None:
        """Characters of the consults of all parts, or where these were not measured, of those that are trained on."""
        wanted = (CONSULTS, "row", "characters")
        found = [one for one in self.consult_lengths if (one.source, one.part, one.unit) == wanted]
        return found[0] if found else self.of(CONSULTS, "characters")


def what_is(row: Example) -> What:
    """Exam questions carry the exam's instruction, whatever benchmark they come from."""
    return "exam questions" if row.instruction == chat.EXAM_INSTRUCTION else "consults"


def measure(rows: Sequence[Example], count_tokens: CountTokens | None) -> list[Lengths]:
    """Lengths by source, part and unit, and of exam questions by right answer too.

    Sources come in the rows' order, exam questions first; after those of a kind stands their sum, and at the end the
    sum of everything. `count_tokens` gives the tokens of each text; None: characters only.
    """
    kinds = [what_is(row) for row in rows]
    counters: dict[Unit, CountTokens] = {"characters": _characters}
    if count_tokens:
        counters["tokens"] = count_tokens
    found = []
    for unit, count in counters.items():
        counted = _count(rows, kinds, count)
        for what in KINDS:
            chosen = [(row, parts) for row, kind, parts in zip(rows, kinds, counted, strict=True) if kind == what]
            found += _lengths_of_kind(what, unit, chosen)
        if rows:
            found.append(_lengths(ALL, None, None, "row", unit, [parts["row"] for parts in counted], None))
    return found


def _characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def _count(rows: Sequence[Example], kinds: Sequence[What], count: CountTokens) -> list[dict[TextPart, int]]:
    """The length of each part of each row; equal texts are counted once."""
    parts = [_parts(row, what) for row, what in zip(rows, kinds, strict=True)]
    texts = list(dict.fromkeys(text for of_row in parts for pieces in of_row.values() for text in pieces))
    length: dict[str, int] = {}
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        length |= zip(batch, count(batch), strict=True)
    return [{part: sum(length[text] for text in pieces) for part, pieces in of_row.items()} for of_row in parts]


def _parts(row: Example, what: What) -> dict[TextPart, tuple[str, ...]]:
    parts: dict[TextPart, tuple[str, ...]] = {
        "row": (chat.user_turn(row.instruction, row.question), row.answer),
        "question": (row.question,),
    }
    if what == CONSULTS:  # an exam question's instruction and answer have the same length in every row
        parts["patient information"] = (row.instruction.removeprefix(chat.CONSULT_INSTRUCTION).strip(),)
        parts["answer"] = (row.answer,)
    return parts


def _lengths_of_kind(what: What, unit: Unit, rows: Sequence[tuple[Example, dict[TextPart, int]]]) -> list[Lengths]:
    if not rows:
        return []
    sources = [*dict.fromkeys(row.source for row, _ in rows), what]
    parts = list(rows[0][1])
    edges = {part: bin_edges([counted[part] for _, counted in rows]) for part in parts}
    groups: dict[tuple[str, TextPart, str | None], list[int]] = {
        (source, part, None): [] for source in sources for part in parts
    }
    if what == EXAM:
        groups |= {(source, part, letter): [] for source in sources for part in parts for letter in LETTERS}
    for row, counted in rows:
        for part, length in counted.items():
            for source in (row.source, what):
                groups[source, part, None].append(length)
                if what == EXAM:
                    groups[source, part, row.answer].append(length)
    return [
        _lengths(source, what, letter, part, unit, values, edges[part])
        for (source, part, letter), values in groups.items()
        if values
    ]


def _lengths(
    source: str,
    what: What | None,
    letter: str | None,
    part: TextPart,
    unit: Unit,
    values: list[int],
    edges: Sequence[int] | None,
) -> Lengths:
    ordered = sorted(values)
    twentieths = statistics.quantiles(ordered, n=20, method="inclusive") if len(ordered) > 1 else ordered * 19
    return Lengths(
        source=source,
        what=what,
        letter=letter,
        part=part,
        unit=unit,
        rows=len(ordered),
        minimum=ordered[0],
        percentile_5=round(twentieths[0], 1),
        percentile_25=round(twentieths[4], 1),
        median=statistics.median(ordered),
        percentile_75=round(twentieths[14], 1),
        percentile_95=round(twentieths[18], 1),
        maximum=ordered[-1],
        mean=round(statistics.fmean(ordered), 1),
        histogram=() if letter else histogram(ordered, edges or bin_edges(ordered)),
    )


def label_tokens(rows: Sequence[Example], count: CountTokens) -> list[LabelTokens]:
    """Label tokens by source, exam questions first: each answer, its end of turn and the line end behind it.

    These are the labels that TRL makes of a completion in Gemma's template (tests/test_sft.py).
    """
    found = []
    for what in KINDS:
        answers: dict[str, Counter[str]] = {}
        for row in rows:
            if what_is(row) == what:
                answers.setdefault(row.source, Counter())[f"{row.answer}{chat.END_OF_TURN}\n"] += 1
        for source, times in answers.items():
            texts = list(times)
            counted = [length for at in range(0, len(texts), BATCH) for length in count(texts[at : at + BATCH])]
            total = sum(length * times[text] for text, length in zip(texts, counted, strict=True))
            found.append(LabelTokens(source=source, what=what, rows=times.total(), tokens=total))
    return found


def bin_edges(values: Iterable[int]) -> list[int]:
    """Round steps over the values, about `BINS` for many and fewer for few; the last edge lies above all of them.

    Where the longest is more than twice the 99th percentile the even steps end there, so that one text of a megabyte
    does not press all others into a single bar.
    """
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    common = ordered[math.ceil(0.99 * len(ordered)) - 1]
    top = high if high <= 2 * common else common
    raw = max(1.0, (top - low) / min(BINS, 2 * math.sqrt(len(ordered))))
    step = next(step for step in STEPS if step >= raw)
    edges = list(range(low // step * step, top + step + 1, step))
    while len(edges) > 2 and edges[-2] > top:
        edges.pop()
    return edges if edges[-1] > high else [*edges, high + 1]


def histogram(ordered: Sequence[int], edges: Sequence[int]) -> tuple[Bin, ...]:
    """Sorted lengths, counted between neighbouring edges."""
    places = [bisect_left(ordered, edge) for edge in edges]
    return tuple(
        Bin(low=low, high=high, rows=after - before)
        for (low, high), (before, after) in zip(pairwise(edges), pairwise(places), strict=True)
    )


def letters(rows: Sequence[Example]) -> dict[str, dict[str, int]]:
    """Exam questions by source, then right answer, every letter named; after several sources their sum."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        if what_is(row) == EXAM:
            counts.setdefault(row.source, Counter())[row.answer] += 1
    if len(counts) > 1:
        counts[EXAM] = sum(counts.values(), Counter())
    return {source: {letter: found[letter] for letter in LETTERS} for source, found in counts.items()}


def most_frequent(counts: dict[str, int]) -> tuple[str, float]:
    """The right answer that stands most often (`B, D` where two stand equally often), and its share (0-1)."""
    most = max(counts.values())
    return ", ".join(letter for letter, rows in counts.items() if rows == most), most / sum(counts.values())


def sum_of(letters: dict[str, dict[str, int]]) -> str:
    """The source that holds all exam questions: the sum, or the only one there is."""
    return EXAM if EXAM in letters else next(iter(letters))


def extremes(rows: Sequence[Example], each: int = 3) -> tuple[Extremes, ...]:
    """The `each` longest and shortest rows of each kind, by characters; among equals, by id."""
    found = []
    for what in KINDS:
        measured = [
            Extreme(
                id=row.id,
                source=row.source,
                characters=len(chat.user_turn(row.instruction, row.question)) + len(row.answer),
            )
            for row in rows
            if what_is(row) == what
        ]
        if measured:
            longest = heapq.nsmallest(each, measured, key=lambda one: (-one.characters, one.id))
            shortest = heapq.nsmallest(each, measured, key=lambda one: (one.characters, one.id))
            found.append(Extremes(what=what, longest=tuple(longest), shortest=tuple(shortest)))
    return tuple(found)


def steps(flow: Iterable[FlowStep], what: What) -> list[FlowStep]:
    return [step for step in flow if step.what == what]


def moves(flow: Iterable[FlowStep], what: What) -> list[Move]:
    """The waterfall of one kind: what came in, each reason's rows in the order of the steps, what is left.

    Rows that no reason accounts for stand there too, within a step and between two steps; those that a step made, as
    one for each doctor's answer, stand before those that it dropped.
    """
    found: list[Move] = []
    level: int | None = None
    for step in steps(flow, what):
        if level is None:
            found.append(Move(kind="in", step=step.step, reason="", low=0, high=step.before))
        elif level != step.before:
            found.append(_unreasoned(step.step, level, step.before))
        level = step.before
        if step.unexplained < 0:
            found.append(_unreasoned(step.step, level, level - step.unexplained))
            level -= step.unexplained
        for kind, reasons in _left(step):
            for reason, rows in sorted(((r, n) for r, n in reasons.items() if n), key=lambda item: -item[1]):
                found.append(Move(kind=kind, step=step.step, reason=reason, low=level - rows, high=level))
                level -= rows
        if level != step.after:
            found.append(_unreasoned(step.step, level, step.after))
        level = step.after
    if level is not None:
        found.append(Move(kind="out", step=found[-1].step, reason="", low=0, high=level))
    return found


def entered(moves: Iterable[Move]) -> int:
    """Rows that came in, and those that a step made of them: what every share of the waterfall is of."""
    return sum(move.rows for move in moves if move.kind in ("in", "added"))


def _left(step: FlowStep) -> tuple[tuple[Kind, dict[str, int]], ...]:
    return ("dropped", step.dropped), ("set aside", step.set_aside)


def _unreasoned(step: str, level: int, after: int) -> Move:
    kind: Kind = "added" if after > level else "unexplained"
    return Move(kind=kind, step=step, reason="", low=min(level, after), high=max(level, after))
