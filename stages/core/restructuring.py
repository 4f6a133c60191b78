"""Raw consults to consults, without the model: personal data masked, an answer chosen, what became of each row."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stages.core.deidentification import deidentify
from stages.core.folding import MARKS
from stages.core.recipe import Restructure
from stages.core.records import Consult, Decision, Dropped, RawConsult
from stages.core.rewriting import Rewrite, Rewritten, control_token

Rule = Literal["longest_in_bounds", "most_recommended", "each"]

TITLES = ("전문의", "원장", "의사", "교수", "선생님", "한의사", "치과의사", "약사", "님")


@dataclass(frozen=True)
class OriginalAnswer:
    number: int  # its place on the page, from 1
    text: str
    recommendations: int | None


@dataclass(frozen=True)
class Original:
    """A raw consult with its personal data masked: everything that is written, asked or sent is made of this."""

    id: str
    title: str
    body: str
    patient_information: str
    answers: tuple[OriginalAnswer, ...]
    masks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # how many, by place and type

    @property
    def question(self) -> str:
        """Title and body; the body alone where the title is only its beginning."""
        opening = _letters(self.title).rstrip(".…")
        parts = [self.body] if _letters(self.body).startswith(opening) else [self.title, self.body]
        return "\n\n".join(part for part in parts if part)

    @property
    def text(self) -> str:
        """All that the patient wrote."""
        return "\n\n".join(part for part in (self.question, self.patient_information) if part)


def _letters(text: str) -> str:
    return "".join(text.split())


def mask_consult(raw: RawConsult) -> Original:
    """The consult without personal data. Doctors and clinics of its page are known; a name found once is known too."""
    clinics = sorted({answer.clinic.strip() for answer in raw.answers}, key=len, reverse=True)
    doctors = {doctor_name(answer.doctor) for answer in raw.answers} - {""}
    texts = [raw.title, raw.body, raw.patient_information or "", *(answer.text for answer in raw.answers)]
    known = doctors | {name for text in texts for name in full_names(text)}
    masks: dict[str, Counter[str]] = {}

    def masked(place: str, text: str) -> str:
        found, counts = mask(text.strip(), known, clinics)
        masks.setdefault(place, Counter()).update(counts)
        return found

    return Original(
        id=raw.id,
        title=masked("title", raw.title),
        body=masked("body", raw.body),
        patient_information=masked("patient_information", raw.patient_information or ""),
        answers=tuple(
            OriginalAnswer(number, masked("answers", answer.text), answer.recommendations)
            for number, answer in enumerate(raw.answers, start=1)
        ),
        masks=masks,
    )


def doctor_name(doctor: str) -> str:
    """The name in `홍길동[전문의]` or `홍길동 원장님`; empty where there is none."""
    name = re.split(r"[\[(,/]", doctor)[0].strip()
    while title := next((title for title in TITLES if name.endswith(title)), None):
        name = name.removesuffix(title).strip()
    return name if len(name) > 1 else ""


def full_names(text: str) -> Iterator[str]:
    """Names of three letters and more that give themselves away somewhere in the text; shorter ones look like words."""
    return (span.text for span in deidentify(text).spans if span.type == "name" and len(span.text) > 2)


def mask(text: str, names: Collection[str], clinics: Iterable[str]) -> tuple[str, Counter[str]]:
    """The text with personal data masked, and how many masks by type. Names and clinics go wherever they stand."""
    counts: Counter[str] = Counter()
    for clinic in clinics:
        if len(_letters(clinic)) > 2:  # `내과` alone names nobody
            literally = r"\s*".join(map(re.escape, _letters(clinic)))
            text, found = re.subn(literally, MARKS["hospital"], text)
            counts["hospital"] += found
    masked = deidentify(text, names)
    counts.update(span.type for span in masked.spans)
    return masked.text, +counts


def unusable(original: Original, max_characters: int) -> str | None:
    """Why a consult cannot become a row, whatever its answers; None where it can."""
    if not original.question:
        return "empty: neither title nor body"
    if len(original.text) > max_characters:
        return f"too long: {len(original.text):,} characters, at most {max_characters:,} are wanted"
    if token := control_token(original.text):
        return f"control token: {token} stands in it"
    return None


@dataclass(frozen=True)
class Chosen:
    """An answer that goes on, and by which rule among how many."""

    answer: OriginalAnswer
    why: str


def choose(
    answers: Sequence[OriginalAnswer], rule: Rule, bounds: tuple[int, int]
) -> tuple[list[Chosen], list[tuple[OriginalAnswer, str]]]:
    """The answers that go on, and those that cannot, each with the reason. A tie goes to the longer, then the first."""
    speaks_against = {answer.number: unfit(answer, rule, bounds) for answer in answers}
    left_out = [(answer, reason) for answer in answers if (reason := speaks_against[answer.number])]
    usable = [answer for answer in answers if not speaks_against[answer.number]]
    of = f"of {len(answers)}, {len(usable)} usable"
    if rule == "each":
        return [Chosen(answer, f"answer {answer.number} {of}: each its own row") for answer in usable], left_out
    if not usable:
        return [], left_out
    if rule == "longest_in_bounds":
        best = max(usable, key=lambda answer: len(answer.text))
        why = f"longest within {bounds[0]:,}-{bounds[1]:,} characters ({len(best.text):,})"
    else:
        best = max(usable, key=lambda answer: (answer.recommendations or 0, len(answer.text)))
        why = f"most recommended ({best.recommendations})"
    return [Chosen(best, f"answer {best.number} {of}: {why}")], left_out


def unfit(answer: OriginalAnswer, rule: Rule, bounds: tuple[int, int]) -> str | None:
    """What speaks against an answer; None where nothing does."""
    if not answer.text:
        return "empty"
    if not bounds[0] <= len(answer.text) <= bounds[1]:
        return f"{len(answer.text):,} characters, {bounds[0]:,} to {bounds[1]:,} are wanted"
    if token := control_token(answer.text):
        return f"{token} stands in it"
    if rule == "most_recommended" and answer.recommendations is None:
        return "no recommendations counted"
    return None


def no_answer(left_out: Iterable[tuple[OriginalAnswer, str]]) -> str:
    found = "; ".join(f"answer {answer.number}: {reason}" for answer, reason in left_out)
    return f"no usable answer ({found or 'there is none'})"


def select(config: Restructure, originals: Iterable[Original]) -> tuple[dict[str, list[Chosen]], list[Dropped]]:
    """The answers that go on by consult, and what cannot go on with its reason."""
    chosen: dict[str, list[Chosen]] = {}
    dropped = []
    for original in originals:
        found, left_out = choose(original.answers, config.answers, config.answer_characters)
        if reason := unusable(original, config.max_characters) or (None if found else no_answer(left_out)):
            dropped.append(Dropped(id=original.id, reason=reason, text=original.text))
            continue
        chosen[original.id] = found
        if config.answers == "each":
            dropped += [
                Dropped(id=f"{original.id}/{answer.number}", reason=f"unusable answer: {reason}", text=answer.text)
                for answer, reason in left_out
            ]
    return chosen, dropped


def as_it_is(original: Original) -> Rewrite:
    """What stands in a rewrite's place where no model rewrites."""
    return Rewrite(
        id=original.id,
        original=original.text,
        question=original.question,
        patient_information=original.patient_information,
        tries=0,
        rejections=(),
        masks={},
    )


def refused(done: Rewrite) -> Dropped:
    reason = f"rewrite rejected {done.tries} times: {done.rejections[-1].reason}"
    return Dropped(id=done.id, reason=reason, text=done.original)


def row(own_row: bool, original: Original, chosen: Chosen, taken: Rewritten, source: str) -> Consult:
    """The consult that goes on; with `own_row` it is one of several of its page, told apart by the answer's number."""
    return Consult(
        id=f"{original.id}/{chosen.answer.number}" if own_row else original.id,
        question=taken.question,
        patient_information=taken.patient_information,
        answer=chosen.answer.text,
        source=source,
        raw_id=original.id,
    )


def decide(id: str, original: Original, chosen: Chosen, done: Rewrite) -> list[Decision]:
    """What happened to a consult on its way, for `kormed trace`."""
    decisions = [Decision(id=id, rule="answer chosen", detail=chosen.why)]
    counts = sum((Counter(masks) for masks in original.masks.values()), Counter(done.masks))
    if counts:
        told = ", ".join(f"{mark} {count}" for mark, count in sorted(counts.items()))
        decisions.append(Decision(id=id, rule="deidentified", detail=told))
    if done.tries:
        earlier = "".join(f"; try {at} rejected: {one.reason}" for at, one in enumerate(done.rejections, start=1))
        decisions.append(
            Decision(id=id, rule="rewritten", detail=f"taken at try {done.tries}{earlier}", before=done.original)
        )
    return decisions


def count_masks(originals: Iterable[Original], rewrites: Iterable[Rewrite]) -> dict[str, dict[str, dict[str, int]]]:
    """How many masks, by place and type: in what was collected, and in what a model said."""
    before: dict[str, Counter[str]] = {}
    for original in originals:
        for place, counts in original.masks.items():
            before.setdefault(place, Counter()).update(counts)
    after = sum((Counter(row.masks) for row in rewrites), Counter[str]())
    return {
        "before": {place: dict(sorted(counts.items())) for place, counts in sorted(before.items()) if counts},
        "after": {"rewrite": dict(sorted(after.items()))} if after else {},
    }
