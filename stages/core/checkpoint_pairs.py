"""Round two's pairs: SFT's and DPO's answers to the same held-out consult, blinded, and whose answer was preferred."""

from typing import Literal

from stages.core.pairing import blind
from stages.core.records import Candidate, Checkpoint, Choice, Comparison, Dropped, HeldoutAnswer

IDENTICAL = "both answers are the same"

Outcome = Literal["dpo", "sft", "tie", "both_bad"]


def pair(sft: HeldoutAnswer, dpo: HeldoutAnswer, seed: int) -> Comparison | Dropped:
    """The two answers, sides drawn by seed; the same words in the same order, however spaced, are no comparison.

    An empty answer is compared: leaving it out would hide the plainest failure a checkpoint can have.
    """
    if sft.text.split() == dpo.text.split():
        return Dropped(id=sft.consult_id, reason=IDENTICAL, text=sft.question)
    answers = candidate(sft, "sft"), candidate(dpo, "dpo")
    return blind(sft.consult_id, sft.question, sft.patient_information, answers, seed)


def candidate(answer: HeldoutAnswer, checkpoint: Checkpoint) -> Candidate:
    """Held-out answers are greedy, so there is no sampling to tell of and no seed that they hang on."""
    return Candidate(
        id=f"{answer.consult_id}/{checkpoint}",
        consult_id=answer.consult_id,
        text=answer.text,
        checkpoint=checkpoint,
        temperature=0.0,
        top_p=1.0,
        seed=0,
        tokens=None,
        finished=answer.finished,
    )


def outcome(comparison: Comparison, choice: Choice) -> Outcome:
    """Whose answer a choice of a side prefers."""
    if choice == "tie" or choice == "both_bad":
        return choice
    preferred = comparison.a if choice == "a" else comparison.b
    return "dpo" if preferred.checkpoint == "dpo" else "sft"
