"""candidates: SFT adapter and preference consults in, several answers each and one comparison a consult out.

Writes `candidates.jsonl` (Candidate, with marks), `comparisons.jsonl` (Comparison) and `dropped.jsonl` (Dropped:
consults without two usable answers). A stopped run keeps the answers that had ended.
"""

import logging
from collections import Counter
from pathlib import Path

from stages.core import chat
from stages.core.errors import KormedError
from stages.core.generation import generate
from stages.core.models import loaded
from stages.core.pairing import mark, pair
from stages.core.recipe import Candidates
from stages.core.records import (
    Candidate,
    Comparison,
    Consult,
    Dropped,
    append_jsonl,
    read_appended,
    read_jsonl,
    write_jsonl,
)

log = logging.getLogger("kormed")


def run(config: Candidates, out: Path, *, prepare: Path, sft: Path) -> dict[str, float]:
    consults = read_jsonl(prepare / "consults" / "preference.jsonl", Consult)[: config.limit]
    if not consults:
        raise KormedError(
            f"{prepare}: no consults to answer; set prepare.consults to a JSONL file (kormed prepare), "
            f"or go on with exam questions alone: sft, evaluate and report need no candidates"
        )
    answers = answer(config, out / "answers.jsonl", consults, sft)
    candidates, pairs = [], []
    for consult in consults:
        own = mark([answers[f"{consult.id}/{n}"] for n in range(config.per_consult)], config.near_identical)
        candidates += own
        pairs.append(pair(consult, own, allow_truncated=config.allow_truncated, seed=config.seed))
    comparisons = [row for row in pairs if isinstance(row, Comparison)]
    dropped = [row for row in pairs if isinstance(row, Dropped)]
    write_jsonl(out / "candidates.jsonl", candidates)
    write_jsonl(out / "comparisons.jsonl", comparisons)
    write_jsonl(out / "dropped.jsonl", dropped)
    (out / "answers.jsonl").unlink()
    marks = Counter(m for candidate in candidates for m in candidate.marks)
    for name, count in sorted(marks.items()):
        log.info("candidates: %d of %d answers marked %s", count, len(candidates), name)
    log.info("candidates: %d comparisons, %d consults without two usable answers", len(comparisons), len(dropped))
    counts: dict[str, float] = {"comparisons": len(comparisons), "candidates": len(candidates), "dropped": len(dropped)}
    return counts | {f"marked_{name}": count for name, count in sorted(marks.items())}


def answer(config: Candidates, file: Path, consults: list[Consult], sft: Path) -> dict[str, Candidate]:
    """All answers by candidate id; those that stand in `file` from a stopped run are kept, the rest generated."""
    ids = [(f"{consult.id}/{n}", consult) for consult in consults for n in range(config.per_consult)]
    found = {candidate.id: candidate for candidate in read_appended(file, Candidate)}
    if found:
        log.info("candidates: going on behind %d of %d answers", len(found), len(ids))
    prompts = [chat.consult_prompt(consult.question, consult.patient_information) for _, consult in ids]
    model = loaded(config.model)
    with model.checkpoint(sft) as checkpoint:
        for batch in generate(
            checkpoint,
            model.tokenizer,
            prompts,
            max_new_tokens=config.max_new_tokens,
            sampling=config.sampling,
            batch_size=config.batch_size,
            seed=config.seed,
            done=frozenset(index for index, (id, _) in enumerate(ids) if id in found),
        ):
            new = [
                Candidate(
                    id=ids[answer.index][0],
                    consult_id=ids[answer.index][1].id,
                    text=answer.text,
                    checkpoint="sft",
                    temperature=config.sampling.temperature,
                    top_p=config.sampling.top_p,
                    seed=config.seed,
                    tokens=answer.tokens,
                    finished=answer.finished,
                )
                for answer in batch
            ]
            append_jsonl(file, new)
            found |= {candidate.id: candidate for candidate in new}
    return found
