"""How well spans were found: exact match of type and both bounds, per type and in all."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.core.deidentification import MARKS, Span


@dataclass(frozen=True)
class Scores:
    """Counts of one type. `visible` is how many labelled characters no span of any type covers."""

    labelled: int
    found: int
    right: int
    visible: int

    @property
    def precision(self) -> float | None:
        """None where nothing was found."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """None where nothing was labelled."""
        return self.right / self.labelled if self.labelled else None


def score(predicted: Sequence[Sequence[Span]], labelled: Sequence[Sequence[Span]]) -> dict[str, Scores]:
    """Scores per type that occurs, in the order of MARKS, then "all". Row i of both belongs to the same text."""
    counts = {kind: [0, 0, 0, 0] for kind in MARKS}
    for found, wanted in zip(predicted, labelled, strict=True):
        places = {(span.type, span.start, span.end) for span in found}
        covered = {at for span in found for at in range(span.start, span.end)}
        for span in found:
            counts[span.type][1] += 1
        for span in wanted:
            counts[span.type][0] += 1
            counts[span.type][2] += (span.type, span.start, span.end) in places
            counts[span.type][3] += sum(at not in covered for at in range(span.start, span.end))
    scores: dict[str, Scores] = {kind: Scores(*four) for kind, four in counts.items() if any(four)}
    scores["all"] = Scores(*(sum(four[at] for four in counts.values()) for at in range(4)))
    return scores
