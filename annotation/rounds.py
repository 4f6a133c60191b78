"""Rounds: what is asked of whom. A round is one dataset in Argilla, the people who see it, and one file of responses.

label         the annotators of the recipe compare candidate answers; some comparisons come again, sides swapped
adjudication  adjudicators, in a workspace of their own, decide what the annotators left undecided
compare       the annotators compare SFT's and DPO's answers to held-out consults
"""

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from annotation.people import adjudication_workspace
from stages.core.errors import KormedError
from stages.core.pairing import swap
from stages.core.pipeline import RESPONSES, VERDICTS, Run
from stages.core.recipe import Annotation
from stages.core.records import Comparison, RoundName, read_jsonl


@dataclass(frozen=True)
class Round:
    """One dataset's worth of work.

    Attributes:
        comparisons: those that the dataset is named for; responses to others do not belong to the round.
        shown: those that become records: all of them and some swapped ones, or of an adjudication the undecided ones.
        responses_each: submitted responses with which a record is complete.
        said: for an adjudicator, by comparison id: what the annotators said.
    """

    name: RoundName
    workspace: str
    comparisons: tuple[Comparison, ...]
    shown: tuple[Comparison, ...]
    people: tuple[str, ...]
    responses_each: int
    file: Path
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """Another set of comparisons has another name, so that new candidates never disturb old responses."""
        ids = "\n".join(sorted(comparison.id for comparison in self.comparisons))
        kind = [self.name] if self.name == "compare" else []
        return "-".join([self.workspace, *kind, hashlib.sha256(ids.encode()).hexdigest()[:8]])

    @cached_property
    def originals(self) -> frozenset[str]:
        """Ids of the comparisons; what else is known is a repeat."""
        return frozenset(comparison.id for comparison in self.comparisons)

    @cached_property
    def known(self) -> frozenset[str]:
        """Ids of the comparisons and of their swapped repeats, whichever of these are shown."""
        return frozenset(one.id for comparison in self.comparisons for one in (comparison, swap(comparison)))

    @cached_property  # asked for each record of a push; anew each time would be quadratic
    def repeats(self) -> dict[str, str]:
        """Id of each swapped repeat that is shown -> id of the comparison that it repeats."""
        originals = {swap(comparison).id: comparison.id for comparison in self.comparisons}
        return {one.id: originals[one.id] for one in self.shown if one.id in originals}


def label(run: Run) -> Round:
    """Raises KormedError where the run has no comparisons yet."""
    workspace = workspace_of(run.recipe.name)
    comparisons = read_comparisons(run, "candidates")
    return label_round(workspace, comparisons, run.recipe.annotation, run.entered(RESPONSES))


def label_round(workspace: str, comparisons: Sequence[Comparison], config: Annotation, file: Path) -> Round:
    again = [swap(comparison) for comparison in repeated(comparisons, config)]
    return Round(
        "label",
        workspace,
        tuple(comparisons),
        (*comparisons, *again),
        config.annotators,
        config.responses_per_comparison,
        file,
    )


def repeated(comparisons: Sequence[Comparison], config: Annotation) -> list[Comparison]:
    """The share of the comparisons that the recipe wants repeated, drawn by seed; at least one where it wants any.

    A larger share keeps those of a smaller one, so that raising it only adds.
    """
    if not comparisons or config.repeats == 0:
        return []
    count = max(1, round(len(comparisons) * config.repeats))
    drawn = sorted(comparisons, key=lambda one: one.id)
    random.Random(config.seed).shuffle(drawn)
    return drawn[:count]


def adjudication(run: Run, undecided: Sequence[Comparison] = (), said: Mapping[str, str] | None = None) -> Round:
    """Raises KormedError where the run has no comparisons yet."""
    return Round(
        "adjudication",
        adjudication_workspace(workspace_of(run.recipe.name)),
        tuple(read_comparisons(run, "candidates")),
        tuple(undecided),
        run.recipe.annotation.adjudicators,
        1,
        run.entered(RESPONSES),
        said or {},
    )


def compare(run: Run) -> Round:
    """Raises KormedError where the run has no pairs of SFT's and DPO's answers yet."""
    comparisons = tuple(read_comparisons(run, "head_to_head"))
    config = run.recipe.annotation
    return Round(
        "compare",
        workspace_of(run.recipe.name),
        comparisons,
        comparisons,
        config.annotators,
        config.responses_per_comparison,
        run.entered(VERDICTS),
    )


ROUNDS = {"label": label, "adjudication": adjudication, "compare": compare}


def workspace_of(recipe: str) -> str:
    """One workspace a recipe. On a team's own server it may be called otherwise: that belongs to address and key."""
    other = os.environ.get("ARGILLA_WORKSPACE") if os.environ.get("ARGILLA_API_URL") else None
    return other or recipe


def read_comparisons(run: Run, stage: str) -> list[Comparison]:
    if run.manifest(stage) is None:
        raise KormedError(f"{run.path(stage)}: no comparisons yet; run `kormed {stage} RECIPE` first")
    return read_jsonl(run.path(stage) / "comparisons.jsonl", Comparison)
