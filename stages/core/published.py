"""Figures that others published, from published.yaml: what a table may show beside ours, each with its source."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from stages.core.errors import KormedError
from stages.core.recipe import Subset
from stages.core.records import Checkpoint, Record, describe

PUBLISHED = Path(__file__).with_name("published.yaml")
BASE = "google/gemma-2-2b-it"  # of the report's run
# Of KorMedMCQA's test split, as counted in the benchmark's own files; the published figures are over all of them.
QUESTIONS: Mapping[str, int] = {"doctor": 435, "nurse": 878, "pharm": 885, "dentist": 811}

Percent = dict[Subset, float]


class PublishedRow(Record):
    """One model's accuracies, in percent as printed, and its changes against another row of the same model."""

    model: str = Field(pattern=r"\S")
    checkpoint: Checkpoint
    accuracies: Percent = Field(min_length=1)
    relative_to: Checkpoint | None = None  # None: the source prints no changes
    relative_changes: Percent = Field({})  # percent of `relative_to`'s accuracy, as printed

    @model_validator(mode="after")
    def _figures_hang_together(self) -> Self:
        if outside := [subset for subset, percent in self.accuracies.items() if not 0 <= percent <= 100]:
            raise ValueError(f"accuracies in percent, 0 to 100, were wanted; {' and '.join(outside)} is outside")
        if (self.relative_to is None) != (not self.relative_changes):
            raise ValueError("relative_to and relative_changes belong together; one of them is missing")
        return self


class PublishedSource(Record):
    """Where figures come from and, as far as the source says, what was asked how."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str = Field(pattern=r"\S")
    source: str = Field(pattern=r"\S")
    benchmark: str
    task_version: float | None  # of lm-eval's task; like the two below None where the source does not say
    fewshot: int | None = Field(ge=0)
    template: str | None
    run_by_us: Literal[False] = False  # what we ran stands in artifacts, never here
    rows: tuple[PublishedRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_are_told_apart(self) -> Self:
        names = [(row.model, row.checkpoint) for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows have the same model and checkpoint")
        for row in self.rows:
            if row.relative_to is not None and not self.has(row.model, row.relative_to, row.relative_changes):
                raise ValueError(f"{row.model} {row.checkpoint}: no {row.relative_to} row with those subsets")
        return self

    @property
    def unsaid(self) -> list[str]:
        """What its accuracies depend on and it does not say, in words."""
        facts = {"lm-eval's task version": self.task_version, "few-shot count": self.fewshot, "template": self.template}
        return [name for name, value in facts.items() if value is None]

    def text(self, percent: float) -> str:
        """With as many decimals as the source prints: all of its figures have the same number, ending zeros too."""
        figures = [figure for row in self.rows for figure in (*row.accuracies.values(), *row.relative_changes.values())]
        decimals = max(len(repr(figure).partition(".")[2]) for figure in figures)
        return f"{percent:.{decimals}f}"

    def has(self, model: str, checkpoint: Checkpoint, subsets: Percent) -> bool:
        return any(
            (row.model, row.checkpoint) == (model, checkpoint) and subsets.keys() <= row.accuracies.keys()
            for row in self.rows
        )


class _File(Record):
    sources: tuple[PublishedSource, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sources_are_told_apart(self) -> Self:
        if len({source.id for source in self.sources}) < len(self.sources):
            raise ValueError("two sources have the same id")
        return self


@cache
def read_published(path: Path = PUBLISHED) -> tuple[PublishedSource, ...]:
    """Every source with its figures, in the file's order.

    Raises:
        KormedError: the file is missing, is not UTF-8 YAML, or does not fit; names the file and every field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KormedError(f"{path}: published figures could not be read: {error}") from None
    except yaml.YAMLError as error:
        raise KormedError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return _File.model_validate(content).sources
    except ValidationError as error:
        raise KormedError(f"{path}: {describe(error)}") from None


# Beside a run of ours


@dataclass(frozen=True)
class Figure:
    """A source's accuracy of one checkpoint on one subset, in percent; `text` is that as printed there.

    `change`: relative to the source's own base, in percent as printed; None: the source prints none.
    """

    source: PublishedSource
    model: str
    percent: float
    text: str
    change: float | None


def beside(
    base: str, limit: int | None, questions: Mapping[str, int]
) -> dict[Checkpoint, dict[Subset, tuple[Figure, ...]]]:
    """The figures to print beside a run of the published recipe, by checkpoint and subset, in the sources' order.

    `base`, `limit`: as evaluate's settings.json has them. `questions`: how many the run's benchmark has in the test
    split of each of its subsets (`eda.benchmark[subset]["test"]`); only these subsets are returned. Nothing where the
    run is another: then `unlike` says why.
    """
    if unlike(base, limit, questions):
        return {}
    found: dict[Checkpoint, dict[Subset, tuple[Figure, ...]]] = {}
    for source in read_published():
        for row in source.rows:
            by_subset = found.setdefault(row.checkpoint, {})
            for subset, percent in row.accuracies.items():
                if subset in questions:
                    change = row.relative_changes.get(subset)
                    figure = Figure(source, row.model, percent, source.text(percent), change)
                    by_subset[subset] = (*by_subset.get(subset, ()), figure)
    return found


def unlike(base: str, limit: int | None, questions: Mapping[str, int]) -> list[str]:
    """Why the published figures are not of this run's model on this run's questions, in words; empty: they are.

    Arguments are those of `beside`.
    """
    found = other_benchmark(questions)
    if limit is not None:
        found.append(f"only the first {limit} questions of each subset were asked, the published figures are of all")
    if not is_published_base(base):
        found.append(f"the base is {base}, not {BASE}")
    return found


def other_benchmark(questions: Mapping[str, int]) -> list[str]:
    """Why a benchmark with so many test questions is not KorMedMCQA, in words; empty where the numbers are its own."""
    return [
        f"{subset} has {number:,} test questions there and "
        + (f"{QUESTIONS[subset]:,} in KorMedMCQA" if subset in QUESTIONS else "none in KorMedMCQA")
        for subset, number in questions.items()
        if number != QUESTIONS.get(subset)
    ]


def is_published_base(base: str) -> bool:
    """Whether a base is the report's by its name: on the hub, in the hub's cache, or a folder that is called so.

    Its weights are not looked at: that base is gated, so nobody has written down here what their fingerprint is.
    """
    organisation, model = BASE.split("/")
    cached = f"models--{organisation}--{model}"  # models--<organisation>--<model>/snapshots/<revision>
    return bool(re.fullmatch(rf"(.*/)?({re.escape(model)}|{re.escape(cached)}/snapshots/[^/]+)/?", base))
