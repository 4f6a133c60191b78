"""Other benchmarks of a run's checkpoints beside each other, so that a loss elsewhere shows.

Their items are not paired here: lm-eval gives figures with standard errors, and that is what can be said of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import TypeAdapter, ValidationError

from stages.core.errors import KormedError
from stages.core.findings import Evaluation
from stages.core.other_tasks import Figure
from stages.core.records import Checkpoint, describe

About = tuple[str, str, int | None, str, str, int | None]  # task, version, few-shot count, metric, filter, items


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
    figures = {
        evaluation.checkpoint: {about(figure): figure for figure in read(evaluation)} for evaluation in evaluations
    }
    for before, after in pairwise(evaluations):
        require_same(before, after, figures[before.checkpoint], figures[after.checkpoint])
    return [
        Elsewhere(
            task=figure.task,
            version=figure.version,
            fewshot=figure.fewshot,
            items=figure.n,
            metric=figure.metric,
            filter=figure.filter,
            values={name: (found[asked].value, found[asked].stderr) for name, found in figures.items()},
        )
        for asked, figure in figures[evaluations[0].checkpoint].items()
    ]


def require_same(
    before: Evaluation, after: Evaluation, was: Mapping[About, Figure], now: Mapping[About, Figure]
) -> None:
    """
    Raises:
        KormedError: names the tasks that only one of them was asked, or that were put otherwise.
    """
    apart = was.keys() ^ now.keys()
    if not apart:
        return
    tasks, others = {figure.task for figure in was.values()}, {figure.task for figure in now.values()}
    differ = []
    for task in sorted({one.task for found in (was, now) for about, one in found.items() if about in apart}):
        if task in tasks and task in others:
            differ.append(f"{task} in another version, number of examples or items, or with other metrics")
        else:
            differ.append(f"{task} only for {(before if task in tasks else after).checkpoint}")
    raise KormedError(
        f"{after.folder}: its other tasks are not those of {before.folder}: {'; '.join(differ)}; {redo(after)} (or, if "
        f"that one is right, {before.checkpoint} instead)"
    )


def about(figure: Figure) -> About:
    """What must be alike for two checkpoints' figures to stand beside each other."""
    return (figure.task, figure.version, figure.fewshot, figure.metric, figure.filter, figure.n)


def read(evaluation: Evaluation) -> list[Figure]:
    """Empty where the recipe names no other task, or none was known when the checkpoint was evaluated.

    Raises:
        KormedError: the file does not fit; names it and the fields.
    """
    file = evaluation.folder / "other.json"
    if not file.exists():
        return []
    try:
        return TypeAdapter(list[Figure]).validate_json(file.read_bytes())
    except ValidationError as error:
        raise KormedError(f"{file}: no figures of other tasks: {describe(error)}; {redo(evaluation)}") from None


def redo(evaluation: Evaluation) -> str:
    return f"evaluate again with `kormed evaluate --checkpoint {evaluation.checkpoint} RECIPE --force`"
