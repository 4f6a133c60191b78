"""A site on loopback with Hidoc's two page layouts, fictional consults, and bad manners on demand.

    python -m tests.hidoc_site --port 8123 --consults 40     (well-behaved, until Ctrl-C)

Every name, clinic, number and story is made up for this file.
"""

import argparse
import hashlib
import html
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from stages.core.recipe import DEPARTMENTS

Layout = Literal["new", "old"]
Behaviour = Callable[["Handler"], None]

ROBOTS = "User-agent: *\nDisallow: /member/\nAllow: /\n"
CHANGED = "Mon, 08 Jun 2026 09:00:00 GMT"


@dataclass(frozen=True)
class SiteAnswer:
    text: str
    doctor: str = "한가상"
    clinic: str = "가상내과의원"
    number: str = ""
    thanks: str = ""
    recommended: int | None = None


@dataclass(frozen=True)
class SiteConsult:
    number: str
    department: str
    title: str
    body: str
    answers: tuple[SiteAnswer, ...]
    layout: Layout = "new"
    date: str = "2026.06.08"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """One request as the site saw it; times are monotonic."""

    path: str
    headers: dict[str, str]
    started: float
    status: int


@dataclass
class HidocSite:
    """What the site holds, what it has seen, and what it is to do instead of answering well."""

    consults: Sequence[SiteConsult]
    per_page: int = 7
    robots: str | None = ROBOTS  # None: there is none
    endless: bool = False  # True: pages behind the last show it once more, and promise yet another
    paging: bool = True
    seen: list[Seen] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""
    _plans: dict[str, Iterator[Behaviour | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, path: str, *behaviours: Behaviour) -> None:
        """Misbehave on the next requests of `path`, one behaviour each, then answer well."""
        self._plans[path] = itertools.chain(behaviours, itertools.repeat(None))

    def always(self, path: str, behaviour: Behaviour) -> None:
        self._plans[path] = itertools.repeat(behaviour)

    def plan(self, path: str) -> Behaviour | None:
        return next(self._plans.get(path, iter(())), None)

    def paths(self) -> list[str]:
        """What was asked for, in order, robots.txt left out."""
        return [seen.path for seen in self.seen if seen.path != "/robots.txt"]

    def page(self, path: str) -> str | None:
        """The HTML that stands at `path` when the site behaves; None: nothing does."""
        parts = urlsplit(path)
        if parts.path == "/healthqna/part/list":
            query = parse_qs(parts.query)
            return self._list(query["code"][0], int(query.get("page", ["1"])[0]))
        found = next((one for one in self.consults if parts.path == f"/healthqna/view/{one.number}"), None)
        return consult_page(found) if found else None

    def _list(self, code: str, page: int) -> str:
        own = [consult for consult in self.consults if consult.department == code]
        last = max(1, -(-len(own) // self.per_page))
        shown = min(page, last) if self.endless else page
        cards = own[(shown - 1) * self.per_page : shown * self.per_page]
        later = range(1, (page + 2 if self.endless else last) + 1)
        return list_page(code, cards, later if self.paging else None)

    @contextmanager
    def serve(self, port: int = 0) -> Iterator["HidocSite"]:
        site = self

        class OwnHandler(Handler):
            pass

        OwnHandler.site = site
        server = ThreadingHTTPServer(("127.0.0.1", port), OwnHandler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    site: HidocSite
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        started = time.monotonic()
        with self.site._lock:
            self.site.in_flight += 1
            self.site.most_in_flight = max(self.site.most_in_flight, self.site.in_flight)
            seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, started, 0)
            self.site.seen.append(seen)
            place = len(self.site.seen) - 1
            behaviour = self.site.plan(self.path)
        self.status = 0
        try:
            (behaviour or behave)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the other side had enough
        finally:
            with self.site._lock:
                self.site.in_flight -= 1
                self.site.seen[place] = replace(seen, status=self.status)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: tests read `seen`."""


def behave(handler: Handler) -> None:
    """Answer as a good site does: 304 where nothing has changed, 404 where nothing is."""
    if handler.path == "/robots.txt":
        text = handler.site.robots
        handler.answer(200 if text is not None else 404, (text or "").encode(), Content_Type="text/plain")
        return
    page = handler.site.page(handler.path)
    if page is None:
        handler.answer(404, "<h1>없는 페이지입니다</h1>".encode(), Content_Type="text/html; charset=utf-8")
        return
    body = page.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if handler.headers.get("If-None-Match") == tag:
        handler.answer(304, ETag=tag)
        return
    handler.answer(200, body, Content_Type="text/html; charset=utf-8", ETag=tag, Last_Modified=CHANGED)


def status(code: int, **headers: str) -> Behaviour:
    return lambda handler: handler.answer(code, b"<h1>sorry</h1>", **headers)


def too_many(seconds: float) -> Behaviour:
    """429 with Retry-After in seconds."""
    return status(429, Retry_After=str(seconds))


def too_many_until(seconds: float) -> Behaviour:
    """429 with Retry-After as an HTTP date, `seconds` from now; dates know whole seconds only."""
    return lambda handler: handler.answer(429, Retry_After=formatdate(time.time() + seconds, usegmt=True))


def redirect(to: str, code: int = 302) -> Behaviour:
    return status(code, Location=to)


def reply(body: bytes, **headers: str) -> Behaviour:
    return lambda handler: handler.answer(200, body, **headers)


def slow(seconds: float) -> Behaviour:
    def wait(handler: Handler) -> None:
        time.sleep(seconds)
        behave(handler)

    return wait


def drip(seconds: float) -> Behaviour:
    """A byte at a time, so that no single read ever takes long."""

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
        handler.close_connection = True

    return trickle


def cut(*, announced: bool = True) -> Behaviour:
    """Half of the page, then the connection is gone. Without `announced` no length says how much is missing."""

    def stop(handler: Handler) -> None:
        body = (handler.site.page(handler.path) or "").encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html; charset=utf-8")
        if announced:
            handler.send_header("Content-Length", str(len(body)))
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    return stop


def frame(title: str, content: str, charset: str = "utf-8") -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="ko">\n<head><meta charset="{charset}"><title>{html.escape(title)}</title>\n'
        f"<style>.desc {{ color: black }}</style><script>var page = '하이닥';</script></head>\n"
        f'<body><div id="hidocHead"><a href="/">처음</a> <a href="/member/login">로그인</a></div>\n'
        f'<div id="hidocBody">\n{content}\n</div>\n<div id="hidocFoot">가상의 하이닥</div></body></html>\n'
    )


def list_page(code: str, cards: Iterable[SiteConsult], pages: Iterable[int] | None) -> str:
    """A card for each answer, as Hidoc has it: the same question may stand there twice."""
    content = [
        f'<div class="health_consult_clinic"><a href="?code={code}"><span class="txt_clinic">'
        f"{DEPARTMENTS.get(code, code)}</span></a></div>"
    ]
    for consult in cards:
        for answer in consult.answers or (SiteAnswer("아직 답변이 없습니다."),):
            content.append(
                f'<div class="box_type1 qna_main"><div class="main_head"><a href="view/{consult.number}">'
                f'<strong class="tit_qna">{html.escape(consult.title)}</strong></a></div>\n<div class="main_body">'
                f'<a href="/find/doctor/default/U1" class="link_doctor">{answer.doctor} 전문의</a> 답변입니다.'
                f'<span class="txt_time">{consult.date}</span><a href="view/{consult.number}"><p class="desc">'
                f"{html.escape(answer.text[:40])}</p></a></div></div>"
            )
    if pages is not None:
        links = [f'<a href="/healthqna/part/list?code={code}&page={n}" class="num_page">{n}</a>' for n in pages]
        content.append(f'<div class="paging_type1">{" ".join(links)}</div>')
    return frame("건강상담", "\n".join(content))


def consult_page(consult: SiteConsult) -> str:
    tags = ", ".join(f'<a href="/healthqna/list?code=T">{tag}</a>' for tag in consult.tags)
    question = (
        f'<div class="health_view"><div class="box_type1 view_question">\n<div class="inner"><strong class="tit">'
        f'{html.escape(consult.title)}</strong>\n<div class="user_info"><span class="txt_time">{consult.date}</span>'
        f'</div>\n<div class="txt_tag">SMART TAG :<span class="tag_desc">{tags}</span></div>\n<div class="desc"><p>'
        f"{lines(consult.body)}</p></div></div></div>\n"
    )
    if consult.layout == "old":
        answers = "\n".join(f'<div class="desc">{lines(answer.text)}</div>' for answer in consult.answers)
    else:
        answers = "\n".join(answer_block(answer) for answer in consult.answers)
    return frame(consult.title, f'{question}<div class="view_answer">\n{answers}\n</div></div>')


def answer_block(answer: SiteAnswer) -> str:
    thanks = (
        f'<div class="message"><div class="message_inner"><strong>질문자의 감사 인사</strong><p class="desc">'
        f"{html.escape(answer.thanks)}</p></div></div>"
        if answer.thanks
        else ""
    )
    counts = (
        f'<div class="recomm_count"><dl><dt>이 답변에 동의한 전문가</dt><dd>0명</dd></dl>'
        f"<dl><dt>이 답변을 추천한 사용자</dt><dd>{answer.recommended}명</dd></dl></div>"
        if answer.recommended is not None
        else ""
    )
    text = f'<div class="desc">{lines(answer.text)}</div>' if answer.text else ""
    return (
        f'<div class="box_type1 hidoc_answer"><div class="answer_head"><div class="doctor_clinic">'
        f'<a href="/find/doctor/default/U1" class="link_doctor">{answer.doctor}[전문의]</a>'
        f'<span class="txt_clinic">{answer.clinic}</span></div>{counts}</div>\n<div class="answer_body">{thanks}'
        f'<div class="cont">{text}<form class="answerForm"><input type="hidden" class="cid" value="{answer.number}">'
        f'<button type="button">추천</button></form><script>var shown = "{answer.number}";</script></div></div></div>'
    )


def lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


DELETED_BODY = "본 게시물은 질문자 본인의 요청으로 삭제되었습니다."
DOCTORS = ("김가람", "이도윤", "박서진", "최하늘", "정유나", "강태오", "윤소라", "임지호", "한결", "오세림")
CLINICS = ("가상내과의원", "한빛가상병원", "새봄가상의원", "가람대학교 가상병원", "늘푸른가상의원")
CONTACTS = (
    "예약은 02-000-1234로 전화 주세요.",
    "궁금하시면 010-0000-4321로 문자 남겨 주세요.",
    "진료 문의는 clinic@example.com 으로 보내 주시면 됩니다.",
    "가상시 가상구 가상로 12길 34, 2층으로 오시면 됩니다.",
)
ADVERT = "★개원 기념 이벤트★ 첫 방문 30% 할인, 상담은 카톡 gasang_clinic 추가하세요! https://example.com/event"
ASKERS = (
    "",
    "저는 가상동에 사는 {age}세 {sex}입니다.",
    "안녕하세요 선생님, 처음 질문 드려요.",
    "제 이름은 홍가상이고 연락처는 010-0000-5678입니다.",
    "{age}세 {sex}이고 키 165 cm, 몸무게 62 kg입니다.",
    "급해서 여쭤봅니다ㅠㅠ 😥",
)
ENDINGS = (
    "",
    "어느 과로 가야 할까요?",
    "답변 부탁드립니다. 감사합니다.",
    "병원에 가기가 무서워서 먼저 여쭤봅니다.",
    "인터넷에는 말이 다 달라서 헷갈립니다.",
    "회사 때문에 다음 주에나 시간이 나는데 그때 가도 되나요?",
)

# Department, title, question, answers. {days}, {age} and {sex} are drawn.
THEMES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "PD000",
        "돌 지난 아기 열이 안 떨어져요",
        "14개월 아기가 {days}일째 열이 나요. 체온은 38.9도까지 오르고 챔프시럽 4 mL를 먹이면 37.5도로 내렸다가 다시 "
        "올라요.\n기침은 조금 하고 잘 먹지 않습니다.",
        (
            "해열제를 먹고 잘 논다면 조금 더 지켜볼 수 있지만, 사흘 넘게 열이 이어지면 소변검사와 귀 진찰을 받아 "
            "보셔야 합니다. 4~6시간 간격을 지키고 미지근한 물을 자주 먹여 주세요. 처지거나 소변이 8시간 넘게 없으면 "
            "바로 응급실로 가세요.",
            "돌발진일 수도 있습니다. 열이 내리면서 몸통에 발진이 돋으면 며칠 안에 저절로 없어집니다.",
        ),
    ),
    (
        "PD000",
        "아이가 밤마다 코피를 흘려요",
        "일곱 살 아들이 {days}일 사이에 자다가 코피를 네 번 쏟았어요. 한 번에 5분 정도면 멎습니다. 알레르기 비염으로 "
        "지르텍을 가끔 먹습니다.",
        (
            "아이의 코피는 대부분 콧속 앞쪽 점막이 마르고 헐어서 납니다. 고개를 숙이고 콧방울을 10분 눌러 주세요. "
            "가습기를 쓰고 연고를 얇게 발라 주세요. 멍이 잘 들거나 20분 넘게 멎지 않으면 혈액검사가 필요합니다.",
        ),
    ),
    (
        "PF000",
        "건강검진에서 간 수치가 높대요",
        "이번 검진에서 AST 114 U/L, ALT 98 U/L, 감마지티피 210 U/L이 나왔습니다. 술은 주 3번, 소주 1병씩 마십니다. "
        "혈압은 130/85였습니다.",
        (
            "음주로 인한 간 손상 가능성이 먼저입니다. 한 달 동안 술을 끊고 다시 재 보시고, B형과 C형 간염 검사와 간 "
            "초음파를 함께 받으세요. 드시는 영양제와 한약이 있으면 모두 적어 가져오세요.",
            "수치가 정상 상한의 2배를 넘으니 약보다 금주가 우선입니다. 4주 뒤에 다시 검사하겠습니다.",
        ),
    ),
    (
        "PF000",
        "콜레스테롤 약을 꼭 먹어야 하나요",
        "LDL 172 mg/dL, 중성지방 230 mg/dL로 나왔고 로수바스타틴 10 mg을 처방받았습니다. {age}세이고 담배는 끊은 지 "
        "{days}일 됐습니다. 운동만으로 안 될까요?",
        (
            "LDL이 160을 넘고 흡연력이 있으면 약을 쓰는 쪽이 이득이 큽니다. 운동과 식사로는 보통 10~15%쯤 내려갑니다. "
            "약을 드시면서 3개월 뒤에 간 수치와 함께 확인하세요. 근육통이 심하면 바로 알려 주세요.",
        ),
    ),
    (
        "PMG00",
        "속쓰림이 약을 먹어도 계속됩니다",
        "{days}일 전부터 명치가 쓰리고 신물이 올라옵니다. 란소프라졸 15 mg을 아침마다 먹는데 밤에 더 심해요. "
        "커피는 하루 3잔 마십니다.",
        (
            "역류로 보입니다. 약은 식사 30분 전에 드시고, 커피와 야식을 줄이고, 자기 3시간 전부터는 드시지 마세요. "
            "삼킬 때 걸리거나 체중이 줄거나 변이 검으면 위내시경을 서둘러 받으셔야 합니다.",
        ),
    ),
    (
        "PMG00",
        "변에 피가 묻어 나옵니다",
        "휴지에 선홍색 피가 묻은 지 {days}일 됐습니다. 통증은 없고 변비가 있어요. 혈색소는 작년에 13.2 g/dL였습니다.",
        (
            "통증 없는 선홍색 출혈은 내치핵이 흔하지만, 40세가 넘거나 가족력이 있으면 대장내시경으로 확인하는 것이 "
            "안전합니다. 물과 식이섬유를 늘리고 오래 앉아 힘주지 마세요.",
            "항문경만으로도 많은 것을 알 수 있으니 가까운 대장항문외과에 들러 보세요.",
        ),
    ),
    (
        "PMG00",
        "헬리코박터 약을 먹고 설사를 해요",
        "헬리코박터 제균약(아목시실린, 클래리스로마이신)을 {days}일째 먹는데 하루 네댓 번 묽은 변을 봅니다. 끊어도 "
        "될까요?",
        (
            "항생제로 인한 설사는 흔하고 대개 약이 끝나면 좋아집니다. 중간에 끊으면 내성이 생기니 되도록 마치세요. "
            "열이 나거나 피가 섞이거나 하루 7번이 넘으면 약을 멈추고 바로 진료를 받으세요.",
        ),
    ),
    (
        "PN000",
        "한쪽 머리가 욱신거려요",
        "{sex}, {age}세. 한 달에 {days}번쯤 왼쪽 머리가 맥박 뛰듯 아프고 빛이 싫습니다. 타이레놀 500 mg 두 알을 먹으면 "
        "반쯤 나아집니다.",
        (
            "편두통의 전형적인 모습입니다. 시작될 때 바로 진통제를 드시되 한 달에 10일을 넘기지 마세요. 트립탄 계열이 "
            "잘 듣는 분이 많습니다. 갑자기 벼락치듯 아프거나 말이 어눌해지면 응급실로 가셔야 합니다.",
        ),
    ),
    (
        "PN000",
        "손이 떨리는데 파킨슨병일까요",
        "아버지({age}세)가 {days}개월 전부터 컵을 들 때 손을 떱니다. 가만히 있을 때는 괜찮습니다. 걷는 것은 "
        "예전과 같습니다.",
        (
            "움직일 때만 떨린다면 본태떨림이 더 의심됩니다. 파킨슨병은 쉴 때 떨리고 동작이 느려집니다. 갑상샘 "
            "검사와 드시는 약을 먼저 확인하고, 신경과에서 진찰을 받으세요.",
        ),
    ),
    (
        "PN000",
        "자고 일어나니 어지러워요",
        "아침에 돌아누울 때 천장이 도는 느낌이 20초쯤 있습니다. {days}일째이고 토할 것 같아요. 귀는 잘 들립니다.",
        (
            "이석증으로 보입니다. 자세를 바꿀 때 1분 안에 끝나는 것이 특징입니다. 이석치환술로 대개 한두 번 만에 "
            "좋아집니다. 한쪽 힘이 빠지거나 말이 어눌하면 이석증이 아니니 바로 응급실로 가세요.",
            "어지럼약은 오래 드시지 않는 것이 좋습니다. 2-3일이면 충분합니다.",
        ),
    ),
    (
        "PY000",
        "생리가 늦어지고 있어요",
        "생리 예정일이 {days}일 지났습니다. 테스트기는 한 줄이에요. 최근에 다이어트로 5 kg이 빠졌습니다.",
        (
            "체중이 빨리 줄면 배란이 늦어집니다. 일주일 뒤에 테스트를 다시 하시고, 석 달 이상 없으면 호르몬 검사와 "
            "초음파를 받으세요. TSH와 프로락틴도 함께 봅니다.",
        ),
    ),
    (
        "PY000",
        "임신 10주 감기약 먹어도 되나요",
        "임신 10주인데 콧물과 기침이 {days}일째입니다. 체온은 37.2도예요. 집에 타이레놀과 판콜이 있습니다.",
        (
            "아세트아미노펜은 필요할 때 드실 수 있습니다. 복합 감기약은 성분이 여럿이라 피하시는 것이 좋습니다. 따뜻한 "
            "물과 휴식으로 지내시고 38도가 넘거나 숨이 차면 진료를 받으세요.",
        ),
    ),
    (
        "PY000",
        "철분제를 먹으면 속이 안 좋아요",
        "혈색소 9.8 g/dL, 페리틴 6 ng/mL로 철결핍이라고 합니다. 철분제를 먹은 지 {days}일인데 메스껍고 변이 검어요.",
        (
            "변이 검은 것은 철분 때문이니 걱정하지 않으셔도 됩니다. 메스꺼우면 저녁 식사 뒤나 하루 걸러 드셔 보세요. "
            "비타민 C와 함께 드시면 흡수가 좋아집니다. 생리량이 많은지도 확인해야 합니다.",
        ),
    ),
    (
        "PR000",
        "허리를 굽히면 다리가 저려요",
        "무거운 것을 든 뒤로 {days}일째 허리와 오른쪽 다리가 저립니다. 기침하면 더 아파요.",
        (
            "허리 디스크가 신경을 누르는 모습입니다. 처음 6주는 약과 운동으로 지켜보는 것이 보통입니다. 소변이 잘 "
            "나오지 않거나 발목에 힘이 빠지면 응급이니 바로 병원으로 오세요.",
        ),
    ),
    (
        "PR000",
        "뇌경색 뒤 재활은 언제까지 하나요",
        "어머니({age}세)가 뇌경색으로 왼쪽이 마비된 지 {days}개월입니다. 아스피린 100 mg과 클로피도그렐 75 mg을 "
        "드십니다.",
        (
            "처음 6개월에 회복이 가장 빠르지만 그 뒤에도 꾸준히 좋아집니다. 하루에 30분씩 나누어 걷기와 손 운동을 "
            "하시고, 어깨가 아프면 억지로 올리지 마세요. 약은 임의로 끊으시면 안 됩니다.",
        ),
    ),
    (
        "PU000",
        "소변을 너무 자주 봐요",
        "{days}일 전부터 한 시간마다 소변을 보고 끝에 찌릿합니다. 열은 없어요. 검사지에 백혈구 3+라고 나왔습니다.",
        (
            "방광염이 의심됩니다. 소변배양검사를 하고 항생제를 3~5일 쓰면 대개 좋아집니다. 옆구리가 아프거나 열이 나면 "
            "신장까지 올라간 것이니 바로 오세요.",
            "물을 하루 1.5 L 이상 드시고 참지 마세요.",
        ),
    ),
    (
        "PU000",
        "PSA 수치가 4.6이에요",
        "{age}세 남성이고 PSA가 4.6 ng/mL 나왔습니다. 밤에 두 번 깹니다. 탐스로신 0.2 mg을 먹고 있습니다.",
        (
            "PSA는 염증이나 비대증으로도 오릅니다. 4주 뒤에 다시 재고, 그래도 높으면 MRI와 조직검사를 상의합니다. "
            "검사 이틀 전에는 자전거와 성관계를 피하세요.",
        ),
    ),
    (
        "PE000",
        "귀에서 삐 소리가 나요",
        "조용하면 오른쪽 귀에서 삐 소리가 납니다. {days}일 됐고 이어폰을 오래 씁니다. 잘 안 들리지는 않아요.",
        (
            "청력검사를 먼저 받으세요. 갑자기 안 들린다면 돌발성 난청일 수 있어 72시간 안에 치료를 시작해야 합니다. "
            "소음을 줄이고 카페인을 줄여 보세요.",
        ),
    ),
    (
        "PE000",
        "코가 막혀서 잠을 못 자요",
        "비염이 {days}년 됐습니다. 오트리빈을 매일 뿌리는데 안 뿌리면 더 막혀요.",
        (
            "수축제를 오래 쓰면 오히려 막히는 약물성 비염이 됩니다. 끊고 스테로이드 스프레이로 바꾸셔야 합니다. 처음 "
            "일주일은 힘들지만 지나면 좋아집니다. 식염수 세척을 함께 하세요.",
            "비중격이 휜 것도 확인해 보시기를 권합니다.",
        ),
    ),
    (
        "PP000",
        "잠들기까지 두 시간이 걸려요",
        "{days}주째 누워도 두 시간씩 뒤척입니다. 졸피뎀 5 mg을 세 번 먹어 봤는데 다음 날 멍합니다.",
        (
            "자는 시간보다 일어나는 시간을 먼저 고정해 보세요. 낮잠과 침대에서 휴대전화를 피하고, 20분 넘게 잠이 오지 "
            "않으면 일어나세요. 불면증 인지행동치료가 약보다 오래 갑니다. 기분이 가라앉으면 꼭 말씀해 주세요.",
        ),
    ),
    (
        "PP000",
        "항우울제를 끊고 싶습니다",
        "에스시탈로프람 10 mg을 {days}개월 먹었고 이제 괜찮습니다. 이틀 빼먹었더니 머리가 찌릿하고 어지러워요.",
        (
            "갑자기 끊으면 그런 증상이 옵니다. 나아진 뒤에도 6개월은 드시고, 그다음 5 mg으로 2~4주 줄인 뒤 끊는 것이 "
            "보통입니다. 담당 선생님과 날짜를 정해서 하세요.",
        ),
    ),
    (
        "PO000",
        "계단을 내려갈 때 무릎이 아파요",
        "{sex}, {age}세입니다. 등산 뒤로 {days}주째 무릎 앞쪽이 아픕니다. 붓지는 않았어요.",
        (
            "무릎앞 통증이 의심됩니다. 2~3주는 등산과 쪼그려 앉기를 피하고 허벅지 앞쪽 근육을 길러 주세요. 붓거나 "
            "무릎이 걸리는 느낌이 있으면 MRI가 필요합니다.",
        ),
    ),
    (
        "PO000",
        "발목을 접질렀는데 걸을 수는 있어요",
        "어제 농구하다 발목을 접질렀습니다. 바깥쪽이 붓고 멍이 들었는데 네 걸음은 걸을 수 있어요. {days}일 뒤에 "
        "출장이 있습니다.",
        (
            "걸을 수 있고 복사뼈 뒤쪽을 눌러 아프지 않으면 골절 가능성은 낮습니다. 얼음찜질 15분, 압박, 다리 올리기를 "
            "하시고 이부프로펜 400 mg을 드셔도 됩니다. 일주일 뒤에도 딛기 어려우면 X선을 찍으세요.",
            "보호대를 2주쯤 차시고, 아프지 않은 범위에서 발목 돌리기를 시작하세요.",
        ),
    ),
    (
        "PS000",
        "두드러기가 매일 올라와요",
        "저녁마다 팔다리에 두드러기가 올라온 지 {days}주 됐습니다. 세티리진 10 mg을 먹으면 두세 시간 뒤에 가라앉아요.",
        (
            "6주가 넘으면 만성입니다. 원인을 못 찾는 일이 많으니 매일 같은 시간에 항히스타민제를 드시는 것이 "
            "먼저입니다. 입술이 붓거나 숨이 차면 바로 119에 연락하세요.",
        ),
    ),
    (
        "PS000",
        "아토피 연고를 얼굴에 발라도 되나요",
        "더마톱을 팔에 쓰고 남았는데 얼굴 볼에도 {days}일 정도 발라도 될까요? 볼이 빨갛고 각질이 일어납니다.",
        (
            "얼굴은 흡수가 잘 되니 약한 등급으로 짧게 쓰셔야 합니다. 프로토픽 같은 비스테로이드 연고가 얼굴에는 더 "
            "맞습니다. 보습제를 하루 세 번 먼저 발라 주세요.",
        ),
    ),
    (
        "PS000",
        "사타구니가 가렵고 둥글게 번져요",
        "{days}주 전부터 사타구니에 둥근 테두리가 생기고 가렵습니다. 집에 있는 쎄레스톤지를 발랐더니 더 번졌어요.",
        (
            "완선이라는 곰팡이 감염으로 보입니다. 스테로이드가 든 연고는 끊고, 항진균제를 하루 두 번 4주 바르세요. "
            "발가락 무좀이 있으면 함께 치료해야 다시 생기지 않습니다.",
        ),
    ),
)


def make_consults(count: int, seed: int = 8) -> list[SiteConsult]:
    """`count` varied fictional consults, with what a crawl of Hidoc meets: deleted posts, thanks, older pages, adverts,
    the same question twice. The same seed gives the same consults."""
    draw = random.Random(seed)
    made: list[SiteConsult] = []
    for at in range(count):
        department, title, body, answers = THEMES[at % len(THEMES)]
        slots = {"days": draw.randint(2, 9), "age": draw.randint(24, 71), "sex": draw.choice(("남성", "여성"))}
        rounds = at // len(THEMES)
        opening = ASKERS[(at + rounds) % len(ASKERS)].format(**slots)
        question = "\n".join(filter(None, (opening, body.format(**slots), ENDINGS[(at * 5 + rounds) % len(ENDINGS)])))
        made.append(
            SiteConsult(
                number=f"C{1048000 + 103 * at:010d}",
                department=department,
                title=title,
                body=question,
                answers=tuple(_answer(draw, at, place, department, text) for place, text in enumerate(answers)),
                layout="old" if at % 7 == 3 else "new",
                date=f"20{draw.randint(17, 26)}.{draw.randint(1, 12):02d}.{draw.randint(1, 28):02d}",
                tags=(DEPARTMENTS[department], "가상"),
            )
        )
        _spoil(made, at)
    return made


def _answer(draw: random.Random, at: int, place: int, department: str, text: str) -> SiteAnswer:
    doctor = DOCTORS[(at * 3 + place) % len(DOCTORS)]
    contact = CONTACTS[at % len(CONTACTS)] if at % 4 == 1 else ADVERT if at % 12 == 3 else ""
    greeting = f"안녕하세요. 하이닥 {DEPARTMENTS[department]} 상담의 {doctor}입니다."
    return SiteAnswer(
        text="\n".join(filter(None, (greeting, text, contact, "감사합니다."))),
        doctor=doctor,
        clinic=CLINICS[(at + place) % len(CLINICS)],
        number=f"C{2048000 + 103 * at + place:010d}",
        thanks="정말 감사합니다 선생님!" if at % 6 == 2 else "",
        recommended=draw.randint(0, 9),
    )


def _spoil(made: list[SiteConsult], at: int) -> None:
    """Make the last consult one of those that a crawl has to do without, where its turn has come."""
    last = made[-1]
    if at % 17 == 8:
        made[-1] = replace(last, title="삭제된 게시물입니다", body=DELETED_BODY)
    elif at % 13 == 5:
        made[-1] = replace(
            last, layout="new", answers=(replace(last.answers[0], text="", thanks="감사합니다. 많은 도움이 됐어요."),)
        )
    elif at % 19 == 12:
        made[-1] = replace(last, answers=())
    elif at % 11 == 10:  # the one before, asked again in nearly the same words
        twin = made[-2]
        made[-1] = replace(twin, number=last.number, body=f"{twin.body}\n다시 한번 여쭤봅니다.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--consults", type=int, default=40)
    asked = parser.parse_args()
    site = HidocSite(make_consults(asked.consults))
    with site.serve(asked.port):
        print(f"{site.url}: {asked.consults} fictional consults; Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(site.seen)} requests seen", flush=True)


if __name__ == "__main__":
    main()
