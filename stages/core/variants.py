"""The exam in other forms than the headline's: evaluate's variants.jsonl of each checkpoint in, a report's rows out.

How much of a gain is knowing the form: what a checkpoint loses without examples, and what SFT gains where it is asked
in the words that it was trained in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from stages.core.errors import KormedError
from stages.core.findings import Evaluation, Facts, read_facts
from stages.core.records import LETTERS, Checkpoint, Variant, VariantAnswer, read_jsonl
from stages.core.statistics import PairedTest, Score, paired_tests

Place = tuple[str, str, int]  # subset, doc_hash, doc_id
Answers = dict[Place, VariantAnswer]


class Asked(Facts):
    """How a variant was put, in evaluate's settings.json."""

    task: str
    fewshot: int
    chat_template: bool
    prompts: dict[str, str]


class VariantSettings(Facts):
    variants: dict[Variant, Asked] = Field(default_factory=dict)  # none: evaluated before there were any


@dataclass(frozen=True)
class VariantCell:
    """One checkpoint in one form. `likeliest` None: a letter is no single token of the base's tokenizer."""

    checkpoint: Checkpoint
    score: Score
    likeliest: Score | None
    without_letter: int  # answers in which the task found no letter; counted as wrong


@dataclass(frozen=True)
class VariantContrast:
    """Two neighbouring checkpoints in one form, as the task reads their answers."""

    before: Checkpoint
    after: Checkpoint
    test: PairedTest


@dataclass(frozen=True)
class VariantRow:
    """One form: how it was put, every checkpoint in it, and neighbours compared (Holm's correction is over these)."""

    variant: Variant
    fewshot: int
    chat_template: bool
    cells: tuple[VariantCell, ...]
    contrasts: tuple[VariantContrast, ...]


def variant_rows(evaluations: Sequence[Evaluation]) -> list[VariantRow]:
    """A row a form, in the recipe's order; none where no checkpoint was asked in another form.

    Raises:
        KormedError: the checkpoints were not asked the same items in the same forms, or a file does not fit.
    """
    asked = [read_facts(evaluation.folder / "settings.json", VariantSettings).variants for evaluation in evaluations]
    answers = [read_answers(evaluation) for evaluation in evaluations]
    for (before, after), (was, now), (earlier, later) in zip(
        pairwise(evaluations), pairwise(asked), pairwise(answers), strict=True
    ):
        require_same(before, after, was, now, earlier, later)
    return [
        row(
            variant,
            how,
            {e.checkpoint: by_variant[variant] for e, by_variant in zip(evaluations, answers, strict=True)},
        )
        for variant, how in asked[0].items()
    ]


def read_answers(evaluation: Evaluation) -> dict[Variant, Answers]:
    """By form. Empty where the recipe names none, or none was known when the checkpoint was evaluated.

    Raises:
        KormedError: a line does not fit, or one item stands there twice.
    """
    file = evaluation.folder / "variants.jsonl"
    found: dict[Variant, Answers] = {}
    for answer in read_jsonl(file, VariantAnswer) if file.exists() else []:
        own = found.setdefault(answer.variant, {})
        place = (answer.subset, answer.doc_hash, answer.doc_id)
        if place in own:
            raise KormedError(
                f"{file}: question {answer.doc_id} of {answer.subset} stands there twice in form {answer.variant}; "
                f"{redo(evaluation)}"
            )
        own[place] = answer
    return found


def require_same(
    before: Evaluation,
    after: Evaluation,
    was: Mapping[Variant, Asked],
    now: Mapping[Variant, Asked],
    earlier: Mapping[Variant, Answers],
    later: Mapping[Variant, Answers],
) -> None:
    """
    Raises:
        KormedError: names what differs, and the command that evaluates again.
    """
    ways = f"{redo(after)} (or, if that one is right, {before.checkpoint} instead)"
    if list(was) != list(now):
        raise KormedError(
            f"{after.folder}: the exam was put in the forms {named(now)} there and {named(was)} in {before.folder}; "
            f"{ways}"
        )
    for variant in was:
        differ = [
            f"{name} is {getattr(was[variant], name)} for {before.checkpoint} and {getattr(now[variant], name)} for "
            f"{after.checkpoint}"
            for name in ("task", "fewshot", "chat_template")
            if getattr(was[variant], name) != getattr(now[variant], name)
        ]
        if was[variant].prompts != now[variant].prompts:
            differ.append("the prompts differ")
        if differ:
            raise KormedError(
                f"{after.folder}: form {variant} cannot be compared with {before.folder}: {'; '.join(differ)}; {ways}"
            )
        if variant not in earlier or variant not in later:
            folder = after.folder if variant not in later else before.folder
            raise KormedError(f"{folder}: variants.jsonl has no answers in form {variant}; {ways}")
        alone = sorted(earlier[variant].keys() ^ later[variant].keys())
        if alone:
            subset, _, doc_id = alone[0]
            raise KormedError(
                f"{after.folder}: in form {variant}, {len(alone)} questions do not pair with {before.folder} (first: "
                f"question {doc_id} of {subset}), so the checkpoints did not answer the same questions; {ways}"
            )


def row(variant: Variant, how: Asked, answers: Mapping[Checkpoint, Answers]) -> VariantRow:
    pairs = list(pairwise(answers))
    tests = paired_tests([changed(answers[before], answers[after]) for before, after in pairs])
    return VariantRow(
        variant,
        how.fewshot,
        how.chat_template,
        tuple(cell(checkpoint, list(own.values())) for checkpoint, own in answers.items()),
        tuple(VariantContrast(before, after, test) for (before, after), test in zip(pairs, tests, strict=True)),
    )


def cell(checkpoint: Checkpoint, answers: Sequence[VariantAnswer]) -> VariantCell:
    likeliest = [answer.likeliest == answer.target for answer in answers if answer.likeliest is not None]
    return VariantCell(
        checkpoint,
        Score(sum(answer.correct for answer in answers), len(answers)),
        Score(sum(likeliest), len(likeliest)) if likeliest else None,
        sum(answer.extracted not in LETTERS for answer in answers),
    )


def changed(before: Answers, after: Answers) -> tuple[int, int, int]:
    """Questions, gained and lost."""
    pairs = [(answer.correct, after[place].correct) for place, answer in before.items()]
    return len(pairs), pairs.count((False, True)), pairs.count((True, False))


def named(variants: Mapping[Variant, Asked]) -> str:
    return ", ".join(variants) or "none but the headline's"


def redo(evaluation: Evaluation) -> str:
    return f"evaluate again with `kormed evaluate --checkpoint {evaluation.checkpoint} RECIPE --force`"
