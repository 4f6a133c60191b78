"""Folding: a text as the finders of personal data read it, with every character's place in the original kept."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "name",
    "resident_number",
    "phone",
    "email",
    "address",
    "hospital",
    "chart_number",
    "passport_number",
    "licence_number",
    "card_number",
    "account_number",
    "birth_date",
    "url",
    "messenger_id",
]

MARKS: dict[Kind, str] = {
    "name": "[이름]",
    "resident_number": "[주민등록번호]",
    "phone": "[전화번호]",
    "email": "[이메일]",
    "address": "[주소]",
    "hospital": "[병원]",
    "chart_number": "[등록번호]",
    "passport_number": "[여권번호]",
    "licence_number": "[면허번호]",
    "card_number": "[카드번호]",
    "account_number": "[계좌번호]",
    "birth_date": "[생년월일]",
    "url": "[URL]",
    "messenger_id": "[메신저]",
}

Range = tuple[int, int]  # start and end in the folded text

HIDDEN = "\ue000"  # stands for a mark in folded text; a private-use character, so no pattern below matches it by chance
HIDDEN_HOSPITAL = "\ue001"  # kept apart: what may follow it differs
HIDDEN_NAME = "\ue002"  # kept apart: it says nothing of its neighbours, so that no finding sets off an endless row
MARK = re.compile("|".join(map(re.escape, MARKS.values())))

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\uffa0"
)
BOLD = r"(?<![0-9A-Za-z가-힣*-])\*\*(?=[^\s*-][^*\n]{0,80}+\*\*(?![0-9A-Za-z가-힣*-]|\s?-))"
FOLDABLE = re.compile(  # what is not itself in folded text, or would not be next to what follows it
    rf"(?P<mark>{MARK.pattern})|(?P<private>[\ue000-\ue002])|(?P<invisible>[{INVISIBLE}]+)|(?P<bold>{BOLD})|(?P<stars>\*\*)"
    "|(?P<jamo>[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?)|(?P<accent>[A-Za-z][\u0300-\u036f]+)"
    "|(?P<odd>[\u00a0\u2000-\u200a\u202f\u205f\u3000\u2010-\u2015\u2212\u2043\ufe58\ufe63\uff01-\uff5e\uffe3]|[^\\D0-9])"
)


@dataclass(frozen=True)
class Folded:
    """Text as the finders read it; its character i stands for `original[starts[i]:ends[i]]`."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def fold(text: str) -> Folded:
    """`text` with digits of any script as 0-9, full-width forms as ASCII, single Hangul letters (NFD) composed,
    dashes and spaces of any kind as `-` and ` `, invisible characters left out, and each mark as one character."""
    if not FOLDABLE.search(text):
        return Folded(text, range(len(text)), range(1, len(text) + 1))
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    is_bold = False
    for match in FOLDABLE.finditer(text):
        parts.append(text[at : match.start()])
        starts += range(at, match.start())
        ends += range(at + 1, match.start() + 1)
        if match.lastgroup == "stars" and not is_bold:  # digits that somebody hid
            folded, is_bold = "", False
            parts.append("**")
            starts += range(match.start(), match.end())
            ends += range(match.start() + 1, match.end() + 1)
        else:
            folded, is_bold = _fold_match(match), match.lastgroup == "bold" or (is_bold and match.lastgroup != "stars")
        parts.append(folded)
        starts += [match.start()] * len(folded)
        ends += [match.end()] * len(folded)
        at = match.end()
    parts.append(text[at:])
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return Folded("".join(parts), starts, ends)


def _fold_match(match: re.Match[str]) -> str:
    """One character, or none for what cannot be seen."""
    found = match[0]
    match match.lastgroup:
        case "mark":
            return hidden(next(kind for kind, mark in MARKS.items() if mark == found))
        case "invisible" | "bold" | "stars":  # Markdown's ** around a word: it would stand between a name and 님
            return ""
        case "private":
            return "\ufffd"
        case "jamo" | "accent":
            return unicodedata.normalize("NFC", found)[:1]
        case _ if found.isdecimal():
            return str(unicodedata.decimal(found))
        case _ if found.isspace():
            return " "
        case _ if unicodedata.category(found) in ("Pd", "Sm") and found not in "＜＝＞＋｜～":
            return "-"
        case _:
            return unicodedata.normalize("NFKC", found)[:1]


def hidden(kind: Kind) -> str:
    match kind:
        case "hospital":
            return HIDDEN_HOSPITAL
        case "name":
            return HIDDEN_NAME
        case _:
            return HIDDEN


def hide(folded: Folded, found: Sequence[tuple[Kind, Range]]) -> Folded:
    """The folded text as it would be had the marks stood there already."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for kind, (start, end) in found:
        parts += [folded.text[at:start], hidden(kind)]
        starts += [*folded.starts[at:start], folded.starts[start]]
        ends += [*folded.ends[at:start], folded.ends[end - 1]]
        at = end
    parts.append(folded.text[at:])
    return Folded("".join(parts), [*starts, *folded.starts[at:]], [*ends, *folded.ends[at:]])
