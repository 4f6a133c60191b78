"""prepare: KorMedMCQA and consults in, instruction rows, consult parts and a local benchmark out.

Writes `train.jsonl` (Example), `consults/preference.jsonl` and `consults/heldout.jsonl` (Consult), `dropped.jsonl`
(Dropped), `lengths.json` (characters of prompt and answer by source), and `benchmark/` in the hub's layout, from which
`evaluate` asks the very items that were decontaminated against.
"""

import hashlib
import logging
import random
import statistics
from collections import Counter
from pathlib import Path

from stages.core import chat
from stages.core.artifacts import write_json
from stages.core.decontamination import Stem, contaminated, repeated
from stages.core.errors import KormedError
from stages.core.kormedmcqa import Questions, read_benchmark, write_mirror
from stages.core.recipe import Prepare
from stages.core.records import Consult, Dropped, Example, ExamQuestion, Part, read_rows, write_jsonl

log = logging.getLogger("kormed")

FIELDS = {"question", "instruction", "answer"}


def run(config: Prepare, out: Path) -> dict[str, float]:
    questions = read_benchmark(config.benchmark, config.benchmark_revision, config.subsets)
    consults = read_consults(config.consults) if config.consults else []
    exam = {
        f"kormedmcqa/{subset}/train/{row}": question
        for subset, splits in questions.items()
        for row, question in enumerate(splits["train"], start=1)
    }
    total = len(exam) + len(consults)
    dropped = drop(exam, consults, questions, config)
    gone = {row.id for row in dropped}
    consults = [consult for consult in consults if consult.id not in gone]
    parts = split(consults, config)
    train = [
        chat.exam_example(id, question, source=id.rpartition("/train/")[0])
        for id, question in exam.items()
        if id not in gone
    ]
    train += [chat.consult_example(consult) for consult in parts["sft"]]

    (out / "consults").mkdir(exist_ok=True)
    write_mirror(questions, out / "benchmark")
    write_jsonl(out / "train.jsonl", train)
    write_jsonl(out / "consults" / "preference.jsonl", parts["preference"])
    write_jsonl(out / "consults" / "heldout.jsonl", parts["heldout"])
    write_jsonl(out / "dropped.jsonl", dropped)
    write_json(out / "lengths.json", lengths(train))
    for reason, count in Counter(row.reason for row in dropped).items():
        log.info("prepare: dropped %d of %d: %s", count, total, reason)
    counts: dict[str, float] = {"rows": len(train), "dropped": len(dropped)}
    return counts | {f"consults_{part}": len(rows) for part, rows in parts.items()}


def read_consults(path: Path) -> list[Consult]:
    """Consults in the report's form, `{"question", "instruction", "answer"}`, with an optional `id`.

    Raises:
        KormedError: no such file, a line that does not fit, an id twice, or nothing in it.
    """
    if not path.exists():
        raise KormedError(
            f"{path}: no consults yet; put JSONL rows {{question, instruction, answer}} there, "
            f"name another file (prepare.consults), or set prepare.consults=null to train on exam questions alone"
        )
    consults: dict[str, Consult] = {}
    for line, row in read_rows(path):
        consult = _consult(f"{path}:{line}", row)
        if consult.id in consults and row.get("id") in (None, ""):  # the same row again: dropped later, with its reason
            consult = consult.model_copy(update={"id": f"{consult.id}-{line}"})
        if consult.id in consults:
            raise KormedError(f"{path}:{line}: id {consult.id!r} stands there twice; ids must be unique")
        consults[consult.id] = consult
    if not consults:
        raise KormedError(f"{path}: no rows in it; set prepare.consults=null to train on exam questions alone")
    return list(consults.values())


def _consult(place: str, row: dict[str, object]) -> Consult:
    for field in sorted(FIELDS):
        value = row.get(field)
        if not isinstance(value, str) or not value.strip():
            found = "nothing" if field not in row else repr(value)[:60]
            raise KormedError(f"{place}: field {field!r}: text was wanted, found {found}")
    question, instruction, answer = (str(row[field]).strip() for field in ("question", "instruction", "answer"))
    if not instruction.startswith(chat.CONSULT_INSTRUCTION):
        raise KormedError(
            f"{place}: field 'instruction': wanted {chat.CONSULT_INSTRUCTION!r}, a blank line and the patient "
            f"information, found {instruction[:60]!r}"
        )
    for field, text in (("question", question), ("instruction", instruction), ("answer", answer)):
        if token := next((token for token in chat.CONTROL_TOKENS if token in text), None):
            raise KormedError(f"{place}: field {field!r}: {token} is a control token of Gemma's; take it out")
    id = row.get("id")
    if id is not None and not isinstance(id, str | int):
        raise KormedError(f"{place}: field 'id': text or a number was wanted, found {id!r}")
    digest = hashlib.sha256("\0".join((question, instruction, answer)).encode()).hexdigest()
    return Consult(
        id=f"consult-{digest[:12]}" if id in (None, "") else str(id),
        question=question,
        patient_information=instruction.removeprefix(chat.CONSULT_INSTRUCTION).strip(),
        answer=answer,
        source="consult",
    )


def drop(
    exam: dict[str, ExamQuestion], consults: list[Consult], questions: Questions, config: Prepare
) -> list[Dropped]:
    """Rows that stand in test or few-shot items, then rows that repeat an earlier one."""
    rows = [Stem.of(id, question) for id, question in exam.items()]
    rows += [Stem(consult.id, consult.question, (consult.patient_information,)) for consult in consults]
    hits: list[Dropped] = []
    if config.decontaminate != "off":
        protected = [
            Stem.of(f"kormedmcqa/{subset}/{split}/{row}", question)
            for subset, splits in questions.items()
            for split in ("test", "fewshot")
            for row, question in enumerate(splits[split], start=1)
        ]
        hits = contaminated(rows, protected, config.decontaminate)
    gone = {hit.id for hit in hits}
    return hits + repeated(row for row in rows if row.id not in gone)


def split(consults: list[Consult], config: Prepare) -> dict[Part, list[Consult]]:
    """Held-out consults stand nowhere else; preference prompts may be SFT rows too where the recipe says so.

    Raises:
        KormedError: too few consults for every part to get one.
    """
    if not consults:
        return {"sft": [], "preference": [], "heldout": []}
    shuffled = sorted(consults, key=lambda consult: consult.id)
    random.Random(config.seed).shuffle(shuffled)
    if len(shuffled) < 2:
        raise KormedError(f"{config.consults}: {len(consults)} consult is too few to split; at least 2 were wanted")
    n_heldout = min(len(shuffled) - 1, max(1, round(len(shuffled) * config.heldout_consults)))
    heldout, rest = shuffled[:n_heldout], shuffled[n_heldout:]
    preference = rest[: max(1, round(len(rest) * config.preference_consults))]
    sft = rest if config.reuse_sft_consults else rest[len(preference) :]
    if not sft:
        log.info("prepare: no consult is left for SFT; all of them are preference prompts or held out")
    return {"sft": sft, "preference": preference, "heldout": heldout}


def lengths(examples: list[Example]) -> dict[str, object]:
    """Minimum, median and maximum characters of user turn and answer together, by source and over all."""
    by_source: dict[str, list[int]] = {"all": []}
    for example in examples:
        characters = len(chat.user_turn(example.instruction, example.question)) + len(example.answer)
        by_source.setdefault(example.source, []).append(characters)
        by_source["all"].append(characters)
    return {
        source: {
            "rows": len(counts),
            "characters": {"min": min(counts), "median": statistics.median(counts), "max": max(counts)},
        }
        for source, counts in by_source.items()
        if counts
    }
