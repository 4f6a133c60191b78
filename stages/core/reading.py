"""A reading of answers that understands Korean endings: which of the five letters a text names, or none.

lm-eval's own filter (KorMedMCQA 3.0) passes over "B입니다", "정답은 B번입니다" and "②", and finds a C in "비타민 C".
This reading stands beside it and never replaces it. It would rather say nothing than guess. Evidence in this order; the
first kind that a text has decides, also where it decides that the text cannot be read:

1. a conclusion: a declaration after "따라서" and the like in the same sentence ("따라서 정답은 D이다");
2. a declaration: "정답: B", "답은 B번입니다", "가장 적절한 것은 ②이다", "B가 정답입니다", "정답은 급성 충수염입니다";
   and a letter or a number, 1 to 5, on a line of its own, for the prompt ends in "정답：" ("B", "B입니다", "2번");
3. the whole text is a choice's own text, with or without an ending (and, as everywhere, without the brackets at its
   end where no choice fits whole: 대장균 for 대장균(Escherichia coli));
4. the beginning: a letter set off from what follows ("B. 급성 충수염", "B번입니다. 이유는 …").

A letter or number counts only where the word ends behind it or an ending of the language follows: "B형 간염", "2주" and
"E. coli" name no choice, a question or a condition ("B인가?", "B라면") declares none. Nothing is read where one kind of
evidence names two letters, where letter and own text disagree ("B. <text of C>"), where a bare number may be the number
in another choice, and where the text itself takes the letter back ("B는 정답이 아니다").
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import cast

from stages.core.records import LETTERS, Letter

CIRCLED = str.maketrans({circled: f"({number})" for row in ("①②③④⑤", "❶❷❸❹❺") for number, circled in enumerate(row, 1)})
MARKS = re.compile(r"[*_`#$'\"“”‘’「」]+")

Pattern = tuple[str, str]  # the first word of a choice's own text, and a regular expression for all of it

# a letter or a number as the name of a choice; what stands behind it is for the patterns below
NAME = (
    r"[(\[<]?(?P<name>(?<![A-Za-z0-9-])[A-Ea-e](?![A-Za-z0-9-])|(?<![\d.-])[1-5](?!\.?\d))[)\]>]?"
    r"(?P<counter>\s?번)?"
)
ENDING = (
    r"\s*(?:입니다|이다|이에요|예요|이며|이므로|임|다|일 것입니다|일 것이다|에 해당(?:합니다|한다)"
    r"|라고 (?:생각|판단)(?:합니다|한다)"
    r"|(?:이|가) (?:가장 )?(?:맞습니다|맞다|옳습니다|옳다|적절합니다|적절하다|타당합니다|타당하다))(?![가-힣])"
)
ABBREVIATION = r"\.(?:[A-Za-z]|\s*[a-z])"  # E. coli, C. difficile, C.I.E.
AFTER_NAME = re.compile(rf"{ENDING}|(?!{ABBREVIATION})\s*(?:[.,;:!)\n]|$)|\s+\(")
AFTER_TEXT = re.compile(rf"{ENDING}|\s*(?:[.!)\n]|$)")
ANOTHER = re.compile(rf"\s*(?:이며|이고|이나|또는|혹은|및|와|과|나|or\b|and\b|[,;/·~&+])\s*{NAME}", re.I)
BETWEEN = re.compile(r"[\s.,:(]*")  # a name and its own text
BRACKETED = re.compile(r"[(\[].[)\]]")  # so is what was a circled number
GLOSS = re.compile(r"\s*\([^()]*\)$")

CHOICE_WORD = r"(?:보기|선택지|선지|옵션|option)"
THEREFORE = r"(?:따라서|그러므로|그래서|결론적으로|결국|최종(?:적으로)?|therefore)"
CONCLUDING = re.compile(THEREFORE, re.I)
SUBJECT = re.compile(  # up to where the answer should stand
    r"(?<![가-힣])(?:최종\s?)?(?:(?:정답|해답|답안|답|answer)(?:\s*(?:은|는|이|is))?|(?<!답이 아닌 )것[은는])"
    rf"[\s:=→-]*{CHOICE_WORD}?\s*",
    re.I,
)
PREDICATE = re.compile(  # the other way round: B가 정답입니다
    rf"(?:^|[.!?:;\n]|{THEREFORE},?|{CHOICE_WORD})\s*{NAME}\s?(?:[이가]\s*(?:정답|답)(?:입니다|이다|이며|이므로"
    r"|이에요|임)|[을를]\s*(?:선택|택)(?:합니다|한다|했습니다)|[이가]\s*가장\s*(?:적절|타당)(?:합니다|하다))(?![가-힣])",
    re.I,
)
NOT_THIS_BUT = re.compile(rf"{NAME}\s?[이가은는]?\s*아니(?:라|고),?\s*", re.I)
DENIED = re.compile(rf"{NAME}\s?[이가은는]\s*(?:(?:정답|답)이\s*)?(?:아니|아닙|아닌|오답)", re.I)
START = re.compile(rf"\s*(?:{CHOICE_WORD}\s*)?", re.I)
ONLY_A_NAME = re.compile(rf"{NAME}(?:{ENDING})?[\s.,:!)]*$", re.I)
OPENING = re.compile(rf"{NAME}(?:{ENDING}|(?!{ABBREVIATION})\s*(?:[.,)]|\n))")
LABEL = re.compile(rf"(?:^|(?<=\s)){NAME}[.:)]", re.I)
NAMED = re.compile(NAME, re.I)


def read_letter(text: str, choices: Sequence[str] = ()) -> Letter | None:
    """The choice that a model's answer names; None where it names none, or more than one.

    `choices` are the texts of A to E. Without them an answer in a choice's own words cannot be read, and "정답: B 세포"
    cannot be told from "정답: B 급성 충수염", so neither is.
    """
    text, choices = _plain(text), [_plain(choice).strip(" .") for choice in choices]
    declared = list(_declarations(text, choices))
    for found in (
        set().union(*(letters for concluded, letters in declared if concluded)),
        set().union(*(letters for _, letters in declared)),
        _same_text(text, choices),
        _opening(text, choices),
    ):
        if found:
            return cast(Letter, min(found)) if len(found) == 1 and not found & _denied(text) else None
    return None


def _plain(text: str) -> str:
    """Full-width and circled characters as plain ones, without quotation and Markdown marks; lines and case stay."""
    return re.sub(r"[ \t]+", " ", MARKS.sub("", unicodedata.normalize("NFKC", text.translate(CIRCLED)))).strip()


def _letter(name: re.Match[str]) -> str:
    found = name["name"].upper()
    return LETTERS[int(found) - 1] if found.isdigit() else found


def _declarations(text: str, choices: Sequence[str]) -> Iterator[tuple[bool, set[str]]]:
    """Every place that says what the answer is: whether as a conclusion, and the letters it names."""
    for subject in SUBJECT.finditer(text):
        yield _is_concluded(text, subject), _named_at(text, _past_denial(text, subject.end()), choices)
    for predicate in PREDICATE.finditer(text):
        yield _is_concluded(text, predicate), {_letter(predicate)}
    for line in text.split("\n"):
        if name := ONLY_A_NAME.match(line, _past_denial(line, _start(line))):
            yield False, {_letter(name)} | _beginning_with(name, choices) | _same_text(line, choices)


def _is_concluded(text: str, declaration: re.Match[str]) -> bool:
    sentence = re.split(r"[.!?\n]", text[: declaration.start()])[-1]
    return CONCLUDING.search(sentence + declaration[0]) is not None


def _past_denial(text: str, place: int) -> int:
    """Behind "B가 아니라" where that stands at `place`."""
    denial = NOT_THIS_BUT.match(text, place)
    return denial.end() if denial else place


def _named_at(text: str, place: int, choices: Sequence[str]) -> set[str]:
    """The letters named at `place` by letter, number or a choice's own text; two where these disagree."""
    found = _texts_at(text, place, choices)
    name = NAMED.match(text, place)
    if name is None:
        return found
    letter = _letter(name)
    if labelled := _labelled(text, name, choices):
        return found | ({letter} if letter in labelled else {letter, *labelled})
    if another := ANOTHER.match(text, name.end()):
        return found | {letter, _letter(another)}
    if AFTER_NAME.match(text, name.end()) or _stands_alone(text, name):
        return found | {letter} | _beginning_with(name, choices)
    return found


def _stands_alone(text: str, name: re.Match[str]) -> bool:
    """Whether it is set in brackets (or circled) before other words, with no second one in the rest of the line."""
    rest = text[name.end() :].partition("\n")[0]
    return BRACKETED.fullmatch(name[0]) is not None and rest[:1] == " " and LABEL.search(rest) is None


def _texts_at(text: str, place: int, choices: Sequence[str]) -> set[str]:
    """Letters of the choices whose own text stands at `place`, and ends there."""
    for patterns in _patterns(choices):
        found = set()
        for letter, pattern in zip(LETTERS, patterns, strict=False):
            own = _match(pattern, text, place)
            if own and AFTER_TEXT.match(text, own.end()):
                found.add(letter)
        if found:
            return found
    return set()


def _labelled(text: str, name: re.Match[str], choices: Sequence[str]) -> set[str]:
    """Letters of the choices whose own text follows a name: "B. 급성 충수염"."""
    between = BETWEEN.match(text, name.end())
    places = range(name.end() + 1, between.end() + 1) if between else ()
    return set().union(*(_texts_at(text, place, choices) for place in places))


def _beginning_with(name: re.Match[str], choices: Sequence[str]) -> set[str]:
    """Letters of the choices that begin with this bare number: "2" may be the second choice, or short for "2회"."""
    if name[0] != name["name"] or not name["name"].isdigit():
        return set()
    number = re.compile(rf"{name['name']}(?!\d)")
    return {letter for letter, choice in zip(LETTERS, choices, strict=False) if number.match(choice)}


def _start(text: str) -> int:
    """Behind "보기" and blanks."""
    start = START.match(text)
    return start.end() if start else 0


def _same_text(text: str, choices: Sequence[str]) -> set[str]:
    """Letters of the choices whose own text this is, with or without an ending."""
    for patterns in _patterns(choices):
        found = {
            letter
            for letter, pattern in zip(LETTERS, patterns, strict=False)
            if _match(pattern, text, 0, rf"(?:{ENDING})?[\s.!]*$")
        }
        if found:
            return found
    return set()


def _patterns(choices: Sequence[str]) -> tuple[list[Pattern], list[Pattern]]:
    """For each choice's own text as models write it, however it is spaced: 급성충수염 for 급성 충수염. First whole,
    then without what stands in brackets at its end, or with something else there: 대장균 for 대장균(Escherichia coli).

    Nothing of one character: it may be the letter that names a choice.
    """
    bare = [GLOSS.sub("", choice) if GLOSS.search(choice) else "" for choice in choices]
    return (
        [_spaced(choice) for choice in choices],
        [_spaced(text, r"(?:\s*\([^()\n]*\))?") if len(text) > 1 else ("", "") for text in bare],
    )


def _spaced(text: str, after: str = "") -> Pattern:
    words = text.split()
    return (words[0], r"\s*".join(map(re.escape, words)) + after) if words else ("", "")


def _match(pattern: Pattern, text: str, place: int, after: str = "") -> re.Match[str] | None:
    """Looks at the first word before it compiles: thousands of choices are other ones each, and compiling is slow."""
    word, expression = pattern
    if not word or text[place : place + len(word)].lower() != word.lower():
        return None
    return re.compile(expression + after, re.I).match(text, place)


def _opening(text: str, choices: Sequence[str]) -> set[str]:
    """The letter set off at the beginning. A bare number there counts steps, and several labels are a list."""
    name = NAMED.match(text)
    if name is None:
        return set()
    if len({_letter(label) for label in LABEL.finditer(text)} | {_letter(name)}) > 1:
        return set()
    if labelled := _labelled(text, name, choices):
        return {_letter(name)} if _letter(name) in labelled else {_letter(name), *labelled}
    is_set_off = OPENING.match(text) and not ANOTHER.match(text, name.end())
    return {_letter(name)} if is_set_off and (name["counter"] or name["name"].isalpha()) else set()


def _denied(text: str) -> set[str]:
    return {_letter(denial) for denial in DENIED.finditer(text)}
