"""Finders of places that tell who somebody is: postal addresses, and clinics, hospitals and pharmacies by name."""

import re
from collections.abc import Iterator

from stages.core.finding_numbers import COPULA, UNIT
from stages.core.folding import Range
from stages.core.word_lists import alternation, is_known_word, is_made_of, load_words

PROVINCE = (
    r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주|충청북|충청남|전라북|전라남|경상북|경상남)"
    r"(?:특별시|광역시|특별자치시|특별자치도|자치도|시|도)?"
)
ADMINISTRATIVE = re.compile(
    rf"(?<![가-힣A-Za-z0-9])(?:(?:{PROVINCE})|(?:[가-힣]{{1,5}}[시군구]){{1,3}}"
    r"|(?:[가-힣]{1,6}[0-9]{0,2}(?:동|읍|면|리)|[가-힣]{1,4}[0-9]가))[\s,]{1,3}$"
)
HOUSES = alternation(load_words("houses"))
NUMBER = r"(?:산\s?)?[0-9][0-9*]{0,3}(?:-[0-9*]{1,4})?"
TAIL_PART = (
    rf"(?:\s?번지(?:\s?[0-9]{{1,3}}호)?|[\s,]{{0,2}}\([^()\n]{{0,16}}(?:동|가|리|층|호|{HOUSES})[^()\n]{{0,12}}\)"
    rf"|[\s,]{{0,2}}(?:지하\s?|제)?[0-9*]{{1,5}}(?:-[0-9]{{1,4}})?\s?(?:동|층|호실|호|단지|차)(?![가-힣]*(?:병동|선))"
    rf"|[\s,]{{0,2}}(?:지하|B)\s?[0-9]{{1,2}}층?|[\s,]{{0,2}}[A-Z가나다라마]동(?=[\s,0-9])"
    r"|[\s,]{1,2}(?:제\s?[0-9]{1,2})?[가-힣]{0,6}(?:공장|창고|연구소|기숙사|물류센터)"
    rf"|[\s,]{{1,2}}[가-힣A-Za-z0-9]{{0,12}}(?:{HOUSES})(?:[A-Z]|[0-9]차)?(?=[\s,.)/0-9]|$|에|로|으로|입|이|의|앞))"
)
ADDRESS_TAIL = re.compile(rf"{TAIL_PART}{{0,6}}")
ROAD = re.compile(
    rf"(?<![가-힣A-Za-z0-9])(?P<road>[가-힣A-Za-z0-9·]{{1,16}}?(?:대로|로|길))\s?(?P<side>[0-9]{{1,4}}(?:번|번가|[가나다라])?길\s?)?(?P<number>(?:지하\s?)?{NUMBER})(?![0-9*]|가\s?[0-9])"
)
LOT = re.compile(
    rf"(?<![가-힣A-Za-z0-9])(?P<district>[가-힣]{{1,12}}[0-9]{{0,2}}(?:동|읍|면|리|가))\s?(?P<number>{NUMBER})(?![0-9*])(?P<lot>\s?번지)?"
)
HOUSE = re.compile(
    rf"(?<![가-힣A-Za-z0-9])(?P<name>[가-힣A-Za-z0-9]{{0,12}}(?:{HOUSES})(?:\s?[0-9]{{1,2}}(?:단지|차))?)\s?(?P<door>(?:[0-9]{{1,4}}|[A-Z가나다라])\s?동\s?(?:제?[0-9]{{1,5}}호)?|제?[0-9]{{2,5}}호)(?![가-힣]*(?:병동|선))"
)
DOOR = re.compile(r"(?<![가-힣A-Za-z0-9])[0-9]{3,4}동\s?[0-9]{3,5}호(?!선)")
ROMAN = re.compile(
    r"(?<![A-Za-z0-9])(?:#?[0-9]{1,5}(?:-[0-9]{1,4})?,?\s)?[A-Z][A-Za-z]{1,20}-?\s?(?:ro|gil|daero)(?:\s?[0-9]{1,3}(?:beon)?-?gil)?(?:,?\s[0-9]{1,4}(?:-[0-9]{1,4})?)?"
    r"(?:,\s?[A-Z][A-Za-z]{1,20}(?:-(?:dong|gu|si|do|gun|eup|myeon))?){1,5}"
)
LIVES = re.compile(
    r"(?:주소|거주지|거주|배송지|소재지|체류지|사는\s?곳|사는\s?데|살고|위치|자택|본가|집|댁|직장|회사|배송|택배|발송|보내실\s?곳)[^\n0-9]{0,10}$"
)
LIVES_AFTER = re.compile(
    r"\s?(?:번지)?\s?(?:에|에서|로|으로)?\s?(?:있는|있어|위치|살고|살아|사는|거주|보내|발송|배송|택배|소재)"
)


def find_addresses(text: str) -> Iterator[Range]:
    """Road and lot addresses, and a house with its door: a core with a number, districts before, a building after.

    The core alone is weak (`그대로 2주`, `운동 30-40분`), so something must speak for it: a district before it, a side
    street, a door after it, a well-known road, or the wording; and nothing counted may follow the number.
    """
    for match in ROAD.finditer(text):
        if span := _road_address(text, match):
            yield span
    for match in LOT.finditer(text):
        if span := _lot_address(text, match):
            yield span
    for match in HOUSE.finditer(text):
        start = _with_districts(text, match.start())
        if match["name"] not in NO_HOUSES:
            yield start, _tail_end(text, match.end())
    for match in DOOR.finditer(text):
        yield match.span()
    for match in ROMAN.finditer(text):
        yield match.span()


NO_HOUSES = frozenset(("단지", "마을", "상가", "주택", "타운"))


def _tail_end(text: str, end: int) -> int:
    """Where the address ends, given where its core does: building, floor and door."""
    tail = ADDRESS_TAIL.match(text, end)
    return tail.end() if tail else end


def _road_address(text: str, match: re.Match[str]) -> Range | None:
    end = _tail_end(text, match.end())
    tail = text[match.end() : end]
    start = _with_districts(text, match.start())
    road = match["road"]
    if NO_ROAD.fullmatch(road) or (not tail and UNIT.match(text, match.end())):
        return None
    evidence = (
        start < match.start()
        or match["side"]
        or road in load_words("roads")
        or re.match(rf"(?:{PROVINCE})?[가-힣]{{1,4}}[시군구][가-힣0-9]{{2,}}", road)
        or (len(road) > 2 and re.search("층|호", tail))
        or (len(road) > 2 and LIVES.search(text[max(0, match.start() - 16) : match.start()]))
        or (len(road) > 2 and LIVES_AFTER.match(text, match.end()))
        or (len(road) > 3 and road.endswith("대로"))
    )
    return (start, end) if evidence else None


NO_ROAD = re.compile(".*(?:으로|그대로|곧바로|제대로|마음대로|순서대로|멋대로)|별로|새로|바로|따로|서로|실제로")


def _lot_address(text: str, match: re.Match[str]) -> Range | None:
    end = _tail_end(text, match.end())
    start = _with_districts(text, match.start())
    district = match["district"]
    if (district in load_words("not_districts") and start == match.start()) or re.search("[^0-9]가$", district):
        return None
    counted = not match["lot"] and end == match.end() and UNIT.match(text, match.end())
    placed = start < match.start() or re.match(
        rf"(?:{PROVINCE})?[가-힣]{{1,4}}[시군구][가-힣0-9]{{2,}}[동읍면리]", district
    )
    if counted:
        return None
    if placed or match["lot"]:
        return start, end
    door = "-" in match["number"] and (end > match.end() or district.endswith("동"))
    lives = LIVES.search(text[max(0, match.start() - 16) : match.start()]) or LIVES_AFTER.match(text, match.end())
    return (start, end) if len(district) > 2 and (door or lives) else None


def _with_districts(text: str, start: int) -> int:
    """Where the address begins, given where its core does: administrative units before it belong to it."""
    at = start
    while match := ADMINISTRATIVE.search(text, max(0, at - 24), at):
        unit = match[0].strip(" ,\n\t")
        if unit in load_words("not_towns") or unit in load_words("not_districts"):
            break
        at = match.start()
        if unit[-1] not in "면리":  # these begin no address, but many sentences: 보이면 곧바로 119
            start = at
    return start


HOUSE_TYPE = f"(?:{alternation(load_words('hospital_types'))})"
HOUSE_NAME = re.compile(
    rf"(?<![가-힣A-Za-z0-9])(?P<name>[가-힣A-Za-z0-9&·]{{1,15}}?)(?P<type>{HOUSE_TYPE}{{1,3}})"
    r"(?=[^가-힣A-Za-z0-9]|$|(?:은|는|이|가|을|를|의|에|에서는|에서도|에선|에도|에는|와|과|랑|이랑|도|로|으로|만|서|보다|부터"
    r"|까지|처럼|이나|나|라고|이라고|라는|이라는|하고|이고|인데|이며|께서|측|앞|옆|건물|쪽|근처)(?:[^가-힣]|$)"
    rf"|{COPULA}|였|이었|원장|대표|소속|진료|에서|이랑|에게|에다|에서의|가서|갔|가면|다녀|선생|교수|과장|간호|약사|직원|쌤)"
)
PUBLIC_HOUSE = re.compile(
    rf"국립암센터|(?<![가-힣])(?:{PROVINCE}\s)?[가-힣]{{1,4}}[시군구]\s[가-힣]{{0,4}}(?:보건소|보건지소|보건의료원)"
)
UNKNOWN_APART = re.compile(
    r"(?<![가-힣A-Za-z0-9])(?P<word>[가-힣]{2,5})\s(?:[가-힣]{0,6}[과여성])의원(?![가-힣]?(?:님|비))"
)
APART = re.compile(
    rf"(?<![가-힣A-Za-z0-9])(?P<words>(?:[가-힣A-Za-z0-9]{{1,8}}\s){{1,3}})(?P<name>[가-힣]{{0,8}}?)(?P<type>{HOUSE_TYPE}{{1,3}})(?![가-힣]{{0,1}}(?:적|사|균|비|식|장)(?![가-힣]))"
)
AND = re.compile(r"(?:안과|치과|내과|외과)$")  # 과 is also "and": 노안과 백내장, 수치과 혈압
VERB_END = re.compile(
    r"(?:던|받은|했던|하는|가는|있는|없는|아는|다닌|갔던|(?:진료|수술|입원|처방|검사|방문|소개|시술|치료|출산|유명|친절|저렴)한|에)$"
)
ENGLISH_HOUSE = re.compile(
    r"(?<![A-Za-z])(?:[A-Z][A-Za-z&'-]{1,20}\s){1,4}"
    r"(?:(?:Dental|Women's|Eye|Medical|General|University|Children's|Skin)\s){0,2}"
    r"(?:Hospital|Clinic|Pharmacy|Medical Center)(?![A-Za-z]| Practice)"
)


def find_hospitals(text: str) -> Iterator[Range]:
    """A name of its own before 병원, 내과, 약국, …: not where all of it is such words (척추관절병원, 동네내과)."""
    for pattern in (PUBLIC_HOUSE, ENGLISH_HOUSE):
        yield from (match.span() for match in pattern.finditer(text))
    for match in APART.finditer(text):
        if (start := _apart_from(match)) is not None:
            yield start, match.end()
    for match in HOUSE_NAME.finditer(text):
        if _is_proper(match["name"], match["type"]):
            yield _with_university(text, match.start()), match.end()
    for match in UNKNOWN_APART.finditer(text):
        if _is_brand(match["word"]) or not _is_everyday(match["word"]):
            yield match.span()


def _is_everyday(word: str) -> bool:
    """다니는, 집앞: whether it says which kind of clinic rather than its name."""
    word_like = _is_generic(word) or is_known_word(word) or word in load_words("hospital_everyday")
    return word_like or word[-1] in WORD_ENDS


def _is_brand(word: str) -> bool:
    """숨편한, 봄날의: made of what clinics are named with, though it ends like an everyday word."""
    word = word.removesuffix("의")
    return (
        len(word) > 1
        and word not in load_words("hospital_everyday")
        and is_made_of(word, load_words("hospital_names"))
        and not _is_generic(word)
    )


WORD_ENDS = "은는이가을를의에도서로던한된와과랑만요고며면게지니데때앞옆쪽번층곳집네"  # 다니는 내과의원, 집 앞 치과의원


UNIVERSITY_WORD = re.compile("(?!지방|상|반|기|침|최|현|의|국립|사립)[가-힣]{2,6}(?:대학교|대)")


def _apart_from(match: re.Match[str]) -> int | None:
    """Where a name written apart begins (연세 바른 내과의원): its words are ones that clinics are named with."""
    words = match["words"].split()
    last = match["name"]
    if last and not (_is_generic(last) or last in load_words("hospital_names")):
        return None
    brands, university = 0, False
    start = match.start("name")
    at = match.end("words")
    for word in reversed(words):
        if not is_made_of(word, load_words("hospital_names")) and not UNIVERSITY_WORD.fullmatch(word):
            break
        at = match.string.rindex(word, match.start(), at)
        start, brands = at, brands + 1
        university = bool(UNIVERSITY_WORD.fullmatch(word))
    if not brands:
        return None
    first = match.string[start:].split()[0]
    if brands >= 2 or last in load_words("hospital_names") or university:
        return start
    return start if first not in load_words("hospital_everyday") else None


def _is_proper(name: str, kind: str) -> bool:
    plain = re.sub(r"[0-9&·]", "", name)
    if (
        plain in ("", "국립")
        or plain + kind in load_words("hospital_generic")
        or VERB_END.search(name)
        or re.fullmatch("[A-Za-z]|[OoXx○ㅇ]{1,4}", plain)
    ):
        return False
    if AND.search(kind) and any((name + kind)[:-1].endswith(word) for word in load_words("before_and")):
        return False
    if len(plain) == 1:
        return _is_short_name(plain, kind)
    return not _is_generic(plain)


def _is_short_name(name: str, kind: str) -> bool:
    """One syllable: a family name before a department (김안과), or one of the few that stand before 병원 and 약국."""
    if kind in ("병원", "의원", "클리닉", "메디컬", "보건소", "의료원", "요양원"):
        return name in "힘참굿빛숲샘"
    return name in load_words("surnames") and name not in load_words("hospital_generic")


GENERIC = load_words("hospital_generic") | load_words("hospital_types")


def _is_generic(word: str) -> bool:
    """Whether the word is made of nothing but words that name no particular house: 척추|관절, 소화기|내|과."""
    return is_made_of(word, GENERIC)


UNIVERSITY = re.compile(
    r"(?<![가-힣A-Za-z])(?!지방|상대|반대|기대|침대|최대|현대|의대|국립|사립)"
    r"[가-힣]{2,6}(?:대학교|의과대학|의대|대학|대|의료원|재단)(?:\s?부속)?\s$"
)


def _with_university(text: str, start: int) -> int:
    match = UNIVERSITY.search(text, max(0, start - 16), start)
    return match.start() if match and not _is_generic(match[0].strip()) else start
