"""Which two answers to a consult people compare: unusable ones marked, the most different pair, sides drawn by seed."""

import hashlib
import random
from collections.abc import Sequence

from stages.core.records import Candidate, Comparison, Consult, Dropped, Mark

REPEATING_CHARACTERS = 10  # length of the shingles whose repetition is counted
REPEATING_SHARE = 0.5  # normal Korean prose stays under 0.1


def shingles(text: str, characters: int) -> list[str]:
    folded = "".join(text.split())
    return [folded[at : at + characters] for at in range(len(folded) - characters + 1)]


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the 3-character shingles, 0 to 1; words would not do for Korean."""
    a, b = set(shingles(one, 3)), set(shingles(other, 3))
    if not a or not b:  # shorter than a shingle: the same or not
        return float("".join(one.split()) == "".join(other.split()))
    return len(a & b) / len(a | b)


def repetition(text: str) -> float:
    """Share of 10-character shingles that stood there before: seq-rep-n (arXiv 1908.04319) over characters."""
    all_of_them = shingles(text, REPEATING_CHARACTERS)
    return 1 - len(set(all_of_them)) / len(all_of_them) if all_of_them else 0.0


def mark(candidates: Sequence[Candidate], near_identical: float) -> list[Candidate]:
    """The candidates of one consult, each with what speaks against showing it."""
    marked: list[Candidate] = []
    for candidate in candidates:
        marks: list[Mark] = []
        if not candidate.text.strip():
            marks.append("empty")
        else:
            if not candidate.finished:
                marks.append("truncated")
            if repetition(candidate.text) > REPEATING_SHARE:
                marks.append("repeating")
            # only to one that is shown at least as readily: being like a hidden answer hides nothing
            if any(
                set(earlier.marks) <= set(marks) and similarity(candidate.text, earlier.text) >= near_identical
                for earlier in marked
            ):
                marks.append("near_identical")
        marked.append(candidate.model_copy(update={"marks": tuple(marks)}))
    return marked


def pair(
    consult: Consult, candidates: Sequence[Candidate], *, allow_truncated: bool, seed: int
) -> Comparison | Dropped:
    """The two most different usable candidates of a consult, or why there are no two."""
    tolerated = {"truncated"} if allow_truncated else set()
    usable = [candidate for candidate in candidates if not set(candidate.marks) - tolerated]
    if len(usable) < 2:
        marks = ", ".join(sorted({m for candidate in candidates for m in candidate.marks}))
        return Dropped(
            id=consult.id,
            reason=f"fewer than two usable answers ({marks})",
            text=consult.question,
        )
    pairs = [(one, other) for at, one in enumerate(usable) for other in usable[at + 1 :]]
    a, b = min(pairs, key=lambda both: similarity(both[0].text, both[1].text))
    return blind(consult.id, consult.question, consult.patient_information, (a, b), seed)


def blind(
    consult_id: str, question: str, patient_information: str, answers: tuple[Candidate, Candidate], seed: int
) -> Comparison:
    """Two answers to a consult as a comparison; which one is A is drawn by seed."""
    a, b = answers
    if random.Random(f"{seed}/{consult_id}").random() < 0.5:
        a, b = b, a
    return Comparison(
        id=comparison_id(consult_id, a.text, b.text),
        consult_id=consult_id,
        question=question,
        patient_information=patient_information,
        a=a,
        b=b,
    )


def swap(comparison: Comparison) -> Comparison:
    """The same comparison with its sides swapped, as a hidden repeat shows it. Swapped twice it is the first again."""
    return comparison.model_copy(
        update={
            "id": comparison_id(comparison.consult_id, comparison.b.text, comparison.a.text),
            "a": comparison.b,
            "b": comparison.a,
        }
    )


def comparison_id(consult_id: str, a: str, b: str) -> str:
    """The same consult with the same two texts on the same sides is the same comparison, whatever run made it."""
    return hashlib.sha256("\0".join((consult_id, a, b)).encode()).hexdigest()[:16]
