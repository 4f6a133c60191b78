"""What the report's sentences are made of: numbers as they are printed, and which case it is. The same in any language.

`wording` and `wording_ko` put it into words; neither decides anything that the other would have to decide as well.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stages.core import eda as data
from stages.core.eda import Eda, FlowStep, Lengths, Move, What
from stages.core.findings import Contrast, LabelLengths, Reason, Row, Winrate
from stages.core.plots import Curve
from stages.core.preference_side import Accuracy
from stages.core.records import Checkpoint, is_simulated
from stages.core.statistics import Interval, PairedTest, Score, detectable, questions_needed, smallest_shown

TASK_TOKENS = 1024  # max_gen_toks of kormedmcqa 3.0
CHANCE = 20.0  # percent; five choices
FORMLESS = 5.0  # points more answers without a letter; from there a reader must know that it may be a matter of form
VALUES = ("submitted", "a", "b", "tie", "both_bad")  # columns of the annotators' table
SMALL = 2.5  # percentage points; a wider half of an interval makes the sample a small one

Annotated = Literal["people", "some", "simulated"]  # who gave labels: people, some of them simulated, or nobody else
Outcome = Literal["better", "worse", "not shown"]
Limit = Literal["device", "licence", "accuracy", "annotators", "winrate", "small", "consults", "guessing"]
Compared = Literal["train", "dev", "test", "questions", "consults", "shortest", "median", "longest"]


def points(test: PairedTest) -> str:
    """Net change in percentage points, with its sign."""
    return "0.0" if test.gained == test.lost else true_minus(f"{test.points:+.1f}")


def scored(score: Score | None) -> str:
    """A share of right answers with its 95 % interval; a dash where there is none."""
    return "–" if score is None else f"{score.percent:.2f} % ({bounds(score.interval)})"


def bounds(interval: Interval) -> str:
    """In percent, without the sign."""
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"


def number(value: float) -> str:
    """With thousands marked, and a decimal only where there is one."""
    return f"{value:,.1f}".removesuffix(".0")


def measured(value: float) -> str:
    """Three digits of what a trainer logged."""
    return true_minus(f"{value:.3g}")


def true_minus(text: str) -> str:
    return text.replace("-", "−")


def decimal(value: float | None) -> str:
    """Two decimals with a true minus, none before zero; a dash for what is not known."""
    return "–" if value is None else true_minus(f"{value:,.2f}".replace("-0.00", "0.00"))


def signed(value: float, decimals: int = 2) -> str:
    """With its sign; 0 has none."""
    text = true_minus(f"{value:+,.{decimals}f}")
    return text if text.strip("+−0.,") else text[1:]


def percent(score: Score) -> str:
    return f"{100 * score.accuracy:.1f} %"


def hours(value: float) -> str:
    """With a decimal, few of them with two; what is there is never said to be 0."""
    return "<0.01" if 0 < value < 0.01 else f"{value:.2f}" if value < 1 else f"{value:,.1f}"


def gibibytes(memory: int) -> str:
    return f"{memory / 2**30:.1f} GiB" if memory >= 2**30 else f"{memory / 2**20:.0f} MiB"


def rounded(part: int, of: int) -> tuple[Literal["", "under", "over"], str]:
    """A share in percent, and on which side of what is printed it lies: neither none nor all is said of a share that
    only rounds to it.
    """
    percent = 100 * part / of if of else 0.0
    if 0 < percent < 0.05:
        return "under", "0.1 %"
    if 99.95 <= percent < 100:
        return "over", "99.9 %"
    return "", f"{percent:.1f} %" if percent % 100 else f"{percent:.0f} %"


def unbroken(text: str) -> str:
    """`p = 0.41` and `38.39 %` kept on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[<=])|(?<=p [<=]) ", "\u00a0", text)


def markdown(text: str) -> str:
    """Any text as Markdown that shows it letter by letter, line breaks kept."""
    lines = (re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", line.strip()) for line in text.splitlines())
    return "  \n".join(re.sub(r"^([-+#=]|\d+(?=[.)](?:\s|$)))", _harmless, line) for line in lines)


def _harmless(opening: re.Match[str]) -> str:
    """What would open a list or a heading at the start of a line: the sign escaped, or the number's dot."""
    found = opening.group()
    return found + "\\" if found.isdigit() else "\\" + found


def short(commit: str) -> str:
    """The first characters of a commit, with its `+changes`."""
    revision, plus, changes = commit.partition("+")
    return revision[:10] + plus + changes


def annotated(annotators: Sequence[str]) -> Annotated:
    found = simulated_names(annotators)
    if not found:
        return "people"
    return "simulated" if len(found) == len(annotators) else "some"


def simulated_names(annotators: Sequence[str]) -> list[str]:
    return [name for name in annotators if is_simulated(name)]


def outcome(test: PairedTest) -> Outcome:
    if not test.shown:
        return "not shown"
    return "better" if test.gained > test.lost else "worse"


@dataclass(frozen=True)
class ExamResult:
    """What the exam says: the best fine-tuned checkpoint against the base, and DPO against SFT where there is DPO.

    The p-values are corrected over all of a run's contrasts, the choice of the best among them.

    Attributes:
        percent: right, by checkpoint.
        formless: of base and best the one with more answers that name no letter, and how many percent, where that may
            be much of the difference that is shown between them (FORMLESS); None: it is not.
        guess: letter and percent right of the best single guess, where no checkpoint is shown to do better; None: one
            is.
    """

    percent: dict[Checkpoint, float]
    best: Contrast
    last: Contrast | None
    formless: tuple[Checkpoint, float] | None
    guess: tuple[str, float] | None


def exam_result(overall: Row, contrasts: Sequence[Contrast]) -> ExamResult:
    """Of checkpoints that got equally many right, the earlier is called the best: it took less to make."""
    percent = {cell.checkpoint: cell.score.percent for cell in overall.cells}
    base, *tuned = [cell.checkpoint for cell in overall.cells]
    best = max(tuned, key=lambda checkpoint: percent[checkpoint])
    by_pair = {(contrast.before, contrast.after): contrast for contrast in contrasts}
    cells = {cell.checkpoint: cell for cell in overall.cells}
    without = {name: 100 * cells[name].failures / overall.questions for name in (base, best)}
    most = max(without, key=lambda name: without[name])
    is_formless = abs(without[base] - without[best]) >= FORMLESS and by_pair[base, best].overall.shown
    guess = max(CHANCE / 100, overall.letter_share)
    is_guess = all(cell.score.interval.low <= guess for cell in overall.cells)
    return ExamResult(
        percent,
        by_pair[base, best],
        by_pair.get(("sft", "dpo")),
        (most, without[most]) if is_formless else None,
        (overall.letter, 100 * overall.letter_share) if is_guess else None,
    )


def has_dpo(overall: Row) -> bool:
    return any(cell.checkpoint == "dpo" for cell in overall.cells)


def against_chance(heldout: Accuracy) -> Outcome:
    """Whether held-out preferences are agreed with more often than a coin would."""
    if not heldout.shown:
        return "not shown"
    return "better" if heldout.right > heldout.wrong else "worse"


def limits(overall: Row, is_simulated: bool, answers_shown: int, winrate: Winrate | None) -> list[Limit]:
    """Which limits a reader must know of, in order."""
    found: list[tuple[Limit, bool]] = [
        ("device", True),
        ("licence", True),
        ("accuracy", True),
        ("annotators", is_simulated),
        ("winrate", winrate is not None),
        ("small", half_width(overall) > SMALL),
        ("consults", answers_shown > 0),
        ("guessing", overall.cells[0].score.interval.low <= max(CHANCE / 100, overall.letter_share)),
    ]
    return [limit for limit, applies in found if applies]


def half_width(overall: Row) -> float:
    """Half the widest 95 % interval, in percentage points."""
    return max(cell.score.interval.high - cell.score.interval.low for cell in overall.cells) * 50


@dataclass(frozen=True)
class Trained:
    """Rows that a trainer took, those it saw at least once, and those it did not take."""

    took: int
    saw: int
    reasons: Sequence[Reason]


def trained(reasons: Sequence[Reason], of: int, epochs: float) -> Trained:
    took = of - sum(reason.count for reason in reasons)
    return Trained(took, seen(took, epochs), reasons)


def seen(rows: int, epochs: float) -> int:
    """How many of the rows a training saw at least once."""
    return min(rows, round(rows * epochs))


def extent(curve: Curve) -> tuple[float, float]:
    """Lowest and highest value. There are points."""
    return min(y for _, y in curve.points), max(y for _, y in curve.points)


def prepared(eda: Eda) -> list[tuple[What, int]]:
    """Training rows of each kind that there is."""
    return [(what, found.rows) for what in data.KINDS if (found := eda.of(what, "characters"))]


def lost(eda: Eda) -> list[tuple[What, int, int]]:
    """Rows dropped on the way, of how many, for each kind that lost any."""
    return [
        (what, dropped, data.entered(data.moves(eda.flow, what)))
        for what in data.KINDS
        if (dropped := sum(step.lost for step in data.steps(eda.flow, what)))
    ]


@dataclass(frozen=True)
class Flow:
    """What came of the rows of one kind. `made`: rows that a step made besides; `uses`: rows set aside, with their use;
    `vanished` went without a reason; `worst` is the reason that took the most, one of `reasons`.
    """

    came_in: int
    made: int
    left: int
    uses: tuple[tuple[int, str], ...]
    vanished: int
    dropped: int
    reasons: int
    worst: Move | None  # None: nothing was dropped

    @property
    def rows(self) -> int:
        """All that entered: what a share is of."""
        return self.came_in + self.made


def flow(steps: Sequence[FlowStep], what: What) -> Flow | None:
    """None: no such rows were used."""
    own = data.steps(steps, what)
    if not own:
        return None
    moves = data.moves(steps, what)
    reasons = [move for move in moves if move.kind == "dropped"]
    return Flow(
        came_in=own[0].before,
        made=data.entered(moves) - own[0].before,
        left=own[-1].after,
        uses=tuple((move.rows, move.reason) for move in moves if move.kind == "set aside"),
        vanished=sum(move.rows for move in moves if move.kind == "unexplained"),
        dropped=sum(step.lost for step in own),
        reasons=len(reasons),
        worst=max(reasons, key=lambda move: move.rows, default=None),
    )


def sign(move: Move) -> str:
    """Of a bar of the waterfall: whether its rows go or come."""
    return {"dropped": "−", "set aside": "−", "unexplained": "−", "added": "+"}.get(move.kind, "")


@dataclass(frozen=True)
class LabelShare:
    """What SFT's loss is taken of in one kind of row: its share of all label tokens (0-1), and label tokens a row."""

    what: What
    rows: int
    share: float
    mean: float


def label_shares(eda: Eda) -> tuple[LabelShare, LabelShare] | None:
    """Exam questions and consults. None: not both kinds are trained on, or nothing was counted."""
    found = []
    for what in data.KINDS:
        rows = sum(one.rows for one in eda.label_tokens if one.what == what)
        if rows:
            found.append(LabelShare(what, rows, eda.label_share(what), eda.labels(what) / rows))
    return (found[0], found[1]) if len(found) == 2 else None


@dataclass(frozen=True)
class OneLetter:
    """The source in which one letter is most often right; several letters where they are so equally often."""

    source: str
    letters: tuple[str, ...]
    share: float  # 0-1
    sources: int  # among how many it is the most


def one_letter(eda: Eda) -> OneLetter:
    """What guessing one letter would give on the training rows. There are exam questions among them."""
    found = {source: data.most_frequent(counts) for source, counts in eda.letters.items() if source != data.EXAM}
    source, (letters, most) = max(found.items(), key=lambda item: item[1][1])
    return OneLetter(source, tuple(letters.split(", ")), most, len(found))


def letter_lengths(eda: Eda) -> tuple[Lengths, Lengths] | None:
    """Lengths of the exam questions by right answer: those with the lowest and the highest median. None: there are not
    two right answers.
    """
    found = [
        one
        for one in eda.lengths
        if one.letter and (one.source, one.part, one.unit) == (data.EXAM, "row", "characters")
    ]
    if len(found) < 2:
        return None
    return min(found, key=lambda one: one.median), max(found, key=lambda one: one.median)


def beside_published(eda: Eda) -> list[tuple[Compared, str, str]]:
    """What can be compared, this run's number and the published report's: questions where the benchmark is that one,
    consults where there are any.
    """
    found: list[tuple[Compared, float, float]] = []
    if eda.published_benchmark:
        splits = data.PUBLISHED_QUESTIONS
        names: tuple[Compared, ...] = ("train", "dev", "test")
        found += [(split, eda.questions(split), splits[split]) for split in names]
        found.append(("questions", sum(map(eda.questions, splits)), sum(splits.values())))
    if consults := eda.all_consults():
        found.append(("consults", consults.rows, data.PUBLISHED_CONSULTS))
        ours = (consults.minimum, consults.median, consults.maximum)
        which: tuple[Compared, ...] = ("shortest", "median", "longest")
        found += zip(which, ours, data.PUBLISHED_CONSULT_CHARACTERS, strict=True)
    return [(name, number(own), number(theirs)) for name, own, theirs in found]


@dataclass(frozen=True)
class Resolution:
    """What difference so many questions could show, with as many that change sides.

    `least` is the smallest net change, in questions, before correction; the others are at the strictest level that
    Holm's correction may ask for. `detectable` is the smallest true difference, in points, that 80
    of 100 such exams would show; `needed` are the questions with which they would show the difference that was seen
    (None: nothing differed, or it would take more than 100,000).
    """

    changed: int
    least: int | None  # None: no outcome could have been shown, and the same of `detectable`
    questions: int
    detectable: float | None
    needed: int | None

    @property
    def points(self) -> float:
        """The least net change in percentage points; there is one."""
        return 100 * (self.least or 0) / self.questions


def resolution(test: PairedTest) -> Resolution:
    changed = test.gained + test.lost
    return Resolution(
        changed,
        smallest_shown(changed),
        test.questions,
        detectable(test, test.strictest),
        questions_needed(test, test.strictest),
    )


def differing(lengths: LabelLengths) -> int:
    """Preferences whose two answers are not of the same length."""
    return lengths.chosen_longer + lengths.rejected_longer
