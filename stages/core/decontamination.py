"""Contamination and repetition: training rows that stand in the benchmark, or in an earlier row, in whatever dress.

Rows and protected items (the benchmark's test and few-shot items) go in as `Item`s, `Hit`s come out: every pair that is
too alike, how alike stem and choices are each, and whether the recipe's rule drops the row. Two texts are compared

- exactly, once spacing, punctuation and case are folded;
- nearly, by the Jaccard similarity of their 3-character shingles. Numbers with units are put into one unit before, and
  the closing ask of an exam question ("…에 관한 설명으로 옳은 것은?") counts as one shingle: many questions share it
  and nothing else;
- where the row is a consult, also by how much of an exam question stands somewhere in the longer text, the
  doctor's answer included.

Near are stems that share `threshold` of their shingles, or stems and choices that do so together where the stems share
half of it. Measured on KorMedMCQA by stems alone (tests/benchmarks/decontamination.py, results beside it): at 0.5, 50
of the 78 train and dev rows found ask a test question in other words, and 0.92 of paraphrases with other spacing,
particles, units and synonyms at once are found; at 0.4 it is 53 of 121, at 0.6 41 of 56 and 0.81 of the paraphrases.
With their choices, 0.98 of those are found at 0.5. Left out for what they brought: a table of medical synonyms (0.94
instead of 0.92), and cutting particles off (0.95, but of changed spacing then 0.94 instead of all).

A like stem is not yet the same question: of the 66 train rows found, 14 have their test question's right answer and 52
another one, 6 of these asking what is not so where the other asks what is. Right answers are the same if they are
equal, or share 0.4 of their two-character runs and all numbers and are less like every wrong choice. Of the 258 pairs
of like stems in all splits this says so of 23, of which a reader found 20 right (at 0.5 it would miss three of the 20;
0.4 was chosen on these pairs). Rule `stem_and_choices` counts the same answer like the same choices: 17 train rows go
instead of 13, and all four had been judged to be the test question reworded.

Within training data like words are not enough: of 988 questions turned round ("옳지 않은 것은?", another choice right)
961 repeat their original by stem and choices, and none once right answers are compared, while 442 of 446 paraphrases
that repeat theirs by words still do. Of the 15 pairs of KorMedMCQA's own questions that repeat each other by words, 11
have the same answer, and the other four ask no differently: so answers decide, and asks only where answers are missing.
Among train alone there are 3 pairs, all with the same answer.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from stages.core import shingles
from stages.core.records import Consult, Dropped, ExamQuestion, Record
from stages.core.shingles import (
    Index,
    Shingles,
    asks_for_exception,
    bare_subject,
    containment,
    fold,
    fold_choice,
    in_one_unit,
    jaccard,
    near_pairs,
    pairs_of_characters,
    split_ask,
)

Rule = Literal["stem", "stem_and_choices", "report"]  # what must be alike for a row to be dropped; report: nothing is
Kind = Literal[
    "exact_stem_and_choices", "exact_stem_near_choices", "near_stem_and_choices", "exact_stem", "near_stem", "contained"
]

REASONS: dict[Kind, str] = {  # gravest first; without numbers, so that dropped rows can be counted by reason
    "exact_stem_and_choices": "stem and choices stand in the benchmark",
    "exact_stem_near_choices": "stem stands in the benchmark, with similar choices",
    "near_stem_and_choices": "stem and choices nearly stand in the benchmark",
    "exact_stem": "stem stands in the benchmark",
    "near_stem": "stem nearly stands in the benchmark",
    "contained": "holds a benchmark question",
}
KINDS: tuple[Kind, ...] = tuple(REASONS)
CHOICES_TOO = KINDS[:3]
REPEATS, NEARLY_REPEATS = "repeats an earlier row", "nearly repeats an earlier row"
CONTRADICTS = "repeats an earlier row with another answer"  # one of the two is keyed wrong; the earlier one stays

MOST_HITS = 3  # of one row, the gravest: one generic stem in the benchmark must not fill the page
GENERIC = (
    12  # characters of `bare_subject`; with fewer a stem fits many right answers ("「가상법」상 봉합사의 업무는?")
)
SAME_ANSWER = 0.4  # of the two-character runs of two right answers; see the docstring
CONTAINABLE = 40  # shingles; shorter exam questions can stand in a longer text by chance
WINDOW = 7  # characters; what a consult must share with an exam question to be looked at
COMMON = 20  # exam questions; a window that stands in more of them is a phrase of the trade and finds nobody
SHARED_WINDOWS = 0.1  # of the exam question's
MOST_CONTAINED = 5  # exam questions looked at for one consult, those with the most windows in it


@dataclass(frozen=True)
class Item:
    """A question under its id, for comparison.

    An exam question has choices, its answer is the text of the right one; a consult has a context, its patient
    information, and the doctor's answer. Rows of one group (several doctors' answers to one consult) repeat each
    other's question by nature.
    """

    id: str
    text: str
    choices: tuple[str, ...] = ()
    context: str = ""
    group: str | None = None  # None: the row stands for itself
    answer: str = ""  # empty: not known

    @classmethod
    def of(cls, id: str, question: ExamQuestion) -> "Item":
        return cls(id, question.question, question.choices, answer=question.choices[question.answer - 1])

    @classmethod
    def of_consult(cls, consult: Consult) -> "Item":
        return cls(
            consult.id,
            consult.question,
            context=consult.patient_information,
            group=consult.raw_id,
            answer=consult.answer,
        )

    @property
    def folded(self) -> str:
        return fold(self.text)

    @property
    def folded_choices(self) -> frozenset[str]:
        """As a set: the same choices in another order are the same question."""
        return frozenset(map(fold_choice, self.choices))


class Hit(Record):
    """A row that is too alike a protected item, or an earlier row, and what became of it."""

    row_id: str
    hit_id: str
    kind: Kind
    against: Literal["benchmark", "training"]
    stem_similarity: float  # 0 to 1; of `contained`, the share of the exam question that stands in the row
    choices_similarity: float | None  # 0 to 1; None: one of the two has no choices
    dropped: bool
    reason: str
    row_text: str
    hit_text: str
    row_choices: tuple[str, ...] = ()
    hit_choices: tuple[str, ...] = ()
    row_answer: str | None = None  # the right choice's text; None: a consult, or not known
    hit_answer: str | None = None
    same_answer: bool | None = None  # None: one of them is None
    asks_else: bool = False  # one asks what is so, the other what is not
    is_generic: bool = False  # one of the stems says so little that many right answers fit
    kept_because: str | None = None  # of rows that are compared and not trained on; None: the rule decided


class Likeness(NamedTuple):
    """How alike two items are, and in what way."""

    kind: Kind
    stem: float
    choices: float | None
    same_answer: bool | None = None
    asks_else: bool = False
    is_generic: bool = False
    is_in_answer: bool = False  # the exam question stands in the doctor's answer alone

    @property
    def is_match(self) -> bool:
        """More than the stem is alike: the choices are, or the right answer is."""
        return self.kind in CHOICES_TOO or self.same_answer is True

    @property
    def rank(self) -> tuple[bool, int, float, float]:
        """Gravest first."""
        return not self.is_match, KINDS.index(self.kind), -self.stem, -(self.choices or 0.0)


class Fingerprint:
    """An item, its folded forms and its shingles, each made when it is first wanted."""

    def __init__(self, item: Item) -> None:
        self.item = item

    @cached_property
    def folded(self) -> frozenset[str]:
        """The text alone and, of a consult, with the patient information before or after it."""
        text, context = fold(self.item.text), fold(self.item.context)
        return frozenset(filter(None, (text, context and context + text, context and text + context)))

    @cached_property
    def comparable(self) -> str:
        return fold(in_one_unit(self.item.text))

    @cached_property
    def is_generic(self) -> bool:
        return bool(self.item.choices) and len(bare_subject(self.item.text)) < GENERIC

    @cached_property
    def answer(self) -> Shingles:
        return shingles.shingles(fold(in_one_unit(self.item.answer)))

    @cached_property
    def text(self) -> Shingles:
        subject, asked = split_ask(self.comparable)
        parts = [shingles.shingles(subject)]
        return shingles.union(parts if asked is None else [*parts, shingles.token(asked)])

    @cached_property
    def stem(self) -> Shingles:
        """Text and context."""
        context = self.item.context
        return shingles.union([self.text, shingles.shingles(fold(in_one_unit(context)))]) if context else self.text

    @cached_property
    def choices(self) -> Shingles:
        return shingles.union(shingles.shingles(fold(in_one_unit(choice))) for choice in self.item.choices)

    @cached_property
    def whole(self) -> Shingles:
        return shingles.union([self.stem, shingles.other_field(self.choices)]) if self.item.choices else self.stem

    @property
    def views(self) -> tuple[Shingles, ...]:
        """What can be a stem: the question and, of a consult, the question with the patient information."""
        return (self.text, self.stem) if self.item.context else (self.text,)


def likeness(row: Fingerprint, other: Fingerprint, threshold: float) -> Likeness | None:
    """How alike a row and a protected item are; None: not enough."""
    is_same = not row.folded.isdisjoint(other.folded)
    stem = 1.0 if is_same else max(jaccard(view, other.text) for view in row.views)
    choices = None
    kind: Kind | None = "exact_stem" if is_same else "near_stem" if stem >= threshold else None
    if row.item.choices and other.item.choices:
        same_choices = row.item.folded_choices == other.item.folded_choices
        choices = 1.0 if same_choices else jaccard(row.choices, other.choices)
        if is_same and same_choices:
            kind = "exact_stem_and_choices"
        elif choices >= threshold and is_same:
            kind = "exact_stem_near_choices"
        elif choices >= threshold and (kind or _together(row, other, stem, threshold)):
            kind = "near_stem_and_choices"
    if kind is None:
        return None
    if choices is None:
        return Likeness(kind, stem, None)
    is_generic = row.is_generic or other.is_generic
    return Likeness(kind, stem, choices, same_answer(row.item, other.item), asks_else(row.item, other.item), is_generic)


def same_answer(one: Item, other: Item) -> bool | None:
    """Whether two exam questions have the same right answer; None: one of them is a consult, or its answer not known.

    An answer said in other words is the same if it shares enough of its letters, all of its numbers, and is less like
    every wrong choice of the other question: that one would be the same otherwise.
    """
    if not (one.choices and other.choices and one.answer and other.answer):
        return None
    if fold_choice(one.answer) == fold_choice(other.answer):
        return True
    similarity = _answer_likeness(one.answer, other.answer)
    wrong = [_answer_likeness(one.answer, choice) for choice in other.choices if choice != other.answer]
    wrong += [_answer_likeness(choice, other.answer) for choice in one.choices if choice != one.answer]
    return similarity >= SAME_ANSWER and similarity > max(wrong, default=0.0)


NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _answer_likeness(one: str, other: str) -> float:
    one, other = in_one_unit(one), in_one_unit(other)
    if NUMBER.findall(one) != NUMBER.findall(other):
        return 0.0
    pairs, others = pairs_of_characters(fold(one)), pairs_of_characters(fold(other))
    return len(pairs & others) / len(pairs | others) if pairs and others else 0.0


def asks_else(one: Item, other: Item) -> bool:
    """Whether one of two exam questions asks what is so, the other what is not."""
    return bool(one.choices and other.choices) and asks_for_exception(one.text) != asks_for_exception(other.text)


def _together(row: Fingerprint, other: Fingerprint, stem: float, threshold: float) -> bool:
    """Stems that are half as alike as they would have to be alone, and choices that make up for it."""
    return stem >= threshold / 2 and jaccard(row.whole, other.whole) >= threshold


class Protected:
    """The benchmark's items, indexed to be asked which of them a row is like."""

    def __init__(self, items: Iterable[Item], threshold: float) -> None:
        self.prints = [Fingerprint(item) for item in items]
        self.threshold = threshold
        self.stems = Index([one.stem for one in self.prints], threshold)
        self.wholes = Index([one.whole for one in self.prints], threshold)
        self.same: dict[str, list[int]] = {}
        self.windows: dict[str, list[int]] = {}
        for number, one in enumerate(self.prints):
            for folded in one.folded:
                self.same.setdefault(folded, []).append(number)
            if len(one.stem) >= CONTAINABLE:
                for window in windows(one.comparable):
                    self.windows.setdefault(window, []).append(number)

    def like(self, row: Fingerprint) -> list[tuple[Likeness, int]]:
        """The protected items that the row is like, gravest first, at most three."""
        numbers = {number for folded in row.folded for number in self.same.get(folded, ())}
        numbers.update(number for view in row.views for number in self.stems.near(view))
        if row.item.choices:
            numbers.update(self.wholes.near(row.whole))
        found = {number: likeness(row, self.prints[number], self.threshold) for number in sorted(numbers)}
        alike = [(how, number) for number, how in found.items() if how is not None]
        if not alike and not row.item.choices:
            alike = self.held_by(row)
        return sorted(alike, key=lambda pair: (pair[0].rank, pair[1]))[:MOST_HITS]

    def held_by(self, row: Fingerprint) -> list[tuple[Likeness, int]]:
        """The exam questions of which at least the threshold stands in the row's longer text, its answer included."""
        comparable = row.comparable + fold(in_one_unit(f"{row.item.context} {row.item.answer}"))
        told = shingles.union([row.stem, row.answer])
        shared: Counter[int] = Counter()
        for window in windows(comparable):
            holders = self.windows.get(window, ())
            if len(holders) <= COMMON:
                shared.update(holders)
        held = []
        for number, count in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_CONTAINED]:
            question = self.prints[number]
            if count < SHARED_WINDOWS * len(windows(question.comparable)):
                continue
            share = containment(question.stem, told)
            if share >= self.threshold:
                is_in_answer = containment(question.stem, row.answer) >= self.threshold
                held.append((Likeness("contained", share, None, is_in_answer=is_in_answer), number))
        return held


def windows(folded: str) -> set[str]:
    return {folded[at : at + WINDOW] for at in range(len(folded) - WINDOW + 1)}


def find_hits(
    rows: Iterable[Item],
    protected: Iterable[Item],
    *,
    rule: Rule,
    threshold: float,
    kept_because: str | None = None,
) -> list[Hit]:
    """Every row's protected items that it is like, rows in order, each row's gravest first.

    With the rule "report" hits are found all the same, and none is dropped: what is in the data should be known.
    `kept_because` says why these rows are not dropped whatever the rule; None: the rule decides.
    """
    benchmark = Protected(protected, threshold)
    seen: dict[tuple[str, tuple[str, ...], str, str], list[tuple[Likeness, int]]] = {}
    hits = []
    for row in rows:
        key = (row.text, row.choices, row.context, row.answer)
        if key not in seen:
            seen[key] = benchmark.like(Fingerprint(row))
        for how, number in seen[key]:
            kept = kept_because if kept_because is not None else why_kept(rule, how)
            hit = _hit(row, benchmark.prints[number].item, how, against="benchmark", kept=kept)
            hits.append(hit if kept_because is None else hit.model_copy(update={"kept_because": kept_because}))
    return hits


def why_kept(rule: Rule, how: Likeness) -> str | None:
    """Why the rule leaves a row that is like a benchmark item in this way; None: it is dropped."""
    if rule == "report":
        return "no row is dropped for being like the benchmark"
    if rule == "stem" or how.is_match:
        return None
    unlike = "there are none" if how.choices is None else "both differ"
    return f"choices or right answer would have to match, and {unlike}"


def _hit(row: Item, item: Item, how: Likeness, *, against: Literal["benchmark", "training"], kept: str | None) -> Hit:
    told = (row.context, row.text, row.answer if how.kind == "contained" else "")
    return Hit(
        row_id=row.id,
        hit_id=item.id,
        kind=how.kind,
        against=against,
        stem_similarity=round(how.stem, 4),
        choices_similarity=None if how.choices is None else round(how.choices, 4),
        dropped=kept is None,
        reason=explain(how) if kept is None else f"{explain(how)}; kept: {kept}",
        row_text="\n".join(filter(None, told)),
        hit_text=f"{item.context}\n{item.text}" if item.context else item.text,
        row_choices=row.choices,
        hit_choices=item.choices,
        row_answer=(row.choices and row.answer) or None,
        hit_answer=(item.choices and item.answer) or None,
        same_answer=how.same_answer,
        asks_else=how.asks_else,
        is_generic=how.is_generic,
    )


def explain(how: Likeness) -> str:
    """What is alike, in words and numbers."""
    if how.kind == "contained":
        return f"{how.stem:.0%} of the exam question stands in {'the answer' if how.is_in_answer else 'this text'}"
    stem = "the same stem" if how.kind.startswith("exact") else f"similar stem ({how.stem:.2f})"
    if how.choices is None:
        return stem.replace("stem", "question")  # one of the two is a consult
    parts = ["generic stem"] if how.is_generic else []
    parts += ["asks something else"] if how.asks_else else []
    alike = "similar" if how.kind in CHOICES_TOO else "other"
    same = how.kind == "exact_stem_and_choices"
    said = f"{stem}, {'the same choices' if same else f'{alike} choices (similarity {how.choices:.2f})'}"
    if how.same_answer is not None:
        said += f", {'same' if how.same_answer else 'other'} answer"
    return f"{', '.join(parts)}: {said}" if parts else said


def as_dropped(hits: Iterable[Hit]) -> list[Dropped]:
    """The rows that go, each once with its gravest hit, in order."""
    first: dict[str, Hit] = {}
    for hit in hits:
        if hit.dropped:
            first.setdefault(hit.row_id, hit)
    return [
        Dropped(id=hit.row_id, reason=_reason(hit), text=hit.row_text, hit=hit.hit_id, similarity=hit.stem_similarity)
        for hit in first.values()
    ]


def _reason(hit: Hit) -> str:
    if hit.against == "benchmark":
        return REASONS[hit.kind]
    if hit.kind == "exact_stem_and_choices" and hit.same_answer is False:
        return CONTRADICTS
    return REPEATS if hit.kind == "exact_stem_and_choices" else NEARLY_REPEATS


def near_duplicates(items: Sequence[Item], *, threshold: float) -> list[Hit]:
    """The rows that repeat, or nearly repeat, an earlier row that stays, in order, each with that row.

    Two exam questions repeat each other where stems and choices both do and the right answers are the same, or, where
    an answer is not known, the asks. The same question to the letter repeats the earlier one whatever its answer: one
    of the two is keyed wrong. Two consults repeat each other where question and patient information together do. Rows
    of one group never do.
    """
    texts = Texts(items)
    alike = texts.alike(threshold)
    kept: dict[int, int] = {}  # text: the first row of it that stays
    hits = []
    for row, text in enumerate(texts.of_row):
        same = Likeness("exact_stem_and_choices", 1.0, 1.0 if items[row].choices else None)
        rivals = [(kept[other], how) for other, how in [(text, same), *alike[text]] if other in kept]
        rivals = [
            (other, how._replace(same_answer=same_answer(items[row], items[other])))
            for other, how in rivals
            if not _share_group(items[row], items[other])
        ]
        rivals = [rival for rival in rivals if _asks_the_same(items[row], items[rival[0]], rival[1])]
        if rivals:
            other, how = min(rivals, key=lambda rival: (rival[1].rank, rival[0]))
            hits.append(_hit(items[row], items[other], how, against="training", kept=None))
        else:
            kept.setdefault(text, row)
    return hits


def clusters(items: Sequence[Item], *, threshold: float) -> list[set[str]]:
    """Every item's id in one set, with the ids of its group and of all that are alike, also by way of others.

    In the order of their first members. Words alone count here: two exam questions with other right answers, which
    `near_duplicates` keeps both, share a cluster.
    """
    texts = Texts(items)
    rows = DisjointSet(range(len(items)))
    first: dict[str | int, int] = {}  # text or group: the first row of it
    for row, item in enumerate(items):
        rows.merge(row, first.setdefault(texts.of_row[row], row))
        if item.group is not None:
            rows.merge(row, first.setdefault(item.group, row))
    for text, likes in enumerate(texts.alike(threshold)):
        for other, _ in likes:
            rows.merge(first[text], first[other])
    return [{items[row].id for row in members} for members in rows.subsets()]


class Texts:
    """The different texts among items: ten thousand copies of one are compared once."""

    def __init__(self, items: Sequence[Item]) -> None:
        numbers: dict[tuple[str, str, frozenset[str]], int] = {}
        self.prints: list[Fingerprint] = []
        self.of_row: list[int] = []
        for item in items:
            key = (item.folded or item.text, fold(item.context), item.folded_choices)  # "?!" and "…" fold to nothing
            if key not in numbers:
                numbers[key] = len(self.prints)
                self.prints.append(Fingerprint(item))
            self.of_row.append(numbers[key])

    def alike(self, threshold: float) -> list[list[tuple[int, Likeness]]]:
        """For each text those that nearly repeat it, and how."""
        found: list[list[tuple[int, Likeness]]] = [[] for _ in self.prints]
        for one, other, similarity in near_pairs([one.whole for one in self.prints], threshold):
            how = _repetition(self.prints[one], self.prints[other], similarity, threshold)
            if how is not None:
                found[one].append((other, how))
                found[other].append((one, how))
        return found


def _repetition(one: Fingerprint, other: Fingerprint, similarity: float, threshold: float) -> Likeness | None:
    if not one.item.choices or not other.item.choices:
        return Likeness("near_stem", similarity, None)
    stem, choices = jaccard(one.stem, other.stem), jaccard(one.choices, other.choices)
    if min(stem, choices) < threshold:
        return None
    return Likeness("near_stem_and_choices", stem, choices)


def _asks_the_same(row: Item, other: Item, how: Likeness) -> bool:
    """Of two rows whose words repeat each other: whether their right answers do, too."""
    if how.kind == "exact_stem_and_choices":
        return True
    return how.same_answer if how.same_answer is not None else not asks_else(row, other)


def _share_group(one: Item, other: Item) -> bool:
    return one.group is not None and one.group == other.group
