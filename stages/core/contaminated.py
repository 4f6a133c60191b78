"""The checkpoints on the test items that nothing in the data was like: prepare's hits and answers in, scores out.

An item counts as contaminated as soon as some training question or consult was like it, in words, in choices, or
because it holds it (stages/core/decontamination.py), whether that row was then dropped or kept. Of each row prepare
writes down the three items that it is most like.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.decontamination import Hit
from stages.core.findings import Evaluation
from stages.core.records import Checkpoint, read_jsonl
from stages.core.statistics import Score

Place = tuple[str, int]  # a test item: its subset, and its row there from 0, which is lm-eval's doc_id


@dataclass(frozen=True)
class Contaminated:
    """Test items that some row was like; `kept`: those of which such a row stayed in the data."""

    items: frozenset[Place]
    kept: frozenset[Place]


@dataclass(frozen=True)
class WithoutContaminated:
    """Right answers to the other items. `left_out` of those that were asked, `kept` as in Contaminated.

    `scores` is empty where no item is left.
    """

    left_out: int
    kept: int
    scores: dict[Checkpoint, Score]


def read_contaminated(hits: Path) -> Contaminated | None:
    """From prepare's hits.jsonl; None: prepare ran before hits were written down.

    Raises:
        KormedError: a line does not fit.
    """
    return find_contaminated(read_jsonl(hits, Hit)) if hits.exists() else None


def find_contaminated(hits: Sequence[Hit]) -> Contaminated:
    gone = {hit.row_id for hit in hits if hit.dropped}  # also for what it is like beside what it was dropped for
    like = [  # dev questions are compared too, and not trained on
        (hit.row_id, place)
        for hit in hits
        if hit.against == "benchmark" and hit.kept_because is None and (place := test_item(hit.hit_id)) is not None
    ]
    return Contaminated(
        frozenset(place for _, place in like), frozenset(place for row, place in like if row not in gone)
    )


def test_item(hit_id: str) -> Place | None:
    """Of `<benchmark>/<subset>/<split>/<row from 1>`; None: the item is of another split."""
    _, subset, split, row = hit_id.split("/")
    return (subset, int(row) - 1) if split == "test" else None


def without_contaminated(evaluations: Sequence[Evaluation], contaminated: Contaminated) -> WithoutContaminated:
    """Of checkpoints that answered the same items."""
    asked = {(answer.subset, answer.doc_id) for answer in evaluations[0].answers.values()}
    scores = {}
    for evaluation in evaluations:
        right = [
            answer.correct
            for answer in evaluation.answers.values()
            if (answer.subset, answer.doc_id) not in contaminated.items
        ]
        if right:
            scores[evaluation.checkpoint] = Score(sum(right), len(right))
    return WithoutContaminated(len(asked & contaminated.items), len(asked & contaminated.kept), scores)
