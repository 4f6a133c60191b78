"""Whether a rewrite says what the original said: numbers with units, values, Latin terms, drugs, sex, left and right.

Both texts are read by the same rules, strictly (what stands there) and generously (what it can be read to say:
`두 번` as `2번`, `AST가 높아서 114` as AST 114, `아들` as male). Missing is what the original says strictly and the
rewrite not even generously; invented is the reverse. What no rule here sees: `이상` for `이하`, left and right changed
over where both stand, and negations: their number differed in 13 of 22 true rewrites of the demo's consults.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stages.core.folding import MARK

Kind = Literal["number", "value", "latin", "drug", "sex", "side"]

WORDS = Path(__file__).with_name("words")


def _lines(name: str) -> list[tuple[str, ...]]:
    lines = (WORDS / name).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split()) for line in lines if not line.startswith("#")]


COUNTS, UNITS, MEASURES = _lines("counts.txt"), _lines("units.txt"), _lines("measures.txt")
CANONICAL = {name: names[0] for names in (*COUNTS, *UNITS) for name in names}  # the first of a line stands for all
COUNTED = {names[0] for names in COUNTS}
SIGNED = ("", "디옵터", "점")  # -2.8 in a bone density, -3.5 in a pair of glasses
ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
DIGITS = ("", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")
NATIVE = {
    f"{ten}{space}{one}": 10 * t + o for t, ten in enumerate(TENS) for o, one in enumerate(ONES) for space in ("", " ")
}
NATIVE |= {"스무": 20, "하나": 1, "둘": 2, "셋": 3, "넷": 4}
SINO = {
    f"{hundred}{ten}{DIGITS[o]}": 100 * h + 10 * t + o
    for h, hundred in enumerate(("", "백"))
    for t, ten in enumerate(("", "십", *(f"{digit}십" for digit in DIGITS[2:])))
    for o in range(10)
}
NATIVE_UNITS = "번째|번|차례|살|세|개월|개|명|시간|시|달|주|알|정|잔|병|가지|군데|갑|끼|방울|캡슐|포|배"
SINO_UNITS = "일|년|개월|주일|주|월|세|차|킬로|키로|퍼센트|프로|대"  # not 번, 분, 회: 이번, 이분, 사회 are words
ABOUT = {"한두": (1, 2), "두세": (2, 3), "서너": (3, 4), "너댓": (4, 5), "네다섯": (4, 5), "대여섯": (5, 6)}
DAYS = {"하루": 1, "이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "열흘": 10, "보름": 15}


def _any_of(words: Iterable[str]) -> str:
    return "|".join(sorted((word for word in words if word.strip()), key=len, reverse=True))


DAY_WORD = re.compile(_any_of(DAYS))
ABOUT_WORD = re.compile(rf"({_any_of(ABOUT)}) ?({NATIVE_UNITS})")
NATIVE_WORD = re.compile(rf"({_any_of(NATIVE)}) ?({NATIVE_UNITS})")
SINO_WORD = re.compile(rf"({_any_of(SINO)}) ?({SINO_UNITS})")

NUMBER = r"\d+(?:[.:/]\d+)*"  # 38.5, 120/80, 3:30
ENDING = (  # what may stand behind a unit that stands apart from its number
    "전|간|째|경|쯤|동안|씩|정도|가량|이상|이하|미만|부터|까지|밖|마다|당|후|뒤|된|"
    "만|로|으로|에|을|를|이|가|은|는|도|과|와|의|인|입"
)
_KOREAN = _any_of(name for name in CANONICAL if "가" <= name[0] <= "힣")
_LATIN = _any_of(name for name in CANONICAL if not "가" <= name[0] <= "힣")
_ATTACHED = rf"(?!정도|정상|도움|대학|대신|주사|주변)(?:{_KOREAN})"  # 40정도: no tablets
_APART = rf"(?>{_KOREAN})(?=[^가-힣]|$|{ENDING})"  # 2 주사: no weeks
UNIT = rf"(?:{_ATTACHED}|[ \t]*(?:{_LATIN})(?![a-z])|[ \t]+(?!정도){_APART})"
TOKEN = re.compile(
    rf"(?P<latin>[a-z][a-z0-9]*)"
    rf"|(?P<sign>(?<=[ (:=])[-+])?(?P<first>{NUMBER})(?P<first_unit>{UNIT})?"
    rf"(?:[ \t]*[~-][ \t]*(?P<second>{NUMBER})(?P<second_unit>{UNIT})?)?",
    re.IGNORECASE,
)
MEASURE = re.compile(_any_of(" ?".join(name) for (name,) in MEASURES))
FILLER = re.compile(r"(?:\s|수치|검사|결과|값|농도|약|평균|현재|[은는이가의도:=(])*")  # from a measure to its number
REACH = 30  # characters within which a number can, generously, belong to a measure

CIRCLED = re.compile("[①-⑳]")
LIST_MARKER = re.compile(r"^\s*\(?\d{1,2}(?:\)|\.(?=\s|[가-힣]))|(?<=\s)\d{1,2}\)(?=\s)", re.MULTILINE)
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[.\-/] ?(\d{1,2})[.\-/] ?(\d{1,2})(?!\d)\.?")
NO_TERM = re.compile(r"(?<![a-z])(?:t[._]?t|o[._]o|orz|otl|o{2,}|x{2,})(?![a-z])", re.IGNORECASE)  # T.T, and OOO의원

# Sex and side as they are said. A bare 남 or 여 counts beside years of age (`6개월 여` is more than six months), and
# 남아 behind an age (else something is left over). Not meant are 여자친구 and 남성호르몬, which are not the patient,
# nor 참여자 and 강남성모, which say nothing of sex.
_YEARS = r"\d+ ?(?:세|살|대)[ ,/(·]*"
_AGE = r"\d+ ?(?:세|살|개월|주|일)(?: ?된)? ?"
_BEFORE = r" ?(?:[,/)·] ?\d+|\d+ ?(?:세|살))"
_PERSON = r"(?:자|성|[학중고대]생)(?! ?(?:친구|호르몬|의원|병원|의학)|형)"
SAID: dict[tuple[Kind, str], re.Pattern[str]] = {
    ("sex", "남"): re.compile(
        rf"(?<![강경전영충])남{_PERSON}|{_AGE}남아(?! ?(?:있|서|요|도|돌))|{_YEARS}남(?![가-힣])"
        rf"|(?<![가-힣\d])남{_BEFORE}"
    ),
    ("sex", "여"): re.compile(
        rf"(?<![참수투기증부])여{_PERSON}|(?<![가-힣])여아|{_AGE}여아|{_YEARS}여(?![가-힣])"
        rf"|(?<![가-힣\d])여{_BEFORE}"
    ),
    ("side", "오른쪽"): re.compile("오른(?:쪽|편|손|발|팔|눈|다리|귀|무릎|어깨)|우측"),  # not 부어오른 다리
    ("side", "왼쪽"): re.compile("왼|좌측"),
}
# What can be read to say them: every bare word, relatives, and what only one sex has.
IMPLIED: dict[tuple[Kind, str], re.Pattern[str]] = {
    ("sex", "남"): re.compile(
        "남(?![가-힣])|남[자성아]|남[학중고대]생|아들|손자|소년|아버|아빠|부친|남편|신랑|남동생|(?<![가-힣])형[이은님]|오빠|삼촌|사위|장인"
        "|전립선|고환|음경|음낭|발기|정액|정자|포경|군대"
    ),
    ("sex", "여"): re.compile(
        "여(?![가-힣])|여[자성아]|여[학중고대]생|딸|손녀|소녀|어머|엄마|모친|할머니|아내|와이프|부인|여동생|누나|언니|이모|고모|며느리|장모"
        "|임신|임산|산모|출산|분만|수유|모유|산후|생리|월경|초경|폐경|배란|자궁|난소|질염|입덧|제왕절개"
    ),
    ("side", "오른쪽"): re.compile("오른|우[측안상하]|양[쪽측손팔발눈]|좌우"),
    ("side", "왼쪽"): re.compile("왼|좌[측안상하]|양[쪽측손팔발눈]|좌우"),
}


@dataclass(frozen=True)
class Fact:
    """Something that a text says. `value` is what is compared, `shown` how the text has it."""

    kind: Kind
    value: str
    shown: str = field(compare=False)


@dataclass(frozen=True)
class Quantity:
    start: int
    numbers: tuple[str, ...]  # two for a range
    unit: str  # canonical; empty where there is none
    shown: str


@dataclass(frozen=True)
class Name:
    """Something that can have a value: a Latin term, a measure, a drug."""

    start: int
    end: int
    value: str
    shown: str


def missing(original: str, rewrite: str, drugs: Collection[str]) -> list[str]:
    """What the original says and the rewrite does not, in the original's words."""
    return _shown(facts(original, drugs) - readings(rewrite, drugs))


def invented(original: str, rewrite: str, drugs: Collection[str]) -> list[str]:
    """Numbers, values, drugs, sex and sides that the rewrite says and the original does not, and marks it has not."""
    allowed = readings(original, drugs)
    found = _shown(fact for fact in facts(rewrite, drugs) - allowed if fact.kind != "latin")
    return found + sorted(set(MARK.findall(rewrite)) - set(MARK.findall(original)))


def _shown(found: Iterable[Fact]) -> list[str]:
    return sorted({fact.shown for fact in found})


def facts(text: str, drugs: Collection[str]) -> frozenset[Fact]:
    """What stands in the text."""
    plain = plain_text(text)
    quantities, terms = tokens(plain)
    named = list(drugs_in(plain, drugs))
    by_start = {quantity.start: quantity for quantity in quantities}
    found = {Fact("number", number + q.unit, q.shown) for q in quantities for number in q.numbers}
    found |= {Fact("latin", term.value, term.shown) for term in terms}
    found |= {Fact("drug", drug.value, drug.shown) for drug in named}
    found |= senses(plain, SAID)
    for name in names(plain, terms, named):
        filler = FILLER.match(plain, name.end)
        if filler and (quantity := by_start.get(filler.end())):
            found |= values(name, quantity)
    return frozenset(found)


def readings(text: str, drugs: Collection[str]) -> frozenset[Fact]:
    """Everything that the text can be read to say; more than `facts`."""
    plain = plain_text(text)
    quantities, terms = tokens(plain)
    together = "".join(plain.split())
    named = list(drugs_in(plain, drugs))
    found = set(facts(text, drugs))
    found |= {Fact("number", number.lstrip("+-"), number) for q in quantities for number in q.numbers}
    found |= {Fact("number", number.lstrip("+-") + q.unit, q.shown) for q in quantities for number in q.numbers}
    found |= {Fact("number", number, number) for number in spelled(plain)}
    found |= {Fact("drug", drug.value, drug.shown) for drug in drugs_in(together, drugs)}
    found |= senses(plain, IMPLIED)
    for name in names(plain, terms, named):
        for quantity in quantities:
            if name.end <= quantity.start <= name.end + REACH and "\n" not in plain[name.end : quantity.start]:
                found |= values(name, quantity)
    return frozenset(found)


def plain_text(text: str) -> str:
    """One form for what is the same: full-width letters, dashes, thousands, dates; no marks, list numbers, smileys."""
    folded = unicodedata.normalize("NFKC", CIRCLED.sub(" ", MARK.sub(" ", text)))
    folded = "".join(c for c in folded if unicodedata.category(c) != "Cf")  # direction marks, zero-width characters
    folded = folded.translate(str.maketrans("–—−‐‑‒∼〜", "------~~"))
    folded = DATE.sub(lambda date: "{}년 {}월 {}일 ".format(*map(int, date.groups())), THOUSANDS.sub("", folded))
    return NO_TERM.sub(" ", LIST_MARKER.sub(" ", folded))


def tokens(plain: str) -> tuple[list[Quantity], list[Name]]:
    """The numbers with their units, and the Latin terms, in their order."""
    quantities: list[Quantity] = []
    terms: list[Name] = []
    for token in TOKEN.finditer(plain):
        if token["latin"]:
            terms.append(Name(token.start(), token.end(), token["latin"].casefold(), token["latin"]))
        else:
            quantities += _quantities(token)
    return quantities, terms


def _quantities(token: re.Match[str]) -> Iterator[Quantity]:
    first_unit, second_unit = _unit(token["first_unit"]), _unit(token["second_unit"])
    sign = token["sign"] if token["sign"] and first_unit in SIGNED else ""  # before `3일` it is a dash
    first = sign + _number(token["first"])
    if token["second"] is None:
        yield Quantity(token.start(), (first,), first_unit, token.group().strip())
    elif first_unit in ("", second_unit):
        yield Quantity(token.start(), (first, _number(token["second"])), second_unit, token.group().strip())
    else:
        yield Quantity(token.start(), (first,), first_unit, token["first"] + token["first_unit"])
        yield Quantity(
            token.start("second"),
            (_number(token["second"]),),
            second_unit,
            token["second"] + (token["second_unit"] or ""),
        )


def _unit(found: str | None) -> str:
    return CANONICAL[found.strip().casefold()] if found else ""


def _number(digits: str) -> str:
    return str(int(digits)) if digits.isdigit() and len(digits) < 100 else digits  # 03월 is 3월


def drugs_in(plain: str, drugs: Collection[str]) -> Iterator[Name]:
    """The longest drug name at each place. Latin and very short names count as whole words only."""
    lowered = plain.lower()
    lengths = sorted({len(drug) for drug in drugs}, reverse=True)
    at = 0
    while at < len(lowered):
        name = next((lowered[at : at + n] for n in lengths if lowered[at : at + n] in drugs), None)
        if name and _stands_alone(lowered, at, name):
            yield Name(at, at + len(name), name, plain[at : at + len(name)])
            at += len(name)
        else:
            at += 1


def _stands_alone(lowered: str, at: int, name: str) -> bool:
    before, after = lowered[at - 1 : at], lowered[at + len(name) : at + len(name) + 1]
    if name.isascii():
        return not (before.isascii() and before.isalpha()) and not (after.isascii() and after.isalpha())
    return len(name) > 2 or not before.isalpha()


def names(plain: str, terms: Iterable[Name], named_drugs: Iterable[Name]) -> list[Name]:
    """Whatever can have a value."""
    measures = [
        Name(found.start(), found.end(), found.group().replace(" ", ""), found.group())
        for found in MEASURE.finditer(plain)
    ]
    return [*terms, *named_drugs, *measures]


def values(name: Name, quantity: Quantity) -> set[Fact]:
    """`AST 114`; nothing where the number counts something, as in `MRI 2번`."""
    if quantity.unit in COUNTED:
        return set()
    return {Fact("value", f"{name.value} {number}", f"{name.shown} {number}") for number in quantity.numbers}


def senses(plain: str, patterns: Mapping[tuple[Kind, str], re.Pattern[str]]) -> set[Fact]:
    """Sex and sides, whichever word says them: 남성 is 남자, and 우측 오른쪽."""
    found = {sense: pattern.search(plain) for sense, pattern in patterns.items()}
    return {Fact(kind, value, word.group()) for (kind, value), word in found.items() if word}


def spelled(plain: str) -> Iterator[str]:
    """Numbers written as words, with their units: `두 번` is 2번, `이틀` 2일, `서른다섯 살` 35세."""
    yield from (f"{DAYS[found]}일" for found in DAY_WORD.findall(plain))
    for word, unit in ABOUT_WORD.findall(plain):
        yield from (f"{number}{CANONICAL[unit]}" for number in ABOUT[word])
    yield from (f"{NATIVE[word]}{CANONICAL[unit]}" for word, unit in NATIVE_WORD.findall(plain))
    yield from (f"{SINO[word]}{CANONICAL[unit]}" for word, unit in SINO_WORD.findall(plain))
