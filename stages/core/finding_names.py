"""Finder of persons' names, in Hangul and in Latin letters.

A name has a shape (a surname, then syllables that given names have) and neighbours (님, 원장, 성명:, 환자, a
number that was just masked). Neither is enough by itself: 이상 and 조영제 have the shape, 어머님 the neighbour. So each
candidate collects points for its shape and for what stands on its left and on its right, loses some where it may be a
word, and is a name from ENOUGH on. The points were set by hand on the labelled development set, so that a neighbour
that says it plainly (성명:, 님, 상담의 …입니다) suffices for a rare name, and a usual given name with nothing beside it
needs a common surname.
"""

import re
from collections import Counter
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
KIN_WORD = alternation(load_words("kin"))
PARTICLE = alternation(load_words("particles"))

ENOUGH = 5  # points
SHAPE = {"common": 4, "likely": 3, "plausible": 1, "half": 0, "odd": -2}
COMMON_SURNAME = 1
AFTER_POINTS = {
    "honorific": 5,
    "addressed": 4,
    "sign": 4,
    "owner": 4,
    "title": 3,
    "person": 3,
    "named": 4,
    "booked": 3,
    "relation": 3,
    "counted": 3,
    "beside": 2,
    "subject": 2,
    "measured": 2,
    "young": 2,
    "dative": 2,
    "copula": 1,
    "stop": 0,
    "particle": 0,
    "end": 0,
}
FOUR = ("honorific", "addressed", "title", "sign", "copula")  # what a name of four syllables needs
CLOSES_WORD = ("honorific", "sign", "copula", "dative")  # none of them follows a noun's particle

COPULA = (
    r"\s?(?:입니다|임니다|입니당|임다|이십니다|이세요|이셔요|이셨|이신(?=[데가지\s])|입니까|이에요|이예요|예요|에요|여요|이고(?![가-힣])"
    r"|이며(?![가-힣])|이라?고\s?(?:합니|하는|해요|하고|하며|하시|불)|라고\s|이라고\s|이라는|라는|이라(?=\s)|인데(?:요|[\s,.]|$)|이구요|구요|이었|이거든|거든요"
    r"|이요(?![가-힣])|이랍니다|랍니다|맞(?:으신|나요|습니|는|아요))"
)
AFTER = re.compile(
    rf"(?P<addressed>\s?(?:{TITLE})(?:님|께))"
    r"|(?P<honorific>\s?(?:님|씨(?!앗|방|감|족|름|줄)))"
    r"|(?P<young>\s?[군양](?=[은이의과에도,.\s]|$))"
    rf"|(?P<title>(?:\s?(?:{TITLE}|엄마|아빠|맘(?![가-힣](?<!입|이|인)))|\s(?:{KIN_WORD}|어머님|아버님|자매|형제|남매|부부|군과|양과))(?!과정|회(?![원가])|법|국|실|직|들|집))"
    r"|(?P<sign>\s?(?:(?:드림|올림|배상|서명|귀하|귀중)(?![가-힣])|拜上|\(인\)|\(서명\)|\s?(?:M\.?D|R\.?N|Ph\.?D|NP|DMD|DDS|OT|PT)\.?(?![A-Za-z0-9])))"
    r"|(?P<owner>\s(?:명의|본인(?=[\s,(]|입니다)|외\s[0-9]{1,2}\s?[명인])|\s?앞(?=으로\s(?:온|보내|발송|배송|도착|등록|된|우편|청구|발급|송금|이체)|,|\s?$))"
    r"|(?P<counted>\s(?:외|등|총)?\s?(?:[두세네]|다섯|[2-9])\s?(?:분|명)(?![가-힣]{0,1}마다))"
    r"|(?P<subject>(?:이?[은는가도]|이)\s(?:(?:제|저희|우리)\s|(?:지금\s|올해\s|현재\s|이제\s|만\s)?[0-9]{1,3}\s?(?:살|세|개월|kg|학년)(?=[이인입예에로라째,.]|$)))"
    r"|(?P<named>이?라는\s(?:이름|사람|분|환자|학생|친구|의사|원장|선생)|\s이름으로)"
    r"|(?P<booked>(?:으로|로)\s(?:예약|접수|등록해|등록된|예매))"
    r"|(?P<relation>의\s(?:보호자|엄마|아빠|어머니|어머님|아버지|아버님|모친|부친|배우자|주치의|담당의|누나|형제|남편|아내))"
    r"|(?P<person>\s?\(\s?(?:19|20)?[0-9]{2}\s?[-./년]\s?[0-9]{1,2}\s?[-./월]\s?[0-9]{1,2}|[\s,/(]{1,3}(?:[MF]/?[0-9]{1,3}|[0-9]{1,3}\s?(?:/\s?)?(?:yo\s?)?(?:[MFmf]|yo)(?![A-Za-z]))|[\s,/]{1,3}[남여](?:자|아|성)?[\s,/]{1,2}(?:만\s?)?[0-9]|\s?[(/,|]\s?(?:남|여|[MFmf](?![A-Za-z])|만\s?[0-9]|[0-9]{1,3}\s?(?:세|살|/|[MFmf](?![A-Za-z])))"
    rf"|\s?[(,/|]?\s?{HIDDEN}|\s(?:환자|의사)(?![가-힣]{{0,2}}(?:마다|별)))"
    rf"|(?P<beside>\s?[(,/|\s]\s?[가-힣]{{2,6}}\s?:?\s?{HIDDEN})"
    r"|(?P<measured>[\s,]{1,2}(?:만\s)?[0-9]{1,3}(?:\.[0-9])?\s?(?:세|살|개월|kg)(?![가-힣]))"
    rf"|(?P<copula>{COPULA})"
    r"|(?P<dative>(?:께서?|한테|에게)(?:서|는|도)?(?![가-힣]))"
    rf"|(?P<particle>(?:{PARTICLE}){{1,2}}(?![가-힣]))"
    r"|(?P<stop>\s?(?:[][,()/:|→·\n_\"'”’」>]|-\s|$)|\s(?=[가-힣]{1,6}\s?:))"
    r"|(?P<end>(?![가-힣]))"
)
LABEL = re.compile(
    rf"(?:{alternation(load_words('labels'))})"
    r"(?:\s?(?:은|는|이|가|을|를|도|란))?(?:\s*(?P<colon>[:=/|\-])|\s)?\s*['\"‘“(\[]?\s*$"
)
ROLE = re.compile(
    rf"(?:(?<![가-힣])(?:우리|저희|제|큰|작은|외|시)?(?:형|모|부|아가|아이|아기|딸|언니|고인|故|본인|남자|여자|남|여|남아|여아|여환|남환)"
    rf"|[0-9]\s?(?:(?:세|살)(?:\s?[남여][자아성]?)?|개월\s?[남여][자아])|(?<![0-9])[0-9]{{3,4}}호실?|{HIDDEN}생|(?<![가-힣])[가-힣]{{2}}자(?=\s)|Pt\.?|pt\.?"
    rf"|{alternation(load_words('roles'))}|{BANK}|(?:[자인명]|확인|서명)\s?(?=:))(?:인|님|분)?(?P<is>[은는이가])?\s?[:(]?\s?['\"‘“]?$"
)
INTRODUCED = re.compile(  # before a name and 입니다, 인데요, 라고 합니다
    r"(?:안녕하세요|안녕하십니까|안녕하세여|반갑습니다|처음 뵙겠습니다|저는|전|저|제가|나는|하이닥|클리닉|센터|[과팀실]"
    rf"|{HOUSE_TYPE}|{HIDDEN_HOSPITAL})(?:의|에서 근무하는)?[\s,.!~:]{{0,4}}$|(?:^|[.!?\n~)\]])\s*$"
    r"|(?:전화|예약|통화|문의|접수|상담|진료|접종|검사|수술|입원|등록|신청|결제|연락|방문)\s?[가-힣]{0,4}[한던린본은는했]\s$"
    r"|[가-힣][은는던본린난]\s$"  # 백신 맞은 좌은호입니다, 어제 진료본 예서윤인데요
)
CLOSE = re.compile(
    rf"(?<![가-힣])(?:우리|저희|제|큰|작은|외)?\s?(?:{KIN_WORD}|우리|울|이름|본명)"
    r"(?P<is>[은는이도])?\s?[:(]?['\"‘“]?$"
)
BESIDE_MARK = re.compile(rf"{HIDDEN}(?:호|번|이고|이며|,)?[)\]'\"]?[\s,/:·|]{{1,3}}$")
GLUED = "".join(
    f"|(?<={word})"
    for word in (
        "상담의",
        "전문의",
        "담당의",
        "주치의",
        "당직의",
        "집도의",
        "환자명",
        "환자",
        "원장",
        "약사",
        "성명",
        "이름",
        "예금주",
    )
)
TOKEN = re.compile(rf"(?:(?<![가-힣]){GLUED})(?=(?:{alternation(SURNAMES)})[가-힣])")
SPACED_TOKEN = re.compile(
    rf"(?<![가-힣])(?:{alternation(SURNAMES)})\s(?P<given>[가-힣]{{1,2}}?)(?=\s?(?:님|씨(?!앗)|드림|올림))"
)
CIRCLE = "○●◯〇"
COVER = f"*xX{CIRCLE}OㅇX"
COVERED = re.compile(
    rf"(?<![가-힣*])(?:[{COMMON_SURNAMES}](?:[{COVER}0]{{2,3}}(?![A-Za-z0-9])"
    rf"|[{COVER}0](?![님씨군양])[가-힣](?![가-힣]{{3}})|[가-힣][{CIRCLE}*]{{1,2}}(?![*0-9]))"
    rf"|(?:{alternation(SURNAMES)})(?:[{CIRCLE}]{{2,3}}|[{CIRCLE}*](?![님씨군양])[가-힣](?![가-힣]{{3}})))"
)
COVERED_ONE = re.compile(
    rf"(?<![가-힣])[{COMMON_SURNAMES}][*{CIRCLE}ㅇOX](?=\s?(?:님|씨|환자|원장|교수|선생|약사|간호사|고객|[(,/]))"
)
APART_LETTERS = re.compile(
    r"(?:성\s?명|성함|이름|환자명|예금주)\s*[:은이는]?\s*(?P<name>[가-힣]\s{1,2}[가-힣]\s{1,2}[가-힣])(?![가-힣])"
)


def find_names(text: str) -> Iterator[Range]:
    """Persons' names. Each candidate has a shape (surname, given name) and neighbours; both together must suffice.

    A full name found anywhere is taken at its other mentions too, and so is its given name before 씨, 님, 이, 가."""
    ranges = [*_foreign_names(text), *_full_names(text), *_given_names(text), *_latin_names(text)]
    for pattern in (COVERED, COVERED_ONE):
        ranges += [match.span() for match in pattern.finditer(text) if not is_known_word(match[0].rstrip("*"))]
    ranges += [match.span("name") for match in APART_LETTERS.finditer(text) if match["name"][0] in SURNAMES]
    yield from ranges
    yield from _mentions(text, {text[start:end] for start, end in ranges})


def _full_names(text: str) -> Iterator[Range]:
    for token in SPACED_TOKEN.finditer(text):
        given = token["given"]
        if _is_likely(given) and not is_known_word(given):
            yield token.span()
    for token in TOKEN.finditer(text):
        start = token.start()
        for length in _lengths(text, start):
            if _is_full_name(text, start, start + length):
                yield start, start + length
                break


def _lengths(text: str, start: int) -> tuple[int, ...]:
    """How many syllables a name that begins here may have, the likeliest first."""
    if text[start : start + 2] in TWO_SURNAMES:
        return 4, 3
    if text[start + 2 : start + 4] in load_words("given_names"):  # 조은누리, and both parents' surnames: 김이도윤
        return 3, 4, 2
    return 3, 2


def _is_full_name(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]`, which begins with a surname, is a full name here."""
    name = text[start:end]
    after = AFTER.match(text, end)
    if after is None or not HANGUL.fullmatch(name) or len(name) < end - start:
        return False
    near = after.lastgroup or ""
    if near != "honorific" and any(is_known_word(text[start:longer]) for longer in range(end + 1, end + 4)):
        return False  # 우리나|라는
    before = text[max(0, start - 24) : start]
    if is_known_word(name):
        return near == "honorific" and "씨" in after[0] and _is_person_in_spite(name, before)
    if len(name) == 4 and name[:2] not in TWO_SURNAMES and (near not in FOUR or is_known_word(name[:2])):
        return False
    if len(name) == 2:
        return near != "measured" and _short_points(name, near, before, after[0]) >= ENOUGH
    glued = HANGUL.match(before[-1:])
    if glued and near in ("end", "particle", "stop") and name[1:] not in load_words("given_names"):
        return False  # 환자진단명
    points = _shape_points(name) + AFTER_POINTS[near] + _left_points(near, before, after[0])
    if listed := _is_listed(text, start, end):
        points += 2
    return points - _word_points(name, near, before, after[0], listed=listed) >= ENOUGH


def _is_person_in_spite(name: str, before: str) -> bool:
    """Whether a word before 씨 is somebody's name all the same: 황산씨, but 마음씨 and 포도씨."""
    if len(name) != 2 or is_known_word(name + "씨"):
        return False
    return name[1] in load_words("given_single") or ROLE.search(before) is not None


def _shape_points(name: str) -> int:
    """How much the syllables alone speak for a name."""
    surname, given = (name[:2], name[2:]) if name[:2] in TWO_SURNAMES and len(name) > 2 else (name[0], name[1:])
    return SHAPE[_given_kind(given)] + (COMMON_SURNAME if surname in COMMON_SURNAMES or len(surname) == 2 else 0)


def _given_kind(given: str) -> str:
    """A key of SHAPE: how usual the given name is."""
    if given in load_words("given_names") or _is_usual(given):
        return "common"
    if _is_likely(given) or (len(given) == 3 and given[1:] in load_words("given_names") and _is_plausible(given[0])):
        return "likely"
    plausible = sum(map(_is_plausible, given))
    return "plausible" if plausible == len(given) else "half" if plausible else "odd"


def _left_points(near: str, before: str, after: str) -> int:
    """What stands on the left: a label, a role, a person introducing himself, a number that was masked."""
    label = LABEL.search(before)
    if label:
        return 6 if label["colon"] or near == "copula" else 4 - 2 * label[0].rstrip().endswith(("을", "를"))
    role = ROLE.search(before)
    if role:
        stops = near == "stop" and (1 + (HIDDEN in before))
        return 3 - bool(role["is"]) + (near == "copula") + stops
    if BESIDE_MARK.search(before):
        return 3
    if near == "copula" and not after.startswith("이었") and INTRODUCED.search(before):
        return 3
    if near in ("stop", "person", "beside", "measured") and FIELD.search(before):
        return 2
    headed = near in ("person", "beside", "measured", "copula") or after.startswith(":")
    return 1 if headed and OPENING.search(before) else 0


FIELD = re.compile(r"(?:(?<![가-힣])[가-힣]{1,6}\s?:|\s[-|/·]|[\[\"'“‘「<])\s?$")  # 작성: 맹수빈, - 어지환 -, [편하늘]
OPENING = re.compile(r"(?:^|[\n.!?:)\]|/])\s*$")


def _is_listed(text: str, start: int, end: int) -> bool:
    """윤재하, 장로아, 변우솔 세 명; 기세훈이 아니고 기세운으로: whether a neighbour in a list has a name's shape."""
    neighbours = (LISTED_BEFORE.search(text[max(0, start - 10) : start]), LISTED_AFTER.match(text, end))
    return any(match and _looks_like_name(match[match.lastindex or 1]) for match in neighbours)


LISTED_BEFORE = re.compile(r"(?<![가-힣])([가-힣]{3})(?:\s?[,·、/&]\s?|[이가]?\s(?:아니고|아니라|아님|말고)\s)$")
LISTED_AFTER = re.compile(
    r"\s?[,·、/&]\s?([가-힣]{3})(?![가-힣])|[이가]?\s(?:아니고|아니라|아님|말고)\s([가-힣]{3})(?=으?로|이?라|입니다)"
)


def _looks_like_name(word: str) -> bool:
    word_like = is_known_word(word) or _is_inflected_word(word) or _is_suffixed_word(word)
    return word[0] in SURNAMES and _is_likely(word[1:]) and not word_like


NO_NAME = 8  # points: outweighs usual syllables and one neighbour


def _word_points(name: str, near: str, before: str, after: str, *, listed: bool) -> int:
    """How much speaks for a word, or for a shorter name, that only looks like this name."""
    common = name[2 if name[:2] in TWO_SURNAMES and len(name) > 3 else 1 :] in load_words("given_names")
    suffixed = not common and _is_suffixed_word(name)
    if near in ("honorific", "sign"):
        return 0 if _is_plausible(name[1:]) or name[-1] not in ROLE_ENDS else 4
    if near == "young":
        return 0 if common else 3
    if _is_shorter_name(name, near, before, after, common=common):
        return NO_NAME
    if points := _spoken_word_points(name, near, after, common=common):
        return points
    if near in CLOSES_WORD:
        return 3 if suffixed or (name[-1] in ROLE_ENDS + WORD_SUFFIX and not _is_likely(name[1:])) else 0
    topic = name[-1] in "은는이" and near in ("title", "addressed")  # 최고은 선생님
    inflected = _is_inflected_word(name) and not (common and (listed or topic))
    if inflected or CALLED_THING.search(name) or VERB_FORM.search(name):
        return NO_NAME
    return (4 if suffixed or name[-1] in "병염암증통" else 0) + _ending_points(name, near, common=common)


def _is_shorter_name(name: str, near: str, before: str, after: str, *, common: bool) -> bool:
    """Whether the last syllable belongs to what follows the name: 노을|씨와, 하윤|이 엄마, 라온|이에요."""
    if name[-1] in "씨님맘" or (len(name) == 4 and near in ("end", "stop") and name[-1] in "의이은는가도를을과와"):
        return name[-1] in "씨님맘" or not common
    if name[-1] == "이" and near in ("title", "subject"):
        return _is_likely(name[:-1])
    if name[-1] == "이" and near == "copula":
        return is_known_word(name[:-1]) or after.startswith(("에요", "예요", "여요"))
    return near not in CLOSES_WORD and _is_given_with_particle(name) and bool(CLOSE.search(before))


def _spoken_word_points(name: str, near: str, after: str, *, common: bool) -> int:
    """Points of words with an ending that a name's ending may follow too: 준수하|라고, 위해서|라고, 주민들|에게."""
    known = is_known_word(name[:-1])
    if name[-1] == "들" and not common:
        return NO_NAME if known else 3
    if name[-1] == "하" and (near in ("particle", "subject") or after.startswith("라")):
        return NO_NAME if known else 5
    if near == "copula" and after.startswith("라") and (name[-1] == "이" or (known and name[-1] in "서고면")):
        return 4 if name[-1] == "이" else NO_NAME
    return 5 if near == "named" and known and not common else 0  # 연락달|라는 사람


def _ending_points(name: str, near: str, *, common: bool) -> int:
    """Points of a last syllable that verbs before a noun and particles have: 복용한 환자, 처방시."""
    if name[-1] not in VERB_ENDS and (name[-1] not in "가인시중후전" or near in ("person", "beside", "measured")):
        return 0
    if common:
        return 2 if name[-1] in "하한의해" else 0
    return 2 if near == "stop" or _is_likely(name[1:]) else 3


def _is_given_with_particle(name: str) -> bool:
    """딸 지우가, 우리 시온이; 여동생 박솔이: where only a given name or a short name is expected."""
    if name[-1] == "이":
        return _is_likely(name[:-1]) or name[1] in load_words("given_single")
    return name[-1] in "가는은도랑" and name[1:] not in load_words("given_names") and _is_likely(name[:-1])


VERB_ENDS = "은는을를의에와과로한던할여해"  # 복용한 환자, 대학의 학생
ROLE_ENDS = "자인사가분원장생들것게고며서면관부"
CALLED_THING = re.compile("(?:번호|여권|주소|면허|카드|계좌|통장|전화|은행|지점|본점|병원|약국|의원|센터|진료|검사)$")
VERB_FORM = re.compile(
    r"[아어해여려져라러워꺼빠파커거더]진$|[되가오나하있없였했었았겠][는던다음기고며면]$|[하해되]여?서$"
)
WORD_SUFFIX = (
    "견빛권적성기화용별약제식형률율량중시력감액법술관실자측부내외간급판균선혈암염증과병통후전군종원사가님비검변뇨압"
)


def _is_suffixed_word(name: str) -> bool:
    """소견서, 감염증, 전원시: a word and what is put behind words."""
    return name[-1] in WORD_SUFFIX and is_known_word(name[:-1])


def _short_points(name: str, near: str, before: str, after: str) -> int:
    """Points of a surname with one syllable (김준). Many words look so, and a role before one says little."""
    label = LABEL.search(before)
    usual = name[1] in load_words("given_single")
    if near == "honorific" and not usual:  # 고을님, 보호자 노을씨
        usual = bool(ROLE.search(before)) if "씨" in after else _is_plausible(name[1]) and name[1] not in ROLE_ENDS
    if not usual and (not label or near in ("end", "particle", "title", "subject")):
        return 0
    if near == "beside" and not label:
        return 0
    points = 2 if name[0] in COMMON_SURNAMES else 1
    if label:
        points += 6 if label["colon"] else 4 if near != "particle" and name[1] not in VERB_ENDS else 0
    elif near in ("particle", "subject"):
        return 5 if KIN.search(before) else 0
    elif ROLE.search(before):
        points += 2 if near == "end" and name[1] in VERB_ENDS + "인" else 3  # 환자 강한 통증
    elif BESIDE_MARK.search(before) or (near == "copula" and INTRODUCED.search(before)):
        points += 2
    if after[-2:] in ("환자", "의사", "아동", "학생") and name[1] in VERB_ENDS:  # 위한 환자
        return 0
    return points + min(AFTER_POINTS[near], 4) - (2 if near == "title" else 0)


KIN = re.compile(rf"(?<![가-힣])(?:우리|저희|제|큰|작은)?\s?(?:{KIN_WORD})(?:인|님)?\s$")


def _is_likely(given: str) -> bool:
    """Each syllable stands where given names often have it."""
    if len(given) == 1:  # after a surname of two
        return given in load_words("given_single")
    return len(given) == 2 and given[0] in load_words("given_first") and given[1] in load_words("given_second")


def _is_usual(given: str) -> bool:
    """Both syllables stand there in many of the common given names, and the second ends few words."""
    return (
        len(given) == 2
        and given[1] not in WORDS_END
        and _syllable_counts(0)[given[0]] * _syllable_counts(1)[given[1]] >= USUAL
    )


WORDS_END = "이지성정상주선온은기서자수인시도해일원"
USUAL = 150  # product of two counts in given_names; 8 of the 40 rarer given names in the development set reach it


@cache
def _syllable_counts(place: int) -> Counter[str]:
    return Counter(given[place] for given in load_words("given_names") if len(given) == 2)


@cache
def _given_syllables() -> frozenset[str]:
    return (
        load_words("given_first") | load_words("given_second") | load_words("given_rare") | load_words("given_single")
    )


def _is_plausible(given: str) -> bool:
    return all(syllable in _given_syllables() for syllable in given)


def _is_inflected_word(name: str) -> bool:
    """이상은, 정도로: a word with a particle that only looks like a name."""
    return name[-1] in "은는이가을를의도로에와과만인시지고서나라면며야한된할될들해져" and is_known_word(name[:-1])


def _foreign_names(text: str) -> Iterator[Range]:
    """응우옌 티 란, 마리아 산토스: foreign names in Hangul, where a label, a role, a title or an age says so."""
    for match in FOREIGN.finditer(text):
        after = AFTER.match(text, match.end())
        near = after.lastgroup if after else None
        before = text[max(0, match.start() - 24) : match.start()]
        if near and (AFTER_POINTS[near] >= 3 or _left_points(near, before, match[0]) >= 3):
            yield match.span()


FOREIGN_WORD = alternation(load_words("foreign_names"))
FOREIGN = re.compile(
    rf"(?<![가-힣])(?:(?:{FOREIGN_WORD})\s(?:티|반)\s[가-힣]{{1,2}}(?=\s|님|씨|[,(/]|$)|(?:{FOREIGN_WORD})(?:\s(?:{FOREIGN_WORD}|티|반|빈|알|엘|드|데|반)){{0,3}}(?:\s[가-힣]{{1,4}}(?=\s?(?:님|씨|환자|산모|[,(/])))?"
    rf"|(?:응우옌|응웬)[가-힣]{{1,4}}?(?=님|씨|[\s,(]))"
)


def _given_names(text: str) -> Iterator[Range]:
    """지우님, 민수씨, 하윤이 엄마; 우리 지우가, 딸 서연이는. Only syllables in their usual places, and no words."""
    for pattern in (GIVEN, GIVEN_PARENT, GIVEN_AGED):
        for match in pattern.finditer(text):
            given = match["given"]
            if _is_given(given) or (match.lastgroup == "mister" and _is_anyone(given)):
                yield match.span("given")
    for match in CLOSE_SINGLE.finditer(text):
        if CLOSE.search(text[max(0, match.start() - 10) : match.start()]):
            yield match.span("given")
    for match in CLOSE_GIVEN.finditer(text):
        given = match["given"]
        close = CLOSE.search(text[max(0, match.start() - 10) : match.start()])
        if close and (close["is"] or not match["last"]) and _is_given(given):
            yield match.span("given")


def _is_given(given: str) -> bool:
    """Whether it is a given name where its surname is missing."""
    return _is_likely(given) and not is_known_word(given) and given not in load_words("not_given")


def _is_anyone(given: str) -> bool:
    """Before 씨 even rarer syllables are a person's, if they are no word: 채움씨, but 포도씨."""
    words = (given, given + "씨")
    return _is_plausible(given) and given not in load_words("not_given") and not any(map(is_known_word, words))


GIVEN = re.compile(r"(?<![가-힣])(?P<given>[가-힣]{2})\s?(?:님|쌤|(?P<mister>씨(?!앗|방|감|족|름|줄)))")
GIVEN_AGED = re.compile(
    r"(?<![가-힣])(?P<given>[가-힣]{2})이?[는가]\s(?:지금\s|올해\s|현재\s|이제\s|만\s)?[0-9]{1,2}\s?(?:살|세|개월|kg|학년)(?=[이인입예에로라째,.]|$)"
)
GIVEN_PARENT = re.compile(
    r"(?<![가-힣])(?P<given>[가-힣]{2})(?:\s(?:어머님|아버님|보호자님|할머님)|이?네?\s?(?:엄마|아빠|맘(?![가-힣](?<!입|이|인)))|이\s?(?:어머니|아버지|어머님|아버님|할머니|보호자))"
)
CLOSE_SINGLE = re.compile(  # 막내 율이가
    rf"(?<![가-힣])(?P<given>{alternation(load_words('given_single'))})이(?:가|는|를|랑|도|한테|에게)(?![가-힣])"
)
CLOSE_GIVEN = re.compile(
    r"(?<![가-힣])(?P<given>[가-힣]{2})(?=이?(?:가|는|를|의|랑|한테|에게|도|만|와|야)(?![가-힣])|이[가는를의도]"
    r"|[은이](?![가-힣])|[,(]|(?P<last>\.|\s*$)|예요|이에요|이예요|이구요|구요|이고|입니다|라고|이라고|인데|이라서|이었|였)"
)


LOWER = "a-zß-öø-ÿ"
LATIN_WORD = rf"(?:(?:O'|D'|Mc|Mac)?[A-ZÀ-ÖØ-Þ][{LOWER}]{{1,14}}(?:[-'][A-Z][{LOWER}]{{1,14}})?)"
JOINED = rf"(?:(?:bin|al|van|von|der|de|la|da|dos|del|el)[ ]){{0,2}}(?:{LATIN_WORD}|[A-Z]\.)"
LATIN = rf"(?:{LATIN_WORD}(?:[ ]{JOINED}){{0,3}})"
UPPER = r"[A-Z]{2,15}(?:[ ][A-Z]{2,15}(?:-[A-Z]{2,15})?|,\s?[A-Z]{2,15}){1,3}"
SEVERAL = rf"(?:{LATIN_WORD}(?:[ ]{JOINED}){{1,3}}|{UPPER})"
ROMANISED = (
    "Kim|Lee|Park|Choi|Jung|Jeong|Kang|Cho|Yoon|Jang|Lim|Seo|Shin|Kwon|Hwang|Ahn|Song|Ryu|Yoo|Hong|Jeon|Moon|Yang|Bae"
    "|Baek|Heo|Nam|Noh|Kwak|Cha|Joo|Woo|Koo|Chae|Bang|Hyun|Nguyen|Tran|Pham|Wang|Zhang|Chen|Liu|Zhao"
)
LATIN_LABELLED = re.compile(
    r"(?:성\s?명|성함|이름|환자\s?명|예금주|여권\s?상?\s?(?:이름|성명)|영문\s?(?:이름|성명|명|표기)?|[Nn]ame|NAME"
    r"|[Nn]ame is|보호자|받는\s?사람)(?:\s?(?:은|는|이|가|도))?\s*[:=]?\s*['\"‘“(]?\s*"
    rf"(?P<name>{UPPER}|{LATIN})(?![A-Za-z0-9])"
)
LATIN_ROLE = re.compile(
    rf"(?:{alternation(load_words('roles'))}|담당의|주치의|상담의|환자분|동포|외국인|근로자|노동자|선수|강사|출신|국적의"
    rf"|에서 온|저는|전|닥터"
    r"|(?<![A-Za-z])(?:Dr|Mr|Mrs|Ms|[Pp]t|PT|I am|I'm|This is)\.?)"
    rf"(?:인|은|는|이|가)?\s?[:(]?\s?(?P<name>{SEVERAL})(?![A-Za-z0-9])"
)
LATIN_TITLED = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>{LATIN}|{UPPER})\s?"
    r"(?P<title>님|선생님|씨(?!\s?(?:병|선|낭|관|체|증후군|세포|막|공|법|검사))|환자|드림|올림|어머니|아버지|부부"
    rf"|{TITLE})"
)
LATIN_PERSON = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>{SEVERAL})\s?[,/(·|]?\s?"
    r"(?:[MF]\s?[/,)]\s?[0-9]?|[MF][0-9]{1,3}(?![0-9])|(?:만\s)?[0-9]{1,3}\s?(?:세|살|yo(?![a-z])|y/o|/?\s?[MF](?![A-Za-z]))"
    r"|[남여](?:[자성]|[,/)\s])|(?:[Pp]assport|PASSPORT|여권|국적|외국인|DOB|[가-힣]{2,5}\s?국적|생년월일))"
)
LATIN_ROMANISED = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>(?:{ROMANISED})(?:[ ]{LATIN_WORD}){{1,2}}"
    rf"|(?:{ROMANISED.upper()}),?[ ][A-Z]{{4,15}}(?:[ -][A-Z]{{2,15}})?"
    rf"|(?:{ROMANISED}),[ ]?{LATIN_WORD}|(?:{LATIN_WORD}[ ]){{1,2}}(?:{ROMANISED}))(?![A-Za-z0-9])"
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
    for pattern in (LATIN_LABELLED, LATIN_ROLE, LATIN_PERSON, LATIN_TITLED, LATIN_ROMANISED):
        for match in pattern.finditer(text):
            alone = pattern is LATIN_TITLED and " " not in match["name"] and match["title"] not in ("님", "씨")
            if not alone and _is_latin_name(match["name"]):
                yield match.span("name")
    for match in LATIN_BESIDE.finditer(text):
        group = match.lastgroup or "after"
        if _is_latin_name(match[group]) and (not match[group].isupper() or _is_spoken(match[group])):
            yield match.span(group)


def _is_latin_name(name: str) -> bool:
    words = re.split("[ ,-]+", name.lower())
    if any(word in load_words("not_latin_names") or word in _latin_drugs() for word in words):
        return False
    return not any(word in load_words("eponyms") for word in words[: len(words) - 1] or words)  # but James Wilson


def _is_spoken(name: str) -> bool:
    """Whether capitals can be read as words: NAMGUNG ARIN, not CHEST PA."""
    return all(len(word) >= 3 and re.search("[AEIOUY]", word) for word in re.split("[ ,-]+", name))


@cache
def _latin_drugs() -> frozenset[str]:
    return frozenset(drug.lower() for drug in load_drugs() if drug.isascii())


def _mentions(text: str, names: Collection[str]) -> Iterator[Range]:
    """Other places of the full names that were found, and their given names where 씨, 님, 이, 가 follow."""
    latin = {name for name in names if name[0] < "가" and " " in name}
    if latin:
        yield from (match.span() for match in LATIN_SEVERAL.finditer(text) if match[0] in latin)
    names = {name for name in names if HANGUL.fullmatch(name)}
    full = {name for name in names if len(name) > 2}
    if full:
        yield from _full_again(text, full)
    given = {name[-2:] for name in full if not is_known_word(name[-2:])} - load_words("not_given")
    given |= {name for name in names if len(name) == 2 and _is_given(name)}
    if given:
        yield from (match.span("given") for match in GIVEN_AGAIN.finditer(text) if match["given"] in given)


def _full_again(text: str, full: Collection[str]) -> Iterator[Range]:
    for match in SURNAME.finditer(text):
        for length in (4, 3):
            end = match.start() + length
            name = text[match.start() : end]
            after = AFTER.match(text, end) if name in full else None
            if after and (after.lastgroup in ("honorific", "title") or not _is_inflected_word(name)):
                yield match.start(), end


LATIN_SEVERAL = re.compile(SEVERAL)
HANGUL = re.compile("[가-힣]+")
SURNAME = re.compile(f"[{''.join(sorted({surname[0] for surname in SURNAMES}))}]")
GIVEN_AGAIN = re.compile(
    r"(?<![가-힣])(?P<given>[가-힣]{2})(?=이?(?:가|는|를|의|한테|에게|도|랑)(?![가-힣])|\s?(?:님|씨)|이\s)"
)
