"""Finders of what has a shape of its own: addresses on the net, numbers of every kind, birth dates, messenger ids.

Each takes folded text and yields ranges in it; where wording decides, only the number is in the range, not the wording.
"""

import re
from collections.abc import Iterator
from datetime import date

from stages.core.folding import HIDDEN, HIDDEN_NAME, Range

STAR = "*xX○●◯〇Oㅇ#•"  # what people put in the place of a digit they hide
DIGIT = f"[0-9{re.escape(STAR)}]"
COPULA = "입니다|이에요|이예요|예요|에요|이고|이며|이라|라고|인데|이구|구요|이신|이요|요"
SAID = (
    r"\s*(?:은|는|이|가|을|를|도|란|의)?\s*[:=\-]?\s*[('\"‘“\[]?\s*"  # between what a number is called and the number
)
UNIT = re.compile(  # what follows a number that counts something
    r"\s?(?:년|월|일|시|분|초|개|회|번(?!지)|명|살|세|주|차|단계|급|mg|g|kg|ml|mL|cc|cm|mm|m\b|km|kcal|칼로리|%|퍼|프로|도|배|정|알|포"
    r"|병|잔|컵|가지|만|천|백|원|보|층|종|대|점|IU|U|단위|박|끼|쪽|장|mmHg|bpm|에서\s?\d|~|[/.]\d|-\d)"
)


def _digits(text: str) -> str:
    return "".join(char for char in text if "0" <= char <= "9")


EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,250}+"
    r"(?:@|\s@\s|\s?(?:[(\[]\s?(?:at|앳|골뱅이)\s?[)\]]|골뱅이)\s?|\sat\s)"
    r"[A-Za-z0-9-]{1,63}+(?:(?:\.|\s?[(\[]dot[)\]]\s?|\sdot\s)[A-Za-z0-9-]{1,63}+){1,5}(?![A-Za-z0-9])"
)


def find_emails(text: str) -> Iterator[Range]:
    """kim@naver.com, kim (at) naver.com, kim골뱅이naver.com."""
    for match in EMAIL.finditer(text):
        yield match.span()


SUFFIX = "com|net|org|kr|info|biz|shop|store|site|online|app|dev|xyz|clinic|health|care|blog|io|ai|tv|jp|cn|edu|gov"
SHORT_SUFFIX = "me|co|be|ly|to|gl|gg|cc|us|uk|de|fr|link|page"  # words or units too: only with a path
TAIL = r"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]"
URL = re.compile(
    rf"(?<![A-Za-z0-9@])(?:(?:https?|ftp)\s?:\s?//[A-Za-z0-9가-힣._~:@-]{{1,200}}\.?(?:[/?#]{TAIL}{{0,2000}}+)?"
    rf"|www\d?\.[A-Za-z0-9가-힣-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,5}}(?::\d+)?(?:[/?#]{TAIL}{{0,2000}}+)?)",
    re.IGNORECASE,
)
BARE_URL = re.compile(
    r"(?<![A-Za-z0-9@._/-])(?=[A-Za-z0-9-]{0,62}[A-Za-z])(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,5}"
    rf"(?:(?:{SUFFIX})(?![A-Za-z0-9-]|\.[A-Za-z0-9])(?::\d+)?(?:[/?#]{TAIL}{{0,2000}}+)?"
    rf"|(?:{SHORT_SUFFIX})/{TAIL}{{1,2000}}+|[a-z]{{2,6}}/[A-Za-z0-9_-]{{4}}{TAIL}{{0,2000}}+)",
    re.IGNORECASE,
)


def find_urls(text: str) -> Iterator[Range]:
    """With a scheme, with www., or bare with a known suffix; punctuation that ends the sentence is none of it.

    Hangul in a path ends the URL, since a particle (…/abc에서) cannot be told from it; in a host's name it does not."""
    for pattern in (URL, BARE_URL):
        for match in pattern.finditer(text):
            yield match.start(), match.start() + len(_without_tail(match[0]))


def _without_tail(url: str) -> str:
    """A host's name may have swallowed a particle; a closing bracket is the URL's only if it opened there."""
    url = re.sub(r"(?<=[A-Za-z0-9/])[가-힣]{1,6}$", "", url)
    while url and (
        url[-1] in ".,;:!?'*~" or (url[-1] in ")]" and url.count("(["[url[-1] == "]"]) < url.count(url[-1]))
    ):
        url = url[:-1]
    return url


RESIDENT = re.compile(
    rf"(?<![0-9*-])[0-9*]{{6}}(?P<gap>\s?-\s?|\s)?"
    rf"(?P<rest>[0-9]{{7}}(?![0-9*])|[0-9]{{1,6}}[{re.escape(STAR)}]{{1,7}}|[*●○]{{7}})(?![0-9*-])"
)
RESIDENT_CALLED = re.compile(
    rf"(?:주민|외국인|거소)\s?(?:등록|신고)?\s?번호\s?(?:앞\s?자리|앞)?{SAID}(?P<number>[0-9]{{6}}(?:\s?-\s?[0-9]{{1,7}}|[0-9]{{7}})?)(?![0-9*])"
)
CENTURY = {"9": 1800, "0": 1800, "1": 1900, "2": 1900, "5": 1900, "6": 1900, "3": 2000, "4": 2000, "7": 2000, "8": 2000}


def find_resident_numbers(text: str) -> Iterator[Range]:
    """Residents' and foreigners' numbers, also with their end hidden. After 주민번호 any digits of that length are one.

    With a hyphen, a right checksum is not asked for: a mistyped number still names its owner, and numbers issued since
    October 2020 have none (주민등록법 시행규칙, 2020-10-05). Thirteen digits without one, or with a space, must
    begin with a real date in the century that the seventh digit tells. There the checksum decides one case: Korean
    barcodes begin with 880 and so read as births in 1988, so a number that is a valid barcode (GTIN-13) must also
    be a valid resident number; whoever was born then has a number with a checksum.
    """
    for match in RESIDENT.finditer(text):
        number = _digits(match[0])
        hidden = len(number) < 13
        if hidden and (len(number) < 6 or (match["gap"] is None and len(match[0]) != 13)):
            continue
        before = text[max(0, match.start() - 24) : match.start()]
        if match["gap"] and "-" in match["gap"]:
            if hidden or _is_month_and_day(number[2:6]) or not ACCOUNT_BEFORE.search(before):
                yield match.span()
        elif hidden or (_is_birth(number) and not (_is_korean_barcode(number) and not has_checksum(number))):
            yield match.span()
    for match in RESIDENT_CALLED.finditer(text):
        yield match.span("number")


def _is_month_and_day(digits: str) -> bool:
    return "01" <= digits[:2] <= "12" and "01" <= digits[2:] <= "31"


def _is_birth(number: str) -> bool:
    try:
        date(CENTURY[number[6]] + int(number[:2]), int(number[2:4]), int(number[4:6]))
    except ValueError:
        return False
    return True


def _is_korean_barcode(number: str) -> bool:
    """GTIN-13 with GS1's Korean prefix: weights 1 and 3 in turn, the sum a multiple of ten."""
    return number.startswith("880") and sum(int(d) * (1, 3)[at % 2] for at, d in enumerate(number)) % 10 == 0


def has_checksum(number: str) -> bool:
    """Whether 13 digits end in the check digit of a number issued before October 2020.

    Weights 2 to 9, then 2 to 5; the digit is (11 - sum mod 11) mod 10, for foreigners (7th digit 5 to 8) two more.
    """
    total = sum(int(d) * weight for d, weight in zip(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False))
    foreign = 2 if number[6] in "5678" else 0
    return ((11 - total % 11) % 10 + foreign) % 10 == int(number[12])


GAP = r"(?:\s?[-.~/·)ㅡ]\s?|\s|\s?(?:에|다시|의)\s?)?"
AREA = r"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|80|50[0-9]?|30[2-9])"
MOBILE = re.compile(
    rf"(?<![0-9*+-])(?:\(\s?0(?:1[016789])\s?\)|[0oO]1[016789]){GAP}{DIGIT}{{3,4}}{GAP}{DIGIT}{{4}}(?![0-9])"
)
COUNTRY = re.compile(
    rf"(?<![0-9*])(?:\(\s?\+?\s?82\s?\)|\+\s?82|0082|00[127]-?82|82(?=[-\s.)]))[-\s.)]*(?:\(0\)|0)?\s?(?:1[016789]|{AREA}){GAP}"
    rf"{DIGIT}{{3,4}}{GAP}{DIGIT}{{4}}(?![0-9])"
)
LANDLINE = re.compile(
    rf"(?<![0-9*+.-])(?:\(\s?0{AREA}\s?\)\s?-?\s?|0{AREA}(?:\s?[-.)/]\s?|\s))"
    rf"(?P<middle>{DIGIT}{{3,4}})(?:\s?[-./]\s?|\s){DIGIT}{{4}}(?![0-9])"
    rf"|(?<![0-9*+.-])0(?:2[1-9][0-9]{{6,7}}|(?:3[1-3]|4[1-4]|5[1-5]|6[1-4])[2-9][0-9]{{6,7}}|70[0-9]{{8}}|80[0-9]{{7,8}}|50[2-8][0-9]{{7,8}})(?![0-9])"
)
SERVICE = re.compile(
    r"(?<![0-9*+.,-])1(?:522|533|544|551|566|577|588|599|600|644|660|661|666|668|670|688|800|811|833|844|855|877|899)"
    r"(?P<gap>\s?-\s?|\s)?(?P<last>[0-9*]{4})(?![0-9-])"
)
FOREIGN = re.compile(
    r"(?<![0-9])\+[1-9][0-9]{0,2}[-\s.]?(?:\([0-9]{1,4}\)|[0-9]{1,4})(?:[-\s.][0-9]{2,4}){2,4}(?![0-9])"
)
CALLED = re.compile(
    r"(?:전화|연락처|연락|휴대폰|휴대전화|핸드폰|폰|번호|팩스|FAX|Fax|fax|TEL|Tel|tel|☎|📞|☏|H\.?P|문의|콜센터|상담)[^\d\n]{0,8}$"
)
LOCAL = re.compile(
    r"(?:전화|연락처|휴대폰|휴대전화|핸드폰|팩스|FAX|Fax|fax|TEL|Tel|tel|☎|📞|☏|H\.?P\.?)\s?(?:번호)?"
    + SAID
    + r"(?P<number>[0-9]{3,4}\s?[-.]\s?[0-9]{4})(?![0-9-])"
)
AMOUNT = re.compile(r"\s?(?:k?cal|칼로리|m?g|m[lL]|cc|IU|보|원|회)")
SPOKEN_DIGIT = "[0-9공영일이삼사오육륙칠팔구]"
SPOKEN = re.compile(
    rf"(?<![가-힣0-9])[0공영]\s?[1일]\s?[01공영일육륙칠팔구6789]{GAP}(?:{SPOKEN_DIGIT}\s?){{3,4}}{GAP}(?:{SPOKEN_DIGIT}\s?){{3}}{SPOKEN_DIGIT}"
)


def find_phones(text: str) -> Iterator[Range]:
    """Mobile, landline, internet, service numbers; with a country code; with digits hidden or spelled in Hangul.

    1600-1800 is more often a range of kcal: two round halves are a number only beside 전화, 문의, …."""
    for pattern in (COUNTRY, MOBILE, LANDLINE, FOREIGN):
        for match in pattern.finditer(text):
            yield match.span()
    for match in SERVICE.finditer(text):
        called = CALLED.search(text[max(0, match.start() - 16) : match.start()])
        rounds = match[0][2:4] == "00" and match["last"].endswith("00")
        plain = match["gap"] and not rounds and not AMOUNT.match(text, match.end())
        if called or plain:
            yield match.span()
    for match in SPOKEN.finditer(text):
        if re.search("[가-힣]", match[0]):
            yield match.span()
    for match in LOCAL.finditer(text):
        yield match.span("number")


CARD = re.compile(
    rf"(?<![0-9*-])(?:{DIGIT}{{4}}(?P<gap>\s?[-.]\s?|\s){DIGIT}{{4}}(?P=gap){DIGIT}{{4}}(?P=gap){DIGIT}{{4}}"
    rf"|3[47][0-9*]{{2}}(?P<amex>\s?-\s?|\s){DIGIT}{{6}}(?P=amex){DIGIT}{{5}}|[0-9]{{4}}[0-9*]{{8}}[0-9*]{{3,4}})(?![0-9*-])"
)
CARD_BEFORE = re.compile(r"(?:카드|card|아멕스|비자|마스터|VISA|Visa|AMEX|Amex)[^\d\n]{0,15}$", re.IGNORECASE)
CARD_AFTER = re.compile(r"\s?(?:이\s?)?카드")


def find_card_numbers(text: str) -> Iterator[Range]:
    """Four groups of four, Amex's 4-6-5, or the digits alone; those beside 카드 or with Luhn's check digit."""
    for match in CARD.finditer(text):
        digits = _digits(match[0])
        if len(digits) < 4 or (match["gap"] == " " and _are_years(match[0])):
            continue
        grouped = match["gap"] or match["amex"]
        called = CARD_BEFORE.search(text[max(0, match.start() - 24) : match.start()]) or CARD_AFTER.match(
            text, match.end()
        )
        if grouped or called or _passes_luhn(digits):
            yield match.span()


def _are_years(groups: str) -> bool:
    return all(group.startswith(("19", "20")) for group in groups.split())


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = [int(d) * (2 if at % 2 else 1) for at, d in enumerate(reversed(digits))]
    return len(digits) >= 15 and sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


BANK = (
    r"(?:(?:KB\s?)?국민|신한|우리|(?:KEB\s?)?하나|(?:NH\s?)?농협|(?:IBK\s?)?기업|SC제일|제일|씨티|카카오|토스|케이|외환|산업|수협|대구|iM|부산|경남|광주|전북"
    r"|제주|저축|수출입)\s?(?:은행|뱅크)|농협|수협|신협|새마을금고|우체국|축협|산림조합|카뱅|토뱅|케뱅|KB|NH|IBK|SC제일"
)
ACCOUNT_WORD = rf"(?:{BANK}|계좌|통장|입금|송금|이체|환불)"
ACCOUNT_BEFORE = re.compile(
    rf"{ACCOUNT_WORD}[^\d\n]{{0,20}}$|(?<![가-힣])(?:국민|신한|우리|하나|기업|카카오|토스|케이|제일|씨티|대구|부산|경남|광주|전북|제주)\s$"
)
ACCOUNT_AFTER = re.compile(
    rf"(?:\s?(?:으로|로|에|에다))?[\s,(]{{0,3}}(?:{ACCOUNT_WORD}|(?:국민|신한|하나|우리|기업|카카오|토스)(?![가-힣]))"
)
ACCOUNT = re.compile(
    r"(?<![0-9*-])(?:[0-9][0-9*]{1,6}(?:\s?-\s?[0-9*]{1,9}){1,4}|[0-9]{2,6}(?:\s[0-9]{2,8}){1,3}|[0-9]{10,16})(?![0-9*-])"
)


def find_account_numbers(text: str) -> Iterator[Range]:
    """10 to 16 digits beside a bank's name, 계좌, 통장, 입금, …; what looks like a mobile number is left to phones."""
    for match in ACCOUNT.finditer(text):
        digits = re.sub(r"[^0-9*]", "", match[0])
        if not 10 <= len(digits) <= 16 or MOBILE.fullmatch(match[0]) or DATE.match(match[0]):
            continue
        before = text[max(0, match.start() - 40) : match.start()]
        if LANDLINE.fullmatch(match[0]):  # with an area code it is an account only right behind the bank's name
            if ACCOUNT_HERE.search(before) and not CALL_AFTER.match(text, match.end()):
                yield match.span()
        elif (ACCOUNT_BEFORE.search(before) and not OTHER_BEFORE.search(before)) or ACCOUNT_AFTER.match(
            text, match.end()
        ):
            yield match.span()


ACCOUNT_HERE = re.compile(rf"{ACCOUNT_WORD}(?:\s?번호)?{SAID}$")
CALL_AFTER = re.compile(r"\s?(?:으?로|에)?\s?(?:연락|전화|문의|문자|통화)")
OTHER_BEFORE = re.compile(r"(?:전화|연락처|휴대폰|핸드폰|주민|외국인등록|카드|차트|여권|면허)[^\d\n]{0,12}$")


CHART_WORD = (
    r"(?:(?:차트|챠트|병록|의무\s?기록|진료\s?기록|환자\s?등록|병원\s?등록|환자|수진자|진료|진찰권|진료카드|원무|내원)"
    r"\s?(?:등록\s?)?(?:번호|넘버|No\.?|no\.?|NO\.?|ID|\#)"
    r"|(?<!주민)(?<!외국인)(?<!사업자)(?<!주민 )(?<!외국인 )(?<!사업자 )(?<!법인)(?<!면허)등록\s?번호"
    r"|(?:[Cc]hart|CHART)\s?(?:[Nn]o\.?|NO\.?|number|\#)?|MRN|Pt\.?\s?(?:ID|No\.?)|(?:[Pp]atient|Hosp(?:ital)?)\s?(?:ID|No\.?))"
)
CHART_NUMBER = r"(?P<number>(?:[A-Za-z]{1,4}-?)?[0-9][0-9-]{2,14}[0-9])"
CHART = re.compile(rf"{CHART_WORD}\s?(?:요)?{SAID}(?:제\s?|No\.?\s?|no\.?\s?|\#\s?)?{CHART_NUMBER}(?![0-9A-Za-z*])")
CHART_BARE = re.compile(r"(?:차트|챠트)\s?(?P<number>[A-Za-z]{0,2}-?[0-9]{5,10})(?![0-9*-])")
CHART_AFTER = re.compile(
    r"(?<![0-9A-Za-z-])(?P<number>[0-9][0-9-]{3,11}[0-9])\s?(?:\(|가|이|번)?\s?(?:제\s|저희\s)?(?:차트|챠트|병록|환자등록|병원등록)\s?번호"
)


def find_chart_numbers(text: str) -> Iterator[Range]:
    """Four digits and more that a chart or registration number's wording introduces (not 사업자등록번호)."""
    for pattern in (CHART, CHART_BARE, CHART_AFTER):
        for match in pattern.finditer(text):
            yield match.span("number")


PASSPORT = re.compile(r"(?<![A-Za-z0-9])[MSRODGTm](?:[0-9]{8}|[0-9]{3}[A-Z][0-9]{4})(?![A-Za-z0-9])")
PASSPORT_CALLED = re.compile(
    r"(?:여권|[Pp]assport|PASSPORT)(?:\s?(?:번호|[Nn]o\.?|[Nn]umber|NO\.?))?[^A-Za-z0-9\n]{0,10}"
    r"(?P<number>[A-Za-z]{1,2}[0-9]{6,8}|[A-Za-z][0-9]{3}[A-Za-z][0-9]{4}|[A-Za-z]{1,2}[0-9*]{7,8}|[0-9]{9})(?![A-Za-z0-9])"
)

PASSPORT_AFTER = re.compile(
    r"(?<![A-Za-z0-9])(?P<number>[A-Z]{1,2}[0-9]{7,8})\s?(?:[(은는이가]\s?)?(?:구\s?|옛\s?|예전\s|제\s)?(?:여권|[Pp]assport)"
)


def find_passport_numbers(text: str) -> Iterator[Range]:
    """Korea's shapes (M12345678, since 2021 M123A4567) alone; older (JR1234567) and foreign ones after 여권."""
    for pattern in (PASSPORT_CALLED, PASSPORT_AFTER):
        for match in pattern.finditer(text):
            yield match.span("number")
    for match in PASSPORT.finditer(text):
        yield match.span()


REGION = "서울|부산|대구|인천|광주|대전|울산|세종|경기(?:남부|북부)?|강원|충북|충남|전북|전남|경북|경남|제주"
DRIVING = re.compile(
    rf"(?<![0-9A-Za-z가-힣*-])(?:(?:{REGION})\s?-?\s?)?[0-9]{{2}}\s?-\s?[0-9]{{2}}\s?-\s?[0-9*]{{6}}\s?-\s?[0-9*]{{2}}(?![0-9*-])"
    rf"|(?<![0-9A-Za-z가-힣*-])(?:{REGION})\s?-?\s?[0-9]{{2}}[-\s][0-9*]{{6}}[-\s][0-9*]{{2}}(?![0-9*-])"
)
DRIVING_CALLED = re.compile(
    rf"운전\s?면허(?:증)?(?:\s?번호)?{SAID}(?P<number>(?:(?:{REGION})\s?)?[0-9]{{2}}[-\s]?[0-9]{{2}}[-\s]?[0-9]{{6}}[-\s]?[0-9]{{2}})(?![0-9-])"
)
LICENCE = re.compile(
    r"(?:면허|자격)\s?(?:증)?\s?(?:번호|No\.?|no\.?)?"
    + SAID
    + r"(?:제\s?)?(?P<number>[0-9][0-9-]{2,9}[0-9])(?![0-9*-])(?!\s?(?:년|월|시간|점|명|회|만|원))"
)
LICENCE_AFTER = re.compile(r"제\s?(?P<number>[0-9]{3,8})\s?호\s?(?:의\s)?[가-힣\s]{0,8}면허")


def find_licence_numbers(text: str) -> Iterator[Range]:
    """Driving licences by shape (11-12-345678-90, 서울 12-345678-90); a doctor's by the word 면허, without 제/호."""
    for match in DRIVING_CALLED.finditer(text):
        yield match.span("number")
    for match in DRIVING.finditer(text):
        yield match.span()
    for pattern in (LICENCE, LICENCE_AFTER):
        for match in pattern.finditer(text):
            yield match.span("number")


DAY = r"(?:0?[1-9]|[12][0-9]|3[01])"
MONTH = r"(?:0?[1-9]|1[0-2])"
YEAR = r"(?:(?:18|19|20)[0-9]{2}|['’]?[0-9]{2})"
WRITTEN_DATE = (
    rf"(?:{YEAR}\s?년\s?{MONTH}\s?월\s?{DAY}\s?일"
    # the official form ends in a point as well: 2021. 2. 19.생
    rf"|{YEAR}(?P<gap>\s?[-./]\s?){MONTH}(?P=gap){DAY}(?![0-9])(?:(?<=\. [0-9])\.|(?<=\. [0-9][0-9])\.|\.(?=\s?생))?"
    r"|(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    rf"|(?:18|19|20)[0-9]{{2}}\s{MONTH}\s{DAY}(?![0-9])|[0-9]{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
)
DATE = re.compile(rf"(?<![0-9.-]){WRITTEN_DATE}(?![0-9])")
BORN_BEFORE = re.compile(
    r"(?:생년\s?월일|생일|생신|출생일자|출생일|출생년월일|출생|태어난\s?날짜?|DOB|D\.O\.B\.?|[Bb]irth\s?(?:day|date)?"
    rf"|[Dd]ate of [Bb]irth){SAID}(?:(?:양력|음력|만)\s?)?(?P<date>{WRITTEN_DATE})(?![0-9*-])"
)
BORN_AFTER = re.compile(
    r"\s?(?:\((?:양력|음력)\)\s?)?(?:생(?=[^가-힣]|$|이|인|입|으|남|여|환|의|은|로|아(?:기|이)|예|에)|출생|태생|일생"
    r"|날?\s?에\s?(?:[가-힣]{1,6}\s){0,3}(?:태어|출생)|\s?(?:날\s)?태어"
    rf"|\s?생년월일(?!{SAID}[0-9]))"
)
NAMED_DATE = re.compile(  # 연두솔 (2021-11-09); without brackets it may be a visit's, but not before 2010
    rf"{HIDDEN_NAME}(?:\s?\(\s?(?=[^()\n]{{6,16}}\))|\s?[,/]\s?(?:{HIDDEN}\s?[,/]\s?)?(?=19|200))(?P<date>{WRITTEN_DATE})(?![0-9*-])"
)


def find_birth_dates(text: str) -> Iterator[Range]:
    """A whole date after 생년월일, 생일, … or before 생, 출생, 에 태어난. A year alone or a visit's date is none."""
    for match in BORN_BEFORE.finditer(text):
        yield match.span("date")
    for match in DATE.finditer(text):
        if BORN_AFTER.match(text, match.end()):
            yield match.span()
    for match in NAMED_DATE.finditer(text):
        yield match.span("date")


MESSENGER = (
    r"(?:카카오\s?톡|개인톡|갠톡|오픈톡|오픈\s?채팅|단톡방?|카카오스토리|카카오|카톡|까톡|톡|라인|텔레그램|텔레|인스타그램|인스타|페이스북|페북|페메|트위터|위챗|왓츠앱"
    r"|디스코드|스카이프|스레드|쓰레드|틱톡|네이트온|시그널|밴드|바이버|잘로|[Kk]akao\s?(?:[Tt]alk)?|KAKAO|LINE"
    r"|Line(?=\s?(?:ID|id|아이디))|[Tt]elegram|[Ii]nsta(?:gram)?|[Ww]e[Cc]hat|[Dd]iscord|[Ww]hats[Aa]pp"
    r"|(?:SNS|DM|디엠)(?=\s?@))"
)
ID_WORD = r"(?:아이디|계정|ID|Id|id|아디|친추|친구\s?추가|검색|채널)"
HANDLE = r"@?[A-Za-z0-9][A-Za-z0-9._-]{2,29}(?:#[0-9]{4})?"
MESSENGER_ID = re.compile(
    rf"(?<![A-Za-z가-힣]){MESSENGER}(?!(?<=[A-Za-z])[a-hj-z])\s?(?P<word>(?:{ID_WORD}\s?){{1,2}})?"
    r"(?:\([가-힣A-Za-z\s]{1,10}\)\s?)?(?:은|는|이|가|으로|로|에서|에|도)?\s*[:=\-]?\s*['\"‘“(\[]?\s*"
    rf"(?P<id>{HANDLE})"
)
HANGUL_ID = re.compile(rf"(?<![가-힣]){MESSENGER}\s?(?:{ID_WORD}){SAID}(?P<id>[가-힣]{{1,8}}[0-9_][0-9A-Za-z_]{{0,8}})")
ID_THEN_MESSENGER = re.compile(
    rf"(?<![A-Za-z0-9@._/-])(?P<id>@?[A-Za-z][A-Za-z0-9._-]{{3,29}})(?:으로|로|이|가|은|는)?\s?(?:\(\s?)?{MESSENGER}(?![A-Za-z])"
)
WEB_SUFFIX = re.compile(r"\.(?:com|net|org|kr|io|me|be|gl|ly)$|^(?:https?|www)", re.IGNORECASE)
ID_ALONE = re.compile(rf"(?<![가-힣])(?:제\s)?(?:아이디|ID){SAID}(?P<id>@?[A-Za-z][A-Za-z0-9._-]{{2,29}})")


def find_messenger_ids(text: str) -> Iterator[Range]:
    """An account's name after 카톡, 라인 ID, 인스타, …. Without the word 아이디 it must look like an account: a digit,
    `_`, `.` or `@` in it, or small letters only; `카톡 PDF` and `라인 C` are none."""
    for match in MESSENGER_ID.finditer(text):
        is_address = WEB_SUFFIX.search(match["id"]) or text[match.end() : match.end() + 1] in ("/", ":", "@")
        if not is_address and (match["word"] or _looks_like_account(match["id"])):
            yield _trimmed(match)
    for pattern in (ID_THEN_MESSENGER, ID_ALONE):
        for match in pattern.finditer(text):
            id = match["id"].rstrip(".")
            if _looks_like_account(id) and re.search(r"[0-9_.@]", id) and not WEB_SUFFIX.search(id):
                yield _trimmed(match)
    for match in HANGUL_ID.finditer(text):
        yield match.span("id")


def _looks_like_account(id: str) -> bool:
    letters = re.search("[A-Za-z]", id)
    return bool(
        letters and (id.islower() or re.search(r"[0-9_@]|\.[A-Za-z]", id)) and not re.match(r"[0-9.]+[a-z]{1,4}$", id)
    )


def _trimmed(match: re.Match[str]) -> Range:
    return match.start("id"), match.start("id") + len(match["id"].rstrip(".-"))
