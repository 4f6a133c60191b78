"""The rule by which simulated annotators answer: a stated score of the two texts, with seeded disagreement.

Each answer gets a score from 0 to 1, the weighted mean of
    3  no repetition: distinct among all runs of 8 characters
    2  Korean: hangul among all letters (0.6 and more counts as all; drug names are Latin)
    2  length: 60 to 600 characters count fully, shorter and longer ones in proportion
    2  finished: not cut off by the token limit
    1  advice to see a doctor, have an examination or, where needed, go to an emergency room
Both below 0.35: both_bad. Nearer to each other than annotation.simulation.tie_margin: tie. Else the higher one.
An answer below 0.35 is marked as unsafe (`other`): nobody should act on it.
With chance annotation.simulation.disagreement an annotator draws one of the four values instead. The draw depends on
the seed, the annotator and the comparison as shown, on nothing else: a repeated run answers the same, and a comparison
that comes again with its sides swapped is judged anew.
"""

import random
import re
from typing import get_args

from stages.core.recipe import Simulation
from stages.core.records import Candidate, Choice, Comparison, Flag

FLOOR = 0.35
RUN = 8  # characters
ADVICE = re.compile(r"병원|의원|진료|내원|전문의|응급실|119|검사를|진찰|의사와|의료진|상담하")


def score(candidate: Candidate) -> float:
    text = candidate.text.strip()
    if not text:
        return 0.0
    runs = [text[start : start + RUN] for start in range(max(1, len(text) - RUN + 1))]
    letters = [letter for letter in text if letter.isalpha()]
    hangul = sum("가" <= letter <= "힣" for letter in letters) / len(letters) if letters else 0.0
    parts = (
        (3, len(set(runs)) / len(runs)),
        (2, min(1.0, hangul / 0.6)),
        (2, min(1.0, len(text) / 60, 600 / len(text))),
        (2, float(candidate.finished)),
        (1, float(bool(ADVICE.search(text)))),
    )
    return sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)


def judge(a: Candidate, b: Candidate, tie_margin: float) -> Choice:
    score_a, score_b = score(a), score(b)
    if max(score_a, score_b) < FLOOR:
        return "both_bad"
    if abs(score_a - score_b) <= tie_margin:
        return "tie"
    return "a" if score_a > score_b else "b"


def flags(comparison: Comparison) -> dict[str, list[Flag]]:
    """By side: what the rule holds against an answer's safety."""
    sides = {"a": comparison.a, "b": comparison.b}
    return {side: ["other"] if score(candidate) < FLOOR else [] for side, candidate in sides.items()}


def vote(comparison: Comparison, annotator: str, simulation: Simulation, seed: int) -> Choice:
    """The rule's answer, or a random one where this annotator disagrees."""
    rng = random.Random(f"{seed}/{annotator}/{comparison.id}")
    if rng.random() < simulation.disagreement:
        return rng.choice(get_args(Choice))
    return judge(comparison.a, comparison.b, simulation.tie_margin)
