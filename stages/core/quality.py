"""Quality of consults: named rules, each of which cleans a text or drops a row, is counted, and can be switched off.

The order is that of `RULES`: `broken_encoding` looks first at what came in, since cleaning would hide it; the changing
rules then run until nothing changes any more (an entity may hide a tag, an advert a closing), so that cleaning a clean
consult does nothing; the dropping rules judge what is left. Patterns of sentences look at the answer alone, which a
doctor wrote; what a patient asks is never edited down. Texts come de-identified: names are marks like [이름].

The patterns would rather miss an advert than take advice away. Of texts written after them they caught 35 of 56
greetings and 17 of 25 adverts at first sight (15, once the words of safety were widened), and took 3 of 24 sentences on
which a patient's safety may hang and which name the doctor's own clinic, a number or a link. Those are mended
(tests/core/test_quality.py); others of their kind will be found. The demo's 72 consults pass untouched.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal

from stages.core.chat import CONTROL_TOKENS
from stages.core.pairing import repetition, similarity
from stages.core.recipe import Quality, Rule
from stages.core.records import Consult, Decision, Dropped

RULES: dict[Rule, str] = {
    "broken_encoding": "Drops a consult with what a wrong encoding left behind: �, ì•ˆë…•, ÀÌ, 占쏙옙, ??? ???.",
    "control_characters": "Removes invisible characters and composes Hangul that came in parts.",
    "markup": "Turns HTML tags and entities into text and line breaks; p<0.05 and <3 stay.",
    "whitespace": "Makes one space of several and one blank line of several.",
    "advert_sentences": (
        "Removes sentences of the answer that sell (own clinic, bookings, events, numbers, links) and tell nothing "
        "that may save a patient: no dose, no warning, no emergency, no public service."
    ),
    "greeting": "Removes the boilerplate that opens and closes an answer: greeting, introduction, thanks, good wishes.",
    "too_long": "Drops a consult whose question or answer has more characters than the recipe's bound.",
    "repeated_characters": "Drops a consult whose question or answer is mostly the same characters again and again.",
    "advert": "Drops a consult of whose answer hardly anything is left without its selling sentences.",
    "no_answer": "Drops a consult whose answer only greets, or sends to a doctor and says neither why nor to which.",
    "too_short": "Drops a consult whose question or answer has fewer characters than the recipe's bound.",
    "not_korean": "Drops a consult whose question or answer has too small a share of Hangul among its letters.",
    "question_is_answer": "Drops a consult whose answer is its question again.",
}

Field = Literal["question", "patient_information", "answer"]
FIELDS: tuple[Field, ...] = ("question", "patient_information", "answer")
JUDGED: tuple[Field, ...] = ("question", "answer")  # patient information may be short, empty or all lab values


@dataclass(frozen=True)
class Cleaned:
    """Either the consult as the rules left it with what they changed, or why it was dropped."""

    consult: Consult | None
    dropped: Dropped | None
    decisions: tuple[Decision, ...]


def clean(consult: Consult, config: Quality) -> Cleaned:
    """The consult after every rule that the recipe does not switch off."""
    if "broken_encoding" not in config.skip and (field := broken_encoding(consult)):
        return _dropped(consult, "broken_encoding", field)
    changed, decisions = change(consult, config)
    for rule, judge in DROPPING.items():
        if rule not in config.skip and (field := judge(changed, consult, config)):
            return _dropped(consult, rule, field)
    return Cleaned(changed, None, decisions)


def _dropped(consult: Consult, rule: Rule, field: Field) -> Cleaned:
    return Cleaned(None, Dropped(id=consult.id, reason=rule, text=getattr(consult, field)), ())


def restore(consult: Consult, decisions: Iterable[Decision]) -> Consult:
    """The consult as it came in: the decisions taken back, the last one first."""
    for decision in reversed([*decisions]):
        consult = consult.model_copy(update={decision.detail.partition(":")[0]: decision.before})
    return consult


# Rules that change


def change(consult: Consult, config: Quality) -> tuple[Consult, tuple[Decision, ...]]:
    """The consult after the changing rules, and a decision for each rule and field; its detail opens with the field."""
    decisions: list[Decision] = []
    seen, rounds = None, 0
    while seen != consult:
        seen, rounds = consult, rounds + 1
        for rule, (fields, rewrite) in (CHANGING if rounds <= ROUNDS else CHANGING | ENDING).items():
            for field in fields if rule not in config.skip else ():
                before = getattr(consult, field)
                after = rewrite(before)
                if after != before:
                    consult = consult.model_copy(update={field: after})
                    detail = f"{field}: {len(before)} characters, now {len(after)}"
                    decisions.append(Decision(id=consult.id, rule=rule, detail=detail, before=before))
    return consult, tuple(decisions)


def tidy(text: str) -> str:
    """One text after the rules control_characters, markup and whitespace; tidy(tidy(text)) is tidy(text).

    Line breaks, `p<0.05` and `<3` stay. Time is linear in the text's length, whatever stands in it.
    """
    seen, rounds = None, 0
    while seen != text:
        seen, rounds = text, rounds + 1
        rewrite = without_markup if rounds <= ROUNDS else without_signs_of_markup
        text = with_plain_whitespace(rewrite(without_control_characters(text)))
    return text


ROUNDS = 10  # an entity may hide an entity, and so on without end; what people and their editors write needs three

# ZWJ holds 👩‍⚕️ together: between pictures it stays. The last three are letters by their category, and invisible.
UNSEEN = re.compile(r"(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d|[\u115f\u1160\u3164]")
LINE_ENDS = re.compile("\r\n?|[\v\f\u2028\u2029\x85]")  # \v is Word's line break, \f a PDF's page


def without_control_characters(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = UNSEEN.sub("", LINE_ENDS.sub("\n", text))
    kept = [c for c in text if c in "\n\t\u200d" or unicodedata.category(c) not in ("Cc", "Cf")]
    return unicodedata.normalize("NFC", "".join(without_towers(kept)))


MARKS = 30  # accents on one letter; UAX #15, 13: no language has more, and to compose them takes the square of the time


def without_towers(text: Iterable[str]) -> Iterator[str]:
    for is_mark, run in groupby(text, key=lambda character: unicodedata.combining(character) > 0):
        most = MARKS if is_mark else None
        yield from islice(run, most)


# Only tags that HTML has, with attributes as HTML writes them: `a<b 이고 c>d` and `p<0.05` are no tags.
BLOCKS = "address|article|blockquote|dd|div|dl|dt|figure|footer|h[1-6]|header|hr|li|ol|p|pre|section|table|tr|ul"
INLINE = (
    "a|abbr|b|big|body|center|code|em|font|form|head|html|i|iframe|img|input|ins|del|label|link|mark|meta|nobr|o:p|s|"
    "small|span|strike|strong|sub|sup|tbody|td|tfoot|th|thead|title|tt|u|video|source"
)
ATTRIBUTES = r"""(?:\s++[a-zA-Z][\w:.-]*+(?:\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>=]++))?+)*+\s*+/?"""
HIDDEN = re.compile(  # each looks no further than the next of its kind, so that time is linear
    r"<!--(?:(?!<!--|-->).)*+-->|<(script|style)\b[^<>]*+>(?:(?!</?(?:script|style)\b).)*+</\1\s*+>", re.I | re.S
)
BREAK = re.compile(rf"<br{ATTRIBUTES}>\n?|</br>|</?(?:{BLOCKS}){ATTRIBUTES}>", re.I)
TAG = re.compile(rf"</?(?:{INLINE}){ATTRIBUTES}>|{'|'.join(map(re.escape, CONTROL_TOKENS))}", re.I)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")  # R&D and AT&T have no semicolon


def without_markup(text: str) -> str:
    """Tags gone and entities read. A control token of Gemma's that an entity hid (&lt;eos&gt;) goes as a tag does."""
    if "<" in text:
        text = TAG.sub("", BREAK.sub("\n", HIDDEN.sub("", text)))
    return ENTITY.sub(lambda entity: html.unescape(entity.group()), text) if "&" in text else text


def without_signs_of_markup(text: str) -> str:
    """The end of a text that goes on bringing markup to light: it loses the signs that markup is made of."""
    return text if without_markup(text) == text else text.translate({ord("<"): None, ord("&"): None})


def with_plain_whitespace(text: str) -> str:
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


# A sentence ends where a mark, a line end, or a polite ending is followed by space: many write no full stop. A number
# with a full stop opens an item of a list and belongs to what follows.
SENTENCE = re.compile(
    r"\s*(?:\d{1,2}[.)]\s+)?.+?(?:[.!?…~]+[\"'”’)\]^]*(?=\s|$)|(?<=니다)(?=\s)|(?<=세요)(?=\s)|(?=\n)|$)", re.S
)


def sentences(text: str) -> list[str]:
    """The text in pieces that make it up again, each with the space before it."""
    pieces = SENTENCE.findall(text)
    rest = text[sum(map(len, pieces)) :]  # white space at the end
    return [*pieces, rest] if rest else pieces


def said(words: str) -> str:
    """A pattern for any number of the words (a list with spaces between), each with its particle or none.

    A word is taken in one way only, never given back in part, so that time is linear.
    """
    word = "|".join(words.split())
    return rf"(?>(?:{word})(?:으로|에서|에게|이나|을|를|은|는|이|가|에|로|의|도)?(?![가-힣])[\s,.·&/-]*)*"


def only(words: str, ends: str) -> str:
    """A pattern for a sentence that is nothing but the words and one of the ends."""
    return f"{said(words)}(?:{'|'.join(ends.split())})"


MARK = r"\[[가-힣A-Z]+\]"
NAME = rf"(?:{MARK}|[가-힣]{{2,4}}|[OX○◯]{{2,3}}|[가-힣][OX○◯*]{{1,3}})"
TITLE = "(?:상담의사|상담의|전문의|한의사|치과의사|의사|대표원장|원장|과장|교수|약사|간호사|영양사|상담사|상담위원)"
PLACE = (
    rf"하이닥 HiDoc {MARK} [가-힣]+과 [가-힣]*(?:병원|의원|클리닉|약국|센터) "
    "건강 의학 건강의학 네이버 지식iN 온라인 상담"
)
# An introduction has a title in it: a sentence of a name alone and 입니다 may be a diagnosis (감기입니다).
DOCTOR = rf"{TITLE}[\s,]*{said(f'{PLACE} {TITLE}')}(?:{NAME})?\s?(?:{TITLE})?\s?"
HELLO = "네 예 안녕하세요 안녕하십니까 안녕하셔요 반갑습니다 만나서"
WISH = "(?:바랍니다|바라겠습니다|바랄게요|빕니다|빌겠습니다|기원합니다|기원드립니다)"
HOPE = f"(?:{WISH}|좋겠습니다|좋겠네요|합니다)"
THANK = "감사합니다 감사드립니다 고맙습니다 감사해요"

OPENING = tuple(
    re.compile(only(words, ends))
    for words, ends in (
        (rf"{HELLO} {NAME}\s?님", "안녕하세요 안녕하십니까 안녕하셔요 반갑습니다"),
        (HELLO, rf"{NAME}\s?님 (?:질문자|환자|회원|보호자|상담자)\s?(?:님|분)"),
        (f"{HELLO} 저 {PLACE}", rf"{DOCTOR}(?:입니다|이라고\s합니다|라고\s합니다)"),
        (
            f"{HELLO} {MARK} 저희 하이닥 HiDoc 건강 의료 온라인 Q&A 상담 상담실 게시판 홈페이지 서비스 "
            r"먼저 소중한 귀한 좋은 궁금한 질문 문의 글 내용 점 이용 믿고 정말 진심으로 대단히 "
            r"(?:(?:찾아|방문해|이용해|질문해|문의해|상담해|의뢰해|남겨|올려)\s?)?주셔서",
            THANK,
        ),
        (
            f"{HELLO} 문의 문의하신 문의주신 질문 질문하신 질문주신 상담 상담하신 주신 하신 올려 올려주신 남겨 "
            "남겨주신 궁금해하신 내용 사항 글 점 것 증상 대해 대해서 대하여 관해 관하여 관련하여 "
            "관련해 아래와 같이 다음과 답변 답 해 잘",
            "답변드립니다 답변드리겠습니다 드립니다 드리겠습니다 읽었습니다 읽어보았습니다 보았습니다 봤습니다",
        ),
    )
)
CLOSING = tuple(
    re.compile(only(words, ends))
    for words, ends in (
        (
            "그럼 이상 이상으로 이만 항상 늘 다시 한번 한 번 읽어 주셔서 답변 상담",
            rf"{THANK} 이상입니다 수고하세요 건강하세요 건강하십시오 힘내세요 안녕히\s계세요 마칩니다 마치겠습니다 "
            "줄입니다 줄이겠습니다",
        ),
        (
            "짧은 부족한 작은 저 제 이 위 본 위와 같은 드린 온라인 상담 답변 설명 글 내용 의견 조금이나마 조금이라도 "
            "작게나마 많은 꼭 부디 아무쪼록 모쪼록 질문자님께 환자분께",
            rf"(?:도움|답변|답|참고)(?:이라도|이나마|이|가)?\s?(?:되|됐)[가-힣]*(?:면|길|기를|기)\s{HOPE} "
            r"도움이?\s?(?:되|됐)(?:었|셨|시)?(?:길|기를)",
        ),
        (
            "그럼 부디 항상 늘 하루 하루빨리 하루속히 빨리 속히 얼른 어서 아무쪼록 모쪼록 환자분 "
            "환자분의 질문자님의 가족 모두 아이 아기 어머님 아버님 빠른 조속한 완전한 오늘도 행복하고 건강하고 "
            r"건강하시고 제 답변 조금이나마 도움이?\s?(?:되|됐)[가-힣]*\s바라며",
            rf"(?:쾌유|쾌차|완쾌|회복|건강)[을를]?\s?(?:(?:되찾으시|하시|되시)(?:길|기를|기)\s)?{WISH} "
            rf"(?:나으시|낫)(?:길|기를|기)\s{WISH} 나으세요 행복하세요 "
            rf"좋은\s결과[가-힣]?\s?있으시(?:길|기를|기)\s{WISH} "
            r"(?:좋은|행복한|즐거운|편안한|건강한)\s(?:하루|한\s주|주말|저녁|밤|시간|날)\s?"
            r"(?:되세요|보내세요|되십시오|되시기\s바랍니다|보내시기\s바랍니다|되시길\s바랍니다|보내시길\s바랍니다)",
        ),
        (
            "그 외 이외 기타 혹시 더 또 추가 추가로 다른 궁금한 궁금하신 궁금한점 점 것 사항 부분 내용 문의 문의하실 "
            "질문 질문사항",
            r"(?:있으시면|있으면|있다면|있으시다면|있을\s경우)\s(?:(?:언제든지?|다시|또|편하게|추가로|하이닥에?|글을?|상담을?|"
            r"질문을?|문의를?|문의해|질문해|상담해|남겨|올려)\s?)+"
            r"(?:주세요|주시기\s바랍니다|주십시오|주시면\s됩니다|하세요|하시기\s바랍니다|바랍니다)",
        ),
        (f"이상 그럼 저 {PLACE}", rf"{DOCTOR}(?:이었습니다|였습니다|입니다|드림|올림|배상)"),
        (f"이상 {PLACE}", rf"{NAME}\s(?:드림|올림|배상)"),
    )
)
EDGE = " \t\n.,!?~…^*-–—♡♥☺😊🙏:;)ㅎ"
LONGEST_GREETING = 150  # characters of a sentence; a longer one says something


def without_greeting(text: str) -> str:
    """The answer without the sentences at its start that only greet and those at its end that only take leave."""
    pieces = sentences(text)
    start, end = 0, len(pieces)
    while start < end and says_only(pieces[start], OPENING):
        start += 1
    while end > start and says_only(pieces[end - 1], CLOSING):
        end -= 1
    greets = any(piece.strip(EDGE) for piece in (*pieces[:start], *pieces[end:]))
    return "".join(pieces[start:end]).strip() if greets else text


def says_only(piece: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    bare = piece.strip(EDGE)  # nothing is left of ^^
    return not bare or (len(bare) <= LONGEST_GREETING and any(pattern.fullmatch(bare) for pattern in patterns))


# Adverts. What sends a patient to *a* doctor is advice and stays; what sends to *this* one sells.
OWN = (
    r"(?<![가-힣])(?:저희|우리|본|당)\s?(?:병원|의원|한의원|치과|클리닉|센터|약국|쇼핑몰|제품|상품|원(?=에|으로|의|은|을|과))|저희에게|"
    rf"저희\s?(?:{MARK}|[가-힣]+과(?=[는를에\s]))|(?<![가-힣])본원(?=에|으로|의|은|을|과|\s)"
)
REACH = r"(?:내원|방문|예약|문의|연락|전화|상담|찾아|오세요|오시면|오시기|오셔서)"
PRAISE = (
    r"(?:최신|최첨단|보유|갖추|노하우|경험|특화|의료진|자랑|1위|최초|전문으로|책임지|할인|저렴|개발한|구매|진료\s?시간|"
    r"(?:처방|치료|시술|진료|제거|수술|교정)해\s?드|없애\s?드|(?:치료|진료|수술)받으세요)"
)
CONTACT = (
    r"\[(?:전화번호|URL|메신저|이메일)\]|https?://|www\.|"
    r"(?<!\d)0\d{1,2}[-. )]\s?\d{3,4}[-. ]\d{4}|(?<!\d)1[5-9]\d\d-\d{4}"
)
SELLING = re.compile(
    "|".join(
        (
            rf"(?:{OWN}).{{0,80}}(?:{REACH}|{PRAISE})",
            CONTACT,
            # not where the patient has been: [병원]에 내원하셨을 때
            rf"\[병원\]\s?(?:으로|로|에|을)\s?(?:직접|편하게|언제든지?|지금|바로)?\s?{REACH}(?![가-힣]*(?:셨|했|하신|하던))",
            r"지금\s(?:바로\s)?(?:예약|신청|전화|문의|클릭|구매|주문)\s?(?:하|해|주|을\s)",
            r"(?:예약|내원|방문|연락|문의|상담)[^.]{0,12}하시면[^.]{0,30}드리(?:겠|고\s있)",
            r"(?:내원|방문|연락|전화|문의|예약)(?:해)?\s?주시면|지금\s등록하",
            r"이벤트\s?(?:중|진행|가격|가로|기간|신청|혜택|참여)|(?:오픈|개원|여름|겨울|봄|가을|수능|할인)\s?이벤트",
            r"할인\s?(?:중|행사|혜택|해\s?드|된\s가격)|특가|선착순|사은품|최저가|할인\s?쿠폰|프로모션|무료\s?체험|체험단|반값",
            r"(?:상담|예약|구매|시술)\s?(?:및\s예약\s?)?문의(?!하지|를\s하지)|문의\s?전화|오시는\s길|주차\s?(?:가능|완비)",
            r"무료\s?(?:상담|검진|진단)[^.]{0,6}신청|저렴하게\s(?:받|이용|시술|구매)|편하게\s(?:내원|방문|연락|예약|문의)",
            r"(?:아래|위|하단)의?\s(?:번호|링크|연락처)|\[병원\][을를]?\s?검색",
            r"(?:카카오톡|카톡|플러스\s?친구|네이버\s?예약|톡톡)[^.]{0,15}(?:상담|문의|추가|예약|이용|주세요)",
            r"(?:저희|제|본원|우리)\s?(?:병원\s?)?(?:블로그|유튜브|인스타그램|홈페이지|채널)",
            r"(?:블로그|유튜브|인스타그램|홈페이지|채널)[^.]{0,8}(?:구독|팔로우|방문해|방문하시면|검색하시면|검색해)",
        )
    )
)

# What may save a patient is never an advert, whatever else its sentence says: a missed advert is a blemish, lost advice
# is harm. Not the reassurances of sellers: 망설이지 마시고, 부작용 없이, 바로 옆.
LINES = (  # of the state and its like: police, ambulance, suicide, abuse, drugs, infection, dementia, smoking
    r"(?<![\d-])(?:109|110|112|117|119|129|1336|1339|1342|1345|1355|1366|1388|1389|1393|1544-?9030|1577-?0199|1577-?1000|"
    r"1577-?1366|1577-?1389|1588-?9191|1644-?6223|1899-?0893|1899-?9988)(?![\d-]|,\d)"
)
SERVICES = (
    r"위기\s?상담|위기\s?전화|긴급\s?전화|생명의\s?전화|청소년\s?상담|치매\s?상담|치매안심|우울증\s?상담|중독\s?정보|중독\s?관리|"
    r"중독\s?통합|마약|도박|식약처|식품의약품|의약품\s?안전|질병관리|질병청|보건소|보건복지|복지부|건강복지|자살|해바라기센터|폭력|"
    r"학대|보호전문기관|경찰|구급|신고|금연|건강보험|심사평가원|공단|예방접종도우미|달빛어린이|헬프라인|의료비|정신건강"
)
AMOUNT = (
    r"\d\s?(?:(?:mg|mcg|[µμu]g|g|kg|ml|cc|l|iu|mmhg|cm|mm|bpm|mmol|meq)(?![a-z])|[㎎㎍㎏㎖㎝㎜℃]|°C|도|정(?!도)|알|캡슐|포(?!인트)|"
    r"단위|방울|세|살|%(?!\s?(?:할인|세일|적립|저렴|예약제|환불|환급|만족)))|"
    r"(?<![\d/])\d{2,3}\s?/\s?\d{2,3}(?![\d/])|\d\s?(?!년|원|만|명)[가-힣a-z/]{0,6}\s?(?:이상|이하|미만|초과)|"
    r"(?:\d\s?|몇\s?)(?:분|시간|일|주|주일|개월|달)\s?(?:이내|안에|동안|마다|간격|전|뒤|후|넘|째|지나|간(?![가-힣]{2})|씩|내에)|"
    r"(?:하루|1일|매일)\s?(?:에\s?)?(?:\d|한|두|세)"
)
RED_FLAG = (
    "의식|호흡곤란|숨|출혈|하혈|피가|토혈|혈변|경련|발작|마비|실신|흉통|가슴|양수|태동|고름|고열|열이|구토|쇼크|두드러기|힘이|"
    "시력|자해|죽고|감각"
)
# 붓고 아프면 저희 병원으로 오세요 tells when to see a doctor; 원하시면, 오시면, 궁금한 점이 있으시면 tells nothing.
SELLERS = (
    "원하|가까우|궁금|불편하|필요하|걱정|고민|관심|생각|내원|방문|오시|오셔|찾|연락|전화|문의|상담|예약|신청|등록|이용|주시|하시|하면|"
    "보시|받으시|클릭|검색|추가|팔로우|구독|구매|주문|맡기|남기|남겨|보내|들어오|참고|있|그러|어쩌"
)
CONDITION = (
    rf"(?<![가-힣])(?!{SELLERS})[가-힣]+면(?![가-힣])|(?<!하실\s)(?<!오실\s)(?<!할\s)(?<![가-힣])때(?:는|에는|마다)?(?![가-힣])|"
    r"(?<!하시는\s)경우(?:는|에는?|엔|라도)?(?![가-힣])|"
    r"\A(?!.*(?:궁금|문의|질문|관심|의향|생각)).*있[가-힣]{0,3}면(?![가-힣])"
)
SAFETY = re.compile(
    "|".join(
        (
            LINES,
            SERVICES,
            AMOUNT,
            CONDITION,
            r"응급|즉시|(?<![가-힣])(?:당장|곧장|바로)(?!\s?(?:옆|앞|맞은편|가기|아래))",
            rf"(?:{RED_FLAG})[^.!?]{{0,20}}(?:면|거나|때|때는|때에는|경우|경우에는?)(?![가-힣])",
            r"(?<!망설이)(?<!걱정하)(?<!주저하)(?<!고민하)(?<!미루)(?<!놓치)지\s?(?:는\s)?(?:마[시세십]|말)|안\s?(?:됩니다|돼요|되며|되고)",
            r"복용|투약|용량|금식|중단|끊|과민|알레르기|부작용(?!\s?(?:없|걱정|부담|최소))|위험(?!이?\s?없)|합병증|독극물|음독|농약|삼켰|삼키|임신|수유",
            r"(?:병원|의원|치과|약국|센터)[이가]?\s?(?:아니|아닌|말고)|(?:다른|타|큰|상급|대학|어느|어떤)\s?(?:\[병원\]|병원|의원)(?!\s?(?:출신|급))",
            r"(?:가까운|인근|근처|주변|다니|받으|받은|받던|수술|처방|입원)[가-힣]*\s(?:[가-힣]+\s)?(?:\[병원\]|병원|의원|[가-힣]+과|곳)",
        )
    ),
    re.I | re.S,
)
OFFICIAL = re.compile(  # not where a clinic names one to shine with it: 저희 병원은 대한…학회 인증
    r"(?<![가-힣])(?:국가|국립|시립|도립|한국|중앙|대한(?!민국))[가-힣]+|"
    r"[가-힣]{2,}(?:학회|협회|재단|진흥원|관리원|안전원|안전나라|운동본부|지원센터|복지관|보호기관)"
)
LONGEST_ADVERT = 150  # characters of a sentence; a longer one has no full stops, and advice in it


def is_advert(sentence: str) -> bool:
    if len(sentence) > LONGEST_ADVERT or SELLING.search(sentence) is None or SAFETY.search(sentence):
        return False
    return OFFICIAL.search(sentence) is None or re.search(OWN, sentence) is not None


def without_adverts(text: str) -> str:
    pieces = sentences(text)
    kept = [piece for piece in pieces if not is_advert(piece)]
    return text if len(kept) == len(pieces) else "".join(kept).strip()


CHANGING: dict[Rule, tuple[tuple[Field, ...], Callable[[str], str]]] = {
    "control_characters": (FIELDS, without_control_characters),
    "markup": (FIELDS, without_markup),
    "whitespace": (FIELDS, with_plain_whitespace),
    "advert_sentences": (("answer",), without_adverts),
    "greeting": (("answer",), without_greeting),
}
ENDING: dict[Rule, tuple[tuple[Field, ...], Callable[[str], str]]] = {"markup": (FIELDS, without_signs_of_markup)}


# Rules that drop: each gives the field that it objects to, or None

LEFTOVERS = re.compile(
    "\ufffd|占쏙옙|쏙옙"
    # UTF-8 read as Latin-1 or Windows-1252: Hangul's bytes are one of EA to ED and two of 80 to BF
    "|(?:[êëìí][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\\s]{2}){2}|[êëìí][ˆ‰Š‹Œ•„ƒ†‡œžŸ€]"
    # CP949 read as Latin-1: Hangul's bytes are one of B0 to C8 and one of A1 to FE, so capitals stand together
    "|[À-ÖØ-Þ]{2}|(?:[°-È][¡-þ]){3}"
    # written to an encoding without Hangul: words of nothing but question marks
    r"|(?:(?<!\S)\?{2,}[.,]?\s+(?:\S{1,8}\s+)?){2}\?{2,}(?!\S)"
)
RARE_SHARE = 0.05  # of the Hangul; Korean prose has next to none outside KS X 1001, UTF-8 read as CP949 is full of it
RUN = re.compile(r"(\S)\1{4,}")
RUN_SHARE = 0.3  # of a text that may be runs of one character: ㅠㅠㅠㅠㅠ under a sentence is a patient in tears
REPEATING_SHARE = 0.5  # of 10-character shingles that stood there before, as in pairing
SAME = 0.9  # similarity from which answer and question are the same text
SENDS = re.compile(
    only(
        "정확한 자세한 증상 증상만 증상만으로 글 글만으로 말씀하신 말씀만으로 내용만으로 인터넷 온라인 진단 진찰 "
        "원인 치료 상담 위해 위해서 위하여 위해선 위해서는 먼저 우선 일단 꼭 반드시 빨리 가까운 인근 근처 병원 "
        "의원 의료기관 내원 방문 내원하셔서 방문하셔서 내원해 방문해 가셔서 가서 직접 의사 전문의 진료 검사 알 수 "
        "없으니 없으므로 어려우니 어려우므로 힘드니 판단하기 확인 한번 한 번 보시고 받아 받아보시는 받으시는 "
        "보시는 받는 게 것 필요 하시는",
        r"(?:받아)?보세요 (?:받아\s?)?보시기\s?바랍니다 (?:받아\s?)?보시길\s?바랍니다 받으세요 받으시기\s?바랍니다 "
        r"받으시길\s?바랍니다 하세요 하시기\s?바랍니다 바랍니다 좋습니다 좋겠습니다 좋을\s?것\s?같습니다 필요합니다 "
        r"권합니다 권해\s?드립니다 가세요 가보세요 가\s?보세요 내원하세요 방문하세요 상담하세요 상의하세요",
    )
)

Judge = Callable[[Consult, Consult, Quality], Field | None]  # the cleaned consult, as it came in, the bounds


def first(consult: Consult, objects: Callable[[str], bool], fields: Sequence[Field] = JUDGED) -> Field | None:
    return next((field for field in fields if objects(getattr(consult, field))), None)


def broken_encoding(consult: Consult) -> Field | None:
    return first(consult, is_broken, FIELDS)


def is_broken(text: str) -> bool:
    if LEFTOVERS.search(text):
        return True
    hangul = [c for c in text if "가" <= c <= "힣"]
    rare = sum(len(c.encode("euc_kr")) != 2 for c in hangul)
    return rare > max(2, RARE_SHARE * len(hangul))


def repeats(text: str) -> bool:
    runs = sum(len(run.group()) for run in RUN.finditer(text))
    return runs > RUN_SHARE * len(text) or repetition(text) > REPEATING_SHARE


def sells(consult: Consult, before: Consult, config: Quality) -> Field | None:
    has_advert = any(map(is_advert, sentences(before.answer)))
    left = without_greeting(without_adverts(consult.answer))
    return "answer" if has_advert and len(left) < config.answer_characters[0] else None


def sends(consult: Consult, before: Consult, config: Quality) -> Field | None:
    return "answer" if all(says_only(piece, [SENDS]) for piece in sentences(consult.answer)) else None


def too_short(consult: Consult, before: Consult, config: Quality) -> Field | None:
    return next((field for field, (least, _) in bounds(config).items() if len(getattr(consult, field)) < least), None)


def too_long(consult: Consult, before: Consult, config: Quality) -> Field | None:
    return next((field for field, (_, most) in bounds(config).items() if len(getattr(consult, field)) > most), None)


def bounds(config: Quality) -> dict[Field, tuple[int, int]]:
    return {"question": config.question_characters, "answer": config.answer_characters}


def hangul_share(text: str) -> float:
    letters = [c for c in text if c.isalpha()]
    return sum("가" <= c <= "힣" for c in letters) / len(letters) if letters else 0.0


def echoes(consult: Consult, before: Consult, config: Quality) -> Field | None:
    return "answer" if similarity(consult.question, consult.answer) >= SAME else None


DROPPING: dict[Rule, Judge] = {
    "broken_encoding": lambda consult, before, config: broken_encoding(consult),
    "too_long": too_long,
    "repeated_characters": lambda consult, before, config: first(consult, repeats),
    "advert": sells,
    "no_answer": sends,
    "too_short": too_short,
    "not_korean": lambda consult, before, config: first(consult, lambda text: hangul_share(text) < config.min_hangul),
    "question_is_answer": echoes,
}
