"""Other lm-eval tasks beside KorMedMCQA, so that a loss elsewhere shows: found by name, run, and read into figures."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import KormedError


@dataclass(frozen=True)
class Figure:
    """One metric of one task, on lm-eval's scale (0-1 or 0-100). `stderr` is None where lm-eval gives none.

    `filter` is lm-eval's name of what was made of an answer before it was scored; `none` where it was taken as it came.
    """

    asked: str  # the name in evaluate.tasks, which may stand for several tasks
    task: str
    version: str
    fewshot: int | None  # None: the tasks of a group differ
    metric: str
    filter: str
    value: float
    stderr: float | None
    n: int | None  # items asked; None: a group, whose tasks are counted


@dataclass(frozen=True)
class Others:
    """lm-eval's TaskManager that has the tasks, and its settings of those that have a text generated, by task."""

    manager: Any
    generating: Mapping[str, Mapping[str, Any]]


def find(names: Sequence[str], folder: Path | None) -> Others:
    """Over lm-eval's own tasks and those in `folder`, with the tasks `names` loaded once, to be sure.

    Raises:
        KormedError: the folder or a task is not there, a task's data is not there, or it would run code that a model
            wrote.
    """
    from lm_eval.tasks import TaskManager

    if folder is not None and not folder.is_dir():
        raise KormedError(
            f"{folder}: no such folder (evaluate.task_folder); lm-eval task files (.yaml) were wanted in it"
        )
    manager = TaskManager(include_path=None if folder is None else str(folder))
    generating: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if name not in manager.all_tasks:
            raise KormedError(unknown(name, manager.all_tasks, folder))
        for own_name, task in load(manager, name).items():
            if getattr(task, "UNSAFE_CODE", False):
                raise KormedError(
                    f"{name}: runs code that the model writes, which kormed does not; take it out of evaluate.tasks"
                )
            if getattr(task, "OUTPUT_TYPE", None) == "generate_until":
                generating[own_name] = task.config.generation_kwargs or {}
    return Others(manager, generating)


def unknown(name: str, known: Sequence[str], folder: Path | None) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    meant = f"; did you mean {', '.join(near)}?" if near else ""
    place = (
        f", and no file in {folder} that can be read"
        if folder is not None
        else "; set evaluate.task_folder for tasks of your own"
    )
    return f"{name}: no task of lm-eval has this name (evaluate.tasks){place}{meant}"


def load(manager: Any, name: str) -> Mapping[str, Any]:
    """The tasks behind a name, their data read.

    Raises:
        KormedError: the data is not there, or the task's file does not fit.
    """
    from jinja2 import TemplateError

    try:
        tasks: Mapping[str, Any] = manager.load([name])["tasks"]
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError, TemplateError) as error:
        raise KormedError(
            f"{name}: lm-eval cannot load this task: {type(error).__name__}: {' '.join(str(error).split())[:300]}; "
            f"check its file and that its data set is on this machine (or HF_HUB_OFFLINE is not set)"
        ) from None
    return tasks


def figures(asked: str, results: Mapping[str, Any]) -> list[Figure]:
    """Every metric in what `lm_eval.simple_evaluate` returned; keys there are `metric,filter`."""
    found = []
    for task, metrics in results["results"].items():
        for key, value in metrics.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = metrics.get(f"{metric}_stderr,{filter_name}")
            found.append(
                Figure(
                    asked=asked,
                    task=task,
                    version=str(results["versions"].get(task, "")),
                    fewshot=results["n-shot"].get(task),
                    metric=metric,
                    filter=filter_name,
                    value=float(value),
                    stderr=float(stderr) if isinstance(stderr, int | float) else None,
                    n=results["n-samples"].get(task, {}).get("effective"),
                )
            )
    return found
