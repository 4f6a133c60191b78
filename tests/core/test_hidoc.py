"""hidoc: what a reader sees on a page is in the raw consult, and a page that we do not know is never half read."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.core import hidoc
from stages.core.hidoc import LayoutChanged, Reading, consult_number, decode, read_consult, read_list
from stages.core.recipe import DEPARTMENTS, Collect
from stages.core.records import RawConsult, read_jsonl, write_jsonl
from tests.hidoc_site import SiteAnswer, SiteConsult, consult_page, frame, list_page, make_consults

DIZZY = SiteConsult(
    number="C0001048103",
    department="PN000",
    title="자고 일어나니 <빙글빙글> 돌아요",
    body="누우면 천장이 돕니다.\n혈압은 120/80, AST 114 & ALT 98이에요. 😥",
    answers=(
        SiteAnswer(
            "안녕하세요. 하이닥 신경과 상담의 한가상입니다.\n이석증으로 보입니다.", number="C2", recommended=1203
        ),
        SiteAnswer(
            "약은 2-3일이면 충분합니다.", doctor="김가람", clinic="한빛가상병원", number="C3", thanks="감사해요"
        ),
    ),
    tags=("어지럼", "신경과"),
)


def read(page: str) -> Reading:
    return read_consult(page, number="C0001048103", url="http://site/healthqna/view/C0001048103", department="PN000")


def consult_of(page: str) -> RawConsult:
    consult = read(page).consult
    assert consult is not None
    return consult


def reason_of(page: str) -> str:
    reading = read(page)
    assert reading.consult is None
    (dropped,) = reading.dropped
    assert dropped.id == "hidoc-C0001048103"
    return dropped.reason


def test_a_consult_page_gives_what_its_reader_sees() -> None:
    consult = consult_of(consult_page(DIZZY))
    assert consult.id == "hidoc-C0001048103"
    assert consult.title == "자고 일어나니 <빙글빙글> 돌아요"
    assert consult.body == "누우면 천장이 돕니다.\n혈압은 120/80, AST 114 & ALT 98이에요. 😥"
    assert (consult.date, consult.tags, consult.department) == ("2026-06-08", ("어지럼", "신경과"), "신경과")
    first, second = consult.answers
    assert first.text == "안녕하세요. 하이닥 신경과 상담의 한가상입니다.\n이석증으로 보입니다."
    assert (first.id, first.doctor, first.clinic) == ("C2", "한가상", "가상내과의원")
    assert (first.recommendations, second.recommendations) == (1203, None)
    assert second.text == "약은 2-3일이면 충분합니다."


def test_the_older_layout_gives_the_same_texts() -> None:
    consult = consult_of(consult_page(replace(DIZZY, layout="old")))
    assert consult.body == consult_of(consult_page(DIZZY)).body
    assert [answer.text for answer in consult.answers] == [answer.text for answer in DIZZY.answers]
    assert [answer.id for answer in consult.answers] == ["C0001048103-1", "C0001048103-2"]


def test_an_older_page_tells_the_doctor_where_each_answer_has_a_box_of_its_own() -> None:
    boxes = "".join(
        f'<div class="box"><a class="link_doctor">{name}[전문의]</a><div class="desc">{text}</div></div>'
        for name, text in (("한가상", "쉬세요."), ("김가람", "물을 드세요."))
    )
    question = '<div class="view_question"><strong class="tit">제목</strong><div class="desc">내용</div></div>'
    consult = consult_of(frame("", f'{question}<div class="view_answer">{boxes}</div>'))
    assert [(answer.doctor, answer.text) for answer in consult.answers] == [
        ("한가상", "쉬세요."),
        ("김가람", "물을 드세요."),
    ]


def test_scripts_styles_comments_buttons_and_thanks_are_no_text() -> None:
    noise = "<script>var a = 1;</script><style>p {}</style><!-- 메모 --><button>추천</button>"
    page = consult_page(DIZZY).replace("약은 2-3일이면", f"{noise}약은 2-3일이면")
    assert consult_of(page).answers[1].text == "약은 2-3일이면 충분합니다."


def test_paragraphs_and_table_cells_do_not_run_together() -> None:
    table = "<p>검사 결과</p><table><tr><td>AST</td><td>114</td></tr><tr><td>ALT</td><td>98</td></tr></table>"
    page = consult_page(DIZZY).replace("약은 2-3일이면 충분합니다.", table)
    assert consult_of(page).answers[1].text.split() == ["검사", "결과", "AST", "114", "ALT", "98"]
    assert "AST 114\n" in consult_of(page).answers[1].text


def test_a_deleted_post_is_dropped_with_its_reason() -> None:
    deleted = replace(DIZZY, title="삭제", body="본 게시물은 질문자 본인의 요청으로 삭제되었습니다.")
    assert reason_of(consult_page(deleted)).startswith("deleted post")
    assert reason_of(frame("", "<p>질문자 본인의 요청으로 삭제된 글입니다.</p>")).startswith("deleted post")


def test_thanks_alone_are_no_doctors_answer() -> None:
    thanks = SiteAnswer("", number="C9", thanks="감사합니다!")
    assert reason_of(consult_page(replace(DIZZY, answers=(thanks,)))) == "no doctor's answer: only the asker's thanks"
    page = consult_page(replace(DIZZY, answers=(SiteAnswer("질문자의 감사 인사\n고맙습니다"),), layout="old"))
    assert reason_of(page) == "no doctor's answer: only the asker's thanks"


def test_thanks_and_empty_answers_beside_a_doctors_are_left_out_and_named() -> None:
    thanks, empty = SiteAnswer("", number="C9", thanks="감사합니다!"), SiteAnswer("&nbsp;", number="C10")
    page = consult_page(replace(DIZZY, answers=(*DIZZY.answers, thanks, empty))).replace("&amp;nbsp;", "&nbsp;")
    reading = read(page)
    assert reading.consult is not None and len(reading.consult.answers) == 2
    assert [(row.id, row.reason) for row in reading.dropped] == [
        ("hidoc-C0001048103/C9", "the asker's thanks, not an answer"),
        ("hidoc-C0001048103/C10", "empty answer"),
    ]


def test_a_question_that_nobody_answered_is_dropped() -> None:
    assert reason_of(consult_page(replace(DIZZY, answers=()))) == "no doctor's answer: none"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('class="box_type1 view_question"', 'class="question-v2"', "div.view_question"),
        ('class="tit"', 'class="headline"', "strong.tit"),
        ('class="desc"><p>', 'class="text"><b>', "div.view_question div.desc"),
        ("hidoc_answer", "reply_answer", "div.hidoc_answer"),
        ('<div class="cont">', '<div class="content">', "div.answer_body div.cont div.desc"),
    ],
)
def test_changed_markup_is_never_half_read(old: str, new: str, wanted: str) -> None:
    page = consult_page(DIZZY)
    if wanted == "div.hidoc_answer":
        page = page.replace('class="desc">약은', 'class="reply">약은').replace(
            'class="desc">안녕', 'class="reply">안녕'
        )
    if wanted == "div.answer_body div.cont div.desc":
        page = consult_page(replace(DIZZY, answers=DIZZY.answers[:1]))
    assert old in page
    with pytest.raises(LayoutChanged, match=wanted):
        read(page.replace(old, new))


def test_answers_with_the_same_id_or_none_get_ids_of_their_own() -> None:
    answers = tuple(SiteAnswer(f"답변 {number}", number=number) for number in ("C2", "C2", ""))
    consult = consult_of(consult_page(replace(DIZZY, answers=answers)))
    assert len({answer.id for answer in consult.answers}) == 3


def test_utf8_and_cp949_are_read_whatever_the_page_declares() -> None:
    page = consult_page(DIZZY).replace("😥", "ㅠㅠ")
    lying = page.replace('charset="utf-8"', 'charset="euc-kr"')
    for body in (page.encode(), page.encode("cp949"), lying.encode(), b"\xef\xbb\xbf" + page.encode()):
        assert consult_of(decode(body)).answers[0].text.endswith("이석증으로 보입니다.")


def test_a_few_broken_bytes_are_counted_and_many_make_a_page_unreadable() -> None:
    body = consult_page(make_consults(1)[0]).encode()
    at = body.index("아기가".encode())
    few = decode(body[:at] + b"\xff" + body[at:])
    assert hidoc.broken_characters(few) == 1
    assert "\ufffd아기가" in consult_of(few).body
    many = decode(body.replace("이".encode(), b"\xec\x9d"))
    with pytest.raises(LayoutChanged, match="UTF-8 or CP949"):
        read(many)


def test_what_a_page_holds_survives_the_way_to_the_disk_and_back(tmp_path: Path) -> None:
    path = tmp_path / "consults.jsonl"
    odd = replace(DIZZY, body="줄\u2028바꿈 \u202e거꾸로\u202c 👩‍⚕️ ZERO&#xD800; \u0001" + "가" * 1_000_000)
    consult = consult_of(consult_page(odd).replace("&amp;#xD800;", "&#xD800;"))
    write_jsonl(path, [consult])
    assert read_jsonl(path, RawConsult) == [consult]
    assert "👩‍⚕️" in consult.body and "\u202e거꾸로" in consult.body and len(consult.body) > 1_000_000


def test_deeply_nested_markup_is_read_to_the_end() -> None:
    deep = "<div>" * 5000 + "가장 깊은 곳" + "</div>" * 5000
    page = consult_page(DIZZY).replace("약은 2-3일이면 충분합니다.", deep)
    assert consult_of(page).answers[1].text == "가장 깊은 곳"


def test_a_list_page_names_each_consult_once_in_order() -> None:
    consults = make_consults(6)
    listed = read_list(list_page("PD000", consults, range(1, 4)), 1)
    assert list(listed.ids) == [consult.number for consult in consults]
    assert listed.more is True
    assert read_list(list_page("PD000", consults, range(1, 4)), 3).more is False
    assert read_list(list_page("PD000", consults, None), 1).more is None
    scripted = list_page("PD000", consults, range(1, 4)).replace("/healthqna/part/list?code=PD000&page=", "javascript:")
    assert read_list(scripted, 1).more is None


@pytest.mark.parametrize(
    "page",
    [
        "",
        frame("", '<div class="paging_type1"></div>'),
        frame("", "<p>등록된 상담이 없습니다.</p>"),
    ],
)
def test_an_empty_list_is_the_end_of_a_list(page: str) -> None:
    assert read_list(page, 4).ids == ()


@pytest.mark.parametrize(
    "page",
    [
        list_page("PD000", make_consults(3), range(1, 4)).replace("qna_main", "qna_card"),
        list_page("PD000", make_consults(3), range(1, 4)).replace("view/C", "read/C"),
        frame("로그인", "<p>로그인이 필요합니다.</p>"),
    ],
)
def test_a_list_page_without_known_cards_is_a_changed_layout(page: str) -> None:
    with pytest.raises(LayoutChanged, match="div.qna_main"):
        read_list(page, 2)


@pytest.mark.parametrize(
    ("url", "number"),
    [
        ("view/C0001048103", "C0001048103"),
        ("https://www.hidoc.co.kr/healthqna/view/C0001048103?page=2#top", "C0001048103"),
        ("/healthqna/view/C0001048103;jsessionid=1F", "C0001048103"),
        ("/member/login?next=/healthqna/view/C0001048103", None),
        ("/healthqna/view/C0001048103/edit", None),
        ("http://[not-an-address", None),
    ],
)
def test_only_a_link_to_a_consult_has_a_consults_number(url: str, number: str | None) -> None:
    assert consult_number(url) == number


@pytest.mark.parametrize(
    ("text", "date"),
    [("2026.06.08", "2026-06-08"), ("2026-6-8 09:30", "2026-06-08"), ("3시간 전", "3시간 전"), ("", "")],
)
def test_dates_are_iso_where_they_can_be_read(text: str, date: str) -> None:
    assert hidoc.iso_date(text) == date


def test_every_department_of_the_default_recipe_has_its_name() -> None:
    assert set(Collect(seed=1, pages=1).departments) == set(DEPARTMENTS)
    assert all(DEPARTMENTS.values())
