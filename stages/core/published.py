"""Figures that others published, from published.yaml: what a table may show beside ours, each with its source."""

from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from stages.core.errors import KormedError
from stages.core.recipe import Subset
from stages.core.records import Checkpoint, Record, describe

PUBLISHED = Path(__file__).with_name("published.yaml")

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
