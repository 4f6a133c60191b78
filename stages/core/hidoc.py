"""Hidoc's pages: HTML in, consult ids and raw consults out. Nothing is fetched here.

The selectors were read off pages and public crawlers, the newest of June 2026. `recomm_count` ("이 답변을 추천한 사용자
2명") is known from one crawler's sample page alone; where it is missing, nothing is counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from selectolax.lexbor import LexborHTMLParser, LexborNode

from stages.core.recipe import DEPARTMENTS
from stages.core.records import Dropped, RawAnswer, RawConsult

CARD = "div.qna_main"
PAGING = "div.paging_type1"
LIST_FRAME = f"{PAGING}, div.health_consult_clinic"  # what a list has though nothing is on it
QUESTION = "div.view_question"
TITLE = "strong.tit"
BODY = "div.view_question div.desc"
ANSWER = "div.hidoc_answer"
ANSWER_TEXT = "div.answer_body div.cont div.desc"
OLD_ANSWER = "div.view_answer div.desc"
TRACES = '[class*="answer"], [class*="doctor"], a[href*="/find/doctor"]'  # of an answer in a layout we do not know

DELETED = "질문자 본인의 요청"
THANKS = "질문자의 감사 인사"
NOTHING_HERE = "없습니다"  # how an empty list says so

BROKEN_SHARE = 0.01  # of the characters beyond ASCII, from which a page counts as unreadable

SILENT = {"script", "style", "template", "noscript", "iframe", "button", "select", "textarea", "-comment"}
BLOCKS = {"p", "div", "section", "blockquote", "pre", "ul", "ol", "li", "dl", "dt", "dd", "table", "tr", "h1", "h2"}
BLOCKS |= {"h3", "h4", "h5", "h6", "hr"}
CELLS = {"td", "th"}


class LayoutChanged(Exception):
    """A page that fits no known layout; says what was wanted."""


@dataclass(frozen=True)
class ListPage:
    """Consults that a list page links to, each once, in its order. `more`: None where the page does not say."""

    ids: tuple[str, ...]
    more: bool | None


@dataclass(frozen=True)
class Reading:
    """What a consult page gave: a consult, or None and why; answers of it that were left out stand in `dropped` too."""

    consult: RawConsult | None
    dropped: tuple[Dropped, ...] = ()


def list_url(site: str, department: str, page: int) -> str:
    return f"{site}/healthqna/part/list?{urlencode({'code': department, 'page': page})}"


def consult_url(site: str, number: str) -> str:
    return f"{site}/healthqna/view/{number}"


def consult_number(url: str) -> str | None:
    """`C0001048103` of a link to that consult; None where the link leads elsewhere."""
    path = re.split(r"[?#;]", url.strip())[0]  # not a log-in page's ?next=/view/C…
    found = re.search(r"(?:^|/)view/(C\d+)/?$", path)
    return found[1] if found else None


def consult_id(number: str) -> str:
    return f"hidoc-{number}"


def decode(body: bytes) -> str:
    """A page as text; U+FFFD stands where neither UTF-8 nor CP949 fits.

    What header and meta tag declare is not asked: a Korean site sends UTF-8 or CP949 (of which EUC-KR is a part), UTF-8
    proves itself (Korean text in CP949 is no valid UTF-8), and the declaration is what tends to be wrong.
    """
    for charset in ("utf-8-sig", "cp949"):
        try:
            return body.decode(charset)
        except UnicodeDecodeError:
            continue
    return min((body.decode(charset, errors="replace") for charset in ("utf-8-sig", "cp949")), key=broken_characters)


def broken_characters(text: str) -> int:
    return text.count("\ufffd")


def read_list(html: str, page: int) -> ListPage:
    """The consults on list page `page` (from 1), and whether the page knows of later ones.

    Raises:
        LayoutChanged: no known card on it, and it does not look like the end of a list either.
    """
    tree = LexborHTMLParser(html)
    links = [link for card in tree.css(CARD) for link in card.css('a[href*="view/C"]')]
    numbers = [number for link in links if (number := consult_number(link.attributes.get("href") or ""))]
    if not numbers and not _is_empty_list(tree):
        raise LayoutChanged(f'cards {CARD} with links a[href^="view/C"]')
    paging = "\n".join(link.attributes.get("href") or "" for link in tree.css(f"{PAGING} a"))
    pages = [int(found) for found in re.findall(r"[?&]page=(\d{1,9})", paging)]
    return ListPage(tuple(dict.fromkeys(numbers)), max(pages) > page if pages else None)


def _is_empty_list(tree: LexborHTMLParser) -> bool:
    if tree.css(CARD) or tree.css('a[href*="view/C"]'):
        return False
    text = text_of(tree.body)
    return not text or bool(tree.css(LIST_FRAME)) or NOTHING_HERE in text


def read_consult(html: str, *, number: str, url: str, department: str) -> Reading:
    """The raw consult on a page, in today's or the older layout.

    Raises:
        LayoutChanged: the page fits neither, or too much of its text is broken.
    """
    if broken_characters(html) > BROKEN_SHARE * sum(not character.isascii() for character in html):
        raise LayoutChanged("text in UTF-8 or CP949")
    tree = LexborHTMLParser(html)
    question, title = tree.css_first(QUESTION), tree.css_first(f"{QUESTION} {TITLE}") or tree.css_first(TITLE)
    if question is None or title is None:
        if DELETED in (text := text_of(tree.body)):
            return _drop(number, "deleted post: at the asker's own request", text)
        raise LayoutChanged(f"{QUESTION} with the question" if question is None else f"{TITLE} with the title")
    body = tree.css_first(BODY)
    if body is None:
        raise LayoutChanged(BODY)
    headline, text = text_of(title), text_of(body)
    if DELETED in headline or DELETED in text:
        return _drop(number, "deleted post: at the asker's own request", f"{headline}\n{text}")
    if not headline and not text:
        return _drop(number, "empty question", url)
    answers, left_out = _sift(number, _unique(number, _answers(tree)))
    if not answers:
        reasons = [row.reason for row in left_out]
        why = "none" if not reasons else "only the asker's thanks" if THANKS_ONLY in reasons else "only empty ones"
        return _drop(number, f"no doctor's answer: {why}", f"{headline}\n{text}")
    consult = RawConsult(
        id=consult_id(number),
        url=url,
        title=headline,
        body=text,
        answers=tuple(answers),
        date=iso_date(text_of(question.css_first("span.txt_time"))),
        tags=tuple(filter(None, (text_of(tag) for tag in question.css("div.txt_tag span.tag_desc a")))),
        department=DEPARTMENTS.get(department, department),
    )
    return Reading(consult, tuple(left_out))


def _drop(number: str, reason: str, text: str) -> Reading:
    return Reading(None, (Dropped(id=consult_id(number), reason=reason, text=text),))


THANKS_ONLY = "the asker's thanks, not an answer"


def _answers(tree: LexborHTMLParser) -> list[RawAnswer]:
    """Everything in the place of an answer, thanks and empty ones included; ids only where the page has them."""
    if blocks := tree.css(ANSWER):
        return [_answer(block) for block in blocks]
    nodes = [node for node in tree.css(OLD_ANSWER) if not _within(node, "message") and not _within(node, "desc")]
    if nodes:
        return [_read_answer(_surroundings(node), text_of(node)) for node in nodes]
    if tree.css("div.view_answer div.message") and not any(map(text_of, tree.css("div.view_answer"))):
        return [RawAnswer(id="", text=THANKS)]
    if any(text_of(trace) and not _within(trace, "view_question") for trace in tree.css(TRACES)):
        raise LayoutChanged(f"answers in {ANSWER} or {OLD_ANSWER}")
    return []


def _answer(block: LexborNode) -> RawAnswer:
    nodes = [node for node in block.css(ANSWER_TEXT) if not _within(node, "message") and not _within(node, "desc")]
    if nodes:
        return _read_answer(block, "\n\n".join(filter(None, map(text_of, nodes))))
    if block.css_first("div.message"):
        return _read_answer(block, THANKS)
    raise LayoutChanged(f"{ANSWER} {ANSWER_TEXT}")


def _read_answer(block: LexborNode, text: str) -> RawAnswer:
    number = block.css_first("input.cid")
    return RawAnswer(
        id=(number.attributes.get("value") or "").strip() if number else "",
        text=text,
        doctor=re.sub(r"\s*\[.*", "", text_of(block.css_first("a.link_doctor"))),  # "이름[전문의]"
        clinic=text_of(block.css_first("span.txt_clinic")),
        recommendations=_recommendations(block),
    )


def _recommendations(block: LexborNode) -> int | None:
    for entry in block.css("div.recomm_count dl"):
        count = re.search(r"\d[\d,]*", text_of(entry.css_first("dd")))
        if "추천" in text_of(entry.css_first("dt")) and count:
            return int(count[0].replace(",", ""))
    return None


def _surroundings(node: LexborNode) -> LexborNode:
    """The largest part of an older page's answers that holds this one alone: where its doctor would stand."""
    while not _has_class(node, "view_answer") and node.parent and len(node.parent.css("div.desc")) == 1:
        node = node.parent
    return node


def _unique(number: str, answers: list[RawAnswer]) -> Iterator[RawAnswer]:
    """Answers without an id, or with one that another has, are named after the consult."""
    taken: set[str] = set()
    for place, answer in enumerate(answers, start=1):
        id = answer.id if answer.id and answer.id not in taken else f"{number}-{place}"
        taken.add(id)
        yield answer.model_copy(update={"id": id})


def _sift(number: str, answers: Iterator[RawAnswer]) -> tuple[list[RawAnswer], list[Dropped]]:
    kept, left_out = [], []
    for answer in answers:
        reason = THANKS_ONLY if THANKS in answer.text else "empty answer" if not answer.text else None
        if reason is None:
            kept.append(answer)
        else:
            left_out.append(Dropped(id=f"{consult_id(number)}/{answer.id}", reason=reason, text=answer.text))
    return kept, left_out


def iso_date(text: str) -> str:
    """`2026.06.08` as `2026-06-08`; anything else as it stands."""
    found = re.match(r"(\d{4})\s*[.\-/]\s*(\d{1,2})\s*[.\-/]\s*(\d{1,2})(?!\d)", text)
    return f"{found[1]}-{int(found[2]):02d}-{int(found[3]):02d}" if found else text


def text_of(node: LexborNode | None) -> str:
    """A node's text with the line breaks a reader sees; no scripts, no comments, no asker's thanks. None: empty."""
    pieces: list[str] = []
    waiting: list[LexborNode | str] = [node] if node else []  # a stack of our own: pages may nest deeper than Python
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif item.tag == "-text":
            pieces.append(re.sub(r"\s+", " ", item.text_content or ""))
        elif item.tag == "br":
            pieces.append("\n")
        elif item.tag not in SILENT and not _has_class(item, "message"):
            edge = "\n" if item.tag in BLOCKS else " " if item.tag in CELLS else ""
            pieces.append(edge)
            waiting.append(edge)
            waiting.extend(reversed(list(item.iter(include_text=True))))
    lines = [" ".join(line.split()) for line in "".join(pieces).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _has_class(node: LexborNode, name: str) -> bool:
    return name in (node.attributes.get("class") or "").split()


def _within(node: LexborNode, name: str) -> bool:
    """Whether an element above `node` has the class `name`."""
    above = node.parent
    while above is not None:
        if _has_class(above, name):
            return True
        above = above.parent
    return False
