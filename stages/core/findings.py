"""What a run's artifacts say, as values that both formats of the report print. Reads; writes nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from stages.core.agreement import Agreement
from stages.core.artifacts import Manifest, read_manifest
from stages.core.eda import Eda
from stages.core.errors import KormedError
from stages.core.recipe import subsets
from stages.core.records import (
    LETTERS,
    Answer,
    Candidate,
    Checkpoint,
    Comparison,
    Dropped,
    HeldoutAnswer,
    Preference,
    describe,
    read_jsonl,
    read_rows,
)
from stages.core.statistics import LEVEL, PairedTest, Score, majority, paired_tests, relative_change

ALL = "all"
SAME = (
    "task",
    "task_version",
    "fewshot",
    "chat_template",
    "fewshot_as_multiturn",
    "limit",
    "max_gen_toks",
    "base",
    "base_fingerprint",
)
NUMERIC = ("dtype", "quantization", "lm_eval")  # may differ, and is said then: it can move single answers

Key = tuple[str, str, int]  # subset, doc_hash, doc_id


class Facts(BaseModel):
    """A JSON file that another stage wrote; keys that the report does not show are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Settings(Facts):
    """evaluate's settings.json: how the questions were put."""

    task: str
    task_version: float
    fewshot: int
    chat_template: bool
    fewshot_as_multiturn: bool
    limit: int | None
    max_gen_toks: int | None  # None: the task's own
    base: str
    base_fingerprint: str | None = None  # None: not recorded
    dtype: str
    quantization: str
    lm_eval: str
    letters_as: tuple[str, ...] | None = None  # None: answers were read in one way only
    prompts: dict[str, str] | None = None  # SHA-256 of what was asked, by subset; None: not recorded


class LabelLengths(Facts):
    """In how many preferences the chosen answer is the longer one; `p` None: none differ in length."""

    chosen_longer: int
    rejected_longer: int
    equal: int
    p: float | None
    warning: str | None  # what leans, and what to do; None: nothing to warn of


class Labels(Facts):
    """preferences' labels.json: what annotators entered and what became of it."""

    responses: dict[str, int]
    values: dict[str, int]
    annotators: dict[str, dict[str, int]]
    comparisons: int
    labelled: int
    kept: int
    dropped: dict[str, int]
    agreement: float | None  # None: no comparison was judged twice
    adjudicated: int  # preferences that an adjudicator decided
    lengths: LabelLengths
    unsafe: int  # comparisons of which somebody marked an answer as unsafe


class Winrate(Facts):
    """winrate's winrate.json: what people said of SFT's and DPO's answers to held-out consults."""

    comparisons: int
    identical: int  # consults where both gave the same answer, which was not shown
    judged: int
    undecided: int
    unjudged: int
    dpo: int
    sft: int
    tie: int
    both_bad: int
    win_rate: float  # of DPO, 0-1; a tie and two bad answers count half
    low: float
    high: float
    p: float  # exact sign test of the comparisons with a winner
    annotators: tuple[str, ...]
    responses: int

    @property
    def shown(self) -> bool:
        """Whether one of both is preferred: the interval keeps off one half, and the exact test says so too."""
        return not self.low <= 0.5 <= self.high and self.p < LEVEL


class Proof(Facts):
    """dpo's proof.json: what was seen before the first update."""

    weights_equal: bool
    loss: float
    expected_loss: float
    largest_margin: float


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint on the benchmark, and its answers to held-out consults."""

    checkpoint: Checkpoint
    folder: Path
    settings: Settings
    answers: dict[Key, Answer]
    heldout: dict[str, HeldoutAnswer]  # by consult id
    device: str


@dataclass(frozen=True)
class Cell:
    """One checkpoint on one row of the table; `change` is relative to the base, in percent; None: undefined."""

    checkpoint: Checkpoint
    score: Score
    failures: int  # answers in which no letter was found; counted as wrong
    change: float | None


@dataclass(frozen=True)
class Row:
    """One subset, or all of them; `letter` answered always would be right in `letter_share` (0-1)."""

    name: str
    questions: int
    cells: tuple[Cell, ...]
    letter: str
    letter_share: float


@dataclass(frozen=True)
class Contrast:
    """Two checkpoints compared: over all questions, and by subset."""

    before: Checkpoint
    after: Checkpoint
    overall: PairedTest
    by_subset: dict[str, PairedTest]


@dataclass(frozen=True)
class Uneven:
    """A setting or a device that is not the same for all checkpoints."""

    name: str
    values: dict[Checkpoint, str]


@dataclass(frozen=True)
class Reason:
    """Rows dropped for one reason, and a few of them."""

    reason: str
    count: int
    examples: tuple[Dropped, ...]


@dataclass(frozen=True)
class Generated:
    """What the candidates stage made."""

    candidates: int
    finished: int
    consults: int
    comparisons: int
    reasons: list[Reason]


@dataclass(frozen=True)
class SideBySide:
    """One held-out consult with each fine-tuned checkpoint's answer; SFT's holds the question and the reference."""

    sft: HeldoutAnswer
    dpo: HeldoutAnswer | None


F = TypeVar("F", bound=BaseModel)


def read_facts(path: Path, kind: type[F]) -> F:
    """A JSON file as `kind`.

    Raises:
        KormedError: the file is missing or does not fit; names file and field.
    """
    try:
        return kind.model_validate(_json(path))
    except ValidationError as error:
        raise KormedError(f"{path}: {describe(error)}") from None


def read_eda(path: Path) -> Eda:
    """prepare's eda.json."""
    return read_facts(path, Eda)


def read_agreement(path: Path) -> Agreement:
    """agreement's agreement.json.

    Raises:
        KormedError: the file is missing or does not fit; names file and field.
    """
    try:
        return TypeAdapter(Agreement).validate_python(_json(path))
    except ValidationError as error:
        raise KormedError(f"{path}: {describe(error)}") from None


def read_log(path: Path) -> list[dict[str, object]]:
    """A trainer's log history, one row a logging step; the last one may be a summary."""
    return [row for _, row in read_rows(path)]


def epochs(path: Path) -> float:
    """How often the trainer went over its rows, from its log."""
    logged = [row["epoch"] for row in read_log(path) if isinstance(row.get("epoch"), int | float)]
    return max((float(str(value)) for value in logged), default=0.0)


def manifest_of(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise KormedError(f"{folder}: not complete (no manifest.json); make it first with `kormed {_command(folder)}`")
    return manifest


def read_evaluation(checkpoint: Checkpoint, folder: Path) -> Evaluation:
    """
    Raises:
        KormedError: a file is missing or malformed, nothing was answered, or one item stands there twice.
    """
    answers: dict[Key, Answer] = {}
    for answer in read_jsonl(folder / "answers.jsonl", Answer):
        key = (answer.subset, answer.doc_hash, answer.doc_id)
        if key in answers:
            raise KormedError(
                f"{folder}: question {answer.doc_id} of {answer.subset} stands there twice; {_redo(folder)}"
            )
        answers[key] = answer
    if not answers:
        raise KormedError(f"{folder}: no question was answered; {_redo(folder)}")
    heldout = folder / "heldout.jsonl"  # the base is not asked, and exam questions alone leave nothing to ask
    told = read_jsonl(heldout, HeldoutAnswer) if heldout.exists() else []
    return Evaluation(
        checkpoint,
        folder,
        read_facts(folder / "settings.json", Settings),
        answers,
        {row.consult_id: row for row in told},
        manifest_of(folder).device,
    )


def require_pairs(evaluations: Sequence[Evaluation]) -> None:
    """Every checkpoint was asked the same questions in the same way.

    Raises:
        KormedError: names what differs, and the command that evaluates again.
    """
    for before, after in pairwise(evaluations):
        ways = f"{_redo(after.folder)} (or, if that one is right, {before.checkpoint} instead)"
        was, now = before.settings, after.settings
        differ = [
            f"{name} is {getattr(was, name)} for {before.checkpoint} and {getattr(now, name)} for {after.checkpoint}"
            for name in SAME
            if getattr(was, name) != getattr(now, name)
        ]
        if differ:
            raise KormedError(f"{after.folder}: cannot be compared with {before.folder}: {'; '.join(differ)}; {ways}")
        if lacking := sorted(set(_subsets(before)) ^ set(_subsets(after))):
            raise KormedError(
                f"{after.folder}: cannot be compared with {before.folder}: only one of them has {', '.join(lacking)} "
                f"({before.checkpoint} has {', '.join(_subsets(before))}); {ways}"
            )
        if other := _otherwise_put(before, after):
            raise KormedError(
                f"{after.folder}: cannot be compared with {before.folder}: what was put to them differs in "
                f"{', '.join(other)} (few-shot examples, their order, or the template's text); {ways}"
            )
        alone = sorted(before.answers.keys() ^ after.answers.keys())
        if alone:
            subset, _, doc_id = alone[0]
            raise KormedError(
                f"{after.folder}: {len(alone)} questions do not pair with {before.folder} (first: question {doc_id} of "
                f"{subset}), so the checkpoints did not answer the same questions; {ways}"
            )
        for key, answer in after.answers.items():
            if answer.target != before.answers[key].target:
                raise KormedError(
                    f"{after.folder}: the right answer to question {answer.doc_id} of {answer.subset} is "
                    f"{answer.target} there and {before.answers[key].target} in {before.folder}; {ways}"
                )


def _otherwise_put(before: Evaluation, after: Evaluation) -> list[str]:
    """Subsets whose prompts differ, as far as both evaluations recorded them."""
    was, now = before.settings.prompts, after.settings.prompts
    if was is None or now is None:
        return []
    return [subset for subset in _subsets(before) if was.get(subset) != now.get(subset)]


def rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """The table: one row a subset and one for all; the first evaluation is the base of every relative change."""
    return [_row(name, evaluations) for name in (*_subsets(evaluations[0]), ALL)]


def _row(name: str, evaluations: Sequence[Evaluation]) -> Row:
    cells: list[Cell] = []
    for evaluation in evaluations:
        answers = [answer for answer in evaluation.answers.values() if name in (ALL, answer.subset)]
        score = Score(sum(answer.correct for answer in answers), len(answers))
        change = relative_change(cells[0].score.percent if cells else score.percent, score.percent)
        failures = sum(answer.extracted not in LETTERS for answer in answers)
        cells.append(Cell(evaluation.checkpoint, score, failures, change))
    letter, share = majority([a.target for a in evaluations[0].answers.values() if name in (ALL, a.subset)])
    return Row(name, cells[0].score.questions, tuple(cells), letter, share)


def contrasts(evaluations: Sequence[Evaluation]) -> list[Contrast]:
    """Base to SFT, SFT to DPO, base to DPO. Holm's correction is over the subsets of a contrast; for the tests over
    all questions it is over the contrasts.
    """
    pairs = [*pairwise(evaluations), *([(evaluations[0], evaluations[-1])] if len(evaluations) > 2 else [])]
    overall = paired_tests([_changed(before, after, ALL) for before, after in pairs])
    return [
        Contrast(before.checkpoint, after.checkpoint, test, _by_subset(before, after))
        for (before, after), test in zip(pairs, overall, strict=True)
    ]


def _by_subset(before: Evaluation, after: Evaluation) -> dict[str, PairedTest]:
    names = _subsets(before)
    return dict(zip(names, paired_tests([_changed(before, after, name) for name in names]), strict=True))


def _changed(before: Evaluation, after: Evaluation, name: str) -> tuple[int, int, int]:
    """Questions, gained and lost."""
    pairs = [(a.correct, after.answers[key].correct) for key, a in before.answers.items() if name in (ALL, a.subset)]
    return len(pairs), pairs.count((False, True)), pairs.count((True, False))


def _subsets(evaluation: Evaluation) -> list[str]:
    """In the recipe's order, whatever order the file has."""
    order = subsets()
    asked = {answer.subset for answer in evaluation.answers.values()}
    return sorted(asked, key=lambda name: (order.index(name) if name in order else len(order), name))


def uneven(evaluations: Sequence[Evaluation]) -> list[Uneven]:
    """What is not the same for all checkpoints and may move single answers."""
    found = [
        Uneven(name.replace("lm_eval", "lm-eval"), {e.checkpoint: str(getattr(e.settings, name)) for e in evaluations})
        for name in NUMERIC
    ]
    found.append(Uneven("device", {e.checkpoint: e.device for e in evaluations}))
    return [one for one in found if len(set(one.values.values())) > 1]


def reasons(path: Path, examples: int) -> list[Reason]:
    """The dropped rows of a stage by reason, the most frequent first, with the first few of each."""
    by_reason: dict[str, list[Dropped]] = {}
    for row in read_jsonl(path, Dropped):
        by_reason.setdefault(row.reason, []).append(row)
    found = [Reason(reason, len(all_rows), tuple(all_rows[:examples])) for reason, all_rows in by_reason.items()]
    return sorted(found, key=lambda reason: -reason.count)


def total(reasons: Sequence[Reason]) -> int:
    return sum(reason.count for reason in reasons)


def read_generated(folder: Path) -> Generated:
    candidates = read_jsonl(folder / "candidates.jsonl", Candidate)
    return Generated(
        candidates=len(candidates),
        finished=sum(candidate.finished for candidate in candidates),
        consults=len({candidate.consult_id for candidate in candidates}),
        comparisons=len(read_jsonl(folder / "comparisons.jsonl", Comparison)),
        reasons=reasons(folder / "dropped.jsonl", examples=0),
    )


def count_preferences(folder: Path) -> tuple[int, int]:
    """Pairs to train on, and pairs held out."""
    train, heldout = (len(read_jsonl(folder / f"{part}.jsonl", Preference)) for part in ("train", "heldout"))
    return train, heldout


def library_sets(manifests: Sequence[Manifest]) -> list[tuple[str, str]]:
    """Stages that were made with the same library versions, and these versions."""
    stages: dict[str, list[str]] = {}
    for manifest in manifests:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items()))
        stages.setdefault(versions or "no library recorded", []).append(manifest.stage)
    return [(", ".join(names), versions) for versions, names in stages.items()]


def side_by_side(sft: Evaluation, dpo: Evaluation | None, limit: int) -> list[SideBySide]:
    """The first `limit` held-out consults that every fine-tuned checkpoint answered."""
    shared = [
        SideBySide(answer, dpo.heldout[key] if dpo else None)
        for key, answer in sft.heldout.items()
        if dpo is None or key in dpo.heldout
    ]
    return shared[:limit]


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KormedError(f"{path}: no such file") from None
    except ValueError as error:
        raise KormedError(f"{path}: not JSON ({error})") from None


def _redo(folder: Path) -> str:
    return f"evaluate again with `kormed {_command(folder)} --force`"


def _command(folder: Path) -> str:
    if folder.parent.name == "evaluate":
        return f"evaluate --checkpoint {folder.name} RECIPE"
    return f"{folder.name} RECIPE"
