"""Raw consults to consults, without the model: tidied, personal data masked, an answer chosen, what became of each row.

A reason to drop a row is a fixed phrase, mostly followed by ": " and what is told of this row alone.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stages.core.consults import told
from stages.core.deidentification import deidentify, full_names
from stages.core.folding import MARKS
from stages.core.quality import tidy
from stages.core.recipe import Restructure
from stages.core.records import Consult, Decision, Dropped, RawConsult
from stages.core.rewriting import Rewrite, Rewritten

Rule = Literal["longest_in_bounds", "most_recommended", "each"]

MARGIN = 200  # characters that are read behind a cut and thrown away: no personal detail is longer
TITLES = ("전문의", "원장", "의사", "교수", "선생님", "한의사", "치과의사", "약사", "님")


@dataclass(frozen=True)
class OriginalAnswer:
    number: int  # its place on the page, from 1
    text: str  # only its beginning, where it is too long to be chosen
    recommendations: int | None
    characters: int  # before anything was masked or cut
    source: str = ""  # file and line of an imported one


@dataclass(frozen=True)
class Original:
    """A raw consult with its personal data masked: everything that is written, asked or sent is made of this.

    Of one that is too long to go on only the beginning is here, as `body`.
    """

    id: str
    title: str
    body: str
    patient_information: str
    answers: tuple[OriginalAnswer, ...]
    characters: int  # of what the patient wrote, before anything was masked or cut
    masks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # how many, by place and type
    tidied: tuple[str, ...] = ()  # places that had markup or the like: `body`, `answer 2`

    @property
    def question(self) -> str:
        return join_question(self.title, self.body)

    @property
    def text(self) -> str:
        """All that the patient wrote."""
        return join_parts(self.question, self.patient_information)


def join_parts(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def join_question(title: str, body: str) -> str:
    """Title and body; the body alone where the title is only its beginning."""
    opening = _letters(title).rstrip(".…")
    return body if _letters(body).startswith(opening) else join_parts(title, body)


def _letters(text: str) -> str:
    return "".join(text.split())


def mask_consult(raw: RawConsult, max_characters: int, max_answer_characters: int) -> Original:
    """The consult tidied and without personal data, which is not looked for behind the beginning of what is too long.

    Doctors and clinics of its page are known; a name found once is known too.
    """
    consult, tidied = tidy_consult(raw)
    clinics = sorted({answer.clinic for answer in consult.answers}, key=len, reverse=True)
    doctors = {doctor_name(answer.doctor) for answer in consult.answers} - {""}
    texts = {"title": consult.title, "body": consult.body, "patient_information": consult.patient_information or ""}
    whole = join_parts(join_question(consult.title, consult.body), texts["patient_information"])
    answers = consult.answers
    if len(whole) > max_characters:
        texts, answers = {"title": "", "body": whole, "patient_information": ""}, ()
    known = doctors | {name for text in texts.values() for name in full_names(text[: max_characters + MARGIN])}
    known |= {name for answer in answers for name in full_names(answer.text[: max_answer_characters + MARGIN])}
    masks: dict[str, Counter[str]] = {}

    def masked(place: str, text: str, at_most: int) -> str:
        found, counts = mask_beginning(text, at_most, known, clinics)
        masks.setdefault(place, Counter()).update(counts)
        return found

    return Original(
        id=consult.id,
        title=masked("title", texts["title"], max_characters),
        body=masked("body", texts["body"], max_characters),
        patient_information=masked("patient_information", texts["patient_information"], max_characters),
        answers=tuple(
            OriginalAnswer(
                number,
                masked("answers", answer.text, max_answer_characters),
                answer.recommendations,
                len(answer.text),
                answer.source,
            )
            for number, answer in enumerate(answers, start=1)
        ),
        characters=len(whole),
        masks=masks,
        tidied=tidied,
    )


def tidy_consult(raw: RawConsult) -> tuple[RawConsult, tuple[str, ...]]:
    """The consult without markup (and with it Gemma's control tokens), control characters and stray white space; and
    the places that had some, `body` or `answer 2`.
    """
    fields = ("title", "body", "patient_information")
    texts = {field: text for field in fields if (text := getattr(raw, field)) is not None}
    tidied = {field: tidy(text) for field, text in texts.items()}
    answers = tuple(
        answer.model_copy(update={field: tidy(getattr(answer, field)) for field in ("text", "doctor", "clinic")})
        for answer in raw.answers
    )
    places = [field for field in texts if tidied[field] != texts[field].strip()]
    for number, (before, after) in enumerate(zip(raw.answers, answers, strict=True), start=1):
        places += [f"answer {number}"] * (after.text != before.text.strip())
    return raw.model_copy(update={**tidied, "answers": answers}), tuple(places)


def doctor_name(doctor: str) -> str:
    """The name in `홍길동[전문의]` or `홍길동 원장님`; empty where there is none."""
    name = re.split(r"[\[(,/]", doctor)[0].strip()
    while title := next((title for title in TITLES if name.endswith(title)), None):
        name = name.removesuffix(title).strip()
    return name if len(name) > 1 else ""


def mask(text: str, names: Collection[str], clinics: Iterable[str]) -> tuple[str, Counter[str]]:
    """The text with personal data masked, and how many masks by type. Names and clinics go wherever they stand."""
    counts: Counter[str] = Counter()
    for clinic in clinics:
        if len(_letters(clinic)) > 2:  # `내과` alone names nobody
            literally = r"\s*".join(map(re.escape, _letters(clinic)))
            text, found = re.subn(literally, MARKS["hospital"], text)
            counts["hospital"] += found
    masked = deidentify(text, names)
    counts += masked.counts
    return masked.text, +counts


def mask_beginning(text: str, at_most: int, names: Collection[str], clinics: Iterable[str]) -> tuple[str, Counter[str]]:
    """`mask`; of a text longer than `at_most` only so many characters. A detail that the cut halves is not among them:
    it would not be known any more.
    """
    found, counts = mask(text[: at_most + MARGIN], names, clinics)
    kept = found if len(text) <= at_most else found[: min(at_most, max(0, len(found) - MARGIN))]
    return kept, counts


def unusable(original: Original, max_characters: int) -> str | None:
    """Why a consult cannot become a row, whatever its answers; None where it can."""
    if not original.question:
        return "empty: neither title nor body"
    if original.characters > max_characters:
        return f"too long: {original.characters:,} characters, at most {max_characters:,} are wanted"
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

    def taken(answer: OriginalAnswer, why: str) -> Chosen:
        place = f" ({answer.source})" if answer.source else ""
        return Chosen(answer, f"answer {answer.number}{place} of {len(answers)}, {len(usable)} usable: {why}")

    if rule == "each":
        return [taken(answer, "each its own row") for answer in usable], left_out
    if not usable:
        return [], left_out
    if rule == "longest_in_bounds":
        best = max(usable, key=lambda answer: answer.characters)
        why = f"longest within {bounds[0]:,}-{bounds[1]:,} characters ({best.characters:,})"
    else:
        best = max(usable, key=lambda answer: (answer.recommendations or 0, answer.characters))
        why = f"most recommended ({best.recommendations})"
    return [taken(best, why)], left_out


def unfit(answer: OriginalAnswer, rule: Rule, bounds: tuple[int, int]) -> str | None:
    """What speaks against an answer; None where nothing does."""
    if not answer.text:
        return "empty"
    if not bounds[0] <= answer.characters <= bounds[1]:
        return f"{answer.characters:,} characters, {bounds[0]:,} to {bounds[1]:,} are wanted"
    if rule == "most_recommended" and answer.recommendations is None:
        return "no recommendations counted"
    return None


def no_answer(left_out: Iterable[tuple[OriginalAnswer, str]]) -> str:
    found = "; ".join(f"answer {answer.number}: {reason}" for answer, reason in left_out)
    return f"no usable answer: {found or 'there is none'}"


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
        made_of="",
    )


def refused(done: Rewrite) -> Dropped:
    tries = f"{done.tries} tries" if done.tries > 1 else "1 try"
    reason = f"every rewrite was rejected: {tries}, the last: {done.rejections[-1].reason}"
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
    own = f"answer {chosen.answer.number}"
    tidied = [place for place in original.tidied if place == own or not place.startswith("answer ")]
    # without what stood there before: it is not masked
    decisions = [Decision(id=id, rule="tidied", detail=", ".join(tidied))] if tidied else []
    decisions.append(Decision(id=id, rule="answer chosen", detail=chosen.why))
    counts = sum((Counter(masks) for masks in original.masks.values()), Counter(done.masks))
    decisions += [told(id, counts)] if counts else []
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
