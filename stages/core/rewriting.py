"""A consult and a language model: what it is asked, what is taken of what it says, and what it is told otherwise.

A rewrite is taken only if it is the JSON that was asked for, in Korean, no longer than it may be, with everything in it
that the original says (`fidelity`) and nothing besides. Otherwise the model is asked again and told what was wrong.
"""

import functools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.core.chat import CONTROL_TOKENS
from stages.core.deidentification import deidentify, load_drugs
from stages.core.errors import KormedError
from stages.core.fidelity import invented, missing
from stages.core.records import Message, Record, describe

PROMPT = Path(__file__).with_name("prompts") / "restructure.md"
CONSULT, PROBLEMS = "{{consult}}", "{{problems}}"

LONGEST = 1.5  # a rewrite of more characters than so many times the original's is no clearer than the original
SHORT = 200  # characters; a shorter original is taken as this long, or a bare question could not become a sentence
KOREAN = 0.5  # least share of Hangul among the question's letters; drug names and lab values are Latin


class Rewritten(BaseModel):
    """The JSON that the model is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    question: str
    patient_information: str


SCHEMA = Rewritten.model_json_schema()


class Rejection(Record):
    """A reply that was not taken: why, and what it said, masked."""

    reason: str
    reply: str


class Rewrite(Record):
    """A consult as the model left it, beside its masked original. `question` None: every try was rejected."""

    id: str
    original: str
    question: str | None
    patient_information: str | None
    tries: int
    rejections: tuple[Rejection, ...]
    masks: dict[str, int]  # by type, of what came back and could be read, over all tries

    @property
    def taken(self) -> Rewritten | None:
        if self.question is None or self.patient_information is None:
            return None
        return Rewritten(question=self.question, patient_information=self.patient_information)


@dataclass(frozen=True)
class Reply:
    """What the model said. `problem`: why there is nothing to read in it, where the server or the model says so."""

    text: str
    problem: str | None = None


@dataclass(frozen=True)
class Pending:
    """A consult on its way: what to ask next depends on what was rejected so far."""

    id: str
    original: str
    rejections: tuple[Rejection, ...] = ()
    masks: Mapping[str, int] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return len(self.rejections)


def load_prompt(path: Path | None) -> str:
    """The prompt of the recipe, or the one that kormed ships.

    Raises:
        KormedError: no such file, not UTF-8, or a placeholder does not stand in it.
    """
    place = path or PROMPT
    try:
        prompt = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KormedError(f"{place}: a prompt in UTF-8 was wanted (restructure.prompt): {error}") from None
    for placeholder in (CONSULT, PROBLEMS):
        if prompt.count(placeholder) != 1:
            raise KormedError(
                f"{place}: {placeholder} was wanted once, it stands there {prompt.count(placeholder)} times "
                f"(restructure.prompt; {CONSULT} becomes the consult, {PROBLEMS} what was wrong with the last reply)"
            )
    return prompt


def ask(pending: Pending, prompt: str) -> Message:
    """The one user turn: the prompt with the consult in it, and after a rejected reply what was wrong with it."""
    problems = f"이전 답의 문제: {pending.rejections[-1].reason}" if pending.rejections else ""
    filled = {CONSULT: pending.original, PROBLEMS: problems}
    text = re.sub("|".join(map(re.escape, filled)), lambda found: filled[found.group()], prompt)
    return Message(role="user", content=text.strip())


def hear(pending: Pending, reply: Reply, tries: int) -> Pending | Rewrite:
    """The finished row, or what is still pending where the reply is rejected and tries are left."""
    verdict, masks = judge(pending.original, reply)
    masks += Counter(pending.masks)
    if isinstance(verdict, Rewritten):
        return _finished(pending, verdict, pending.rejections, masks)
    rejections = (*pending.rejections, _rejection(verdict, reply.text))
    if len(rejections) < tries:
        return replace(pending, rejections=rejections, masks=masks)
    return _finished(pending, None, rejections, masks)


def _rejection(reason: str, said: str) -> Rejection:
    """The reason is masked too: it quotes what the model or the server said."""
    return Rejection(reason=mask(_writable(reason))[0], reply=mask(_writable(said))[0])


def _finished(
    pending: Pending, taken: Rewritten | None, rejections: tuple[Rejection, ...], masks: Mapping[str, int]
) -> Rewrite:
    return Rewrite(
        id=pending.id,
        original=pending.original,
        question=taken.question if taken else None,
        patient_information=taken.patient_information if taken else None,
        tries=pending.tried + 1,
        rejections=rejections,
        masks=dict(masks),
    )


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with personal data masked, and how many masks by type."""
    masked = deidentify(text)
    return masked.text, Counter(span.type for span in masked.spans)


def judge(original: str, reply: Reply) -> tuple[Rewritten | str, Counter[str]]:
    """The rewrite, masked, or why it is not taken; and how many masks by type."""
    if reply.problem:
        return reply.problem, Counter()
    found = read_reply(reply.text)
    if isinstance(found, str):
        return found, Counter()
    question, in_question = mask(_writable(found.question).strip())
    information, in_information = mask(_writable(found.patient_information).strip())
    rewritten = Rewritten(question=question, patient_information=information)
    return fault(original, rewritten) or rewritten, in_question + in_information


def _writable(text: str) -> str:
    """JSON's \\ud83d is half a character, which no UTF-8 file can hold."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def read_reply(text: str) -> Rewritten | str:
    """The one JSON object in the reply, whatever prose or fence stands around it; or what is wrong with it."""
    found = list(json_objects(text))
    if len(found) != 1:
        return f"one JSON object was wanted, found {len(found) or 'none'}" if text.strip() else "empty reply"
    try:
        return Rewritten.model_validate(found[0])
    except ValidationError as error:
        return f"JSON with other fields than were wanted: {describe(error)}"


def json_objects(text: str) -> Iterator[dict[str, object]]:
    """The outermost JSON objects in a text."""
    decoder = json.JSONDecoder(strict=False)  # models write line breaks into strings as they are
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield value
        at = text.find("{", end)


def fault(original: str, rewritten: Rewritten) -> str | None:
    """Why a rewrite is not taken; None where nothing speaks against it."""
    both = f"{rewritten.question}\n{rewritten.patient_information}"
    if not rewritten.question:
        return "empty question"
    if token := control_token(both):
        return f"control token: {token}"
    if problem := not_korean(original, rewritten.question, both):
        return problem
    at_most = round(LONGEST * max(len(original), SHORT))
    if len(both) > at_most:
        return f"too long: {len(both):,} characters, at most {at_most:,} are wanted"
    lost, added = missing(original, both, known_drugs()), invented(original, both, known_drugs())
    problems = [f"missing: {', '.join(lost)}"] * bool(lost) + [f"invented: {', '.join(added)}"] * bool(added)
    return "; ".join(problems) or None


def control_token(text: str) -> str | None:
    return next((token for token in CONTROL_TOKENS if token in text), None)


def not_korean(original: str, question: str, both: str) -> str | None:
    """A question in another language, or letters of a script that neither Korean, Latin nor the original has."""
    letters = [c for c in question if c.isalpha()]
    hangul = sum(script(c) == "HANGUL" for c in letters)
    if not letters or hangul < KOREAN * len(letters):
        return f"not Korean: {hangul} of the question's {len(letters)} letters are Hangul"
    known = {script(c) for c in original} | {"HANGUL", "LATIN", "GREEK"}
    foreign = sorted({c for c in both if c.isalpha() and script(c) not in known})
    return f"letters of another script: {' '.join(foreign)}" if foreign else None


def script(character: str) -> str:
    """`HANGUL`, `LATIN`, `CJK`, …: the first word of the character's name."""
    return unicodedata.name(character, "").partition(" ")[0].partition("-")[0]


@functools.cache
def known_drugs() -> frozenset[str]:
    return frozenset(unicodedata.normalize("NFKC", name).lower() for name in load_drugs())
