"""Finder of persons' names, in Hangul and in Latin letters.

A name has a shape (a surname, then syllables that given names have) and neighbours (님, 원장, 성명:, 환자, a
number that was just masked). Neither is enough by itself: 이상 and 조영제 have the shape, 어머님 the neighbour.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache

from stages.core.finding_numbers import BANK
from stages.core.finding_places import HOUSE_TYPE
from stages.core.folding import HIDDEN, HIDDEN_HOSPITAL, Range
from stages.core.word_lists import alternation, is_known_word, load_drugs, load_words

SURNAMES = load_words("surnames")
TWO_SURNAMES = frozenset(surname for surname in SURNAMES if len(surname) == 2)
COMMON_SURNAMES = (  # those that suffice beside a common given name, without any wording
    "김이박최정강조윤장임한오서신권황안송류유홍전고문손양배백허남심노하곽성차주우구민진나지엄채원천방공현함염추도소석선설마길연위표명"
)
TITLE = alternation(load_words("titles"))
PARTICLE = alternation(load_words("particles"))
AFTER = re.compile(
    rf"(?P<honorific>\s?(?:님|씨(?!앗)))"
    r"|(?P<young>\s?[군양](?=[은이의과에도,.\s]|$))"
    rf"|(?P<title>\s?(?:{TITLE})(?!과정|회(?![원가])|법|국|실|직))"
    r"|(?P<sign>\s?(?:(?:드림|올림|배상|서명)(?![가-힣])|拜上|\(인\)|\(서명\)|M\.?D\.?(?![A-Za-z])))"
    r"|(?P<person>\s?[(/,|]\s?(?:남|여|[MFmf](?![A-Za-z])|만\s?[0-9]|[0-9]{1,3}\s?(?:세|살|/))"
    rf"|\s?[(,/|]?\s?{HIDDEN}|\s(?:환자|의사)(?![가-힣]{{0,2}}(?:마다|별)))"
    r"|(?P<copula>\s?(?:입니다|이십니다|이세요|이셔요|이셨|입니까|이에요|이예요|예요|에요|이고(?![가-힣])"
    r"|이며(?![가-힣])|라고\s|이라고\s|이라는|라는"
    r"|인데(?:요|[\s,.]|$)|이구요|구요|이었))"
    rf"|(?P<particle>(?:{PARTICLE}){{1,2}}(?![가-힣]))"
    r"|(?P<end>(?![가-힣]))"
)
LABEL = re.compile(
    rf"(?:{alternation(load_words('labels'))})"
    r"(?:\s?(?:은|는|이|가|을|를|도|란))?(?:\s*(?P<colon>[:=/|\-])|\s)?\s*['\"‘“(\[]?\s*$"
)
ROLE = re.compile(
    rf"(?:(?<![가-힣])(?:우리|저희|제|큰|작은|외|시)?(?:형|모|부|아가|아이|아기|딸|언니|고인|故|본인)"
    rf"|{alternation(load_words('roles'))}|{BANK}|(?:[자인명]|확인|서명)\s?(?=:))(?:인|은|는|이|님|분)?\s?[:(]?\s?['\"‘“]?$"
)
GREETING = re.compile(
    r"(?:안녕하세요|안녕하십니까|안녕하세여|반갑습니다|처음 뵙겠습니다|저는|전|저|제가|나는|하이닥|클리닉|센터|[과팀실]"
    rf"|{HOUSE_TYPE}|{HIDDEN_HOSPITAL})(?:의|에서 근무하는)?[\s,.!~:]{{0,4}}$|(?:^|[.!?\n~])\s*$"
)
CLOSE = re.compile(
    rf"(?<![가-힣])(?:우리|저희|제|큰|작은|외)?\s?(?:{alternation(load_words('kin'))}|우리|울|이름|본명)"
    r"(?P<is>[은는이도])?\s?[:(]?['\"‘“]?$"
)
GLUED = "".join(
    f"|(?<={word})"
    for word in ("상담의", "전문의", "담당의", "주치의", "환자명", "환자", "원장", "약사", "성명", "이름", "예금주")
)
TOKEN = re.compile(rf"(?:(?<![가-힣]){GLUED})(?=(?:{alternation(SURNAMES)})[가-힣])")
SPACED_TOKEN = re.compile(rf"(?<![가-힣])(?:{alternation(SURNAMES)})\s(?P<given>[가-힣]{{2}})")
COVER = "*xX○●◯〇OㅇX"
COVERED = re.compile(
    rf"(?<![가-힣*])[{COMMON_SURNAMES}](?:[{COVER}0]{{2,3}}(?![A-Za-z0-9])"
    rf"|[{COVER}0](?![님씨군양])[가-힣](?![가-힣]{{3}})|[가-힣][○●◯〇*]{{1,2}}(?![*0-9]))"
)
COVERED_ONE = re.compile(
    rf"(?<![가-힣])[{COMMON_SURNAMES}][*○●◯〇ㅇOX](?=\s?(?:님|씨|환자|원장|교수|선생|약사|간호사|고객|[(,/]))"
)
APART_LETTERS = re.compile(
    r"(?:성\s?명|성함|이름|환자명|예금주)\s*[:은이는]?\s*(?P<name>[가-힣]\s{1,2}[가-힣]\s{1,2}[가-힣])(?![가-힣])"
)


def find_names(text: str) -> Iterator[Range]:
    """Persons' names. Each candidate has a shape (surname, given name) and neighbours; both together must suffice.

    A full name found anywhere is taken at its other mentions too, and so is its given name before 씨, 님, 이, 가."""
    ranges = [*_full_names(text), *_given_names(text), *_latin_names(text)]
    for pattern in (COVERED, COVERED_ONE):
        ranges += [match.span() for match in pattern.finditer(text) if not is_known_word(match[0].rstrip("*"))]
    ranges += [match.span("name") for match in APART_LETTERS.finditer(text) if match["name"][0] in SURNAMES]
    yield from ranges
    yield from _mentions(text, {text[start:end] for start, end in ranges})


def _full_names(text: str) -> Iterator[Range]:
    for token in SPACED_TOKEN.finditer(text):
        given = token["given"]
        if AFTER_SPACED.match(text, token.end()) and _is_likely(given) and not is_known_word(given):
            yield token.span()
    for token in TOKEN.finditer(text):
        start = token.start()
        before = text[max(0, start - 24) : start]
        for length in (4, 3) if text[start : start + 2] in TWO_SURNAMES else (3, 2):
            if _is_full_name(text, start, start + length, before):
                yield start, start + length
                break


def _is_full_name(text: str, start: int, end: int, before: str) -> bool:
    """Whether `text[start:end]`, which begins with a surname, is a full name here."""
    name = text[start:end]
    after = AFTER.match(text, end)
    if after is None or not HANGUL.fullmatch(name) or len(name) < end - start or is_known_word(name):
        return False
    near = after.lastgroup or ""
    given = name[2:] if name[:2] in TWO_SURNAMES and len(name) > 2 else name[1:]
    label = LABEL.search(before)
    common = given in load_words("given_names")
    if len(name) == 2:
        return _is_short_name_of(name, near, before, titled=_is_addressed(text, end), label=label)
    if near == "honorific" or (label and label["colon"]):
        return _is_plausible(given) or name[-1] not in ROLE_ENDS
    if _is_inflected_word(name) or (name[-1] == "이" and _is_likely(name[:-1]) and CLOSE.search(before)):
        return False
    if name[-1] == "이" and not common and name[1] in load_words("given_single") and KIN.search(before):
        return False  # 여동생 박솔이: the name has two syllables
    glued = before[-1:] >= "가" and before[-1:] <= "힣"
    if near == "young" or (glued and near in ("end", "particle")):
        return common
    if label and name[-1] not in VERB_ENDS:
        return _is_likely(given) or (_is_plausible(given) and near in ("end", "copula", "title", "person"))
    role = ROLE.search(before)
    if near in ("title", "sign") or (near == "copula" and (role or GREETING.search(before))):
        return common or (_is_plausible(given) and name[-1] not in VERB_ENDS + (ROLE_ENDS if near == "copula" else ""))
    if (role and near == "particle" and after[0].startswith(("께", "한테", "에게"))) or text.startswith(" 환자분", end):
        return _is_plausible(given) and name[-1] not in VERB_ENDS
    if role or near == "person" or BESIDE_MARK.search(before):
        if near == "particle" and name[-1] == "하":  # 주도하에, 운영하는
            return False
        return common or (_is_likely(given) and name[-1] not in VERB_ENDS)
    return common and name[0] in COMMON_SURNAMES and name[-1] not in "하한의"


KIN = re.compile(rf"(?<![가-힣])(?:우리|저희|제|큰|작은)?\s?(?:{alternation(load_words('kin'))})(?:인|님)?\s$")
BESIDE_MARK = re.compile(rf"{HIDDEN}(?:호|번)?[)\]'\"]?[\s,/:·|]{{1,3}}$")
AFTER_SPACED = re.compile(r"\s?(?:님|씨(?!앗)|드림|올림)")
ROLE_ENDS = "자인사가분원장생들것게고며서면관부"
VERB_ENDS = "은는을를의에와과로한던할여"  # 복용한 환자, 대학의 학생


def _is_short_name_of(name: str, near: str, before: str, *, titled: bool, label: re.Match[str] | None) -> bool:
    """Surname and one syllable (김준): many words look so, so its neighbours must be plain."""
    if name[1] not in load_words("given_single"):
        return False
    if near in ("honorific", "sign") or (
        label and (label["colon"] or (near != "particle" and name[1] not in VERB_ENDS))
    ):
        return True
    if near == "particle":
        return KIN.search(before) is not None
    if near == "title":
        return titled or ROLE.search(before) is not None
    return near == "copula" and GREETING.search(before) is not None


def _is_addressed(text: str, end: int) -> bool:
    """류단교수님: a title and 님 right behind the name."""
    return re.match(rf"(?:{TITLE})님", text[end : end + 8]) is not None


def _is_likely(given: str) -> bool:
    """Each syllable stands where given names often have it."""
    if len(given) == 1:  # after a surname of two
        return given in load_words("given_single")
    return len(given) == 2 and given[0] in load_words("given_first") and given[1] in load_words("given_second")


@cache
def _given_syllables() -> frozenset[str]:
    return (
        load_words("given_first") | load_words("given_second") | load_words("given_rare") | load_words("given_single")
    )


def _is_plausible(given: str) -> bool:
    return all(syllable in _given_syllables() for syllable in given)


def _is_inflected_word(name: str) -> bool:
    """이상은, 정도로: a word with a particle that only looks like a name."""
    return name[-1] in "은는이가을를의도로에와과만인시지고서나라면며야" and is_known_word(name[:-1])


def _given_names(text: str) -> Iterator[Range]:
    """지우님, 민수씨; 우리 지우가, 딸 서연이는. Only syllables in their usual places, and no words."""
    for match in GIVEN.finditer(text):
        given = match["given"]
        if _is_given(given):
            yield match.span("given")
    for match in CLOSE_GIVEN.finditer(text):
        given = match["given"]
        close = CLOSE.search(text[max(0, match.start() - 10) : match.start()])
        if close and (close["is"] or not match["last"]) and _is_given(given):
            yield match.span("given")


def _is_given(given: str) -> bool:
    """Whether it is a given name where its surname is missing."""
    return _is_likely(given) and not is_known_word(given) and given not in load_words("not_given")


GIVEN = re.compile(r"(?<![가-힣])(?P<given>[가-힣]{2})\s?(?:님|씨(?!앗))")
CLOSE_GIVEN = re.compile(
    r"(?<![가-힣])(?P<given>[가-힣]{2})(?=이?(?:가|는|를|의|랑|한테|에게|도|만|와|야)(?![가-힣])|이[가는를의도]"
    r"|[은이](?![가-힣])|[,(]|(?P<last>\.|\s*$)|예요|이에요|이예요|이구요|구요|이고|입니다|라고|이라고)"
)


LATIN_WORD = r"[A-Z][a-z]{1,14}(?:[-'][A-Z][a-z]{1,14})?"
LATIN = rf"(?:{LATIN_WORD}(?:[ ](?:{LATIN_WORD}|[A-Z]\.|bin|al|van|de|von)){{0,3}})"
UPPER = r"[A-Z]{2,15}(?:[ ][A-Z]{2,15}(?:-[A-Z]{2,15})?|,\s?[A-Z]{2,15}){1,3}"
SEVERAL = rf"(?:{LATIN_WORD}(?:[ ](?:{LATIN_WORD}|[A-Z]\.)){{1,3}}|{UPPER})"
ROMANISED = (
    "Kim|Lee|Park|Choi|Jung|Jeong|Kang|Cho|Yoon|Jang|Lim|Seo|Shin|Kwon|Hwang|Ahn|Song|Ryu|Yoo|Hong|Jeon|Moon|Yang|Bae"
    "|Baek|Heo|Nam|Noh|Kwak|Cha|Joo|Woo|Koo|Chae|Bang|Hyun|Nguyen|Tran|Pham|Wang|Zhang|Chen|Liu|Zhao"
)
LATIN_LABELLED = re.compile(
    r"(?:성\s?명|성함|이름|환자\s?명|예금주|여권\s?상?\s?(?:이름|성명)|영문\s?(?:이름|성명|명|표기)?|[Nn]ame|NAME"
    r"|Dr\.?|Mr\.?|Mrs\.?|Ms\.?|Pt\.|닥터|보호자|받는\s?사람)(?:\s?(?:은|는|이|가|도))?\s*[:=]?\s*['\"‘“(]?\s*"
    rf"(?P<name>{UPPER}|{LATIN})(?![A-Za-z0-9])"
)
LATIN_ROLE = re.compile(
    rf"(?:{alternation(load_words('roles'))}|담당의|주치의|상담의|환자분|동포|외국인|근로자|노동자|선수|강사|출신|국적의"
    rf"|에서 온|저는|전)(?:인|은|는|이|가)?\s?[:(]?\s?(?P<name>{SEVERAL})(?![A-Za-z0-9])"
)
LATIN_TITLED = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>{LATIN}|{UPPER})\s?"
    r"(?P<title>님|선생님|씨(?!\s?(?:병|선|낭|관|체|증후군|세포|막|공|법|검사))|교수|원장|환자|박사"
    r"|간호사|고객|보호자|과장|약사|드림|올림)"
)
LATIN_ROMANISED = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>(?:{ROMANISED})(?:[ ]{LATIN_WORD}){{1,2}}"
    rf"|(?:{ROMANISED.upper()}),?[ ][A-Z]{{4,15}}(?:[ -][A-Z]{{2,15}})?"
    rf"|(?:{LATIN_WORD}[ ]){{1,2}}(?:{ROMANISED}))(?![A-Za-z0-9])"
)
LATIN_BESIDE = re.compile(
    rf"(?:{HIDDEN}[)\s,/:|]{{1,3}}(?P<after>{SEVERAL})"
    rf"|(?<![A-Za-z0-9])(?P<before>{SEVERAL})[\s,/:|(]{{1,3}}"
    rf"(?:[가-힣]{{2,6}}\s?:?\s?)?{HIDDEN})(?![A-Za-z0-9])"
)


def _latin_names(text: str) -> Iterator[Range]:
    """John Smith where 환자, 이름, Dr. or 님 says so, or with a romanised surname; one word alone only after a label or
    before 님 and 씨."""
    if not re.search("[A-Z]", text):
        return
    for pattern in (LATIN_LABELLED, LATIN_ROLE, LATIN_TITLED, LATIN_ROMANISED):
        for match in pattern.finditer(text):
            alone = pattern is LATIN_TITLED and " " not in match["name"] and match["title"] not in ("님", "씨")
            if not alone and _is_latin_name(match["name"]):
                yield match.span("name")
    for match in LATIN_BESIDE.finditer(text):
        group = match.lastgroup or "after"
        if not match[group].isupper() and _is_latin_name(match[group]):
            yield match.span(group)


def _is_latin_name(name: str) -> bool:
    words = re.split("[ ,-]+", name.lower())
    return not any(word in load_words("not_latin_names") or word in _latin_drugs() for word in words)


@cache
def _latin_drugs() -> frozenset[str]:
    return frozenset(drug.lower() for drug in load_drugs() if drug.isascii())


def _mentions(text: str, names: Collection[str]) -> Iterator[Range]:
    """Other places of the full names that were found, and their given names where 씨, 님, 이, 가 follow."""
    full = {name for name in names if len(name) > 2 and HANGUL.fullmatch(name)}
    if not full:
        return
    for match in SURNAME.finditer(text):
        for length in (4, 3):
            end = match.start() + length
            name = text[match.start() : end]
            after = AFTER.match(text, end) if name in full else None
            if after and (after.lastgroup in ("honorific", "title") or not _is_inflected_word(name)):
                yield match.start(), end
    given = {name[-2:] for name in full if not is_known_word(name[-2:])} - load_words("not_given")
    for match in GIVEN_AGAIN.finditer(text):
        if match["given"] in given:
            yield match.span("given")


HANGUL = re.compile("[가-힣]+")
SURNAME = re.compile(f"[{''.join(sorted({surname[0] for surname in SURNAMES}))}]")
GIVEN_AGAIN = re.compile(
    r"(?<![가-힣])(?P<given>[가-힣]{2})(?=이?(?:가|는|를|의|한테|에게|도|랑)(?![가-힣])|\s?(?:님|씨)|이\s)"
)
