"""A consult and a language model: what it is asked, what is taken of what it says, and what it is told otherwise.

A rewrite is taken only if it is the JSON that was asked for, with a question that asks something in Korean, no longer
than it may be, with everything in it that the original says (`fidelity`) and nothing besides. Otherwise the model is
asked again and told what was wrong.
"""

import functools
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.core.chat import control_token
from stages.core.deidentification import deidentify, load_drugs
from stages.core.errors import KormedError
from stages.core.fidelity import invented, missing
from stages.core.recipe import PROMPT
from stages.core.records import Message, Record, describe

CONSULT, PROBLEMS = "{{consult}}", "{{problems}}"

LONGEST = 1.5  # a rewrite of more characters than so many times the original's is no clearer than the original
SHORT = 200  # characters; a shorter original is taken as this long, or a bare question could not become a sentence
SHORTEST = 8  # characters of a question; prepare drops shorter ones too (quality.question_characters)
KOREAN = 0.5  # least share of Hangul among the question's letters; drug names and lab values are Latin

# Words of courtesy, which say nothing: `안녕하세요?` has a question mark, and 답변 부탁드립니다 asks for nothing yet.
COURTESY = re.compile(
    r"안녕(?:하세요|하십니까|하신가요|히 ?계세요)[?!.~]*|반갑습니다"
    r"|(?:감사|고맙)(?:합니다|드립니다|드려요|해요|습니다|하겠습니다)"
    r"|수고[가-힣]*(?: ?(?:하세요|하십시오|많으십니다|많으세요))?"
    r"|(?:(?:빠른|좋은|자세한|친절한|꼭) ?)?(?:답변|상담|조언|도움) ?(?:을|좀|꼭)? ?부탁[가-힣]*(?: ?드립니다)?"
)
_L = "".join(chr(code) for code in range(ord("갈"), ord("힣") + 1, 28))  # syllables that end in ㄹ: 될, 할, 일, …
# What asks without a question mark. None of them: 열이 나요, 병원에 가요, 아프니까, 먼지, 인지 기능, 수술한지 3일.
ASKS = re.compile(
    rf"\?|[{_L}]까|까요|[습합입됩]니까|(?<=[가-힣])(?<![열땀피혼어타만])나요|[은는던인한큰픈긴된린른운]가요"
    r"|(?:[는건닌을할될일올]|(?<=[가-힣])인)지|왜\b|어떻게|어떡|궁금|알려|싶(?:습|어요|은데)|여쭤|여쭙|여쭈|문의|질문"
    r"|부탁|주세요|주십시오|바랍니다|바래요|원합니다|추천|모르겠"
)


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
    made_of: str  # digest of original, prompt and model: what was kept counts only for these; empty: no model was asked

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
    made_of: str
    rejections: tuple[Rejection, ...] = ()
    masks: Mapping[str, int] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return len(self.rejections)


def digest(original: str, prompt: str, model: str) -> str:
    """What a rewrite is made of, in 16 hexadecimal digits."""
    return hashlib.sha256("\0".join((original, prompt, model)).encode()).hexdigest()[:16]


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
        made_of=pending.made_of,
    )


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with personal data masked, and how many masks by type."""
    masked = deidentify(text)
    return masked.text, masked.counts


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
    if problem := not_korean(original, rewritten.question, both) or no_question(rewritten.question):
        return problem
    at_most = round(LONGEST * max(len(original), SHORT))
    if len(both) > at_most:
        return f"too long: {len(both):,} characters, at most {at_most:,} are wanted"
    lost, added = missing(original, both, known_drugs()), invented(original, both, known_drugs())
    problems = [f"missing: {', '.join(lost)}"] * bool(lost) + [f"invented: {', '.join(added)}"] * bool(added)
    return "; ".join(problems) or None


def no_question(question: str) -> str | None:
    """Why there is no question in it; None where there is one."""
    if len(question) < SHORTEST:
        return f"question too short: {len(question)} characters, at least {SHORTEST} are wanted"
    rest = COURTESY.sub("", question)
    if not any(c.isalpha() for c in rest):
        return "question only greets, thanks or asks for an answer"
    return None if ASKS.search(rest) else "question asks nothing: a sentence that asks was wanted"


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
