"""head_to_head: SFT's and DPO's answers to held-out consults in, blinded pairs of them for people to judge out.

Writes `comparisons.jsonl` (Comparison; the sides are drawn by seed) and `dropped.jsonl` (consults that make none, with
the reason). `winrate` makes DPO's win rate of what people say of them.
"""

import logging
import random
from collections.abc import Collection
from pathlib import Path

from stages.core.checkpoint_pairs import IDENTICAL, pair
from stages.core.errors import KormedError
from stages.core.recipe import HeadToHead
from stages.core.records import Comparison, Dropped, HeldoutAnswer, read_jsonl, write_jsonl

log = logging.getLogger("kormed")

Answers = dict[str, HeldoutAnswer]  # by consult id


def run(config: HeadToHead, out: Path, *, evaluate_sft: Path, evaluate_dpo: Path) -> dict[str, float]:
    sft, dpo = read_answers(evaluate_sft), read_answers(evaluate_dpo)
    both = [id for id in sft if id in dpo]
    require_the_same_consults(sft, dpo, both)
    wanted = drawn(both, config)
    pairs = [pair(sft[id], dpo[id], config.seed) for id in both if id in wanted]
    comparisons = [row for row in pairs if isinstance(row, Comparison)]
    dropped = [row for row in pairs if isinstance(row, Dropped)] + answered_once(sft, dpo)
    write_jsonl(out / "comparisons.jsonl", comparisons)
    write_jsonl(out / "dropped.jsonl", dropped)
    identical = sum(row.kind == IDENTICAL for row in dropped)
    log.info(
        "head_to_head: %d comparisons of %d consults; %d got the same answer twice, %d were answered by one only",
        len(comparisons),
        len(pairs),
        identical,
        len(dropped) - identical,
    )
    if not pairs:
        raise KormedError(
            f"head_to_head: {evaluate_sft} and {evaluate_dpo} answered no held-out consult in common; set "
            f"prepare.heldout_consults above 0, then evaluate both again"
        )
    if not comparisons:
        raise KormedError(
            f"head_to_head: SFT and DPO gave the same answer to every one of {len(pairs)} held-out consults, so "
            f"there is nothing to ask people; DPO has changed no greedy answer. More consults (head_to_head.limit, "
            f"evaluate.heldout_limit) may show a difference, or DPO needs more pairs, epochs or learning rate"
        )
    return {"comparisons": len(comparisons), "dropped": len(dropped), "identical": identical}


def read_answers(evaluate: Path) -> Answers:
    return {answer.consult_id: answer for answer in read_jsonl(evaluate / "heldout.jsonl", HeldoutAnswer)}


def require_the_same_consults(sft: Answers, dpo: Answers, both: Collection[str]) -> None:
    """Raises KormedError where one id stands for two questions: the evaluations are of different preparations."""
    for id in both:
        one, other = sft[id], dpo[id]
        if (one.question, one.patient_information) != (other.question, other.patient_information):
            raise KormedError(
                f"head_to_head: SFT and DPO were asked different questions as consult {id}; evaluate both again "
                f"(kormed evaluate RECIPE --force)"
            )


def drawn(ids: Collection[str], config: HeadToHead) -> set[str]:
    """As many as the recipe's limit, by seed; a larger limit keeps those of a smaller one."""
    shuffled = sorted(ids)
    random.Random(config.seed).shuffle(shuffled)
    return set(shuffled[: config.limit])


def answered_once(sft: Answers, dpo: Answers) -> list[Dropped]:
    return [
        Dropped(id=id, reason=f"only one checkpoint answered it: {name}", text=answers[id].question)
        for name, answers, other in (("sft", sft, dpo), ("dpo", dpo, sft))
        for id in answers
        if id not in other
    ]
