"""Other benchmarks of a run's checkpoints beside each other, so that a loss elsewhere shows.

Their items are not paired here: lm-eval gives figures with standard errors, and that is what can be said of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import KormedError
from stages.core.findings import Evaluation
from stages.core.other_tasks import Figure
from stages.core.records import Checkpoint


@dataclass(frozen=True)
class Elsewhere:
    """One metric of one task for every checkpoint, on lm-eval's scale; a `stderr` is None where lm-eval gives none."""

    task: str
    version: str
    fewshot: int | None  # None: the tasks of a group differ
    items: int | None  # None: a group, whose tasks are counted
    metric: str
    filter: str  # what was made of an answer before it was scored; `none`: it was taken as it came
    values: dict[Checkpoint, tuple[float, float | None]]


def elsewhere(evaluations: Sequence[Evaluation]) -> list[Elsewhere]:
    """In the order of the recipe; empty where it names no other task.

    Raises:
        KormedError: the checkpoints were not asked the same; says what differs and the way out.
    """
    figures = {evaluation.checkpoint: read(evaluation.folder) for evaluation in evaluations}
    asked = {checkpoint: [about(figure) for figure in found] for checkpoint, found in figures.items()}
    first, *others = evaluations
    for other in others:
        if asked[other.checkpoint] != asked[first.checkpoint]:
            differ = {
                figure.task for figure in figures[other.checkpoint] if about(figure) not in asked[first.checkpoint]
            }
            raise KormedError(
                f"{other.folder}: its other tasks are not those of {first.folder} "
                f"({', '.join(sorted(differ)) or 'some are missing'}: another version, number of examples or "
                f"of items); evaluate both again with --force"
            )
    return [
        Elsewhere(
            task=figure.task,
            version=figure.version,
            fewshot=figure.fewshot,
            items=figure.n,
            metric=figure.metric,
            filter=figure.filter,
            values={name: (found[at].value, found[at].stderr) for name, found in figures.items()},
        )
        for at, figure in enumerate(figures[first.checkpoint])
    ]


def about(figure: Figure) -> tuple[object, ...]:
    """What must be alike for two checkpoints' figures to stand beside each other."""
    return (figure.task, figure.version, figure.fewshot, figure.metric, figure.filter, figure.n)


def read(folder: Path) -> list[Figure]:
    file = folder / "other.json"
    if not file.exists():
        return []
    try:
        return [Figure(**row) for row in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise KormedError(f"{file}: no figures of other tasks ({error}); evaluate again with --force") from None
