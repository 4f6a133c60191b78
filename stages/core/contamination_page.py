"""contamination.html from hits: every row that is like a benchmark item or an earlier row, both texts side by side.

Self-contained, no script, no request to anywhere.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from stages.core.decontamination import CHOICES_TOO, GENERIC, KINDS, SAME_ANSWER, Hit, Kind, Rule
from stages.core.pages import environment

RUN = 4  # characters that both texts must have in a row to be marked; three occur by chance all over a vignette
BATCH = 25  # rows that open together
LONGEST = 240  # characters of an unmarked stretch; a longer one is shortened in the middle
LONGEST_MARKED = 2000  # characters of a marked one

TITLES: dict[Kind, str] = {
    "exact_stem_and_choices": "Same stem, same choices",
    "exact_stem_near_choices": "Same stem, similar choices",
    "near_stem_and_choices": "Similar stem, similar choices",
    "exact_stem": "Same stem, other choices or none",
    "near_stem": "Similar stem, other choices or none",
    "contained": "Exam question inside a consult",
}
REPETITIONS = "Rows that repeat an earlier row"
NOT_TRAINED_ON = "Not trained on"
TITLE_OF = (*TITLES.values(), REPETITIONS, NOT_TRAINED_ON)
RULES: dict[Rule, str] = {
    "stem": "a like stem is enough for a row to be dropped, whatever its choices",
    "stem_and_choices": "a row is dropped where choices or right answer are alike as well as the stem; "
    "where only the stem is, it is kept",
    "report": "no row is dropped for being like the benchmark, only reported; "
    "one that repeats an earlier row is dropped all the same",
}


@dataclass(frozen=True)
class Counts:
    """What was compared: rows that went in, and protected items by what they are (test, fewshot)."""

    exam_questions: int
    consults: int
    protected: Mapping[str, int]


@dataclass(frozen=True)
class Settings:
    """The recipe's."""

    rule: Rule
    threshold: float


class Piece(NamedTuple):
    text: str
    is_shared: bool


class Choice(NamedTuple):
    pieces: list[Piece]
    is_right: bool


class Tally(NamedTuple):
    """Rows that are alike in one way; of exam questions, those with the same right answer and with another one."""

    title: str
    rows: int
    dropped: int
    kept: int
    same_answer: int
    other_answer: int


class Row(NamedTuple):
    """A row's hits, gravest first."""

    gravest: Hit
    others: tuple[Hit, ...]


class Group(NamedTuple):
    """The rows that are alike in one way, those with the same answer first, then the most alike, in batches."""

    anchor: str
    title: str
    batches: list[list[Row]]


def render_contamination(hits: Sequence[Hit], counts: Counts, settings: Settings) -> str:
    """The page of all hits, against the benchmark and within the training data."""
    templates = environment()
    templates.globals |= {"texts": texts, "choices": choices, "signs": signs, "rule": RULES[settings.rule]}
    rows = by_row(hits)
    return templates.get_template("contamination.html.j2").render(
        counts=counts,
        settings=settings,
        generic=GENERIC,
        same=SAME_ANSWER,
        groups=group(rows),
        tallies=tally(rows),
        summary=summary(rows, counts),
    )


def by_row(hits: Sequence[Hit]) -> list[Row]:
    """Hits of one row together; a row that is like the benchmark and repeats an earlier one too stands twice."""
    found: dict[tuple[bool, bool, str], list[Hit]] = {}
    for hit in hits:
        found.setdefault((hit.against == "benchmark", hit.kept_because is None, hit.row_id), []).append(hit)
    return [Row(first, tuple(others)) for first, *others in found.values()]


def group(rows: Sequence[Row]) -> list[Group]:
    """Rows by their gravest hit's kind, gravest first, then repetitions within the training data, then the rest."""
    groups = []
    for place, members in groupby(sorted(rows, key=_order), key=_place):
        found = list(members)
        batches = [found[at : at + BATCH] for at in range(0, len(found), BATCH)]
        groups.append(Group(f"kind-{place}", TITLE_OF[place], batches))
    return groups


def _place(row: Row) -> int:
    if row.gravest.kept_because is not None:
        return TITLE_OF.index(NOT_TRAINED_ON)
    return KINDS.index(row.gravest.kind) if row.gravest.against == "benchmark" else TITLE_OF.index(REPETITIONS)


def _order(row: Row) -> tuple[int, bool, float, float]:
    hit = row.gravest
    return _place(row), hit.same_answer is not True, -hit.stem_similarity, -(hit.choices_similarity or 0)


def tally(rows: Sequence[Row]) -> list[Tally]:
    """Rows by their gravest hit; a row with three hits counts once."""
    tallies = []
    for place, title in enumerate(TITLE_OF):
        found = [row.gravest for row in rows if _place(row) == place]
        dropped = sum(hit.dropped for hit in found)
        answers = Counter(hit.same_answer for hit in found)
        if found:
            tallies.append(Tally(title, len(found), dropped, len(found) - dropped, answers[True], answers[False]))
    return tallies


def summary(rows: Sequence[Row], counts: Counts) -> list[str]:
    """What happened, in sentences."""
    like = [row for row in rows if row.gravest.against == "benchmark" and row.gravest.kept_because is None]
    aside = [row for row in rows if row.gravest.kept_because is not None]
    repeating = [row for row in rows if row.gravest.against == "training"]
    compared = f"{_count(counts.exam_questions, 'exam question')} and {_count(counts.consults, 'consult')}"
    protected = " and ".join(f"{number:,} {name}" for name, number in counts.protected.items())
    said = [f"{compared} were compared with the benchmark's {protected} questions.", *_fate(like)]
    if repeating:
        were = "was" if len(repeating) == 1 else "were"
        said.append(f"{_count(len(repeating), 'row')} repeated an earlier row and {were} dropped.")
    if aside:
        are = "is" if len(aside) == 1 else "are"
        said.append(
            f"{_count(len(aside), 'row')} not trained on {are} like a benchmark question, too, and only listed."
        )
    return said


def _fate(like: Sequence[Row]) -> list[str]:
    if not like:
        return ["None is like one of these."]
    dropped = sum(any(hit.dropped for hit in (row.gravest, *row.others)) for row in like)
    are = "is" if len(like) == 1 else "are"
    said = [f"{_count(len(like), 'row')} {are} like one of these: {dropped:,} dropped, {len(like) - dropped:,} kept."]
    answers = Counter(row.gravest.same_answer for row in like)
    if answers[True] or answers[False]:
        bare = sum(row.gravest.is_generic and _differs(row.gravest) for row in like)
        which = f", of which {bare:,} share no more than a generic stem" if bare else ""
        said.append(
            f"The right answer is the same in {answers[True]:,} of them, another one in {answers[False]:,}{which}."
        )
    return said


def _differs(hit: Hit) -> bool:
    return hit.same_answer is False and hit.kind not in CHOICES_TOO


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def texts(hit: Hit) -> tuple[list[Piece], list[Piece]]:
    """Row and item, told apart into what both have and what one has alone."""
    return marked(hit.row_text, runs([hit.hit_text])), marked(hit.hit_text, runs([hit.row_text]))


def choices(hit: Hit) -> tuple[list[Choice], list[Choice]]:
    """The choices of row and item, the right one told; what stands in any choice of the other is shared."""
    row, item = runs(hit.row_choices), runs(hit.hit_choices)
    return (
        [Choice(marked(choice, item), choice == hit.row_answer) for choice in hit.row_choices],
        [Choice(marked(choice, row), choice == hit.hit_answer) for choice in hit.hit_choices],
    )


def signs(hit: Hit) -> list[str]:
    """What tells a reworded question from the same subject asked for something else, and from a mere generic stem."""
    said = [] if hit.same_answer is None else ["same answer" if hit.same_answer else "other answer"]
    said += ["asks something else"] if hit.asks_else else []
    return said + (["generic stem"] if hit.is_generic else [])


def runs(of: Iterable[str]) -> set[str]:
    """Every run of four characters, and whole texts that are shorter."""
    found: set[str] = set()
    for text in of:
        letters = "".join(letter for _, letter in _letters(text))
        found.update(letters[at : at + RUN] for at in range(max(1, len(letters) - RUN + 1)))
    return found - {""}


def marked(text: str, others: set[str]) -> list[Piece]:
    """The text in pieces, those that stand in the other text marked; long stretches are shortened in the middle."""
    places = list(_letters(text))
    letters = "".join(letter for _, letter in places)
    shared = [False] * len(text)
    for at in range(max(1, len(letters) - RUN + 1)):
        if letters[at : at + RUN] in others:
            last = min(at + RUN, len(places)) - 1
            first = places[at][0]
            shared[first : places[last][0] + 1] = [True] * (places[last][0] + 1 - first)
    pieces = []
    for is_shared, members in groupby(range(len(text)), key=shared.__getitem__):
        stretch = list(members)
        pieces.append(Piece(_shortened(text[stretch[0] : stretch[-1] + 1], is_shared), is_shared))
    return pieces


def _letters(text: str) -> Iterator[tuple[int, str]]:
    """Letters and numbers with where they stand: spacing and punctuation make no difference."""
    return ((at, letter.casefold()) for at, letter in enumerate(text) if letter.isalnum())


def _shortened(text: str, is_shared: bool) -> str:
    longest = LONGEST_MARKED if is_shared else LONGEST
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} … {len(text) - longest:,} characters … {text[-longest // 2 :]}"
