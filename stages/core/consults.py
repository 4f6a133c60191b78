"""Consults that come in the report's form, `{"question", "instruction", "answer"}`, and masking them."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from stages.core import chat
from stages.core.deidentification import deidentify, full_names
from stages.core.errors import KormedError
from stages.core.records import Consult, Decision, read_rows, shown

FIELDS = {"question", "instruction", "answer"}
EXAM_IDS = ("kormedmcqa/", "own/")


def read_consults(path: Path) -> list[Consult]:
    """Consults in the report's form, with an optional `id`.

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


def _consult(place: str, row: Mapping[str, object]) -> Consult:
    for field in sorted(FIELDS):
        value = row.get(field)
        if not isinstance(value, str) or not value.strip():
            found = "nothing" if field not in row else shown(value)
            raise KormedError(f"{place}: field {field!r}: text was wanted, found {found}")
    question, instruction, answer = (str(row[field]).strip() for field in ("question", "instruction", "answer"))
    if not instruction.startswith(chat.CONSULT_INSTRUCTION):
        raise KormedError(
            f"{place}: field 'instruction': wanted {chat.CONSULT_INSTRUCTION!r}, a blank line and the patient "
            f"information, found {shown(instruction)} that begins otherwise"
        )
    for field, text in (("question", question), ("instruction", instruction), ("answer", answer)):
        if token := chat.control_token(text):
            raise KormedError(f"{place}: field {field!r}: {token} is a control token of Gemma's; take it out")
    id = row.get("id")
    if id is not None and not isinstance(id, str | int):
        raise KormedError(f"{place}: field 'id': text or a number was wanted, found {shown(id)}")
    if str(id).startswith(EXAM_IDS) or deidentify(str(id)).spans:
        raise KormedError(
            f"{place}: field 'id': an id goes into every file, page and comparison, and this one begins as an exam "
            f"question's or names a person ({shown(id)}); use ids that say nothing, or leave the field out"
        )
    digest = hashlib.sha256("\0".join((question, instruction, answer)).encode()).hexdigest()
    return Consult(
        id=f"consult-{digest[:12]}" if id in (None, "") else str(id),
        question=question,
        patient_information=instruction.removeprefix(chat.CONSULT_INSTRUCTION).strip(),
        answer=answer,
        source="consult",
    )


def mask(consult: Consult) -> tuple[Consult, Counter[str]]:
    """The consult with every personal detail masked, and how many of each type there were."""
    texts = {field: getattr(consult, field) for field in ("question", "patient_information", "answer")}
    names = set().union(*map(full_names, texts.values()))  # known from one field, and so in all
    masked = {field: deidentify(text, names) for field, text in texts.items()}
    counts = sum((found.counts for found in masked.values()), Counter[str]())
    return consult.model_copy(update={field: found.text for field, found in masked.items()}), counts


def told(id: str, masks: Mapping[str, int]) -> Decision:
    """What was masked by type; never the detail itself."""
    return Decision(id=id, rule="deidentified", detail=", ".join(f"{kind} {n}" for kind, n in sorted(masks.items())))
