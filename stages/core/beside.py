"""What stands beside the headline: the same answers read in other ways, the letters written, and how sure a model is.

The headline is what lm-eval's task reads out of an answer. Where that finds no letter an answer counts as wrong, so a
model that learns the form of an answer gains without knowing more; the other readings show how much of it is that.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stages.core.findings import Evaluation
from stages.core.records import LETTERS, Answer, Checkpoint
from stages.core.statistics import Score, calibration_error

SHOWN = 3  # answers without a letter, of each checkpoint
CHARACTERS = 160  # of such an answer


@dataclass(frozen=True)
class Readings:
    """One checkpoint's answers, all subsets, read in three ways; None: not recorded when it was evaluated.

    `likeliest`: the letter with the highest log-probability as the first token, whatever was written. `calibration`:
    the expected calibration error (0-1) of its probability among the five letters. `letters`: how often each was
    written (as the task reads it) and how often each would have been right.
    """

    checkpoint: Checkpoint
    task: Score
    korean: Score
    likeliest: Score | None
    calibration: float | None
    without_letter: int
    without_letter_in_korean: int
    letters: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Unread:
    """An answer in which the task finds no letter; `read`: what a reading that knows Korean endings finds."""

    checkpoint: Checkpoint
    subset: str
    text: str
    read: str | None
    target: str


def readings(evaluations: Sequence[Evaluation]) -> list[Readings]:
    """Empty where a checkpoint was evaluated before answers were read in other ways."""
    if any(evaluation.settings.letters_as is None for evaluation in evaluations):
        return []
    return [read(evaluation.checkpoint, list(evaluation.answers.values())) for evaluation in evaluations]


def read(checkpoint: Checkpoint, answers: Sequence[Answer]) -> Readings:
    sure = [answer.confidence for answer in answers if answer.confidence is not None]
    likeliest = [answer.likeliest == answer.target for answer in answers if answer.confidence is not None]
    written, right = Counter(answer.extracted for answer in answers), Counter(answer.target for answer in answers)
    return Readings(
        checkpoint=checkpoint,
        task=Score(sum(answer.correct for answer in answers), len(answers)),
        korean=Score(sum(answer.read == answer.target for answer in answers), len(answers)),
        likeliest=Score(sum(likeliest), len(likeliest)) if likeliest else None,
        calibration=calibration_error(sure, likeliest) if likeliest else None,
        without_letter=sum(answer.extracted not in LETTERS for answer in answers),
        without_letter_in_korean=sum(answer.read is None for answer in answers),
        letters={letter: (written[letter], right[letter]) for letter in LETTERS},
    )


def unread(evaluations: Sequence[Evaluation]) -> list[Unread]:
    """The first answers of each checkpoint in which the task found no letter, shortened."""
    return [
        Unread(evaluation.checkpoint, answer.subset, shortened(answer.text), answer.read, answer.target)
        for evaluation in evaluations
        for answer in [a for a in evaluation.answers.values() if a.extracted not in LETTERS][:SHOWN]
    ]


def shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= CHARACTERS else flat[:CHARACTERS].rstrip() + " …"
