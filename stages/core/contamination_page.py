"""contamination.html from hits: every row that is like a benchmark item or an earlier row, both texts side by side.

Self-contained, no script, no request to anywhere.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.core.decontamination import KINDS, Hit, Kind, Rule

TEMPLATES = Path(__file__).parent / "templates"
RUN = 4  # characters that both texts must have in a row to be marked; three occur by chance all over a vignette
BATCH = 25  # hits that open together
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
RULES: dict[Rule, str] = {
    "stem": "a like stem is enough for a row to be dropped, whatever its choices",
    "stem_and_choices": "a row is dropped where stem and choices are both alike; where only the stem is, it is kept",
    "report": "nothing is dropped, only reported",
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


class Tally(NamedTuple):
    title: str
    rows: int
    dropped: int
    kept: int


class Group(NamedTuple):
    """The hits of one kind, the most alike first, in batches."""

    anchor: str
    title: str
    batches: list[list[Hit]]


def render_contamination(hits: Sequence[Hit], counts: Counts, settings: Settings) -> str:
    """The page of all hits, against the benchmark and within the training data."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"texts": texts, "choices": choices, "rule": RULES[settings.rule]}
    groups = group(hits)
    return environment.get_template("contamination.html.j2").render(
        counts=counts,
        settings=settings,
        groups=groups,
        tallies=tally(hits),
        summary=summary(hits, counts, settings),
        hits=len(hits),
    )


def group(hits: Sequence[Hit]) -> list[Group]:
    """Hits by kind, gravest first, then the repetitions within the training data."""
    placed = sorted(hits, key=lambda hit: (_place(hit), -hit.stem_similarity, -(hit.choices_similarity or 0)))
    groups = []
    for place, members in groupby(placed, key=_place):
        found = list(members)
        batches = [found[at : at + BATCH] for at in range(0, len(found), BATCH)]
        title = TITLES[KINDS[place]] if place < len(KINDS) else REPETITIONS
        groups.append(Group(f"kind-{place}", title, batches))
    return groups


def _place(hit: Hit) -> int:
    return KINDS.index(hit.kind) if hit.against == "benchmark" else len(KINDS)


def tally(hits: Sequence[Hit]) -> list[Tally]:
    """Rows by their gravest hit, dropped and kept; a row with three hits counts once."""
    gravest: dict[tuple[str, str], Hit] = {}
    for hit in sorted(hits, key=_place):
        gravest.setdefault((hit.against, hit.row_id), hit)
    places = Counter((_place(hit), hit.dropped) for hit in gravest.values())
    titles = [*TITLES.values(), REPETITIONS]
    return [
        Tally(title, places[place, True] + places[place, False], places[place, True], places[place, False])
        for place, title in enumerate(titles)
        if places[place, True] or places[place, False]
    ]


def summary(hits: Sequence[Hit], counts: Counts, settings: Settings) -> list[str]:
    """What happened, in sentences."""
    like = {hit.row_id for hit in hits if hit.against == "benchmark"}
    dropped = {hit.row_id for hit in hits if hit.against == "benchmark" and hit.dropped}
    repeating = {hit.row_id for hit in hits if hit.against == "training"}
    rows = f"{_count(counts.exam_questions, 'exam question')} and {_count(counts.consults, 'consult')}"
    protected = " and ".join(f"{number:,} {name}" for name, number in counts.protected.items())
    compared = f"{rows} were compared with the benchmark's {protected} questions."
    found = "None is like one of these."
    if like:
        are = "is" if len(like) == 1 else "are"
        fate = f"{len(dropped):,} dropped, {len(like) - len(dropped):,} kept"
        found = f"{_count(len(like), 'row')} {are} like one of these: {fate}."
    if not repeating:
        return [compared, found]
    were = "was" if len(repeating) == 1 else "were"
    return [compared, found, f"{_count(len(repeating), 'row')} repeated an earlier row and {were} dropped."]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def texts(hit: Hit) -> tuple[list[Piece], list[Piece]]:
    """Row and item, told apart into what both have and what one has alone."""
    return marked(hit.row_text, runs([hit.hit_text])), marked(hit.hit_text, runs([hit.row_text]))


def choices(hit: Hit) -> tuple[list[list[Piece]], list[list[Piece]]]:
    """The choices of row and item; what stands in any choice of the other is shared."""
    row, item = runs(hit.row_choices), runs(hit.hit_choices)
    return [marked(choice, item) for choice in hit.row_choices], [marked(choice, row) for choice in hit.hit_choices]


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
